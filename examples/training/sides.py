"""The same recipe on two sides: a module that this project compiles, and Transformers with PyTorch.

A batch is a dict of arrays, named as the inputs of Transformers' models are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Batch = Mapping[str, np.ndarray]
WARM_UP = 0.1
"""The share of steps over which the learning rate rises."""


def linear(peak: float, step: int, steps: int) -> float:
    """The learning rate of a step, which counts from 0: up linearly, and down linearly to almost nothing."""
    rising = _rising(steps)
    return peak * min((step + 1) / rising, (steps - step) / (steps - rising + 1))


def cosine(peak: float, step: int, steps: int) -> float:
    """The learning rate of a step, which counts from 0: up linearly, and down along a cosine to almost nothing."""
    rising = _rising(steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (1 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1))) / 2


def _rising(steps: int) -> int:
    return max(1, round(WARM_UP * steps))


@dataclass(frozen=True)
class Recipe:
    """AdamW as both sides have it.

    Attributes:
        decay: of matrices alone.
        betas: how much of the past its moments keep.
        longest: what gradients are scaled down to where they are longer together; None leaves them as they are.
    """

    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    longest: float | None = None


class Side(Protocol):
    """Something that trains."""

    name: str

    def step(self, batch: Batch, lr: float) -> float:
        """Forward, backward and a step of the optimizer; the loss."""

    def loss(self, batch: Batch) -> float:
        """The loss, without dropout."""

    def scores(self, batch: Batch) -> np.ndarray:
        """The logits, without dropout."""


class Ours:
    """A model of a generated module, and this project's optimizer."""

    name = "ttmlc"

    def __init__(self, model: Any, recipe: Recipe) -> None:
        from ttmlc_runtime.optim import AdamW

        self.model, self.recipe = model, recipe
        self.optimizer = AdamW(model.parameters(), lr=0.0, betas=recipe.betas, weight_decay=recipe.decay)

    def step(self, batch: Batch, lr: float) -> float:
        from ttmlc_runtime.optim import clip_grad_norm

        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.model(**batch).loss
        loss.backward()
        if self.recipe.longest is not None:
            clip_grad_norm(self.model.parameters(), self.recipe.longest)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss)

    def loss(self, batch: Batch) -> float:
        self.model.eval()
        return float(self.model(**batch).loss)

    def scores(self, batch: Batch) -> np.ndarray:
        self.model.eval()
        return self.model(**_unlabelled(batch)).logits.numpy()


class Theirs:
    """Transformers' model of the same name in eager mode, beginning with the values that ours has."""

    name = "transformers"

    def __init__(self, model: Any, values: Mapping[str, np.ndarray], dtype: str, recipe: Recipe) -> None:
        import torch

        self.torch, self.recipe, kind = torch, recipe, getattr(torch, dtype)
        self.model = model.to(kind)
        given = {name: torch.from_numpy(array.copy()).to(kind) for name, array in values.items()}
        _, left = self.model.load_state_dict(given, strict=False)
        missing = {name for name, _ in self.model.named_parameters()} - set(given)
        if left or missing:
            raise RuntimeError(f"the two sides have other parameters: {missing}, {left}")
        matrices = [one for one in self.model.parameters() if one.ndim > 1]
        vectors = [one for one in self.model.parameters() if one.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": recipe.decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas)

    def _called(self, batch: Batch) -> Any:
        return self.model(**{name: self.torch.from_numpy(array) for name, array in batch.items()})

    def step(self, batch: Batch, lr: float) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self._called(batch).loss
        loss.backward()
        if self.recipe.longest is not None:
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.longest)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def loss(self, batch: Batch) -> float:
        self.model.eval()
        with self.torch.no_grad():
            return float(self._called(batch).loss)

    def scores(self, batch: Batch) -> np.ndarray:
        self.model.eval()
        with self.torch.no_grad():
            return self._called(_unlabelled(batch)).logits.float().numpy()


def _unlabelled(batch: Batch) -> Batch:
    return {name: array for name, array in batch.items() if name != "labels"}


class Timed:
    """A side with a clock and the curve that it draws."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.losses: list[float] = []
        self.measures: list[tuple[int, float]] = []
        """(steps taken, what was measured then)."""
        self.seconds = 0.0
        """Of training steps alone."""

    def step(self, batch: Batch, lr: float) -> float:
        """One step; the loss."""
        start = time.perf_counter()
        self.losses.append(self.side.step(batch, lr))
        self.seconds += time.perf_counter() - start
        return self.losses[-1]

    def measure(self, measured: Callable[[Side], float]) -> float:
        """What ``measured`` says after the steps so far."""
        self.measures.append((len(self.losses), measured(self.side)))
        return self.measures[-1][1]

    def as_json(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"losses": self.losses, "measures": self.measures, "seconds": self.seconds}

    def take(self, kept: Mapping[str, Any]) -> None:
        """Go on from what ``as_json`` gave."""
        self.losses, self.seconds = list(kept["losses"]), float(kept["seconds"])
        self.measures = [(int(step), float(value)) for step, value in kept["measures"]]

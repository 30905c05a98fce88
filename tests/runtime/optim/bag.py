"""Parameters in every form that a storage can have, with gradients from a generator instead of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.weights import concat, normal

Arrays = dict[str, np.ndarray[Any, Any]]

FILLED = 3.0
"""What fills the padded storage up."""


@dataclass(frozen=True, kw_only=True)
class BagConfig(nn.Config):
    model_type: ClassVar[str] = "bag"
    hidden: int = nn.size(40, "hidden_size")
    wide: bool = nn.flag(False, "wide")


class Bag(nn.Model[BagConfig]):
    """A tied matrix, one in rows, a fused pair with biases, a vector, and a matrix filled up to whole tiles."""

    Config = BagConfig

    def build(self, at: nn.Scope, c: BagConfig) -> None:
        label = ttnn.float32 if c.wide else None
        word = at.parameter("word.weight", (12, c.hidden), normal(0.5))
        self.lookup = at.store(weight=word, layout=ttnn.ROW_MAJOR_LAYOUT, dtype=label)
        self.scores = at.store(weight=word, dtype=label)
        self.lone = at.store(
            weight=at.parameter("lone.weight", (7, c.hidden), normal(0.5)),
            layout=ttnn.ROW_MAJOR_LAYOUT,
            dtype=label,
        )
        pair = [at.parameter(f"{side}.weight", (33, c.hidden), normal(0.5)).T for side in ("q", "k")]
        biases = [at.parameter(f"{side}.bias", (33,), normal(0.5)) for side in ("q", "k")]
        self.pair = at.store(weight=concat(*pair), bias=concat(*biases), dtype=label)
        self.norm = at.store(weight=at.parameter("norm.weight", (c.hidden,), normal(0.5)), dtype=label)
        last = at.parameter("last.weight", (5, c.hidden), normal(0.5))
        self.last = at.store(weight=last.padded(0, (1, 5, 1), 32, FILLED), dtype=label)


def bag(dtype: str, *, wide: bool = False) -> Bag:
    """On a device of its own numerics; ``wide`` storages are labelled float32."""
    return Bag(BagConfig(wide=wide), dtype=dtype)


def some(model: Bag, seed: int) -> Arrays:
    """A gradient for each parameter."""
    chance = np.random.default_rng(seed)
    return {name: chance.standard_normal(one.shape) for name, one in model.named_parameters()}


def give(model: Bag, gradients: Arrays, label: Any = ttnn.float32) -> None:
    """Put gradients where backward would; what fills storages up gets one as well, which must not count."""
    kind = np.float64 if model.dtype == "float64" and label == ttnn.float32 else np.float32
    for storage in dict.fromkeys(s.primary for p in model.parameters() for s in p.storages):
        if all(name in gradients for name in storage.names):
            array = np.ascontiguousarray(storage.chain.forward(gradients), kind)
            storage.accumulate(ttnn.Tensor(array, label, model.device, ttnn.TILE_LAYOUT))


def rounded(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """As bfloat16 holds it."""
    tensor = ttnn.Tensor(np.ascontiguousarray(array, np.float32), ttnn.bfloat16)
    return ttnn.to_dtype(tensor, ttnn.float32).to_numpy()

"""A model that learns: dropout, a fused pair of projections and a vector, on the tape as an emitted one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.optim import AdamW, Optimizer
from ttmlc_runtime.weights import concat, normal, ones

CLASSES = 5


@dataclass(frozen=True, kw_only=True)
class ToyConfig(nn.Config):
    model_type: ClassVar[str] = "toy"
    hidden: int = nn.size(32, "hidden_size")
    drop: float = nn.rate(0.3, "dropout")


class Layer(nn.Block):
    """dropout(x) * scale @ [left, right], whose halves are added."""

    def __init__(self, at: nn.Scope, c: ToyConfig) -> None:
        super().__init__(at, c)
        sides = [
            at.parameter(f"{side}.weight", (CLASSES, c.hidden), normal(0.3)).T for side in ("left", "right")
        ]
        self.sides = at.store(weight=concat(*sides))
        self.scale = at.store(weight=at.parameter("scale", (c.hidden,), ones))

    def forward(self, x: Any) -> tuple[Any, nn.Saved]:
        seed = self.seed()
        dropped = nn.dropout(x, self.config.drop, seed, 0)
        scaled = ttnn.multiply(dropped, self.scale.weight)
        both = ttnn.matmul(scaled, self.sides.weight, **self.kernels.matmul)
        left, right = ttnn.split(both, CLASSES, dim=3)
        return ttnn.add(left, right), nn.Saved(dropped=dropped, scaled=scaled)

    def backward(self, saved: nn.Saved, dy: Any) -> tuple[None]:
        dboth = ttnn.concat([dy, dy], dim=3)
        weight = ttnn.matmul(saved.scaled, dboth, transpose_a=True, dtype=ttnn.float32, **self.kernels.matmul)
        dscaled = ttnn.matmul(dboth, self.sides.weight, transpose_b=True, **self.kernels.matmul)
        scale = ttnn.sum(ttnn.multiply(dscaled, saved.dropped), 2, True, **self.kernels.reduce)
        self.sides.accumulate(weight=weight)
        self.scale.accumulate(weight=scale)
        return (None,)


class Toy(nn.Model[ToyConfig]):
    Config = ToyConfig

    def build(self, at: nn.Scope, c: ToyConfig) -> None:
        self.layer = Layer(at / "layer", c)

    def __call__(self, x: Any, labels: Any) -> Any:
        rows = len(x)
        kind = np.float64 if self.dtype == "float64" else np.float32
        tensor = ttnn.Tensor(
            np.asarray(x, kind).reshape(1, 1, rows, -1), ttnn.bfloat16, self.device, ttnn.TILE_LAYOUT
        )
        return nn.cross_entropy(nn.Activation(self.layer(tensor), (rows, CLASSES)), labels)


def batch(step: int) -> tuple[Any, Any]:
    chance = np.random.default_rng(step)
    return chance.standard_normal((64, 32)), chance.integers(0, CLASSES, 64)


def train(model: Toy, optimizer: Optimizer, steps: range) -> list[float]:
    """The losses of some steps."""
    losses = []
    model.train()
    for step in steps:
        optimizer.zero_grad()
        loss = model(*batch(step))
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def fresh(dtype: str = "bfloat16", make: Any = AdamW, seed: int = 0, **options: Any) -> tuple[Toy, Optimizer]:
    model = Toy(dtype=dtype, seed=seed)
    return model, make(model.parameters(), lr=0.05, **options)

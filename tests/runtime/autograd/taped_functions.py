"""Functions on the tape that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
from taped import on_device
from ttmlc_runtime import nn, ttnn

SHAPE = (1, 1, 32, 32)


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


class Multiply(nn.Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save(a, b)
        return ttnn.multiply(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        a, b = ctx.saved
        return ttnn.multiply(dy, b), ttnn.multiply(dy, a)


class Halves(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return tuple(ttnn.split(x, 32, dim=3))

    @staticmethod
    def backward(ctx: Any, left: Any, right: Any) -> Any:
        return ttnn.concat([left, right], dim=3)


class Total(nn.Function):
    """The sum of all elements, a scalar."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.like = x
        return ttnn.sum(x)

    @staticmethod
    def backward(ctx: Any, dy: float) -> Any:
        return ttnn.full_like(ctx.like, dy)


class Tanh(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = ttnn.tanh(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return ttnn.multiply(dy, ttnn.rsub(ttnn.multiply(ctx.saved[0], ctx.saved[0]), 1.0))


def begin(device: Any, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[nn.Variable, list[Any]]:
    """A variable and the gradients that come back to it."""
    variable, seen = nn.Variable.begin(on_device(values(seed, shape), device)), []
    variable.register_hook(seen.append)
    return variable, seen

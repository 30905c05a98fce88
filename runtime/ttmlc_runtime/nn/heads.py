"""What models call beside blocks and losses: labels on the host, views with a place on the tape, weighed losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.autograd import Context, Function
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.nn.functional import spread
from ttmlc_runtime.nn.inputs import Labels
from ttmlc_runtime.nn.labels import Array, array_of
from ttmlc_runtime.nn.loss_parts import clean
from ttmlc_runtime.nn.observing import observer
from ttmlc_runtime.nn.outputs import Activation


def next_labels(labels: Labels, *, fill: int = -100) -> Array:
    """Labels [..., S] moved by one: each index holds what the next one held, the last one ``fill``.

    What a causal language model is trained on: at each token, the one that follows.

    Raises:
        InputError: they are no integers of one shape.
    """
    array = _integers(labels)
    if array.ndim == 0:
        raise InputError("labels are a single number and must be [..., tokens]")
    moved = np.roll(array, -1, axis=-1)
    moved[..., -1:] = fill
    return moved


def clamp_labels(labels: Labels, low: int, high: int) -> Array:
    """Labels, ``low`` where they are below and ``high`` where they are above.

    Raises:
        InputError: they are no integers of one shape.
    """
    return _integers(labels).clip(low, high)


def _integers(labels: Labels) -> Array:
    array = array_of("labels", labels)
    if array.dtype.kind not in "iu":
        raise InputError(f"labels must be integers, not {array.dtype}: convert them with .astype(int)")
    if array.dtype == np.uint64:  # what int64 cannot hold stays above every range
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
    return array.astype(np.int64)


def weighed(loss: Activation | None, factor: float) -> Activation | None:
    """``factor`` times a loss; None where it is missing."""
    return None if loss is None else loss * factor


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """X, a device tensor or its place on the tape, in another device shape. One program where tiles change."""
    return _Reshape.apply(x, shape)


class _Reshape(Function):
    """The gradient is the reshape back."""

    @staticmethod
    def forward(ctx: Context, x: types.Tensor, shape: tuple[int, ...]) -> types.Tensor:
        ctx.save(tuple(x.shape))
        return ttnn.reshape(x, shape)

    @staticmethod
    def backward(ctx: Context, gradient: types.Tensor) -> tuple[types.Tensor, None]:
        (shape,) = ctx.saved
        return clean(ttnn.reshape(gradient, shape)), None


def first(x: Any) -> Any:
    """The first token of x [B, 1, S, features], a device tensor or its place on the tape: [B, 1, 1, features].

    A model calls it where no other token is read of what follows. One program, and one in its backward. Whoever
    observes the model sees all tokens: there it is x.
    """
    return x if observer() is not None else _First.apply(x)


class _First(Function):
    """The gradient of the others is zero."""

    @staticmethod
    def forward(ctx: Context, x: types.Tensor) -> types.Tensor:
        batch, one, tokens, features = x.shape
        ctx.save(tokens)
        return ttnn.slice(x, (0, 0, 0, 0), (batch, one, 1, features))

    @staticmethod
    def backward(ctx: Context, gradient: types.Tensor) -> types.Tensor:
        (tokens,) = ctx.saved
        return spread(gradient, tokens)

"""What all losses share: their place on the tape, their kernels' configuration, and the sum at the end."""

from __future__ import annotations

import math
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.autograd import Function
from ttmlc_runtime.nn.inputs import TILE
from ttmlc_runtime.nn.kernels import Keywords, Policy, keywords
from ttmlc_runtime.nn.outputs import Activation


def taped(function: type[Function], x: Activation, *arguments: Any, shape: tuple[int, ...]) -> Activation:
    """``function`` of ``x`` and host arguments, recorded where ``x`` is; ``shape`` is the logical one of the result."""
    made: Activation = function.apply(x, *arguments)
    return made.around(made.value, shape)


def loss_kernels(tensor: types.Tensor) -> Keywords:
    """The keywords of the loss role on the tensor's device."""
    device = tensor.device()
    assert device is not None  # logits are a model's
    return keywords(Policy().loss, device)


def summed(each: types.Tensor, scalar: float, kernels: Keywords) -> types.Tensor:
    """The sum of everything, times ``scalar``, as [1, 1, 1, 1].

    One dim after the other: over several ttnn permutes and reduces in turns. A sum over rows reads whole columns of
    tiles, so the last dim goes first.
    """
    if each.shape[-1] != 1:
        each = ttnn.sum(each, -1, True, **kernels)
    column = ttnn.reshape(each, [1, 1, math.prod(each.shape), 1])
    total: types.Tensor = ttnn.sum(column, -2, True, scalar=scalar, **kernels)
    return total


def clean(gradient: types.Tensor) -> types.Tensor:
    """``gradient`` with zeros in the padding of its tiles.

    What is there came of the padding of logits, which may be anything, by way of exponentials: infinities would turn
    to NaN in the products of matrices that follow, where padding meets zeros.
    """
    if gradient.shape[-1] % TILE == 0 and gradient.shape[-2] % TILE == 0:
        return gradient
    filled: types.Tensor = ttnn.fill_implicit_tile_padding(gradient, 0.0)
    return filled

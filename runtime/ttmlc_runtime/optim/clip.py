"""Gradients kept from being too long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import AutogradError, ConfigError
from ttmlc_runtime.optim.optimizer import fused
from ttmlc_runtime.optim.places import Handle, filling, handles, primaries
from ttmlc_runtime.weights.storage import Storage, to_host

ttnn = choose()


def clip_grad_norm(
    parameters: Handle | Iterable[Handle],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by one factor where they are longer together than ``max_norm``, as PyTorch does.

    The device adds up storages of equal shape, then reduces each sum: a program a storage, a few for each shape, and
    one number that is read. What several parameters share counts once, and what fills up storages not at all.

    Args:
        parameters: those whose gradients are meant.
        max_norm: how long they may be.
        norm_type: 2, another number above 0, or infinity for the largest element.
        error_if_nonfinite: whether infinities and NaN are an error; else they go into all gradients.

    Returns:
        The length before.

    Raises:
        AutogradError: the length is no number, and ``error_if_nonfinite``.
        ConfigError: ``max_norm`` or ``norm_type`` cannot be one, or there are no parameters.
    """
    if not max_norm >= 0 or not norm_type > 0:
        raise ConfigError(f"max_norm is {max_norm!r} and norm_type {norm_type!r}: both are numbers from 0 up")
    given = handles(parameters, "clip_grad_norm")
    if not given:
        raise ConfigError(
            "clip_grad_norm got no parameters: an iterator, such as model.parameters(), is used up once"
        )
    storages = [storage for storage in primaries(given) if storage.grad is not None]
    if not storages:
        return 0.0
    alike: dict[tuple[int, ...], list[Storage]] = {}
    for storage in storages:
        alike.setdefault(storage.chain.shape, []).append(storage)
    largest = math.isinf(norm_type)
    total: types.Tensor | None = None
    for group in alike.values():
        one = _largest(group) if largest else _sum(group, norm_type)
        join = ttnn.maximum if largest else ttnn.add
        total = one if total is None else join(total, one)
    assert total is not None  # there are storages
    length = float(to_host(total).reshape(-1)[0])
    length = length if largest else length ** (1.0 / norm_type)
    if error_if_nonfinite and not math.isfinite(length):
        raise AutogradError(f"the norm of the gradients is {length}: some of them are infinite or NaN")
    factor = max_norm / (length + 1e-6)
    if not factor >= 1.0:
        for storage in storages:
            # Into another tensor: this one may be held by a hook, or by who gave it.
            storage.grad = ttnn.multiply(storage.grad, factor)
    return length


def _sum(group: list[Storage], power: float) -> types.Tensor:
    """The sum over all gradients of |g| ** power."""
    kind = ttnn.UnaryOpType
    chain = [kind.ABS] if power == 1 else [kind.ABS, fused("POWER", power)]
    total: types.Tensor | None = None
    for gradient in _gradients(group):
        if total is not None:
            terms = [kind.SQUARE] if power == 2 else chain
            ttnn.add(total, gradient, input_tensor_b_activations=terms, output_tensor=total)
        elif power == 2:
            total = ttnn.multiply(gradient, gradient, dtype=ttnn.float32)
        else:
            total = ttnn.unary_chain(_wide(gradient), chain)
    assert total is not None  # a shape is there because some storage has it
    found: types.Tensor = ttnn.sum(_matrix(total), **_precise(total))
    return found


def _largest(group: list[Storage]) -> types.Tensor:
    """The largest |g| of all gradients."""
    total: types.Tensor | None = None
    for gradient in map(_wide, _gradients(group)):
        if total is None:
            total = ttnn.abs(gradient)
        else:
            size = [ttnn.UnaryOpType.ABS]
            ttnn.maximum(total, gradient, input_tensor_b_activations=size, output_tensor=total)
    assert total is not None  # likewise
    found: types.Tensor = ttnn.max(_matrix(total), **_precise(total))
    return found


def _gradients(group: list[Storage]) -> Iterator[types.Tensor]:
    """Without what fills a storage up."""
    for storage in group:
        assert storage.grad is not None  # the others were left out
        yield filling(storage).out_of(storage.grad)


def _wide(tensor: types.Tensor) -> types.Tensor:
    return tensor if tensor.dtype == ttnn.float32 else ttnn.typecast(tensor, ttnn.float32)


def _matrix(tensor: types.Tensor) -> types.Tensor:
    """In two dims at most: over more ttnn permutes and reduces in turns."""
    shape = tuple(tensor.shape)
    return tensor if len(shape) <= 2 else ttnn.reshape(tensor, [math.prod(shape[:-1]), shape[-1]])


def _precise(tensor: types.Tensor) -> dict[str, Any]:
    device = tensor.device()
    assert device is not None  # gradients are made there
    return {
        "compute_kernel_config": ttnn.init_device_compute_kernel_config(
            device.arch(),
            math_fidelity=ttnn.MathFidelity.HiFi4,
            math_approx_mode=False,
            fp32_dest_acc_en=True,
            packer_l1_acc=True,
        )
    }

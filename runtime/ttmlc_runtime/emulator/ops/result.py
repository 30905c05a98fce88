"""What every op does at its end, and what it says of its kernel configuration."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FrameType

import numpy as np

from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.kernels import round_bfloat16
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.padding import FINITE, Padding
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig, MathFidelity
from ttmlc_runtime.emulator.tensor import Tensor

_warned: set[str] = set()


def _significant(shape: Sequence[int]) -> list[int]:
    """A shape without the ones in front, which ttnn does not compare."""
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return sizes


def result(
    array: Array,
    like: Tensor,
    dtype: DataType | None = None,
    *,
    layout: Layout | None = None,
    padding: Padding = FINITE,
    memory: MemoryConfig | None = None,
    output: Tensor | None = None,
    broadcast: bool = False,
    op: str = "",
) -> Tensor:
    """An op's result, held as its label and numerics say, in a new tensor or in ``output``.

    Args:
        array: fresh values; they may be rounded in place.
        like: the operand whose dtype, layout and device the result has.
        dtype: another label.
        layout: another layout.
        padding: what the padding of the result's tiles holds.
        memory: where it lives.
        output: a tensor to write into, whose label wins over ``like``'s and must agree with ``dtype``.
        broadcast: whether dims of 1 in front of its shape may be missing or too many.
        op: the op's name, for messages.
    """
    if output is not None:
        check(
            output.device() is like.device(),
            f"{op}: the output tensor is not on the input's device: Device Operations expect device tensors",
        )
        if tuple(output.shape) != array.shape and not (
            broadcast and _significant(output.shape) == _significant(array.shape)
        ):
            raise fatal(
                f"{op}: Shape of Output tensor {output.shape} provided does not match {list(array.shape)}"
            )
        check(
            dtype is None or output.dtype is dtype,
            f"{op}: If both output dtype and output tensor are provided, their dtypes should match",
        )
        output.array  # noqa: B018  # refuses where the buffer is gone
        output.write(array, padding)
        return output
    label, numerics = dtype or like.dtype, like.numerics
    if label.is_block and (layout or like.layout) is not Layout.TILE:
        raise fatal(
            f"{op}: Only TILE layout is supported for {label!r}",
            "Convert the inputs: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
        )
    if numerics.rounds and label is DataType.BFLOAT16 and array.dtype == numerics.compute:
        array = round_bfloat16(array, in_place=True)
    else:
        array = numerics.held(array, label)
    where = memory or like.memory_config()
    return Tensor.make(
        array, label, layout or like.layout, like.device(), numerics, padding=padding, memory=where
    )


def copied(tensor: Tensor) -> Array:
    """The tensor's values for another tensor to hold.

    Where nothing is rounded, it is the same array: nothing writes into an array that two hold (``own_array``), and
    copies of whole tables would take longer than the step that they are for.
    """
    return np.array(tensor.array) if tensor.numerics.rounds else tensor.array


def aliased(tensor: Tensor, memory: MemoryConfig | None = None, shape: Sequence[int] | None = None) -> Tensor:
    """The tensor itself, perhaps in another shape of the same rows; a copy where it is wanted in other memory."""
    if memory is None or memory == tensor.memory_config():
        return tensor.alias(shape)
    array = np.array(tensor.array)
    return moved(
        array if shape is None else array.reshape(shape), tensor, padding=tensor.padding, memory=memory
    )


def through_rows(tensor: Tensor, op: str) -> DataType:
    """The dtype of what ttnn makes by way of rows, because it cannot do it in whole tiles.

    Raises:
        RuntimeError: the dtype does not go into rows and back.
    """
    dtype = tensor.dtype
    if tensor.layout is Layout.TILE:
        check(
            dtype not in (DataType.BFLOAT4_B, DataType.UINT8),
            f"{op}: tiles of {dtype!r} that are cut or joined inside would have to become rows",
            "Convert it first: ttnn.typecast(tensor, ttnn.bfloat16)",
        )
    return DataType.BFLOAT16 if dtype.is_block else dtype


def moved(
    array: Array,
    like: Tensor,
    *,
    padding: Padding = FINITE,
    memory: MemoryConfig | None = None,
    dtype: DataType | None = None,
) -> Tensor:
    """A result whose values are ``like``'s own, elsewhere: nothing is to be rounded."""
    return Tensor.make(
        array,
        dtype or like.dtype,
        like.layout,
        like.device(),
        like.numerics,
        padding=padding,
        memory=memory or like.memory_config(),
    )


def _callers() -> int:
    """How many frames of the emulator lie above the one that called it: where a warning should point."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("ttmlc_runtime.emulator"):
        frame, level = frame.f_back, level + 1
    return level


def modelled(config: DeviceComputeKernelConfig | None, tensor: Tensor, op: str) -> None:
    """Warn, once for each op, about a configuration whose rounding the emulator does not model."""
    if not tensor.numerics.rounds or op in _warned:
        return
    if config is None or config.math_fidelity is not MathFidelity.HiFi4 or not config.fp32_dest_acc_en:
        _warned.add(op)
        found = (
            "ttnn's default"
            if config is None
            else f"{config.math_fidelity.name}, fp32_dest_acc_en={config.fp32_dest_acc_en}"
        )
        warnings.warn(
            f"{op}: the emulator computes as HiFi4 with float32 accumulation, and this call asks for {found}: "
            "a board would round more than is shown here (said once for each op)",
            stacklevel=_callers(),
        )

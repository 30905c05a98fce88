"""Tensors out of nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import DEVICE
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import WILD, Padding
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor


def _filled(
    shape: Sequence[int],
    value: float,
    dtype: DataType | None,
    layout: Layout | None,
    device: MeshDevice | None,
    memory: MemoryConfig | None,
    *,
    wild: bool = False,
) -> Tensor:
    label = dtype or DataType.BFLOAT16
    check(device is None or device.is_open, f"{device!r} was closed")
    numerics = DEVICE if device is None else device.arithmetic
    sizes = [int(size) for size in shape]
    array = numerics.held(np.full(sizes, value, np.float64), label)
    where = Layout.TILE if label.is_block else layout or Layout.ROW_MAJOR
    padding: Padding = WILD if wild else float(value)
    return Tensor.make(array, label, where, device, numerics, padding=padding, memory=memory)


@op("full", ignored=("optional_tensor",))
def full(
    shape: Sequence[int],
    fill_value: float,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of one value, bfloat16 in rows where nothing is said; on the host without ``device``."""
    return _filled(shape, fill_value, dtype, layout, device, memory_config)


@op("zeros")
def zeros(
    shape: Sequence[int],
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of zeros."""
    return _filled(shape, 0.0, dtype, layout, device, memory_config)


@op("ones")
def ones(
    shape: Sequence[int],
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of ones."""
    return _filled(shape, 1.0, dtype, layout, device, memory_config)


@op("empty")
def empty(
    shape: Sequence[int],
    dtype: DataType = DataType.BFLOAT16,
    layout: Layout = Layout.ROW_MAJOR,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor that nobody has written to: NaN here (0 in integers), so that reading it shows."""
    if device is None:
        raise TypeError("ttnn.empty(): incompatible function arguments: 'device' is missing")
    value = np.nan if dtype.is_float and not dtype.is_block else 0.0
    return _filled(shape, value, dtype, layout, device, memory_config, wild=True)


def _like(
    x: Tensor,
    value: float,
    dtype: DataType | None,
    layout: Layout | None,
    device: MeshDevice | None,
    memory: MemoryConfig | None,
) -> Tensor:
    return _filled(
        x.shape,
        value,
        dtype or x.dtype,
        layout or x.layout,
        device or x.device(),
        memory or x.memory_config(),
    )


@op("full_like", ignored=("optional_tensor",), tensor=Operand(host=True))
def full_like(
    tensor: Tensor,
    fill_value: float,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of one value in the shape of another."""
    return _like(tensor, fill_value, dtype, layout, device, memory_config)


@op("zeros_like", ignored=("optional_tensor",), tensor=Operand(host=True))
def zeros_like(
    tensor: Tensor,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Zeros in the shape of another tensor."""
    return _like(tensor, 0.0, dtype, layout, device, memory_config)


@op("ones_like", ignored=("optional_tensor",), tensor=Operand(host=True))
def ones_like(
    tensor: Tensor,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Ones in the shape of another tensor."""
    return _like(tensor, 1.0, dtype, layout, device, memory_config)


@op("arange")
def arange(
    start: int,
    end: int | None = None,
    step: int = 1,
    *,
    dtype: DataType = DataType.BFLOAT16,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
    layout: Layout = Layout.ROW_MAJOR,
) -> Tensor:
    """start, start + step, ... before ``end``; with one number, 0 to it. bfloat16 counts exactly to 256 only."""
    first, last = (0, int(start)) if end is None else (int(start), int(end))
    check(
        step != 0 and (last - first) * step >= 0,
        "ttnn.arange: Invalid range: Step direction does not match range bounds",
    )
    numerics = DEVICE if device is None else device.arithmetic
    array = numerics.held(np.arange(first, last, int(step), dtype=np.int64), dtype)
    return Tensor.make(array, dtype, layout, device, numerics, padding=0.0, memory=memory_config)

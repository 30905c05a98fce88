"""Tensors out of nothing."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence

import numpy as np

from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import DEVICE
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import WILD, Padding
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor

COUNTABLE = frozenset({DataType.BFLOAT16, DataType.FLOAT32, DataType.INT32, DataType.UINT32, DataType.UINT16})


def _filled(
    op_name: str,
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
    if not all(isinstance(size, numbers.Integral) and size >= 0 for size in shape):
        raise TypeError(
            f"{op_name}(): incompatible function arguments: a shape is a list of sizes, not {list(shape)!r}"
        )
    check(
        not label.is_block or layout is not Layout.ROW_MAJOR,
        f"{op_name}: Only TILE layout is supported for {label!r}",
        "Leave the layout out, or say ttnn.TILE_LAYOUT",
    )
    sizes = [int(size) for size in shape]
    array = numerics.held(np.array(value, np.float64), label)
    # Nothing writes into an array but what took it for itself: what nobody has written to needs no memory yet.
    array = np.broadcast_to(array, sizes) if wild else np.full(sizes, array, array.dtype)
    where = Layout.TILE if label.is_block else layout or Layout.ROW_MAJOR
    padding: Padding = WILD if wild else float(value)
    return Tensor.make(array, label, where, device, numerics, padding=padding, memory=memory)


Creation = Callable[..., Tensor]


def _creation(name: str, value: float) -> Creation:
    @op(name)
    def call(
        shape: Sequence[int],
        dtype: DataType | None = None,
        layout: Layout | None = None,
        device: MeshDevice | None = None,
        memory_config: MemoryConfig | None = None,
    ) -> Tensor:
        return _filled(f"ttnn.{name}", shape, value, dtype, layout, device, memory_config)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"A tensor of {name}, bfloat16 in rows where nothing is said; on the host without ``device``."
    )
    return call


zeros, ones = _creation("zeros", 0.0), _creation("ones", 1.0)


@op("full", ignored=("optional_tensor",))
def full(
    shape: Sequence[int],
    fill_value: float,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of one value."""
    return _filled("ttnn.full", shape, fill_value, dtype, layout, device, memory_config)


@op("empty")
def empty(
    shape: Sequence[int],
    dtype: DataType = DataType.BFLOAT16,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor that nobody has written to: NaN here (0 in integers), so that reading it shows."""
    if device is None:
        raise TypeError("ttnn.empty(): incompatible function arguments: 'device' is missing")
    value = np.nan if dtype.is_float and not dtype.is_block else 0.0
    return _filled("ttnn.empty", shape, value, dtype, layout, device, memory_config, wild=True)


def _like(
    op_name: str,
    x: Tensor,
    value: float,
    dtype: DataType | None,
    layout: Layout | None,
    device: MeshDevice | None,
    memory: MemoryConfig | None,
) -> Tensor:
    label, where = dtype or x.dtype, layout or x.layout
    check(
        not label.is_block or where is Layout.TILE,
        f"{op_name}: Only TILE layout is supported for {label!r}",
        "Say layout=ttnn.TILE_LAYOUT",
    )
    if memory is None and x.device() is not None:
        memory = x.memory_config()
    return _filled(op_name, x.shape, value, label, where, device or x.device(), memory)


def _creation_like(name: str, value: float) -> Creation:
    @op(name, ignored=("optional_tensor",), tensor=Operand(host=True))
    def call(
        tensor: Tensor,
        dtype: DataType | None = None,
        layout: Layout | None = None,
        device: MeshDevice | None = None,
        memory_config: MemoryConfig | None = None,
    ) -> Tensor:
        return _like(f"ttnn.{name}", tensor, value, dtype, layout, device, memory_config)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{name.partition('_')[0].title()} in the shape of another tensor."
    return call


zeros_like, ones_like = _creation_like("zeros_like", 0.0), _creation_like("ones_like", 1.0)


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
    return _like("ttnn.full_like", tensor, fill_value, dtype, layout, device, memory_config)


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
    check(
        dtype in COUNTABLE,
        f"ttnn.arange: Unsupported dtype {dtype!r}",
        "Make another, and convert it: ttnn.typecast",
    )
    numerics = DEVICE if device is None else device.arithmetic
    array = numerics.held(np.arange(first, last, int(step), dtype=np.int64), dtype)
    return Tensor.make(array, dtype, layout, device, numerics, padding=0.0, memory=memory_config)

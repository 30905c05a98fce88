"""Ops that move elements, change layout or dtype, or bring tensors from one place to another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ttmlc_runtime.emulator.device import Device
from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.packing import to_dtype as rounded
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor, held, on_device, result, tile


@op("to_device")
def to_device(
    tensor: Tensor, device: Device, *, memory_config: MemoryConfig | None = None, cq_id: int | None = None
) -> Tensor:
    """A host tensor on ``device``; one that is there already is itself."""
    if tensor.device() is device:
        return tensor.alias(tensor.array, padding=tensor.padding)
    array = (
        held(tensor.array, tensor.dtype, device)
        if not device.exact
        else np.array(tensor.array, device.compute if tensor.dtype.is_float else None)
    )
    return Tensor.make(
        array, tensor.dtype, tensor.layout, device, padding=tensor.padding, memory=memory_config
    )


@op("from_device")
def from_device(tensor: Tensor, blocking: bool = True, cq_id: int | None = None) -> Tensor:
    """A device tensor on the host."""
    return on_device(tensor, "tensor", "ttnn.from_device").cpu()


@op("to_dtype")
def to_dtype(tensor: Tensor, dtype: DataType) -> Tensor:
    """A host tensor under another label; to float32 nothing is lost."""
    check(
        tensor.device() is None,
        "ttnn.to_dtype: the tensor is on a device",
        "Bring it to the host first: tensor.cpu()",
    )
    array = tensor.array
    if dtype is not DataType.FLOAT32 or not tensor.dtype.is_float:
        array = rounded(array, dtype)
    return Tensor.make(array, dtype, tensor.layout, None, padding=tensor.padding)


@op("typecast")
def typecast(input_tensor: Tensor, dtype: DataType, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """A copy under another label."""
    x = on_device(input_tensor, "input_tensor", "ttnn.typecast")
    check(not dtype.is_block or x.layout is Layout.TILE, "ttnn.typecast: Only TILE layout is supported")
    device = x.device()
    assert device is not None
    array = x.array.astype(device.compute) if dtype.is_float else np.trunc(x.array)
    return result(array.copy(), x, dtype, padding=x.padding, memory=memory_config)


@op("to_layout")
def to_layout(
    tensor: Tensor,
    layout: Layout,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    sub_core_grids: object = None,
    pad_value: float = 0.0,
) -> Tensor:
    """The tensor in tiles or rows; itself where it is so already."""
    if tensor.layout is layout and dtype in (None, tensor.dtype):
        return tensor.alias(tensor.array, padding=tensor.padding)
    label = dtype or (
        DataType.BFLOAT16 if tensor.dtype.is_block and layout is Layout.ROW_MAJOR else tensor.dtype
    )
    return result(tensor.array.copy(), tensor, label, layout=layout, padding=pad_value, memory=memory_config)


@op("deallocate")
def deallocate(tensor: Tensor, force: bool = True) -> None:
    """Free a tensor's buffer, and with it every alias."""
    tensor.deallocate(force)


@op("reshape")
def reshape(
    input_tensor: Tensor,
    shape: Sequence[int],
    *,
    memory_config: MemoryConfig | None = None,
    pad_value: float | None = None,
) -> Tensor:
    """The same elements in another shape: a view of the same storage where rows of tiles are kept, else a copy."""
    x = on_device(input_tensor, "input_tensor", "ttnn.reshape")
    sizes = [int(size) for size in shape]
    check(sizes.count(-1) <= 1, "ttnn.reshape: Shape cannot have more than 1 elements that is set to -1")
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        check(rest > 0 and x.volume() % rest == 0, f"ttnn.reshape: {x.volume()} elements do not fit {sizes}")
        sizes[sizes.index(-1)] = x.volume() // rest
    check(
        math.prod(sizes) == x.volume(), f"ttnn.reshape: {list(x.shape)} does not have the volume of {sizes}"
    )
    array = np.ascontiguousarray(x.array).reshape(sizes)
    old, new = [1, 1, *x.array.shape], [1, 1, *sizes]
    rows = old[-2] == new[-2] or (old[-2] % TILE_SIZE == 0 and new[-2] % TILE_SIZE == 0)
    keeps = old[-1] == new[-1] and (rows or x.layout is Layout.ROW_MAJOR)
    if keeps:
        return x.alias(array, padding=x.padding)
    return Tensor.make(array.copy(), x.dtype, x.layout, x.device(), padding=pad_value, memory=memory_config)


@op("permute")
def permute(
    input_tensor: Tensor,
    dims: Sequence[int],
    *,
    memory_config: MemoryConfig | None = None,
    pad_value: float = 0.0,
) -> Tensor:
    """The dims in another order; the identity is a view."""
    x = on_device(input_tensor, "input_tensor", "ttnn.permute")
    order = [int(dim) % max(1, x.array.ndim) for dim in dims]
    check(
        sorted(order) == list(range(x.array.ndim)),
        f"ttnn.permute: {list(dims)} is no order of {x.array.ndim} dims",
    )
    if order == list(range(x.array.ndim)):
        return x.alias(x.array, padding=x.padding)
    return Tensor.make(
        np.ascontiguousarray(x.array.transpose(order)), x.dtype, x.layout, x.device(), memory=memory_config
    )


@op("transpose")
def transpose(
    input_tensor: Tensor, dim1: int, dim2: int, *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """Two dims exchanged."""
    x = on_device(input_tensor, "input_tensor", "ttnn.transpose")
    return Tensor.make(
        np.ascontiguousarray(x.array.swapaxes(dim1, dim2)),
        x.dtype,
        x.layout,
        x.device(),
        memory=memory_config,
    )


@op("slice")
def slice_(
    input_tensor: Tensor,
    slice_start: Sequence[int],
    slice_end: Sequence[int],
    slice_step: Sequence[int] | None = None,
    *,
    memory_config: MemoryConfig | None = None,
    pad_value: float | None = None,
) -> Tensor:
    """x[start : end : step] in each dim; the whole is a view."""
    x = on_device(input_tensor, "input_tensor", "ttnn.slice")
    rank = x.array.ndim
    step = [1] * rank if slice_step is None else list(slice_step)
    check(
        len(slice_start) == len(slice_end) == len(step) == rank,
        f"ttnn.slice: start, end and step must have {rank} entries",
    )
    for start, end, size in zip(slice_start, slice_end, x.array.shape, strict=True):
        check(0 <= start <= end <= size, f"ttnn.slice: {start}:{end} is out of range for a dim of {size}")
    key = tuple(slice(int(a), int(b), int(c)) for a, b, c in zip(slice_start, slice_end, step, strict=True))
    part = x.array[key]
    if part.shape == x.array.shape:
        return x.alias(x.array, padding=x.padding)
    return Tensor.make(np.ascontiguousarray(part), x.dtype, x.layout, x.device(), memory=memory_config)


@op("concat")
def concat(tensors: Sequence[Tensor], dim: int = 0, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """Tensors of one dtype side by side; a single one is itself."""
    parts = [on_device(tensor, "tensors", "ttnn.concat") for tensor in tensors]
    check(len(parts) > 0, "ttnn.concat: needs at least one tensor")
    if len(parts) == 1:
        return parts[0].alias(parts[0].array, padding=parts[0].padding)
    check(len({part.dtype for part in parts}) == 1, "ttnn.concat: All Tensors should have same dtypes")
    rest = (
        {part.array.shape[:dim] + part.array.shape[dim:][1:] for part in parts}
        if dim >= 0
        else {part.array.ndim for part in parts}
    )
    check(len(rest) == 1, "ttnn.concat: all dims but the joined one must agree")
    return result(np.concatenate([part.array for part in parts], dim), parts[0], memory=memory_config)


@op("fill_implicit_tile_padding")
def fill_implicit_tile_padding(
    input_tensor: Tensor, fill_value: float, *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """The same elements, with ``fill_value`` in the padding of tiles."""
    x = tile(input_tensor, "input_tensor", "ttnn.fill_implicit_tile_padding")
    return Tensor.make(
        x.array.copy(), x.dtype, x.layout, x.device(), padding=float(fill_value), memory=memory_config
    )


@op("clone")
def clone(
    input_tensor: Tensor, *, dtype: DataType | None = None, memory_config: MemoryConfig | None = None
) -> Tensor:
    """A copy."""
    x = on_device(input_tensor, "input_tensor", "ttnn.clone")
    return result(x.array.copy(), x, dtype, padding=x.padding, memory=memory_config)

"""Ops that put the same elements in another shape or order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import aliased, moved, through_rows
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor


def is_view(old: Sequence[int], new: Sequence[int], layout: Layout) -> bool:
    """Whether a reshape keeps the rows of tiles (or the rows), so that it is a view of the same storage."""
    if tuple(old) == tuple(new):
        return True
    before, after = [1, 1, *old], [1, 1, *new]
    aligned = before[-2] == after[-2] or (before[-2] % TILE_SIZE == 0 and after[-2] % TILE_SIZE == 0)
    return before[-1] == after[-1] and (layout is Layout.ROW_MAJOR or aligned)


def _sizes(volume: int, shape: Sequence[int], name: str) -> list[int]:
    sizes = [int(size) for size in shape]
    check(
        sizes.count(-1) <= 1,
        f"{name}: Shape cannot have more than 1 elements that is set to -1! Shape used: {sizes}",
    )
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        check(rest > 0 and volume % rest == 0, f"{name}: {volume} elements do not fit {sizes}")
        sizes[sizes.index(-1)] = volume // rest
    check(
        math.prod(sizes) == volume,
        f"{name}: Invalid arguments to reshape: {volume} elements do not make {sizes}",
    )
    return sizes


@op("reshape", ignored=("reshape_tile_mode", "skip_padding_fill"), input_tensor=Operand(host=True))
def reshape(
    input_tensor: Tensor,
    shape: Sequence[int],
    *,
    memory_config: MemoryConfig | None = None,
    pad_value: float | None = None,
) -> Tensor:
    """The same elements in another shape; one size may be -1.

    A view of the same storage where rows of tiles are kept: the last dim stays, and the second-to-last stays or both
    fill tiles. A copy otherwise.
    """
    sizes = _sizes(input_tensor.logical_volume(), shape, "ttnn.reshape")
    if is_view(input_tensor.shape, sizes, input_tensor.layout):
        return aliased(input_tensor, memory_config, sizes)
    if input_tensor.device() is None:
        return moved(np.array(input_tensor.array, order="C").reshape(sizes), input_tensor)
    _reshapable(input_tensor, "ttnn.reshape")
    array = np.array(input_tensor.array, order="C").reshape(sizes)
    padding = FINITE if pad_value is None else float(pad_value)
    return moved(array, input_tensor, padding=padding, memory=memory_config)


def _reshapable(x: Tensor, op_name: str) -> None:
    """Refuse what ttnn's kernel that copies into another shape does not take."""
    check(
        x.dtype not in (DataType.UINT8, DataType.UINT16),
        f"{op_name}: Can only work with bfloat16/float32 or int32/uint32 tensors, not {x.dtype!r}",
        "Convert it: ttnn.typecast",
    )


@op("view", input_tensor=Operand())
def view(input_tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A reshape that is a view, refused where it cannot be one."""
    sizes = _sizes(input_tensor.logical_volume(), shape, "ttnn.view")
    check(
        is_view(input_tensor.shape, sizes, input_tensor.layout),
        f"ttnn.view: {list(input_tensor.shape)} to {sizes}: The last dimension can not change in view, and tiles must "
        "keep their rows",
        "Use ttnn.reshape, which copies",
    )
    return input_tensor.alias(sizes)


@op("unsqueeze", input_tensor=Operand(host=True))
def unsqueeze(input_tensor: Tensor, dim: int) -> Tensor:
    """A dim of 1 at ``dim``."""
    shape = list(input_tensor.shape)
    rank = len(shape)
    check(
        -rank - 1 <= dim <= rank,
        f"ttnn.unsqueeze: Dimension out of range (expected to be in range of [{-rank - 1},{rank}], but got {dim})",
    )
    shape.insert(dim if dim >= 0 else dim + rank + 1, 1)
    return reshape(input_tensor, shape)


@op("squeeze", input_tensor=Operand(host=True))
def squeeze(input_tensor: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dims ``dim`` that are 1, or without all that are."""
    shape = list(input_tensor.shape)
    rank = len(shape)
    named = range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    check(
        all(-rank <= place < rank for place in named), f"ttnn.squeeze: {dim} is out of range for {rank} dims"
    )
    places = [place % rank for place in named]
    check(
        len(set(places)) == len(places), f"ttnn.squeeze: dims appear multiple times in the list of dims {dim}"
    )
    gone = {place for place in places if shape[place] == 1}
    return reshape(input_tensor, [size for place, size in enumerate(shape) if place not in gone])


@op("unsqueeze_to_4D", input_tensor=Operand(host=True))
def unsqueeze_to_4d(input_tensor: Tensor) -> Tensor:
    """With as many dims of 1 in front as make four."""
    rank = len(input_tensor.shape)
    check(rank <= 4, f"ttnn.unsqueeze_to_4D: the tensor has {rank} dims")
    return reshape(input_tensor, [1] * (4 - rank) + list(input_tensor.shape))


def _keeps_order(shape: Sequence[int], order: Sequence[int], layout: Layout) -> bool:
    """Whether an order of dims exchanges dims of 1 alone, and so moves nothing; tiles hold the last two in place."""
    rank = len(shape)
    if [shape[place] for place in order] != list(shape):
        return False
    if layout is Layout.TILE and list(order[-2:]) != list(range(rank))[-2:]:
        return False
    real = [place for place in order if shape[place] != 1]
    return real == sorted(real)


@op("permute", input_tensor=Operand())
def permute(
    input_tensor: Tensor,
    dims: Sequence[int],
    pad_value: float = 0.0,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """The dims in another order; the identity is a view."""
    rank = len(input_tensor.shape)
    check(
        len(dims) == rank,
        "ttnn.permute: The number of dimensions in the tensor input does not match the length of the desired ordering",
    )
    order = [int(dim) % rank if -rank <= dim < rank else -1 for dim in dims]
    # ttnn takes an order that names a dim twice, and repeats it.
    check(sorted(order) == list(range(rank)), f"ttnn.permute: {list(dims)} is no order of {rank} dims")
    if _keeps_order(input_tensor.shape, order, input_tensor.layout):
        return aliased(input_tensor, memory_config, [input_tensor.shape[place] for place in order])
    array = np.ascontiguousarray(input_tensor.array.transpose(order))
    rows_change = order[-2:] != [rank - 2, rank - 1]
    padding = float(pad_value) if rows_change else input_tensor.padding
    # A transposed tile carries its padding along; only what moves rows into tiles is padded anew.
    if rows_change and set(order[-2:]) == {rank - 2, rank - 1}:
        padding = WILD if input_tensor.wild else FINITE
    return moved(array, input_tensor, padding=padding, memory=memory_config)


@op("transpose", input_tensor=Operand())
def transpose(
    input_tensor: Tensor,
    dim1: int,
    dim2: int,
    pad_value: float = 0.0,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """Two dims exchanged; a dim with itself is a view."""
    rank = len(input_tensor.shape)
    check(
        rank >= 2 or input_tensor.layout is Layout.ROW_MAJOR,
        f"ttnn.transpose: a tensor of {rank} dims in tiles has no two to exchange",
    )
    for dim in (dim1, dim2):
        check(
            -rank <= dim < rank,
            f"ttnn.transpose: Index is out of bounds for the rank, should be between 0 and {rank - 1} however is {dim}",
        )
    order = list(range(rank))
    order[dim1], order[dim2] = order[dim2], order[dim1]
    return permute(input_tensor, order, memory_config=memory_config, pad_value=pad_value)


def _repeatable(x: Tensor, times: Sequence[int], op_name: str) -> None:
    """Refuse what would be repeated inside tiles and cannot be rows."""
    rank = len(x.shape)
    for place in (-1, -2):
        ragged = rank < 2 or x.shape[place] % TILE_SIZE != 0
        if len(times) >= -place and times[place] > 1 and ragged:
            through_rows(x, op_name)


@op("repeat", input_tensor=Operand())
def repeat(
    input_tensor: Tensor, repeat_dims: Sequence[int], *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """The tensor next to itself, so often along each dim; by ones it is a view."""
    times = [int(count) for count in repeat_dims]
    rank = len(input_tensor.shape)
    check(rank > 0, "ttnn.repeat: repeat does not support rank 0 tensors")
    check(all(count > 0 for count in times), f"ttnn.repeat: {times} must be positive")
    if all(count == 1 for count in times):
        return aliased(input_tensor, memory_config, [1] * (len(times) - rank) + list(input_tensor.shape))
    _repeatable(input_tensor, times, "ttnn.repeat")
    padding = WILD if input_tensor.wild else FINITE
    return moved(np.tile(input_tensor.array, times), input_tensor, padding=padding, memory=memory_config)


@op("repeat_interleave", input_tensor=Operand())
def repeat_interleave(
    input_tensor: Tensor, repeats: int, dim: int, *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """Each slice along ``dim`` next to itself, ``repeats`` times."""
    rank = len(input_tensor.shape)
    check(-rank <= dim < rank, f"ttnn.repeat_interleave: dim {dim} is out of range for {rank} dims")
    check(repeats > 0, f"ttnn.repeat_interleave: {repeats} times is not positive")
    if rank == 1:
        _reshapable(input_tensor, "ttnn.repeat_interleave")
    elif repeats == 1:
        return aliased(input_tensor, memory_config)
    padding = WILD if input_tensor.wild else FINITE
    array = np.repeat(input_tensor.array, repeats, axis=dim)
    return moved(array, input_tensor, padding=padding, memory=memory_config)


@op("expand", input_tensor=Operand())
def expand(
    input_tensor: Tensor, output_shape: Sequence[int], *, memory_config: MemoryConfig | None = None
) -> Tensor:
    """Dims of 1 repeated to ``output_shape``, where -1 keeps a size."""
    if not all(isinstance(size, int) for size in output_shape):
        raise TypeError(
            f"ttnn.expand(): incompatible function arguments: a shape is a list of sizes, not {list(output_shape)!r}"
        )
    old = [1] * (len(output_shape) - len(input_tensor.shape)) + list(input_tensor.shape)
    check(
        len(old) == len(output_shape),
        f"ttnn.expand: {list(output_shape)} has fewer dims than {input_tensor.shape}",
    )
    new = [was if size == -1 else int(size) for was, size in zip(old, output_shape, strict=True)]
    check(
        all(size >= 0 for size in new)
        and -1 not in output_shape[: len(output_shape) - len(input_tensor.shape)],
        f"ttnn.expand: Expand dimension size must be non-negative, or -1 where the tensor has the dimension: "
        f"{list(output_shape)}",
    )
    check(len(new) > 0, "ttnn.expand: repeat does not support rank 0 tensors")
    if new == old:
        return aliased(input_tensor, memory_config, new)
    check(
        all(was in (1, size) for was, size in zip(old, new, strict=True)),
        f"ttnn.expand: Only size 1 dimensions can be expanded in the output shape: {old} to {new}",
    )
    _repeatable(
        input_tensor, [2 if size != was else 1 for was, size in zip(old, new, strict=True)], "ttnn.expand"
    )
    padding = WILD if input_tensor.wild else FINITE
    array = np.array(np.broadcast_to(input_tensor.array.reshape(old), new))
    return moved(array, input_tensor, padding=padding, memory=memory_config)

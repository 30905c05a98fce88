"""Ops that take parts of a tensor, and put parts together: slice, indexing, concat, split, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import aliased, moved, through_rows
from ttmlc_runtime.emulator.ops.shape import squeeze
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD, Padding
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.shapes import tiled
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.slice"


def _carried(*tensors: Tensor) -> Padding:
    """The padding of a copy of parts: elements next to them, or padding they had."""
    return WILD if any(tensor.wild for tensor in tensors) else FINITE


@op("slice", ignored=("slice_dim", "num_devices"), input_tensor=Operand())
def slice_(
    input_tensor: Tensor,
    slice_start: Sequence[int],
    slice_end: Sequence[int],
    slice_step: Sequence[int] | None = None,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
    pad_value: float | None = None,
) -> Tensor:
    """x[start : end : step] in each dim, counting from the end where negative; the whole is a view.

    ttnn lets an end run into the padding of tiles; here that is refused.
    """
    shape = input_tensor.shape
    rank = len(shape)
    steps = [1] * rank if slice_step is None else [int(step) for step in slice_step]
    for entries, name in ((slice_start, "begins"), (slice_end, "ends"), (steps, "steps")):
        check(
            len(entries) == rank,
            f"{NAME}: Input rank {rank} and {name} {len(entries)} must have the same size",
        )
    key: list[Any] = []
    for dim, (start, end, step) in enumerate(zip(slice_start, slice_end, steps, strict=True)):
        first, last = (int(place) + shape[dim] if place < 0 else int(place) for place in (start, end))
        check(
            first >= 0 and last <= shape[dim],
            f"{NAME}: Ends {end} must be less than or equal to the shape of the tensor {shape[dim]} (dim {dim})",
        )
        check(last >= first, f"{NAME}: End {end} must be greater than or equal to start {start} (dim {dim})")
        check(step > 0, f"{NAME}: a step of {step} is not positive (dim {dim})")
        key.append(slice(first, last, step))
    part = input_tensor.array[tuple(key)]
    counted_back = any(
        place < 0 for place in (*slice_start, *slice_end)
    )  # ttnn does not see that it is the whole
    stepped = any(entry.step != 1 for entry in key)
    if rank == 0 or (part.shape == tuple(shape) and output_tensor is None and not (counted_back or stepped)):
        return aliased(input_tensor, memory_config)
    label = input_tensor.dtype
    if stepped:
        ragged = input_tensor.layout is Layout.TILE and any(size % TILE_SIZE for size in part.shape[-2:])
        check(
            not label.is_block and not (label is DataType.UINT8 and ragged),
            f"{NAME}: Strided slice is not supported for {label!r}",
            "Convert it: ttnn.typecast(tensor, ttnn.bfloat16)",
        )
    elif rank == 1 or any(entry.start % TILE_SIZE for entry in key[-2:]):
        label = through_rows(input_tensor, NAME)
    padding = _carried(input_tensor) if pad_value is None else float(pad_value)
    if output_tensor is not None:
        check(tuple(output_tensor.shape) == part.shape, f"{NAME}: the output tensor is {output_tensor.shape}")
        output_tensor.write(np.array(part), padding)
        return output_tensor
    return moved(np.array(part), input_tensor, padding=padding, memory=memory_config, dtype=label)


def getitem(tensor: Tensor, key: Any) -> Tensor:
    """tensor[key] with integers, slices and one ellipsis; on the host too.

    Raises:
        IndexError: an integer is out of range, or there are too many.
        TypeError: an index of another kind.
        ValueError: two ellipses.
    """
    if tensor.parts:
        return Tensor.of_parts([getitem(part, key) for part in tensor.parts])
    entries = list(key) if isinstance(key, (tuple, list)) else [key]
    shape = tensor.shape
    if sum(entry is Ellipsis for entry in entries) > 1:
        raise ValueError("Only one ellipsis ('...') is allowed in a slice.")
    if any(entry is Ellipsis for entry in entries):
        at = next(place for place, entry in enumerate(entries) if entry is Ellipsis)
        entries[at : at + 1] = [slice(None)] * (len(shape) - len(entries) + 1)
    entries += [slice(None)] * (len(shape) - len(entries))
    if len(entries) > len(shape):
        raise IndexError(f"Too many indices for tensor of dimension {len(shape)}")
    starts, ends, steps, gone = [], [], [], []
    for dim, entry in enumerate(entries):
        if isinstance(entry, slice):
            starts.append(0 if entry.start is None else int(entry.start))
            ends.append(shape[dim] if entry.stop is None else int(entry.stop))
            steps.append(1 if entry.step is None else int(entry.step))
        elif isinstance(entry, int):
            place = entry + shape[dim] if entry < 0 else entry
            if not 0 <= place < shape[dim]:
                raise IndexError(f"Index {entry} is out of bounds for dimension {dim} of size {shape[dim]}")
            starts.append(place)
            ends.append(place + 1)
            steps.append(1)
            gone.append(dim)
        else:
            raise TypeError(f"Invalid slice type: {entry!r}")
    if tensor.device() is None:
        check(
            not tensor.dtype.is_block,
            "ttnn: Tensor layout must be ROW_MAJOR for unpadding",
            "Index it on the device, or convert it: ttnn.to_dtype(tensor, ttnn.float32)",
        )
        picked = tensor.array[tuple(slice(*bounds) for bounds in zip(starts, ends, steps, strict=True))]
        part = np.array(picked).reshape([size for dim, size in enumerate(picked.shape) if dim not in gone])
        return moved(part, tensor, padding=_carried(tensor))
    part_of: Tensor = slice_(tensor, starts, ends, steps)
    return squeeze(part_of, gone) if gone else part_of


@op("concat", ignored=("groups",), tensors=Operand())
def concat(
    tensors: Sequence[Tensor],
    dim: int = 0,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """Tensors of one dtype side by side; a single one is itself."""
    check(len(tensors) > 0, "ttnn.concat: expected a non-empty list of Tensors!")
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError("ttnn.concat(): incompatible function arguments: a list of ttnn.Tensor is needed")
    first, rank = tensors[0], len(tensors[0].shape)
    check(
        -rank <= dim < rank,
        f"ttnn.concat: Index is out of bounds for the rank, should be between 0 and {rank - 1} however is {dim}",
    )
    if len(tensors) == 1:
        check(output_tensor is None, "ttnn.concat: optional output tensor currently unsupported!")
        return aliased(first, memory_config)
    check(
        all(tensor.dtype is first.dtype for tensor in tensors),
        "ttnn.concat: All Tensors should have same dtypes",
        "Convert with ttnn.typecast first",
    )
    place = dim % rank
    rest = {tuple(size for at, size in enumerate(tensor.shape) if at != place) for tensor in tensors}
    check(
        len(rest) == 1 and all(len(tensor.shape) == rank for tensor in tensors),
        "ttnn.concat: All dimensions must be the same size except for the dimension along which the contenation is "
        f"taking place: {[list(tensor.shape) for tensor in tensors]}",
    )
    label = first.dtype
    if place >= rank - 2 and any(tensor.shape[place] % TILE_SIZE for tensor in tensors):
        check(
            len({tensor.layout for tensor in tensors}) == 1,
            "ttnn.concat: expected all input tensors to be in tile layout",
            "Convert them: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
        )
        label = through_rows(first, "ttnn.concat")
    array = np.concatenate([tensor.array for tensor in tensors], place)
    if output_tensor is not None:
        check(
            tuple(output_tensor.shape) == array.shape,
            f"ttnn.concat: the output tensor is {output_tensor.shape}",
        )
        output_tensor.write(array, _carried(*tensors))
        return output_tensor
    joined = moved(array, first, padding=_carried(*tensors), memory=memory_config, dtype=label)
    ragged = any(size % TILE_SIZE for size in first.shape[-2:])
    if any(tensor.layout is Layout.ROW_MAJOR for tensor in tensors) and ragged:
        joined._layout = Layout.ROW_MAJOR
    return joined


def _pieces(x: Tensor, sizes: Sequence[int], dim: int, memory: MemoryConfig | None) -> list[Tensor]:
    found, start = [], 0
    for size in sizes:
        begin, end = [0] * len(x.shape), list(x.shape)
        begin[dim], end[dim] = start, start + size
        found.append(slice_(x, begin, end, memory_config=memory))
        start += size
    return found


@op("split", input_tensor=Operand())
def split(
    input_tensor: Tensor,
    split_size: int | Sequence[int],
    dim: int = 0,
    *,
    memory_config: MemoryConfig | None = None,
) -> list[Tensor]:
    """Pieces of ``split_size`` along ``dim``, the last as long as is left; or pieces of the sizes given."""
    rank = len(input_tensor.shape)
    check(-rank <= dim < rank, f"ttnn.split: dim {dim} is out of range for {rank} dims")
    whole = input_tensor.shape[dim]
    if isinstance(split_size, (list, tuple)):
        sizes = [int(size) for size in split_size]
        check(all(size > 0 for size in sizes), f"ttnn.split: split_size should be greater than 0: {sizes}")
        check(
            sum(sizes) == whole,
            f"ttnn.split: split_sizes must sum exactly to the size of dimension {dim} ({whole}): {sizes}",
        )
    else:
        each = int(split_size)  # type: ignore[arg-type]  # the table admits nothing but integers and sequences
        check(each > 0, f"ttnn.split: a size of {each} is not positive")
        sizes = [min(each, whole - start) for start in range(0, whole, each)]
    return _pieces(input_tensor, sizes, dim % rank, memory_config)


@op("chunk", input_tensor=Operand())
def chunk(input_tensor: Tensor, chunks: int, dim: int) -> list[Tensor]:
    """``chunks`` pieces along ``dim``, as torch cuts them."""
    check(chunks > 0, f"ttnn.chunk: {chunks} chunks are not positive")
    rank = len(input_tensor.shape)
    check(-rank <= dim < rank, f"ttnn.chunk: Invalid dimension for chunk operation: {dim} of {rank}")
    return split(input_tensor, -(-input_tensor.shape[dim] // chunks), dim)


@op("pad", ignored=("use_multicore",), input_tensor=Operand())
def pad(
    input_tensor: Tensor,
    padding: Sequence[Sequence[int]],
    value: float,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """``value`` before and after each dim, as ``[(before, after), ...]`` for the last dims; nothing is a view."""
    rank = len(input_tensor.shape)
    amounts = [tuple(pair) for pair in padding]
    if not all(len(pair) == 2 and min(pair) >= 0 for pair in amounts):
        raise TypeError(
            f"ttnn.pad(): incompatible function arguments: padding {padding!r} is no list of (before, after)"
        )
    check(0 < rank >= len(amounts), "ttnn.pad: padding len can't be larger than input tensor rank")
    amounts = [(0, 0)] * (rank - len(amounts)) + amounts
    check(
        input_tensor.layout is Layout.ROW_MAJOR or all(before == 0 for before, _ in amounts),
        "ttnn.pad: on device tile padding does not support front padding",
        "Pad in rows: ttnn.to_layout(tensor, ttnn.ROW_MAJOR_LAYOUT)",
    )
    if not any(map(any, amounts)):
        return input_tensor.alias()
    check(
        input_tensor.dtype is not DataType.UINT8,
        "ttnn.pad: Unsupported datatype DataType.UINT8",
        "Convert it: ttnn.typecast",
    )
    if input_tensor.layout is Layout.TILE:
        grown = tiled([size + after for size, (_, after) in zip(input_tensor.shape, amounts, strict=True)])
        check(rank > 1, "ttnn.pad: a vector in tiles cannot be padded", "Give it two dims: ttnn.unsqueeze")
        check(
            input_tensor.dtype is not DataType.BFLOAT4_B or grown == tuple(input_tensor.padded_shape),
            "ttnn.pad: Cannot pad tilized tensor with specified format DataType.BFLOAT4_B",
            "Convert it: ttnn.typecast(tensor, ttnn.bfloat16)",
        )
    array = np.pad(input_tensor.array, amounts, constant_values=value)
    return moved(array, input_tensor, padding=_carried(input_tensor), memory=memory_config)


@op("fill_implicit_tile_padding", input_tensor=Operand())
def fill_implicit_tile_padding(
    input_tensor: Tensor,
    fill_value: float,
    *,
    memory_config: MemoryConfig | None = None,  # ttnn leaves the tensor where it is
) -> Tensor:
    """The same tensor, with ``fill_value`` in the padding of its tiles: written in place, for every alias."""
    filled: Tensor = input_tensor.alias()
    ragged = tiled(input_tensor.shape)[-2:] != tuple(input_tensor.shape[-2:])
    if not ragged:
        return filled
    check(
        input_tensor.layout is Layout.TILE,
        "ttnn.fill_implicit_tile_padding: input_tensor must be tilized",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    check(
        input_tensor.dtype is not DataType.UINT8,
        "ttnn.fill_implicit_tile_padding: Unsupported datatype DataType.UINT8",
        "Convert it: ttnn.typecast",
    )
    if input_tensor.dtype.is_block:  # by way of bfloat16
        filled = moved(np.array(input_tensor.array), input_tensor)
    filled.padding = float(fill_value)
    return filled

"""Elementwise ops of three tensors, which broadcast: where, mac, lerp, addcmul, addcdiv."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import CAST, COUNTED, FLOATS, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.binary import broadcast, joint_padding
from ttmlc_runtime.emulator.ops.result import result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor


def _ternary(
    op_name: str,
    compute: Callable[..., Any],
    operands: Sequence[Any],
    like: Tensor,
    label: DataType | None,
    memory: MemoryConfig | None,
    output: Tensor | None,
    *,
    total: bool = True,
) -> Tensor:
    """``compute`` of tensors and numbers; ``total`` is whether it makes numbers of all numbers."""
    kind = like.numerics.holds(label or like.dtype)
    room = None if output is None else output.own_array()
    values = [value.array if isinstance(value, Tensor) else kind.type(value) for value in operands]
    shapes = [value.shape for value in operands if isinstance(value, Tensor)]
    shape = broadcast(op_name, *shapes)
    if len({np.shape(value) for value in values} - {()}) == 1 and math.prod(shape) >= kernels.BLOCK:
        whole = room is not None and room.shape == shape and room.dtype == kind
        y = room if room is not None and whole else np.empty(shape, kind)
        flat = [np.ascontiguousarray(value).reshape(-1) if np.ndim(value) else value for value in values]
        kernels.in_blocks(compute, flat, y.reshape(-1))
    else:
        with np.errstate(all="ignore"):
            y = np.array(np.broadcast_to(np.asarray(compute(*values), kind), shape))
    known = [
        (value.shape, value.padding) if isinstance(value, Tensor) else (None, float(value))
        for value in operands
    ]
    padding = joint_padding(compute, known, total=total)
    label = None if output is not None else label
    return result(y, like, label, padding=padding, memory=memory, output=output, op=op_name)


CHOICE = Operand(COUNTED)
FACTOR = Operand(FLOATS, Layout.TILE)
PRODUCT = Operand(CAST, Layout.TILE)


@op("where", predicate=CHOICE, true_value=CHOICE, false_value=CHOICE)
def where(
    predicate: Tensor,
    true_value: Tensor | float,
    false_value: Tensor | float,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """true_value where predicate is not 0, else false_value."""
    choices = [value for value in (true_value, false_value) if isinstance(value, Tensor)]
    check(
        len(choices) < 2 or all(tensor.layout is Layout.TILE for tensor in (predicate, *choices)),
        "ttnn.where: three tensors must be tilized",
        "Convert them: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    integers = not predicate.dtype.is_float
    for choice in choices:
        mixed = integers or (choice.dtype.is_float and (len(choices) == 2 or choice.dtype is predicate.dtype))
        check(
            mixed,
            f"ttnn.where: a predicate {predicate.dtype!r} and a value {choice.dtype!r} do not go together",
            "Convert one: ttnn.typecast",
        )
    label = choices[0].dtype if choices else DataType.FLOAT32 if integers else predicate.dtype
    like = choices[0] if choices else predicate
    # Two choices: where the predicate is; one: where that is. So it is in ttnn.
    memory_config = memory_config or (choices[0] if len(choices) == 1 else predicate).memory_config()
    return _ternary(
        "ttnn.where", lambda p, a, b: np.where(p != 0, a, b), (predicate, true_value, false_value), like, label,
        memory_config, output_tensor,
    )  # fmt: skip


@op("mac", input_tensor_a=FACTOR, input_tensor_b=FACTOR, input_tensor_c=FACTOR)
def mac(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor | float,
    input_tensor_c: Tensor | float,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """A * b + c, rounded once."""
    if output_tensor is not None and not (
        isinstance(input_tensor_b, Tensor) and isinstance(input_tensor_c, Tensor)
    ):
        raise TypeError("ttnn.mac(): incompatible function arguments: output_tensor= needs three tensors")
    tensors = [one for one in (input_tensor_a, input_tensor_b, input_tensor_c) if isinstance(one, Tensor)]
    check(
        output_tensor is None
        or not any(one.dtype.is_block for one in tensors)
        or len({tuple(one.shape) for one in tensors}) == 1,
        "ttnn.mac: an output tensor does not go with block formats that broadcast",
        "Leave output_tensor out",
    )
    return _ternary(
        "ttnn.mac", lambda a, b, c: a * b + c, (input_tensor_a, input_tensor_b, input_tensor_c), input_tensor_a,
        None, memory_config, output_tensor,
    )  # fmt: skip


@op("lerp", input=FACTOR, end=FACTOR, weight=FACTOR)
def lerp(
    input: Tensor,  # noqa: A002  # ttnn's own name
    end: Tensor,
    weight: Tensor | float,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """Input + weight * (end - input), rounded once."""
    _tilized("ttnn.lerp", output_tensor)
    tensors = [one for one in (input, end, weight) if isinstance(one, Tensor)]
    inner = {((1, 1, *one.shape))[-2:] for one in tensors}
    if len(tensors) == 2:
        inner.discard((1, 1))  # one number for all is no row and no column
    check(
        len(inner) < 2
        or len({one.dtype for one in tensors}) == 1
        or not any(one.dtype.is_block for one in tensors),
        "ttnn.lerp: Expected the same dtype as start (input) for block formats that broadcast inside tiles",
        "Convert them: ttnn.typecast",
    )
    return _ternary(
        "ttnn.lerp", lambda a, b, w: a + w * (b - a), (input, end, weight), input, None, memory_config, output_tensor
    )  # fmt: skip


def _tilized(op_name: str, output: Tensor | None) -> None:
    check(
        output is None or output.layout is Layout.TILE,
        f"{op_name}: Ternary operation requires output tensor to be in Tile layout",
    )


@op("addcmul", input_a=PRODUCT, input_b=PRODUCT, input_c=PRODUCT)
def addcmul(
    input_a: Tensor,
    input_b: Tensor,
    input_c: Tensor,
    *,
    value: float = 1.0,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """A + value * b * c, rounded once; the three are of one dtype."""
    name = "ttnn.addcmul"
    _tilized(name, output_tensor)
    for tensor in (input_b, input_c):
        check(
            tensor.dtype is input_a.dtype,
            f"{name}: Addcmul TTT requires all input tensors to have the same dtype: {input_a.dtype!r} and "
            f"{tensor.dtype!r}",
            "Convert one: ttnn.typecast",
        )
    factor = input_a.numerics.compute.type(value)
    return _ternary(
        name, lambda a, b, c: a + factor * b * c, (input_a, input_b, input_c), input_a, None, memory_config,
        output_tensor,
    )  # fmt: skip


@op("addcdiv", input_a=FACTOR, input_b=FACTOR, input_c=FACTOR)
def addcdiv(
    input_a: Tensor,
    input_b: Tensor,
    input_c: Tensor,
    *,
    value: float = 1.0,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """A + value * b / c, rounded once."""
    name = "ttnn.addcdiv"
    _tilized(name, output_tensor)
    factor = input_a.numerics.compute.type(value)
    dtypes = [tensor.dtype for tensor in (input_a, input_b, input_c)]
    label = None
    if any(dtype.is_block for dtype in dtypes):
        # ttnn makes it of several ops then, and the result is as theirs.
        label = DataType.FLOAT32 if DataType.FLOAT32 in dtypes[:2] else dtypes[1]
        like = input_a if input_a.dtype is DataType.FLOAT32 else input_c
        memory_config = memory_config or like.memory_config()
    return _ternary(
        name, lambda a, b, c: a + factor * (b / c), (input_a, input_b, input_c), input_a, label, memory_config,
        output_tensor, total=False,
    )  # fmt: skip

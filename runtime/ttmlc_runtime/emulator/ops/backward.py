"""Gradients of elementwise functions, of softmax and of embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import gradients
from ttmlc_runtime.emulator.dtypes import FLOATS, TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.norm import tame
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op, unsigned, written_as
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig, GeluVariant
from ttmlc_runtime.emulator.tensor import Tensor

REAL = Operand(FLOATS)
SHARE = Operand(frozenset({DataType.BFLOAT16, DataType.BFLOAT8_B}), Layout.TILE)


def _scaled(
    name: str, function: str, grad: Tensor, x: Tensor, memory: MemoryConfig | None, output: Tensor | None
) -> list[Tensor]:
    """[grad f'(x)], with the label and the layout of x."""
    check(
        grad.shape == x.shape,
        f"{name}: requires grad_output and input to have the same logical shape: {grad.shape} and {x.shape}",
        "It does not broadcast",
    )
    check(
        grad.layout is x.layout,
        f"{name}: requires grad_output and input to have the same layout",
        "Convert one: ttnn.to_layout",
    )
    if output is not None:
        same = output.shape == x.shape and output.padded_shape == x.padded_shape
        check(same, f"{name}: requires a preallocated output tensor to have the same shape as the input")
        check(
            output.dtype is x.dtype,
            f"{name}: requires the input and output data types to match: {x.dtype!r} and {output.dtype!r}",
        )
    y = gradients.scale_by_slope(grad.array, x.array, function)
    padding = WILD if grad.wild or x.wild else FINITE
    return [result(y, x, padding=padding, memory=memory, output=output, op=name)]


@op("gelu_bw", grad_tensor=REAL, input_tensor=REAL, input_grad=REAL)
def gelu_bw(
    grad_tensor: Tensor,
    input_tensor: Tensor,
    *,
    variant: GeluVariant = GeluVariant.Accurate,
    memory_config: MemoryConfig | None = None,
    input_grad: Tensor | None = None,
) -> list[Tensor]:
    """[grad gelu'(x)], of the erf form or with ``variant=GeluVariant.Tanh`` of the tanh form."""
    check(
        variant is not GeluVariant.FastLut,
        "ttnn.gelu_bw: GELU_BW does not support the FastLut variant",
        "Say GeluVariant.Accurate or GeluVariant.Tanh",
    )
    function = "gelu" if variant is GeluVariant.Accurate else "gelu_tanh"
    return _scaled("ttnn.gelu_bw", function, grad_tensor, input_tensor, memory_config, input_grad)


@op("tanh_bw", grad_tensor=REAL, input_tensor=REAL, input_grad=REAL)
def tanh_bw(
    grad_tensor: Tensor,
    input_tensor: Tensor,
    *,
    memory_config: MemoryConfig | None = None,
    input_grad: Tensor | None = None,
) -> list[Tensor]:
    """[grad (1 - tanh(x)^2)]: of what went into tanh, not of what came out."""
    return _scaled("ttnn.tanh_bw", "tanh", grad_tensor, input_tensor, memory_config, input_grad)


@op("sigmoid_bw", grad_tensor=REAL, input_tensor=REAL)
def sigmoid_bw(
    grad_tensor: Tensor, input_tensor: Tensor, *, memory_config: MemoryConfig | None = None
) -> list[Tensor]:
    """[grad sigmoid(x) (1 - sigmoid(x))]: of what went into sigmoid."""
    return _scaled("ttnn.sigmoid_bw", "sigmoid", grad_tensor, input_tensor, memory_config, None)


@op("moreh_softmax_backward", ignored=("op", "strategy"), output_tensor=SHARE, output_grad_tensor=SHARE)
def moreh_softmax_backward(
    output_tensor: Tensor,
    output_grad_tensor: Tensor,
    dim: int,
    *,
    input_grad_tensor: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """Y (dy - sum(y dy)) over ``dim``, which counts from the front; y is what softmax gave."""
    name = "ttnn.moreh_softmax_backward"
    unsigned(name, "dim", dim)
    rank = len(output_tensor.shape)
    check(dim < rank, f"{name}: dim {dim} should be less than output tensor rank {rank}")
    # ttnn compares neither shape, and reads whatever tiles are at the place.
    check(
        output_grad_tensor.shape == output_tensor.shape,
        f"{name}: output_grad_tensor must have the shape of output_tensor: {output_grad_tensor.shape} and "
        f"{output_tensor.shape}",
    )
    written_as(name, SHARE, output_tensor.shape, input_grad_tensor=input_grad_tensor)
    modelled(compute_kernel_config, output_tensor, name)
    if dim >= rank - 2:
        for tensor, which in ((output_tensor, "output_tensor"), (output_grad_tensor, "output_grad_tensor")):
            tame(tensor, which, name)
    y, dy = output_tensor.array, output_grad_tensor.array
    if dim == rank - 1:
        dx = gradients.softmax_backward(y, dy)
    else:
        dx = np.moveaxis(
            gradients.softmax_backward(np.moveaxis(y, dim, -1), np.moveaxis(dy, dim, -1)), -1, dim
        )
    padding = WILD if output_tensor.wild or output_grad_tensor.wild else FINITE
    return result(
        np.ascontiguousarray(dx), output_tensor, padding=padding, memory=memory_config, output=input_grad_tensor,
        op=name,
    )  # fmt: skip


@op(
    "embedding_bw",
    input_tensor=Operand(frozenset({DataType.UINT32, DataType.BFLOAT16}), Layout.ROW_MAJOR),
    output_gradient_tensor=SHARE,
    output_tensor=SHARE,
)
def embedding_bw(
    input_tensor: Tensor,
    weight_tensor: Tensor,
    output_gradient_tensor: Tensor,
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """[1, 1, rows, features]: each row of the gradient [1, 1, B S, features] added to the row that its id names.

    ``weight_tensor`` says how many rows there are, and may be anywhere. ids [B, S] in rows, S filling tiles.
    """
    name = "ttnn.embedding_bw"
    ids, grad = input_tensor.array, output_gradient_tensor.array
    check(ids.ndim >= 2, f"{name}: ids must be [batch, tokens], not {list(ids.shape)}")
    check(
        ids.shape[-1] % TILE_SIZE == 0,
        f"{name}: Number of columns in the index tensor must be divisible by tile width: {list(ids.shape)}",
        "Pad the ids, and the gradient with zeros",
    )
    check(
        grad.ndim >= 4 and grad.shape[:2] == (1, 1),
        f"{name}: First two dimensions for the gradient tensor must be 1: {list(grad.shape)}",
        "Reshape it to [1, 1, batch * tokens, features]",
    )
    check(
        grad.ndim == 4 and grad.shape[2] == ids.shape[0] * ids.shape[-1],
        f"{name}: Number of rows in gradient tensor must be equal to number of indices in index tensor: "
        f"{list(grad.shape)} and {list(ids.shape)}",
    )
    check(
        math.prod(ids.shape[1:-1]) == 1,
        f"{name}: ids {list(ids.shape)}: ttnn would read the first {ids.shape[0]} x {ids.shape[-1]} of them only",
        "Reshape them to two dims",
    )
    count, features = (tuple(weight_tensor.shape)[-2:-1] or (1,))[0], grad.shape[-1]
    largest = int(ids.max()) if ids.size else 0
    check(
        input_tensor.dtype is DataType.UINT32 or largest <= 256,
        f"{name}: ids up to {largest} in bfloat16, which holds integers up to 256",
        "Make them uint32",
    )
    check(not ids.size or largest < count, f"{name}: id {largest} is beyond the table's {count} rows")
    check(
        dtype is None or dtype is output_gradient_tensor.dtype,
        f"{name}: Output and input gradient tensors must have the same dtype",
        "Leave dtype out",
    )
    if output_tensor is not None:
        check(
            output_tensor.dtype is output_gradient_tensor.dtype,
            f"{name}: output_tensor must have the gradient's dtype, {output_gradient_tensor.dtype!r}",
        )
    y: Any = gradients.add_rows(ids.reshape(-1), grad.reshape(-1, features), count)
    padding = WILD if output_gradient_tensor.wild else FINITE
    return result(
        y.reshape(1, 1, count, features), output_gradient_tensor, padding=padding, memory=memory_config,
        output=output_tensor, broadcast=True, op=name,
    )  # fmt: skip

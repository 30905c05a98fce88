"""Ops over the rows of a tensor: layer_norm, rms_norm, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import FLOATS, TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import WILD
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.shapes import tiled
from ttmlc_runtime.emulator.tensor import Tensor

NORMED = Operand(frozenset({DataType.FLOAT32, DataType.BFLOAT16, DataType.BFLOAT8_B}))
VECTOR = Operand(FLOATS)  # ttnn lets integers pass, and reads their bits as another format
RESIDUAL = Operand(FLOATS, Layout.TILE)


def tame(tensor: Tensor, name: str, op_name: str) -> None:
    """Refuse padding that is no number where a kernel multiplies it by zero to be rid of it."""
    if tensor.ragged_columns and tensor.wild:
        raise fatal(
            f"{op_name}: the padding of {name} is not made of numbers, and the row's sum would be NaN",
            f"Fill it: ttnn.fill_implicit_tile_padding({name}, 0)",
        )


def _vector(tensor: Tensor | None, name: str, width: int, op_name: str) -> Array | None:
    if tensor is None:
        return None
    shape = tensor.shape
    if tensor.layout is Layout.ROW_MAJOR:
        check(
            bool(shape) and shape[-1] == 32 and tensor.logical_volume() == width,
            f"{op_name}: Gamma's last padded dim needs to equal tile width: {name} is {list(shape)} in rows",
            "Keep it in tiles, or shape it [width / 32, 32]",
        )
        return tensor.array.reshape(width)
    check(
        bool(shape) and tiled(shape)[-1] == tiled((width,))[-1] and shape[-1] >= width,
        f"{op_name}: Input and gamma padded widths must match and gamma logical width must be >= input logical "
        f"width: {name} is {list(shape)}, the width {width}",
    )
    # ttnn takes more rows, and reads the first alone: that cannot be meant.
    check(tensor.logical_volume() == shape[-1], f"{op_name}: {name} must be one row, not {list(shape)}")
    return tensor.array.reshape(-1)[:width]


def _norm(
    op_name: str,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    epsilon: float,
    memory: MemoryConfig | None,
    config: DeviceComputeKernelConfig | None,
    *,
    centre: bool,
) -> Tensor:
    check(len(x.shape) > 0, f"{op_name}: operation not supported for 0D tensors")
    check(
        x.layout is Layout.TILE or x.shape[-1] % TILE_SIZE == 0,
        f"{op_name}: ROW_MAJOR input requires W ({x.shape[-1]}) to be a multiple of tile width ({TILE_SIZE})",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    width = x.shape[-1]
    tame(x, "input_tensor", op_name)
    if residual is not None:
        check(
            residual.shape == x.shape and residual.padded_shape == x.padded_shape,
            f"{op_name}: Input and residual logical and padded shapes must match, got input {x.shape} and residual "
            f"{residual.shape}",
            "It does not broadcast: add it with ttnn.add first",
        )
        tame(residual, "residual_input_tensor", op_name)
    if weight is not None and bias is not None:
        check(weight.layout is bias.layout, f"{op_name}: Gamma and beta must have the same layout")
    scale, shift = _vector(weight, "weight", width, op_name), _vector(bias, "bias", width, op_name)
    modelled(config, x, op_name)
    added = None if residual is None else residual.array
    y = kernels.normalise(x.array, added, scale, shift, epsilon, centre=centre)
    wild = any(tensor is not None and tensor.wild for tensor in (x, residual))
    wild |= any(tensor is not None and tensor.wild_row for tensor in (weight, bias))
    return result(y, x, padding=WILD if wild else None, memory=memory, op=op_name)


@op(
    "layer_norm",
    ignored=("recip_tensor",),
    input_tensor=NORMED,
    weight=VECTOR,
    bias=VECTOR,
    residual_input_tensor=RESIDUAL,
)
def layer_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual_input_tensor: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,  # says how the device divides the work; the result is the same
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """(x + residual - mean) / sqrt(variance + epsilon) * weight + bias over the last dim, rounded once."""
    return _norm(
        "ttnn.layer_norm", input_tensor, weight, bias, residual_input_tensor, epsilon, memory_config,
        compute_kernel_config, centre=True,
    )  # fmt: skip


@op("rms_norm", input_tensor=NORMED, weight=VECTOR, bias=VECTOR, residual_input_tensor=RESIDUAL)
def rms_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual_input_tensor: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,  # as in layer_norm
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """(x + residual) / sqrt(mean square + epsilon) * weight + bias over the last dim, rounded once."""
    check(
        input_tensor.layout is Layout.TILE,
        "ttnn.rms_norm: does not support ROW_MAJOR input tensors. Use TILE layout",
    )
    return _norm(
        "ttnn.rms_norm", input_tensor, weight, bias, residual_input_tensor, epsilon, memory_config,
        compute_kernel_config, centre=False,
    )  # fmt: skip


@op("softmax", input_tensor=NORMED)
def softmax(
    input_tensor: Tensor,
    dim: int = -1,
    *,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    numeric_stable: bool = True,  # the emulator always subtracts the maximum
) -> Tensor:
    """exp(x) / sum exp(x) over ``dim``."""
    rank = len(input_tensor.shape)
    check(
        -rank <= dim < rank,
        f"ttnn.softmax: Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})",
    )
    check(
        input_tensor.layout is Layout.TILE or (rank == 4 and dim in (-1, 3)),
        "ttnn.softmax: Inputs to softmax must be tilized",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    modelled(compute_kernel_config, input_tensor, "ttnn.softmax")
    if dim in (-1, rank - 1):
        tame(input_tensor, "input_tensor", "ttnn.softmax")
    x = np.moveaxis(input_tensor.array, dim, -1)
    y = np.moveaxis(kernels.softmax_of(x), -1, dim)
    padding = WILD if input_tensor.wild else None
    return result(
        np.ascontiguousarray(y), input_tensor, layout=Layout.TILE, padding=padding, memory=memory_config
    )

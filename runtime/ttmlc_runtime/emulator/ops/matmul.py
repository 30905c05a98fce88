"""Matrix products: ttnn.linear and ttnn.matmul."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels, pool
from ttmlc_runtime.emulator.dtypes import CoreGrid, DataType, DeviceComputeKernelConfig, MemoryConfig
from ttmlc_runtime.emulator.ops.config import modelled
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.tensor import Array, Tensor, on_device, result, tile

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "silu": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}


def _operand(tensor: object, name: str, which: str, op_name: str) -> Tensor:
    checked = on_device(tensor, name, op_name)
    check(checked.layout.name == "TILE", f"{op_name}: Inputs to matmul must be tilized: {name} is in rows")
    check(
        checked.dtype.is_float, f"{op_name}: Unsupported data format for input {which}: {checked.dtype.value}"
    )
    return checked


def _product(a: Array, b: Array) -> Array:
    """a @ b, as one big product where b is a plain matrix."""
    if b.ndim > 2 and all(size == 1 for size in b.shape[:-2]):
        b = b.reshape(b.shape[-2:])
    if b.ndim == 2 and a.ndim > 2:
        rows = np.ascontiguousarray(a).reshape(-1, a.shape[-1])
        out = pool.empty((rows.shape[0], b.shape[-1]), rows.dtype)
        return np.matmul(rows, b, out=out).reshape(*a.shape[:-1], b.shape[-1])
    return np.matmul(a, b)


def _shapes(a: Array, b: Array, op_name: str) -> None:
    width, height = a.shape[-1], b.shape[-2] if b.ndim > 1 else b.shape[0]
    check(
        width == height,
        f"{op_name}: The width of the first tensor must be equal to the height of the second tensor "
        f"({width} != {height})",
    )
    if b.ndim > 2:
        left = (1,) * (b.ndim - a.ndim) + a.shape[:-2]
        right = (1,) * (a.ndim - b.ndim) + b.shape[:-2]
        whole_batch = all(size == 1 for size in left) or all(size == 1 for size in right)
        check(
            whole_batch or left == right,
            f"{op_name}: bmm (non-bcast matmul) expects input tensors of shapes BCMK*BCKN=BCMN: "
            f"{left} and {right} mismatch",
        )


def _matmul(
    op_name: str,
    a: object,
    b: object,
    bias: object,
    transpose_a: bool,
    transpose_b: bool,
    dtype: DataType | None,
    activation: str | None,
    config: DeviceComputeKernelConfig | None,
    memory: MemoryConfig | None,
) -> Tensor:
    left, right = _operand(a, "input_tensor_a", "A", op_name), _operand(b, "input_tensor_b", "B", op_name)
    modelled(config, left, op_name)
    x = left.array.swapaxes(-1, -2) if transpose_a else left.array
    y = right.array.swapaxes(-1, -2) if transpose_b else right.array
    _shapes(x, y, op_name)
    if activation is not None:
        if activation not in ACTIVATIONS:
            raise fatal(
                f"{op_name}: Unknown unary op {activation!r}", f"The emulator models {', '.join(ACTIVATIONS)}"
            )
        batched = y.ndim > 2 and any(size > 1 for size in y.shape[:-2])
        check(not batched, f"{op_name}: Cannot use activation with batched input b")
    added = None
    if bias is not None:
        vector = tile(bias, "bias", op_name)
        shape = vector.array.shape
        check(
            shape[-1] == y.shape[-1],
            f"{op_name}: bias of width {shape[-1]} does not fit an output of width {y.shape[-1]}",
        )
        check(
            all(size == 1 for size in shape[:-1]),
            f"{op_name}: the emulator models a bias of one row, not {list(shape)}",
        )
        added = vector.array.reshape(-1)
    product = _product(x, y)
    flat = kernels.bias_activation(product.reshape(-1, product.shape[-1]), added, activation)
    return result(flat.reshape(product.shape), left, dtype, padding=None, memory=memory)


@op("linear")
def linear(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    bias: Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: Any = None,
    activation: str | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    core_grid: CoreGrid | None = None,
    output_tile: Any = None,
    optional_output_tensor: Tensor | None = None,
) -> Tensor:
    """activation(a @ b + bias); a is [..., M, K], b is [K, N] or batched, bias [N] or [1, N]."""
    return _matmul(
        "ttnn.linear", input_tensor_a, input_tensor_b, bias, transpose_a, transpose_b, dtype, activation,
        compute_kernel_config, memory_config,
    )  # fmt: skip


@op("matmul")
def matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: Any = None,
    activation: str | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    core_grid: CoreGrid | None = None,
    output_tile: Any = None,
    optional_output_tensor: Tensor | None = None,
) -> Tensor:
    """activation(a @ b)."""
    return _matmul(
        "ttnn.matmul", input_tensor_a, input_tensor_b, None, transpose_a, transpose_b, dtype, activation,
        compute_kernel_config, memory_config,
    )  # fmt: skip

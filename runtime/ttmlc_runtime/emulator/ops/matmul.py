"""Matrix products: ttnn.linear and ttnn.matmul."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import DRAM_MEMORY_CONFIG, FLOATS, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.functions import Applied, of_string, of_type
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD, Padding
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.settings import CoreGrid, DeviceComputeKernelConfig, UnaryOpType, UnaryWithParam
from ttmlc_runtime.emulator.tensor import Tensor
from ttmlc_runtime.emulator.threads import over_rows

Activation = Union[str, UnaryWithParam, UnaryOpType]
FACTOR = Operand(FLOATS, Layout.TILE)
SINGLE = 1 << 18
"""Multiplications up to which OpenBLAS computes in the calling thread (GEMM_MULTITHREAD_THRESHOLD 4)."""
UNMODELLED = ("output_tile", "global_cb", "prefetcher_pipes", "in0_column_offset")


def _shapes(a: tuple[int, ...], b: tuple[int, ...], op_name: str) -> None:
    """Refuse shapes that do not multiply; both have two dims or more."""
    width, height = a[-1], b[-2]
    if width != height:
        raise fatal(
            f"{op_name}: The width of the first tensor must be equal to the height of the second tensor. "
            f"Mismatch: width={width} height={height}"
        )
    left, right = a[:-2], b[:-2]
    spare = right[: max(0, len(right) - len(left))]
    check(
        all(size == 1 for size in spare),
        f"{op_name}: When in1 rank greater than in0 rank front dimensions need to be 1: {list(a)} and {list(b)}",
    )
    if all(size == 1 for size in right):
        return
    hint = "One side's batch may be all ones; otherwise they must agree: fold query heads with a reshape, or repeat"
    check(
        len(left) == len(right),
        f"{op_name}: Batched (non-bcast) matmul requires inputs of the same rank, got {len(a)} and {len(b)}",
        hint,
    )
    check(
        left == right or all(size == 1 for size in left),
        f"{op_name}: bmm (non-bcast matmul) expects input tensors of shapes BCMK*BCKN=BCMN: {list(left)} and "
        f"{list(right)} mismatch",
        hint,
    )


def _product(a: Array, b: Array) -> Array:
    """a @ b, as one big product where b is a plain matrix."""
    if b.ndim > 2 and all(size == 1 for size in b.shape[:-2]):
        b = b.reshape(b.shape[-2:])
    if b.ndim == 2 and a.ndim > 2:
        return np.matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim < 3 or a.shape[:-2] != b.shape[:-2]:
        return np.matmul(a, b)
    return _batched(a, b)


def _batched(a: Array, b: Array) -> Array:
    """Many products of one shape, in pieces for which BLAS wakes no threads: ours share them.

    Its threads spin while they wait for each other. On a machine with other work, [96, 128, 64] x [96, 64, 128] took
    15 ms of processor time so, and takes 5 this way, in the same wall time where there is no other work.
    """
    height, depth, width = a.shape[-2], a.shape[-1], b.shape[-1]
    rows = height
    while rows * depth * width > SINGLE and rows % 2 == 0:
        rows //= 2
    y = np.empty((*a.shape[:-1], width), np.result_type(a, b))

    def share(first: int, last: int) -> None:
        left, right, into = a[first:last], b[first:last], y[first:last]
        for top in range(0, height, rows):
            place = (..., slice(top, top + rows), slice(None))
            np.matmul(left[place], right, out=into[place])

    over_rows(share, len(y), y.size)
    return y


def _function(activation: Activation | None, op_name: str) -> Applied | None:
    if activation is None:
        return None
    return of_string(activation, op_name) if isinstance(activation, str) else of_type(activation, op_name)


def _biased(y: Array, bias: Tensor | None, function: Applied | None, op_name: str) -> Array:
    """function(y + bias), in place where it can be."""
    columns = y.shape[-1]
    row: Array | None = None
    if bias is not None:
        shape = bias.shape
        fits = len(shape) <= max(2, y.ndim) and all(
            size in (1, wanted) for size, wanted in zip(reversed(shape), reversed(y.shape), strict=False)
        )
        if not fits:
            raise fatal(
                f"{op_name}: Unsupported bias shape: {list(shape)} does not broadcast to {list(y.shape)}",
                f"A bias is [{columns}] or [1, {columns}]",
            )
        if bias.logical_volume() == columns:
            row = bias.array.reshape(columns)
        else:
            y += bias.array  # ttnn makes a second program of it
    name = "identity" if function is None else function.name
    if name in kernels.FUSED:
        return kernels.activate(y.reshape(-1, columns), row, name).reshape(y.shape)
    y = y if row is None else y + row
    return y if function is None else function(y)


def _matmul(
    op_name: str,
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    transposed: tuple[bool, bool],
    activation: Activation | None,
    dtype: DataType | None,
    memory: MemoryConfig | None,
    config: DeviceComputeKernelConfig | None,
    output: Tensor | None,
) -> Tensor:
    modelled(config, a, op_name)
    function = _function(activation, op_name)
    for tensor, which in ((a, "first"), (b, "second")):
        check(
            len(tensor.shape) > 0,
            f"{op_name}: Both arguments to matmul need to be at least 1D, but the {which} has shape []",
        )
    x, y = a.array, b.array
    vector, column = x.ndim == 1, y.ndim == 1
    x, y = (x[None] if vector else x), (y[:, None] if column else y)
    x = x.swapaxes(-1, -2) if transposed[0] else x
    y = y.swapaxes(-1, -2) if transposed[1] else y
    _shapes(x.shape, y.shape, op_name)
    # The kernel zeroes the padding of the contracted dim in the first operand, and zero times NaN is NaN.
    ragged = b.ragged_columns if transposed[1] else b.ragged_rows
    if x.shape[-1] % 32 and ragged and b.wild:
        raise fatal(
            f"{op_name}: the padding of the second tensor is not made of numbers, and would be multiplied",
            "Fill it: ttnn.fill_implicit_tile_padding(tensor, 0)",
        )
    product = _biased(_product(x, y), bias, function, op_name)
    if vector:
        product = product[..., 0, :]
    if column:
        product = product[..., 0]
    wild = (
        a.wild
        or b.wild
        or (bias is not None and (bias.wild_row if bias.shape[-1] == bias.logical_volume() else bias.wild))
        or (function is not None and not function.function.total)
    )
    padding: Padding = WILD if wild else FINITE
    memory = memory or DRAM_MEMORY_CONFIG  # wherever the first is
    return result(product, a, dtype, padding=padding, memory=memory, output=output, op=op_name)


@op("linear", ignored=UNMODELLED, input_tensor_a=FACTOR, input_tensor_b=FACTOR, bias=Operand())
def linear(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    bias: Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: Any = None,  # says how the device divides the work; the result is the same
    activation: str | UnaryWithParam | UnaryOpType | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    core_grid: CoreGrid | None = None,  # as program_config
    optional_output_tensor: Tensor | None = None,
) -> Tensor:
    """activation(a @ b + bias), rounded once; a is [..., M, K], b is [K, N] or batched, bias [N] or [1, N]."""
    return _matmul(
        "ttnn.linear", input_tensor_a, input_tensor_b, bias, (transpose_a, transpose_b), activation, dtype,
        memory_config, compute_kernel_config, optional_output_tensor,
    )  # fmt: skip


@op("matmul", ignored=UNMODELLED[:3], input_tensor_a=FACTOR, input_tensor_b=FACTOR)
def matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: MemoryConfig | None = None,
    dtype: DataType | None = None,
    program_config: Any = None,  # says how the device divides the work; the result is the same
    activation: str | UnaryWithParam | UnaryOpType | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    core_grid: CoreGrid | None = None,  # as program_config
    optional_output_tensor: Tensor | None = None,
) -> Tensor:
    """activation(a @ b)."""
    return _matmul(
        "ttnn.matmul", input_tensor_a, input_tensor_b, None, (transpose_a, transpose_b), activation, dtype,
        memory_config, compute_kernel_config, optional_output_tensor,
    )  # fmt: skip

"""Reductions over dims, and argmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

REAL = frozenset({DataType.BFLOAT16, DataType.FLOAT32, DataType.BFLOAT8_B})
COUNTS = REAL | {DataType.INT32, DataType.UINT32}


def _over(dim: Any, rank: int, op_name: str) -> tuple[int, ...]:
    dims = () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    for place in dims:
        check(
            -rank <= place < rank or (rank == 0 and place in (0, -1)),
            f"{op_name}: Unsupported dim {place}: the tensor has {rank} dims",
        )
    if not dims or not rank:
        return tuple(range(rank))
    places = tuple(sorted(place % rank for place in dims))
    check(
        len(set(places)) == len(places), f"{op_name}: reduce dim list contains a duplicate axis: {list(dims)}"
    )
    return places


def _stays_in_rows(name: str, dtype: DataType, dims: tuple[int, ...], rank: int) -> bool:
    """Whether ttnn reduces rows as rows; else it makes tiles of them first."""
    if rank == 0:
        return name != "var"
    if name == "mean" or (name == "sum" and dtype is DataType.FLOAT32):
        return rank == 1 or dims != (rank - 2, rank - 1)
    return name == "sum" and dtype.is_float and len(dims) == 1 and dims[0] >= rank - 2


def _variance(x: Array, axis: tuple[int, ...], *, keepdims: bool, correction: bool) -> Array:
    return np.asarray(np.var(x, axis=axis, keepdims=keepdims, ddof=int(correction)))


def _reduced(
    name: str,
    compute: Callable[..., Any],
    x: Tensor,
    dim: Any,
    keepdim: bool,
    scalar: float,
    memory: MemoryConfig | None,
    config: DeviceComputeKernelConfig | None,
) -> Tensor:
    op_name = f"ttnn.{name}"
    rank = len(x.shape)
    dims = _over(dim, rank, op_name)
    modelled(config, x, op_name)
    y = np.asarray(compute(x.array, axis=dims, keepdims=keepdim))
    if scalar != 1.0:
        y = np.asarray(y * y.dtype.type(scalar))
    stays = x.layout is Layout.ROW_MAJOR and _stays_in_rows(name, x.dtype, dims, rank)
    return result(y, x, layout=Layout.ROW_MAJOR if stays else Layout.TILE, memory=memory)


def _reduction(name: str, compute: Callable[..., Any], dtypes: frozenset[DataType]) -> Callable[..., Tensor]:
    @op(
        name,
        ignored=("correction", "fast_and_approximate_mode", "output_layout"),
        input_tensor=Operand(dtypes),
    )
    def call(
        input_tensor: Tensor,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        memory_config: MemoryConfig | None = None,
        compute_kernel_config: DeviceComputeKernelConfig | None = None,
        scalar: float = 1.0,
    ) -> Tensor:
        return _reduced(
            name, compute, input_tensor, dim, keepdim, scalar, memory_config, compute_kernel_config
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"The {name} over ``dim``, or over everything, times ``scalar``. The padding of tiles has no part."
    )
    return call


sum_ = _reduction("sum", np.sum, COUNTS)
mean = _reduction("mean", np.mean, REAL)
max_ = _reduction("max", np.max, COUNTS)
min_ = _reduction("min", np.min, COUNTS)


@op("var", input_tensor=Operand(REAL))
def var(
    input_tensor: Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    scalar: float = 1.0,
    correction: bool = True,
) -> Tensor:
    """The variance over ``dim``, or over everything; with ``correction`` divided by one less than the count."""
    check(
        input_tensor.dtype is not DataType.FLOAT32
        or compute_kernel_config is None
        or compute_kernel_config.fp32_dest_acc_en,
        "ttnn.var: std/var with Float32 input requires fp32_dest_acc_en=true in the compute kernel config",
    )

    def compute(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
        return _variance(x, axis, keepdims=keepdims, correction=correction)

    return _reduced("var", compute, input_tensor, dim, keepdim, scalar, memory_config, compute_kernel_config)


@op("argmax", ignored=("enable_secondary_dm",), input_tensor=Operand(COUNTS - {DataType.BFLOAT8_B}))
def argmax(
    input_tensor: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """Where the largest is along ``dim``: uint32 in rows; of equals the first."""
    rank = len(input_tensor.shape)
    tiles = input_tensor.layout is Layout.TILE
    check(
        not tiles or dim is not None,
        "ttnn.argmax: For inputs with TILE layout, dim parameter must be specified!",
    )
    check(
        not tiles or input_tensor.dtype.is_float,
        f"ttnn.argmax: Only BFLOAT16 and FLOAT32 are supported in tiles, not {input_tensor.dtype!r}",
    )
    check(
        dim is None or -rank <= dim < rank,
        f"ttnn.argmax: Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})",
    )
    check(
        input_tensor.dtype.is_float or dim in (None, -1, rank - 1),
        f"ttnn.argmax: of integers only argmax on the last dim is supported, not {dim}",
        "Make them floats: ttnn.typecast",
    )
    y = np.asarray(np.argmax(input_tensor.array, axis=dim, keepdims=keepdim))
    return result(
        y, input_tensor, DataType.UINT32, layout=Layout.ROW_MAJOR, memory=memory_config, output=output_tensor,
        op="ttnn.argmax",
    )  # fmt: skip

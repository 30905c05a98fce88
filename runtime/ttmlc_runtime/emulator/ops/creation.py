"""Tensors out of nothing, and reductions of tensors to less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.device import Device
from ttmlc_runtime.emulator.dtypes import DataType, DeviceComputeKernelConfig, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor, held, on_device, result


def _filled(
    shape: Sequence[int],
    value: float,
    dtype: DataType | None,
    layout: Layout | None,
    device: Device | None,
    memory: MemoryConfig | None,
) -> Tensor:
    label = dtype or DataType.BFLOAT16
    array = held(np.full([int(size) for size in shape], value, np.float32), label, device)
    return Tensor.make(array, label, layout or Layout.ROW_MAJOR, device, padding=float(value), memory=memory)


@op("full")
def full(
    shape: Sequence[int],
    fill_value: float,
    *,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: Device | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of one value."""
    return _filled(shape, fill_value, dtype, layout, device, memory_config)


@op("zeros")
def zeros(
    shape: Sequence[int],
    *,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: Device | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of zeros."""
    return _filled(shape, 0.0, dtype, layout, device, memory_config)


@op("ones")
def ones(
    shape: Sequence[int],
    *,
    dtype: DataType | None = None,
    layout: Layout | None = None,
    device: Device | None = None,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """A tensor of ones."""
    return _filled(shape, 1.0, dtype, layout, device, memory_config)


@op("full_like")
def full_like(input_tensor: Tensor, fill_value: float, *, dtype: DataType | None = None) -> Tensor:
    """A tensor of one value in the shape of another."""
    x = on_device(input_tensor, "input_tensor", "ttnn.full_like")
    return result(np.full_like(x.array, fill_value), x, dtype, padding=float(fill_value))


@op("zeros_like")
def zeros_like(input_tensor: Tensor, *, dtype: DataType | None = None) -> Tensor:
    """Zeros in the shape of another tensor."""
    return full_like(input_tensor, 0.0, dtype=dtype)


@op("ones_like")
def ones_like(input_tensor: Tensor, *, dtype: DataType | None = None) -> Tensor:
    """Ones in the shape of another tensor."""
    return full_like(input_tensor, 1.0, dtype=dtype)


def _reduction(name: str, function: Callable[..., Any], public: str) -> Callable[..., Tensor]:
    @op(name)
    def call(
        input_tensor: Tensor,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        scalar: float = 1.0,
        memory_config: MemoryConfig | None = None,
        compute_kernel_config: DeviceComputeKernelConfig | None = None,
    ) -> Tensor:
        x = on_device(input_tensor, "input_tensor", f"ttnn.{name}")
        check(name != "mean" or x.dtype.is_float, f"ttnn.{name}: input cannot be {x.dtype.name}")
        over = None if dim is None else tuple(dim) if isinstance(dim, (list, tuple)) else (dim,)
        for place in over or ():
            check(
                -x.array.ndim <= place < x.array.ndim,
                f"ttnn.{name}: dim {place} is out of range for {x.array.ndim} dims",
            )
        y = np.asarray(function(x.array, axis=over, keepdims=keepdim)) * x.array.dtype.type(scalar)
        return result(y, x, memory=memory_config)

    call.__name__ = call.__qualname__ = public
    call.__doc__ = f"The {name} over ``dim``, or over everything."
    return call


sum_ = _reduction("sum", np.sum, "sum")
mean = _reduction("mean", np.mean, "mean")
max_ = _reduction("max", np.max, "max")
min_ = _reduction("min", np.min, "min")

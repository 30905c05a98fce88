"""Ops that read rows of weights or normalise rows: embedding, norms, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import DataType, DeviceComputeKernelConfig, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.config import modelled
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Array, Tensor, on_device, result, tile


@op("embedding")
def embedding(
    input_tensor: Tensor,
    weight: Tensor,
    *,
    padding_idx: int | None = None,
    layout: Layout | None = None,
    embeddings_type: Any = None,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """weight[ids]: ids uint32 of any rank, weight bfloat16 [rows, features]."""
    ids, table = (
        on_device(input_tensor, "input_tensor", "ttnn.embedding"),
        on_device(weight, "weight", "ttnn.embedding"),
    )
    allowed = (DataType.UINT32, DataType.BFLOAT16)
    check(ids.dtype in allowed, f"ttnn.embedding: Input must be UINT32 or BFLOAT16, not {ids.dtype.name}")
    check(
        table.dtype is DataType.BFLOAT16,
        f"ttnn.embedding: Weight tensor must have BFLOAT16 dtype, not {table.dtype.name}",
    )
    check(padding_idx is None, "ttnn.embedding: padding_idx needs embeddings_type=PADDED")
    check(
        table.array.ndim == 2 or all(n == 1 for n in table.array.shape[:-2]),
        "ttnn.embedding: weight must be [rows, features]",
    )
    rows = table.array.reshape(table.array.shape[-2:])
    numbers = ids.array.astype(np.int64)
    if numbers.size and int(numbers.max()) >= rows.shape[0]:
        # A board reads whatever lies behind the table.
        check(False, f"ttnn.embedding: id {int(numbers.max())} is beyond the table's {rows.shape[0]} rows")
    squeezed = (
        [size for size in numbers.shape[:-1] if size != 1] if numbers.ndim > 2 else list(numbers.shape[:-1])
    )
    shape = (*squeezed, numbers.shape[-1], rows.shape[-1])
    looked_up = rows[numbers.reshape(-1)].reshape(shape)
    return result(looked_up, table, dtype, layout=layout or table.layout, padding=0.0, memory=memory_config)


def _vector(tensor: object, name: str, width: int, op_name: str) -> Array | None:
    if tensor is None:
        return None
    checked = on_device(tensor, name, op_name)
    array = checked.array
    if checked.layout is Layout.ROW_MAJOR:
        check(
            array.ndim >= 2 and array.shape[-1] == 32 and array.size == width,
            f"{op_name}: Gamma's last padded dim needs to equal tile width: {name} is {list(array.shape)} in rows",
            "Keep it in tiles, or shape it [width / 32, 32]",
        )
    else:
        check(
            array.shape[-1] == width and array.size == width,
            f"{op_name}: {name} {list(array.shape)} does not fit a width of {width}",
        )
    check(
        checked.dtype in (DataType.BFLOAT16, DataType.FLOAT32),
        f"{op_name}: {name} cannot be {checked.dtype.name}",
    )
    return array.reshape(-1)


def _normed(
    op_name: str, x: object, weight: object, bias: object, residual: object
) -> tuple[Tensor, Array | None, Array | None, Array | None]:
    checked = on_device(x, "input_tensor", op_name)
    check(
        checked.dtype.is_float and checked.dtype is not DataType.BFLOAT4_B,
        f"{op_name}: input cannot be {checked.dtype.name}",
    )
    width = checked.array.shape[-1]
    added = None
    if residual is not None:
        other = tile(residual, "residual_input_tensor", op_name)
        check(
            other.array.shape == checked.array.shape,
            f"{op_name}: residual {list(other.array.shape)} and input {list(checked.array.shape)} must have one shape",
        )
        added = other.array
    return checked, _vector(weight, "weight", width, op_name), _vector(bias, "bias", width, op_name), added


@op("layer_norm")
def layer_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual_input_tensor: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    recip_tensor: Tensor | None = None,
) -> Tensor:
    """(x + residual - mean) / sqrt(variance + epsilon) * weight + bias over the last dim."""
    x, scale, shift, added = _normed("ttnn.layer_norm", input_tensor, weight, bias, residual_input_tensor)
    modelled(compute_kernel_config, x, "ttnn.layer_norm")
    y = kernels.layer_norm(x.array, added, scale, shift, epsilon)
    return result(y, x, memory=memory_config)


@op("rms_norm")
def rms_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual_input_tensor: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """(x + residual) / sqrt(mean square + epsilon) * weight + bias over the last dim."""
    x, scale, shift, added = _normed("ttnn.rms_norm", input_tensor, weight, bias, residual_input_tensor)
    tile(x, "input_tensor", "ttnn.rms_norm")
    modelled(compute_kernel_config, x, "ttnn.rms_norm")
    total = x.array if added is None else x.array + added
    y = total / np.sqrt((total * total).mean(-1, keepdims=True) + total.dtype.type(epsilon))
    y = y if scale is None else y * scale
    return result(y if shift is None else y + shift, x, memory=memory_config)


@op("softmax")
def softmax(
    input_tensor: Tensor,
    dim: int = -1,
    *,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    numeric_stable: bool = True,
) -> Tensor:
    """exp(x) / sum exp(x) over ``dim``."""
    x = tile(input_tensor, "input_tensor", "ttnn.softmax")
    check(x.dtype.is_float, f"ttnn.softmax: input cannot be {x.dtype.name}")
    check(-x.array.ndim <= dim < x.array.ndim, f"ttnn.softmax: dim {dim} is out of range")
    modelled(compute_kernel_config, x, "ttnn.softmax")
    powers = np.exp(x.array - x.array.max(dim, keepdims=True))
    return result(powers / powers.sum(dim, keepdims=True), x, memory=memory_config)

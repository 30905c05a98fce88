"""Attention and its heads: ttnn.transformer and the parts of ttnn.experimental that models use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels, pool
from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, DeviceComputeKernelConfig, MemoryConfig
from ttmlc_runtime.emulator.ops.config import modelled
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Array, Tensor, result, tile

NAME = "ttnn.transformer.scaled_dot_product_attention"
HIDDEN = -1e4
"""A mask's padding must be at most this: what it lets through would be averaged into the result."""


def _mask(mask: object, q: Array, k: Array) -> Array:
    checked = tile(mask, "attn_mask", NAME)
    shape = checked.array.shape
    allowed = (DataType.BFLOAT16, DataType.BFLOAT8_B, DataType.BFLOAT4_B)
    check(checked.dtype in allowed, f"{NAME}: mask cannot be {checked.dtype.name}")
    check(len(shape) == 4, f"{NAME}: mask must have 4 dims, not {len(shape)}")
    wanted = (q.shape[2], k.shape[2])
    check(shape[2:] == wanted, f"{NAME}: mask's last two dims must be {list(wanted)}, not {list(shape[2:])}")
    check(shape[0] in (1, q.shape[0]), f"{NAME}: mask's batch must be 1 or {q.shape[0]}, not {shape[0]}")
    check(shape[1] in (1, q.shape[1]), f"{NAME}: mask's heads must be 1 or {q.shape[1]}, not {shape[1]}")
    if shape[3] % TILE_SIZE and (checked.padding is None or checked.padding > HIDDEN):
        found = "undefined" if checked.padding is None else f"{checked.padding:g}"
        check(
            False,
            f"{NAME}: keys in the padding of tiles would be seen: the mask's padding is {found}",
            "Fill it: ttnn.fill_implicit_tile_padding(mask, -1e9)",
        )
    return checked.array


@op("transformer.scaled_dot_product_attention")
def scaled_dot_product_attention(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = True,
    scale: float | None = None,
    sliding_window_size: int | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    attention_sink: Tensor | None = None,
    output_concat_heads: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v; q [B, H, Sq, D], k and v [B, Hkv, Sk, D].

    The result is [B, H, Sq, D], or [B, 1, Sq, H * D] with ``output_concat_heads``.
    """
    tensors = [
        tile(t, n, NAME) for t, n in zip((input_tensor_q, input_tensor_k, input_tensor_v), "qkv", strict=True)
    ]
    for tensor, name in zip(tensors, "qkv", strict=True):
        check(len(tensor.array.shape) == 4, f"{NAME}: {name} must have 4 dims")
        allowed = (DataType.BFLOAT16, DataType.BFLOAT8_B, DataType.BFLOAT4_B)
        check(tensor.dtype in allowed, f"{NAME}: {name} cannot be {tensor.dtype.name}")
        width = tensor.array.shape[3]
        check(
            width % TILE_SIZE == 0,
            f"{NAME}: Padding is not supported on the head_dim ({width})",
            "Pad heads in the weights",
        )
    q, k, v = (tensor.array for tensor in tensors)
    check(k.shape == v.shape, f"{NAME}: k {list(k.shape)} and v {list(v.shape)} must have one shape")
    check(
        q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3],
        f"{NAME}: q {list(q.shape)} does not fit k {list(k.shape)}",
    )
    check(q.shape[1] % k.shape[1] == 0, f"{NAME}: {q.shape[1]} query heads do not divide among {k.shape[1]}")
    check(
        not (is_causal and attn_mask is not None),
        f"{NAME}: is_causal and attn_mask cannot go together",
        "Fold causality into the mask",
    )
    check(
        not is_causal or q.shape[2] == k.shape[2], f"{NAME}: causal attention needs as many queries as keys"
    )
    check(
        sliding_window_size is None and attention_sink is None,
        f"{NAME}: windows and sinks are not modelled by the emulator",
    )
    modelled(compute_kernel_config, tensors[0], NAME)
    added: Array | None = None
    if attn_mask is not None:
        added = _mask(attn_mask, q, k)
    elif is_causal:
        added = np.triu(np.full((1, 1, q.shape[2], k.shape[2]), -1e9, q.dtype), 1)
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = pool.empty((*q.shape[:3], k.shape[2]), q.dtype)
    np.matmul(q, k.swapaxes(-1, -2), out=scores)
    weights = kernels.softmax(scores, 1 / math.sqrt(q.shape[3]) if scale is None else scale, added)
    batch, heads, tokens, width = q.shape
    joined = pool.empty((batch, tokens, heads, width), q.dtype)
    np.matmul(weights, v, out=joined.transpose(0, 2, 1, 3))
    if output_concat_heads:
        return result(joined.reshape(batch, 1, tokens, heads * width), tensors[0], memory=memory_config)
    return result(joined.transpose(0, 2, 1, 3), tensors[0], memory=memory_config)


@op("experimental.nlp_create_qkv_heads")
def nlp_create_qkv_heads(
    input: Tensor,  # noqa: A002  # ttnn's own name
    input_kv: Tensor | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    transpose_k_heads: bool = True,
    memory_config: MemoryConfig | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of a joint projection [B, 1, S, (H + 2 Hkv) D], each [B, heads, S, D]; k is transposed by default."""
    name = "ttnn.experimental.nlp_create_qkv_heads"
    x = tile(input, "input", name)
    check(input_kv is None, f"{name}: a second input is not modelled by the emulator")
    shape = x.array.shape
    check(len(shape) == 4 and shape[1] == 1, f"{name}: input must be [B, 1, S, width], not {list(shape)}")
    kv = num_heads if num_kv_heads is None else num_kv_heads
    total = num_heads + 2 * kv
    width = shape[3] // total
    # The real op gives wrong shapes in silence for both; nobody can want that.
    check(shape[3] == total * width, f"{name}: width {shape[3]} is no multiple of {total} heads")
    check(
        width % TILE_SIZE == 0,
        f"{name}: head_dim {width} is no multiple of {TILE_SIZE}",
        "Pad heads in the weights",
    )
    split = x.array.reshape(shape[0], shape[2], total, width).transpose(0, 2, 1, 3)
    q, k, v = split[:, :num_heads], split[:, num_heads : num_heads + kv], split[:, num_heads + kv :]
    k = k.swapaxes(-1, -2) if transpose_k_heads else k

    def made(part: Array) -> Tensor:
        return Tensor.make(part, x.dtype, x.layout, x.device(), memory=memory_config)

    return made(q), made(k), made(v)


@op("experimental.nlp_concat_heads")
def nlp_concat_heads(input_tensor: Tensor, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """[B, H, S, D] -> [B, 1, S, H * D]."""
    x = tile(input_tensor, "input_tensor", "ttnn.experimental.nlp_concat_heads")
    check(len(x.array.shape) == 4, "ttnn.experimental.nlp_concat_heads: input must have 4 dims")
    batch, heads, tokens, width = x.array.shape
    joined = np.ascontiguousarray(x.array.transpose(0, 2, 1, 3)).reshape(batch, 1, tokens, heads * width)
    return Tensor.make(joined, x.dtype, x.layout, x.device(), memory=memory_config)

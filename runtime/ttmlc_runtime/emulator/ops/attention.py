"""Fused attention: ttnn.transformer.scaled_dot_product_attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import DRAM_MEMORY_CONFIG, TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.transformer.scaled_dot_product_attention"
HALVES = frozenset({DataType.BFLOAT16, DataType.BFLOAT8_B, DataType.BFLOAT4_B})
PROJECTED = Operand(HALVES, Layout.TILE, rank=4)
HIDDEN = -1e4
"""A mask's padding must be this or less: what it lets through would have a share in the result."""


def _shapes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    for name, shape in (("q", q), ("k", k), ("v", v)):
        check(
            shape[3] % TILE_SIZE == 0,
            f"{NAME}: Padding is not supported on the head_dim dimension: {name} has {shape[3]}",
            f"Pad the heads in the weights to a multiple of {TILE_SIZE}, and pass scale= of the true size",
        )
    check(
        k[0] == q[0] and v[0] == q[0], f"{NAME}: K and V batch must match. Got {q[0]}, K: {k[0]}, V: {v[0]}"
    )
    check(k[1] == v[1], f"{NAME}: K and V num_heads must match. Got K: {k[1]}, V: {v[1]}")
    check(k[2] == v[2], f"{NAME}: K and V sequence length must match. Got K: {k[2]}, V: {v[2]}")
    check(q[3] == k[3] == v[3], f"{NAME}: K and V hidden dim must match. Got {q[3]}, K: {k[3]}, V: {v[3]}")
    check(
        k[1] > 0 and q[1] % k[1] == 0,
        f"{NAME}: Q num_heads must be >= K num_heads and divisible by K num_heads. Got Q: {q[1]}, K: {k[1]}",
    )


def _mask(mask: Tensor, q: tuple[int, ...], k: tuple[int, ...]) -> Array:
    found, wanted = mask.shape, (q[2], k[2])
    check(len(found) == 4, f"{NAME}: attn_mask must have 4 dims, not {list(found)}")
    check(
        found[0] in (1, q[0]),
        f"{NAME}: Mask batch dim must either be 1 or must match Q batch dimension {q[0]}",
    )
    check(
        found[1] in (1, q[1]),
        f"{NAME}: Mask num_heads must either be 1 or must match Q heads dimension {q[1]}",
    )
    check(
        tuple(found[2:]) == wanted,
        f"{NAME}: Mask sequence length must match Q and K sequence length {list(wanted)}, not {list(found[2:])}",
        "A mask over keys alone has to be broadcast to every query first: ttnn.add it to zeros",
    )
    # The kernel adds the mask's last tile whole, so that its padding decides about keys that do not exist.
    if mask.ragged_columns:
        padding = mask.padding
        hidden = padding is not None and padding <= HIDDEN
        check(
            hidden,
            f"{NAME}: keys in the padding of tiles would be seen: the mask's padding is "
            f"{'not known' if padding is None else format(padding, 'g')}",
            "Fill it: mask = ttnn.fill_implicit_tile_padding(mask, -1e9)",
        )
    return mask.array


def attend(q: Array, k: Array, v: Array, scale: float, mask: Array | None, *, causal: bool) -> Array:
    """softmax(q k^T * scale + mask) v as [B, S, H, D]; heads of k and v are shared where there are fewer."""
    batch, heads, queries, width = q.shape
    shared, keys = k.shape[1], k.shape[2]
    scores = np.empty((batch, heads, queries, keys), q.dtype)
    joined = np.empty((batch, queries, heads, width), q.dtype)
    grouped = (batch, shared, heads // shared)
    wide = k.swapaxes(-1, -2)[:, :, None]
    np.matmul(q.reshape(*grouped, queries, width), wide, out=scores.reshape(*grouped, queries, keys))
    weights = kernels.softmax(scores, scale, mask, causal=causal)
    target = joined.reshape(batch, queries, *grouped[1:], width).transpose(0, 2, 3, 1, 4)
    np.matmul(weights.reshape(*grouped, queries, keys), v[:, :, None], out=target)
    return joined


@op(
    "transformer.scaled_dot_product_attention",
    ignored=(
        "sliding_window_size",
        "attention_sink",
        "cu_window_seqlens",
        "windowed_q_token_offset",
        "windowed_q_token_offset_tensor",
        "attn_mask_block_map",
    ),
    input_tensor_q=PROJECTED,
    input_tensor_k=PROJECTED,
    input_tensor_v=PROJECTED,
    attn_mask=Operand(HALVES, Layout.TILE),
)
def scaled_dot_product_attention(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = True,
    scale: float | None = None,
    memory_config: MemoryConfig | None = None,
    program_config: Any = None,  # says how the device divides the work; the result is the same
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
    output_concat_heads: bool = False,
) -> Tensor:
    """softmax(q k^T * scale + mask) v; q [B, H, Sq, D], k and v [B, Hkv, Sk, D].

    ``scale`` is 1 / sqrt(D) where it is not given. The result is [B, H, Sq, D], or [B, 1, Sq, H * D] with
    ``output_concat_heads``. A mask is added: [B or 1, H or 1, Sq, Sk], and its padding must hide.
    """
    tensors = (input_tensor_q, input_tensor_k, input_tensor_v)
    q, k, v = (tensor.array for tensor in tensors)
    _shapes(q.shape, k.shape, v.shape)
    check(
        not (is_causal and attn_mask is not None),
        f"{NAME}: is_causal and attn_mask cannot both be present",
        "Pass is_causal=False, and fold causality into the mask",
    )
    check(
        not is_causal or q.shape[2] == k.shape[2],
        f"{NAME}: Causal SDPA requires Q and K to have the same sequence length. Got Q: {q.shape[2]}, K: {k.shape[2]}",
    )
    for tensor, name in zip(tensors[1:], "kv", strict=True):
        if tensor.ragged_rows and tensor.wild:
            raise fatal(
                f"{NAME}: the padding of {name} is not made of numbers, and would be multiplied",
                "Fill it: ttnn.fill_implicit_tile_padding(tensor, 0)",
            )
    modelled(compute_kernel_config, input_tensor_q, NAME)
    added = None if attn_mask is None else _mask(attn_mask, q.shape, k.shape)
    factor = 1 / math.sqrt(q.shape[3]) if scale is None else float(scale)
    joined = attend(q, k, v, factor, added, causal=is_causal)
    batch, tokens, heads, width = joined.shape
    y = (
        joined.reshape(batch, 1, tokens, heads * width)
        if output_concat_heads
        else joined.transpose(0, 2, 1, 3)
    )
    return result(y, input_tensor_q, memory=memory_config or DRAM_MEMORY_CONFIG, op=NAME)  # wherever q is

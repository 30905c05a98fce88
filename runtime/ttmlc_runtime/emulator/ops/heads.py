"""Heads split and joined: the parts of ttnn.experimental and ttnn.transformer that models use."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import moved
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor

SPLIT = frozenset({DataType.FLOAT32, DataType.BFLOAT16, DataType.BFLOAT8_B})
JOINT = Operand(SPLIT, Layout.TILE, rank=4)


def _made(values: Array, like: Tensor, memory: MemoryConfig | None) -> Tensor:
    return moved(values, like, padding=WILD if like.wild else FINITE, memory=memory)


def _split(
    name: str,
    joint: Tensor,
    pair: Tensor | None,
    heads: int,
    shared: int | None,
    *,
    transpose: bool,
    memory: MemoryConfig | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of [B, S, (H + 2 Hkv) D], or of [B, S, H D] and [B, S, 2 Hkv D]; each [B, heads, S, D]."""
    kv = heads if shared is None else shared
    check(
        kv > 0 or (joint.array.ndim == 4 and pair is None),
        f"{name}: num_kv_heads must be greater than 0 when a KV tensor is given, and of three dims",
    )
    first, counts = joint.array, [heads + 2 * kv] if pair is None else [heads, 2 * kv]
    batch, tokens = first.shape[0], first.shape[-2]
    check(
        pair is None or pair.dtype is joint.dtype,
        f"{name}: KV tensor dtype must be same as Q tensor dtype",
        "Convert one: ttnn.typecast",
    )
    parts: list[Array] = []
    for tensor, count in zip((joint, pair), counts, strict=False):
        assert tensor is not None  # there are as many counts as tensors
        total = tensor.shape[-1]
        # ttnn checks padded widths, and gives wrong heads in silence for what passes there and fails here.
        check(
            count > 0 and total % count == 0 and total // count % TILE_SIZE == 0,
            f"{name}: Unsupported input shape: a width of {total} is not {count} heads of a multiple of {TILE_SIZE}",
            "Pad the heads in the weights, or use ttnn.reshape and ttnn.permute",
        )
        same = tensor.shape[0] == batch and tensor.shape[-2] == tokens
        check(same, f"{name}: both inputs must have the same batch and tokens")
        split = tensor.array.reshape(batch, tokens, count, total // count).transpose(0, 2, 1, 3)
        parts += [split[:, :heads], split[:, heads:]] if pair is None else [split]
    q, rest = parts[0], parts[1]
    check(
        q.shape[3] == rest.shape[3],
        f"{name}: heads of {q.shape[3]} and of {rest.shape[3]} do not go together",
    )
    k, v = rest[:, :kv], rest[:, kv:]
    k = k.swapaxes(-1, -2) if transpose else k
    memory = memory or joint.memory_config()  # that of k and v too, wherever they come from
    return _made(q, joint, memory), _made(k, pair or joint, memory), _made(v, pair or joint, memory)


@op("experimental.nlp_create_qkv_heads", ignored=("kv_tied", "output_tensors"), input=JOINT, input_kv=JOINT)
def nlp_create_qkv_heads(
    input: Tensor,  # noqa: A002  # ttnn's own name
    input_kv: Tensor | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    transpose_k_heads: bool = True,
    memory_config: MemoryConfig | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of a joint projection [B, 1, S, (H + 2 Hkv) D]: each [B, heads, S, D].

    k is [B, Hkv, D, S] unless ``transpose_k_heads`` is False, as in ttnn. With ``input_kv``, k and v come from there.
    """
    name = "ttnn.experimental.nlp_create_qkv_heads"
    for tensor in (input, input_kv):
        check(
            tensor is None or tensor.shape[1] == 1,
            f"{name}: Unsupported input sequence length: the input must be [B, 1, S, width]",
        )
    return _split(
        name, input, input_kv, num_heads, num_kv_heads, transpose=transpose_k_heads, memory=memory_config
    )


@op(
    "transformer.split_query_key_value_and_split_heads",
    ignored=("use_falcon7b_backend",),
    input_tensor=Operand(SPLIT, Layout.TILE, rank=3),
    kv_input_tensor=Operand(SPLIT, Layout.TILE, rank=3),
)
def split_query_key_value_and_split_heads(
    input_tensor: Tensor,
    kv_input_tensor: Tensor | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    transpose_key: bool = True,
    memory_config: MemoryConfig | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of [B, S, (H + 2 Hkv) D]."""
    name = "ttnn.transformer.split_query_key_value_and_split_heads"
    return _split(
        name,
        input_tensor,
        kv_input_tensor,
        num_heads,
        num_kv_heads,
        transpose=transpose_key,
        memory=memory_config,
    )


def _joined(x: Tensor) -> Array:
    batch, heads, tokens, width = x.shape
    return np.ascontiguousarray(x.array.transpose(0, 2, 1, 3)).reshape(batch, 1, tokens, heads * width)


@op("experimental.nlp_concat_heads", input_tensor=JOINT)
def nlp_concat_heads(input_tensor: Tensor, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """[B, H, S, D] -> [B, 1, S, H * D]."""
    return _made(_joined(input_tensor), input_tensor, memory_config)


@op("transformer.concatenate_heads", input_tensor=JOINT)
def concatenate_heads(input_tensor: Tensor, *, memory_config: MemoryConfig | None = None) -> Tensor:
    """[B, H, S, D] -> [B, S, H * D]; D must fill tiles."""
    width = input_tensor.shape[3]
    check(
        width % TILE_SIZE == 0,
        f"ttnn.transformer.concatenate_heads: Head size must be a multiple of {TILE_SIZE} but was found to be {width}",
        "Pad the heads in the weights, or use ttnn.permute and ttnn.reshape",
    )
    return _made(_joined(input_tensor)[:, 0], input_tensor, memory_config)

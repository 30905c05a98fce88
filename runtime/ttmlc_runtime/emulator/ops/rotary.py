"""Rotary positions: ttnn.experimental.rotary_embedding_hf."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.dtypes import FLOATS, TILE_SIZE, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.experimental.rotary_embedding_hf"
TURNED = Operand(FLOATS, Layout.TILE)  # ttnn lets integers pass, and reads their bits as another format
CACHE = Operand(FLOATS, Layout.TILE, rank=4)


@op("experimental.rotary_embedding_hf", input_tensor=TURNED, cos_cache=CACHE, sin_cache=CACHE)
def rotary_embedding_hf(
    input_tensor: Tensor,
    cos_cache: Tensor,
    sin_cache: Tensor,
    *,
    is_decode_mode: bool = False,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """X * cos + (-x2, x1) * sin, where x [..., S, D] is (x1, x2); cos and sin are [1, 1, S or more, D]."""
    check(len(input_tensor.shape) > 1, f"{NAME}: the input must be [..., tokens, features]")
    if is_decode_mode:
        raise unmodelled(f"{NAME}: decode mode, which takes shards")
    width, tokens = input_tensor.shape[-1], input_tensor.shape[-2]
    check(
        width == TILE_SIZE or width % (2 * TILE_SIZE) == 0,
        f"{NAME}: Input X dim ({width}) must be either {TILE_SIZE} (single tile) or divisible by {2 * TILE_SIZE} "
        "(rotate_half midpoint must align with a tile boundary).",
        "Turn the halves with a product: x * cos + (x @ swap) * sin",
    )
    check(cos_cache.dtype is sin_cache.dtype, f"{NAME}: Cos and Sin dtypes must match")
    check(cos_cache.padded_shape == sin_cache.padded_shape, f"{NAME}: Cos and Sin shapes must match")
    check(
        cos_cache.shape[0] == 1 and cos_cache.padded_shape[3] == width,
        f"{NAME}: Cos dims must match input dims: {list(cos_cache.shape)} and {list(input_tensor.shape)}",
    )
    # ttnn looks at padded shapes alone, and multiplies with what fills the tiles.
    check(
        cos_cache.shape[3] == sin_cache.shape[3] == width,
        f"{NAME}: Cos and Sin must be as wide as the input, {width}, not {cos_cache.shape[3]} and "
        f"{sin_cache.shape[3]}",
    )
    check(cos_cache.shape[1] == 1, f"{NAME}: Cos must have batch dim = 1 in prefill mode")
    for name, cache in (("Cos", cos_cache), ("Sin", sin_cache)):
        check(
            cache.shape[2] >= tokens,
            f"{NAME}: {name} seq_len must be >= input seq_len. Input seq_len: {tokens}, {name} seq_len: "
            f"{cache.shape[2]}.",
        )
    modelled(compute_kernel_config, input_tensor, NAME)
    x, half = input_tensor.array, width // 2
    swapped = np.concatenate([-x[..., half:], x[..., :half]], -1)
    cos, sin = (cache.array[0, 0, :tokens] for cache in (cos_cache, sin_cache))
    y = x * cos + swapped * sin
    padding = WILD if input_tensor.wild else FINITE
    return result(y, input_tensor, padding=padding, memory=memory_config, op=NAME)

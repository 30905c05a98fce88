"""Keys and values of earlier tokens: ttnn.update_cache."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.dtypes import TILE_SIZE, DataType, Layout
from ttmlc_runtime.emulator.ops.result import modelled
from ttmlc_runtime.emulator.ops.table import Operand, op, unsigned
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.update_cache"
KEPT = Operand(frozenset({DataType.FLOAT32, DataType.BFLOAT16, DataType.BFLOAT8_B}), Layout.TILE, rank=4)


@op("update_cache", cache=KEPT, input=KEPT)
def update_cache(
    cache: Tensor,
    input: Tensor,  # noqa: A002  # ttnn's name
    update_idx: int,
    *,
    batch_offset: int = 0,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> Tensor:
    """Write [1, heads, B, D] into a cache [B, heads, T, D] at token ``update_idx``, in place; the cache itself."""
    unsigned(NAME, "update_idx", update_idx)
    unsigned(NAME, "batch_offset", batch_offset)
    batch, heads, tokens, width = cache.shape
    one, same, rows, wide = input.shape
    check(
        one == 1,
        f"{NAME}: Input tensor batch size must be 1 but got {one}",
        "Swap rows and tokens: ttnn.permute(x, (2, 1, 0, 3))",
    )
    check(
        same == heads,
        f"{NAME}: Input tensor height ({same}) must equal cache tensor height ({heads})",
    )
    check(wide == width, f"{NAME}: Input tensor width ({wide}) must equal cache tensor width ({width})")
    check(update_idx < tokens, f"{NAME}: token {update_idx} of a cache of {tokens} tokens")
    check(
        batch_offset + batch <= rows,
        f"{NAME}: Cache tensor batch size ({batch}) from row {batch_offset} on must be <= input tensor height ({rows})",
    )
    check(
        -(-rows // TILE_SIZE) == -(-batch // TILE_SIZE),
        f"{NAME}: Input batch height ({rows}) must equal cache batch ({batch}), both rounded up to a tile",
    )
    if cache.dtype.is_block and tokens % TILE_SIZE:
        raise unmodelled(f"{NAME}: a cache in blocks that does not fill its tiles")
    if compute_kernel_config is not None or cache.dtype is DataType.FLOAT32:  # what is narrower is only moved
        modelled(compute_kernel_config, cache, NAME)
    array = np.array(cache.array)
    array[:, :, update_idx] = input.array[0, :, batch_offset : batch_offset + batch].swapaxes(0, 1)
    cache.write(array, cache.padding)
    return cache.alias()

"""Rounding to what a device tensor can hold.

bfloat16 rounds to nearest, ties to even. The block formats keep one exponent for sixteen neighbours of a row (the
width of a tile's face) and a sign and 7 (bfloat8_b) or 3 (bfloat4_b) bits of magnitude for each; the largest of the
sixteen sets the exponent, and what a smaller one loses is rounded to nearest, ties to even.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import DataType

Array = np.ndarray[Any, Any]

BLOCK = 16
MAGNITUDE_BITS = {DataType.BFLOAT8_B: 7, DataType.BFLOAT4_B: 3}


def round_bfloat16(values: Array) -> Array:
    """float32 values rounded to bfloat16, still as float32; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    result = rounded.view(np.float32)
    return np.where(np.isnan(values), np.float32(np.nan), result) if np.isnan(values).any() else result


def round_block(values: Array, dtype: DataType) -> Array:
    """float32 values rounded to a block format along the last axis, still as float32."""
    magnitude = MAGNITUDE_BITS[dtype]
    width = values.shape[-1] if values.ndim else 1
    padded = np.zeros((*values.shape[:-1], -(-width // BLOCK) * BLOCK), np.float32)
    padded[..., :width] = values
    blocks = padded.reshape(-1, BLOCK)
    bits = blocks.view(np.uint32)
    exponents = ((bits >> np.uint32(23)) & np.uint32(0xFF)).astype(np.int32)
    shared = exponents.max(axis=1, keepdims=True)
    mantissas = (
        (bits & np.uint32(0x7FFFFF)) | np.where(exponents > 0, np.uint32(1 << 23), np.uint32(0))
    ).astype(np.int64)
    # 24 bits of magnitude, moved down to the shared exponent, then to the bits that are kept.
    drop = (24 - magnitude) + np.minimum(shared - exponents, 31)
    kept = _round_shift(mantissas, drop)
    kept = np.minimum(kept, (1 << magnitude) - 1)
    result = kept.astype(np.float64) * np.exp2((shared - 127 - (magnitude - 1)).astype(np.float64))
    signed = np.where(bits >> np.uint32(31) == 1, -result, result).astype(np.float32)
    return signed.reshape(padded.shape)[..., :width]


def _round_shift(values: Array, places: Array) -> Array:
    """``values`` shifted right, rounded to nearest, ties to even."""
    places = places.astype(np.int64)
    down = values >> places
    lost, half = values & ((np.int64(1) << places) - 1), np.int64(1) << (places - 1)
    return down + ((lost > half) | ((lost == half) & (down & 1 == 1)))


def to_dtype(values: Array, dtype: DataType) -> Array:
    """``values`` as a device of that dtype would hold them: float32 for floats, the integer type for integers."""
    if dtype is DataType.BFLOAT16:
        return round_bfloat16(values.astype(np.float32, copy=False))
    if dtype is DataType.FLOAT32:
        return values.astype(np.float32, copy=False)
    if dtype.is_block:
        return round_block(np.ascontiguousarray(values, np.float32), dtype)
    return values.astype(np.dtype(dtype.value), copy=False)

"""Rounding to what a device tensor can hold, bit for bit as ttnn's host packs.

bfloat16 is the upper half of a float32, rounded to nearest, ties to even. The block formats keep one exponent for
sixteen neighbours of a row (the width of a tile's face), and for each a sign and 7 (bfloat8_b) or 3 (bfloat4_b) bits
of magnitude; the largest of the sixteen sets the exponent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import DataType

Array = np.ndarray[Any, Any]

BLOCK = 16
MAGNITUDE_BITS = {DataType.BFLOAT8_B: 7, DataType.BFLOAT4_B: 3}


def rounded(values: Array, dtype: DataType) -> Array:
    """float32 ``values`` as a tensor of a float label holds them, still as float32."""
    if dtype is DataType.BFLOAT16:
        return round_bfloat16(values)
    return round_block(values, MAGNITUDE_BITS[dtype]) if dtype.is_block else values


def round_bfloat16(values: Array) -> Array:
    """float32 values rounded to bfloat16, still as float32; a NaN stays one."""
    bits = np.require(values, requirements="C").view(np.uint32)
    result = np.asarray(bits >> np.uint32(16))
    result &= np.uint32(1)
    result += np.uint32(0x7FFF)
    result += bits
    result &= np.uint32(0xFFFF0000)
    # Adding carries a NaN into nonsense: every NaN becomes the one that ttnn's host writes.
    nan = np.isnan(values)
    if nan.any():
        result[nan] = np.uint32(0x7FC00000)
    return result.view(np.float32)


def round_block(values: Array, magnitude: int) -> Array:
    """float32 values rounded to a block format along the last axis, still as float32."""
    width = values.shape[-1] if values.ndim else 1
    padded = np.zeros((*values.shape[:-1], -(-width // BLOCK) * BLOCK), np.float32)
    padded[..., :width] = values
    bits = padded.reshape(-1, BLOCK).view(np.uint32)
    exponents = (bits >> np.uint32(23)).astype(np.int64) & 0xFF
    shared = exponents.max(axis=1, keepdims=True)
    # The leading one is written out, so that a shift brings each value down to the shared exponent.
    mantissas = (bits & np.uint32(0x7FFFFF)).astype(np.int64) | (1 << 23)
    mantissas[exponents == 0] = 0  # subnormals are nothing to the device
    kept = _to_nearest(mantissas >> np.minimum(shared - exponents, 31), 24 - magnitude)
    kept = np.minimum(kept, (1 << magnitude) - 1)
    result = np.ldexp(kept.astype(np.float64), shared - 127 - (magnitude - 1))
    result[(exponents == 0xFF) & (kept > 1 << (magnitude - 1))] = np.nan
    negative = (bits >> np.uint32(31) == 1) & (kept > 0)  # zero has no sign here
    with np.errstate(over="ignore"):  # beyond float32 lies infinity
        signed = np.where(negative, -result, result).astype(np.float32)
    return signed.reshape(padded.shape)[..., :width].reshape(values.shape)


def _to_nearest(values: Array, places: int) -> Array:
    """``values`` shifted right by ``places`` bits, rounded to nearest, ties to even."""
    down, lost, half = values >> places, values & ((1 << places) - 1), 1 << (places - 1)
    return down + ((lost > half) | ((lost == half) & (down & 1 == 1)))


def to_integers(values: Array, dtype: DataType) -> Array:
    """``values`` as integers of that label: towards zero, and modulo its range, as the host converts."""
    kind = np.dtype(dtype.value)
    if values.dtype == kind:
        return values
    if values.dtype.kind == "f":
        # What x86 answers: an int32 that does not hold a number is the least one, and what an unsigned label makes of
        # a number goes by way of wider integers, of which uint16 and uint8 take the nearest they hold.
        if dtype is DataType.INT32:
            return _whole(values, np.int32)
        if dtype is DataType.UINT32:
            return _whole(values, np.int64).astype(np.uint64).astype(np.uint32)
        narrow = np.iinfo(kind)
        return np.clip(_whole(values, np.int32), narrow.min, narrow.max).astype(kind)
    return values.astype(kind)


def _whole(values: Array, kind: type[np.signedinteger[Any]]) -> Array:
    """Floats cut to integers; what the type does not hold, and NaN, is its least."""
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # which holds the bounds
    least = -(2.0 ** (np.iinfo(kind).bits - 1))
    with np.errstate(invalid="ignore"):
        inside = (values >= least) & (values < -least)
        return np.where(inside, values, least).astype(kind)

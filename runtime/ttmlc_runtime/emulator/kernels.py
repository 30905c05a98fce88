"""Row kernels: what numpy would do in several passes over memory, done in one where numba can compile it.

The compiled ones (``rows``) are for float32. Without numba, and in float64, numpy does the same in more passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.packing import round_bfloat16 as _round_in_numpy
from ttmlc_runtime.emulator.threads import over_rows

Array = np.ndarray[Any, Any]

FUSED = ("identity", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "exp", "erf")
"""Functions that the compiled kernel can apply as it adds a bias, in the order of its codes."""


@lru_cache(maxsize=1)
def _compiled() -> ModuleType | None:
    try:
        from ttmlc_runtime.emulator import rows
    except ImportError:
        return None
    return rows


def _rows_for(values: Array) -> ModuleType | None:
    return _compiled() if values.dtype == np.float32 else None


def activate(y: Array, bias: Array | None, function: str = "identity") -> Array:
    """function(y + bias) in place over rows of ``y`` [rows, columns]; ``function`` is one of ``FUSED``."""
    if bias is None and function == "identity":
        return y
    rows = _rows_for(y)
    if rows is None:
        if bias is not None:
            y += bias
        if function != "identity":
            y[...] = apply(function, y)
        return y
    code = FUSED.index(function)
    vector = np.zeros(y.shape[1], np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
    over_rows(lambda first, last: rows.activate(y, vector, code, first, last), y.shape[0], y.size)
    return y


BLOCK = 1 << 15
"""Elements of a block: three operands and what numpy makes on the way stay in a core's cache."""


def in_blocks(compute: Callable[..., Any], values: Sequence[Any], out: Array) -> Array:
    """``compute`` of flat arrays of one length and of numbers, block by block and on each core, into ``out``."""

    def share(first: int, last: int) -> None:
        with np.errstate(all="ignore"):  # which holds for a thread
            for start in range(first, last, BLOCK):
                place = slice(start, min(start + BLOCK, last))
                out[place] = compute(*(value[place] if np.ndim(value) else value for value in values))

    over_rows(share, out.size, out.size)
    return out


def mapped(function: str, x: Array) -> Array:
    """A new array: one of ``FUSED`` of every element."""
    rows = _rows_for(x)
    if rows is None:
        row = np.array(x, order="C").reshape(1, -1)
        return activate(row, None, function).reshape(x.shape)
    flat, out, code = (
        np.ascontiguousarray(x).reshape(-1),
        np.empty(x.shape, np.float32),
        FUSED.index(function),
    )
    into = out.reshape(-1)
    over_rows(lambda first, last: rows.map_into(flat, into, code, first, last), x.size, x.size)
    return out


def apply(function: str, x: Array) -> Array:
    """One of ``FUSED`` in numpy, in the precision of ``x``."""
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    if function == "relu":
        return np.maximum(x, 0)
    if function == "gelu":
        return half * x * (one + erf(x * x.dtype.type(math.sqrt(0.5))))
    if function == "gelu_tanh":
        inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x * x * x)
        return half * x * (one + np.tanh(inner))
    if function == "silu":
        return x * sigmoid(x)
    plain: dict[str, Callable[[Array], Array]] = {
        "identity": np.copy,
        "tanh": np.tanh,
        "sigmoid": sigmoid,
        "exp": np.exp,
        "erf": erf,
    }
    return plain[function](x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, x.dtype.type(1), small) / (x.dtype.type(1) + small)


def erf(x: Array) -> Array:
    """The error function, from float64."""
    rows = _compiled()
    flat = np.ascontiguousarray(x, np.float64).reshape(-1)
    if rows is None:
        return np.array([math.erf(value) for value in flat], np.float64).reshape(x.shape).astype(x.dtype)
    out = np.empty_like(flat)
    over_rows(lambda first, last: rows.erf64(flat, out, first, last), flat.size, flat.size)
    return out.reshape(x.shape).astype(x.dtype, copy=False)


def normalise(
    x: Array, residual: Array | None, weight: Array | None, bias: Array | None, eps: float, *, centre: bool
) -> Array:
    """(x + residual - mean) / sqrt(variance + eps) * weight + bias over the last axis.

    Without ``centre`` no mean is taken, which makes it the RMS norm. Sums are in float32 or wider.
    """
    width = x.shape[-1]
    rows = _rows_for(x)
    if rows is not None:
        out = np.empty(x.shape, np.float32)
        scale = np.ones(width, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
        shift = np.zeros(width, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
        flat, target = np.ascontiguousarray(x).reshape(-1, width), out.reshape(-1, width)
        other = flat if residual is None else np.ascontiguousarray(residual).reshape(-1, width)
        added, small = residual is not None, np.float32(eps)
        over_rows(
            lambda first, last: rows.normalise(
                flat, other, added, centre, scale, shift, small, target, first, last
            ),
            flat.shape[0],
            flat.size,
        )
        return out
    total = x if residual is None else x + residual
    if centre:
        total = total - total.mean(-1, keepdims=True)
    y = total / np.sqrt((total * total).mean(-1, keepdims=True) + x.dtype.type(eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def softmax(x: Array, scale: float = 1.0, mask: Array | None = None, *, causal: bool = False) -> Array:
    """softmax(x * scale + mask) over the last axis of ``x`` [B, H, S, K], in place where it is compiled.

    ``mask`` is [B or 1, H or 1, S or 1, K]. ``causal`` hides the keys after a query's own place.
    """
    rows = _rows_for(x)
    if rows is not None and x.flags.c_contiguous:
        added = np.zeros((1, 1, 1, x.shape[-1]), np.float32) if mask is None else np.asarray(mask, np.float32)
        factor, total = np.float32(scale), x.shape[0] * x.shape[1] * x.shape[2]
        over_rows(lambda first, last: rows.softmax(x, factor, added, causal, first, last), total, x.size)
        return x
    y = x * x.dtype.type(scale)
    y = y if mask is None else y + mask
    if causal:
        y = np.where(np.tri(*x.shape[-2:]) > 0, y, x.dtype.type(-np.inf))
    y = np.exp(y - y.max(-1, keepdims=True))
    return y / y.sum(-1, keepdims=True)


def softmax_of(x: Array) -> Array:
    """A new array: softmax over the last axis."""
    rows = _rows_for(x)
    if rows is None:
        return softmax(np.array(x, order="C").reshape(1, 1, -1, x.shape[-1])).reshape(x.shape)
    out, flat = np.empty(x.shape, np.float32), np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    into = out.reshape(flat.shape)
    over_rows(lambda first, last: rows.softmax_into(flat, into, first, last), len(flat), x.size)
    return out


def round_bfloat16(values: Array, *, in_place: bool = False) -> Array:
    """float32 values rounded to bfloat16, still as float32."""
    rows = _compiled() if values.size >= 1 << 14 else None  # not worth importing numba for little
    if rows is None:
        return _round_in_numpy(values)
    result = (
        values
        if in_place and values.flags.c_contiguous and values.flags.writeable
        else np.array(values, order="C")
    )
    bits = result.reshape(-1).view(np.uint32)
    over_rows(lambda first, last: rows.round_bfloat16(bits, first, last), bits.size, bits.size)
    return result

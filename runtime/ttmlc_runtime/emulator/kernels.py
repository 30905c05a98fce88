"""Compiled row kernels: what numpy would do in several passes over memory, done in one.

numba is imported when a kernel is first asked for. Without it, or in float64, plain numpy does the same in more
passes. Kernels run on the caller's thread: they are bound by memory, and the threads of a BLAS, which spin for a
while after each product, would take turns with any of ours (measured: six times the time for a bias and GELU).

exp and erf are written out so that the compiler can vectorise them: exp by splitting off a power of two and a
polynomial of degree 6 (Cephes expf, 1 ulp), erf by the rational approximation of Eigen and XLA (clamped at 4,
2 ulp). Both are tested against float64.
"""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import pool

Array = np.ndarray[Any, Any]

NONE, RELU, GELU, GELU_TANH, SILU, TANH, SIGMOID = range(7)
CODES = {"relu": RELU, "gelu": GELU, "gelu_tanh": GELU_TANH, "silu": SILU, "tanh": TANH, "sigmoid": SIGMOID}


def compiled(dtype: np.dtype[Any]) -> SimpleNamespace | None:
    """The compiled kernels for ``dtype``, or None where numpy has to do."""
    return _kernels() if dtype == np.float32 else None


@lru_cache(maxsize=1)
def _kernels() -> SimpleNamespace | None:
    try:
        from ttmlc_runtime.emulator import rows
    except ImportError:
        return None
    return SimpleNamespace(
        bias_activation=rows.bias_activation, layer_norm=rows.layer_norm, softmax=rows.softmax
    )


def bias_activation(y: Array, bias: Array | None, activation: str | None) -> Array:
    """activation(y + bias) in place; y is [rows, columns], bias [columns].

    ``activation`` is a ttnn name: relu, gelu (erf), gelu_tanh, silu, tanh, sigmoid.
    """
    if bias is None and activation is None:
        return y
    fast = compiled(y.dtype)
    if fast is not None and y.flags.c_contiguous:
        code = CODES[activation] if activation else NONE
        vector = np.zeros(y.shape[-1], np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
        flat = y.reshape(-1, y.shape[-1])
        fast.bias_activation(flat, vector, code)
        return y
    if bias is not None:
        y = y + bias
    return apply(activation, y) if activation else y


def apply(activation: str, x: Array) -> Array:
    """A ttnn activation in numpy, in the precision of ``x``."""
    if activation == "relu":
        return np.maximum(x, 0)
    if activation == "gelu":
        return x * 0.5 * (1 + erf(x * np.sqrt(0.5).astype(x.dtype)))
    if activation == "gelu_tanh":
        return (
            0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + x.dtype.type(0.044715) * x**3)))
        )
    if activation == "silu":
        return x * sigmoid(x)
    if activation == "tanh":
        return np.tanh(x)
    if activation == "sigmoid":
        return sigmoid(x)
    raise KeyError(activation)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def erf(x: Array) -> Array:
    """The error function, correctly rounded from float64."""
    import math

    return np.vectorize(math.erf, otypes=[np.float64])(x.astype(np.float64)).astype(x.dtype) if x.size else x


def layer_norm(
    x: Array, residual: Array | None, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    """(x + residual - mean) / sqrt(variance + eps) * weight + bias over the last axis."""
    width = x.shape[-1]
    fast = compiled(x.dtype)
    if fast is not None:
        out = pool.empty(x.shape, np.dtype(np.float32))
        scale = np.ones(width, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
        shift = np.zeros(width, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
        flat = np.ascontiguousarray(x).reshape(-1, width)
        other = flat if residual is None else np.ascontiguousarray(residual).reshape(-1, width)
        into = out.reshape(-1, width)
        fast.layer_norm(
            flat,
            other,
            residual is not None,
            scale,
            shift,
            np.float32(eps),
            into,
        )
        return out
    total = x if residual is None else x + residual
    centred = total - total.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + x.dtype.type(eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def softmax(x: Array, scale: float = 1.0, mask: Array | None = None) -> Array:
    """softmax(x * scale + mask) over the last axis, in place where compiled; x is [B, H, Sq, Sk].

    ``mask`` is [B or 1, H or 1, Sq or 1, Sk].
    """
    fast = compiled(x.dtype)
    if fast is not None and x.ndim == 4 and x.flags.c_contiguous:
        added = (
            np.zeros((1, 1, 1, x.shape[-1]), np.float32)
            if mask is None
            else mask.astype(np.float32, copy=False)
        )
        fast.softmax(x, np.float32(scale), added)
        return x
    y = x * x.dtype.type(scale)
    y = y if mask is None else y + mask
    y = np.exp(y - y.max(-1, keepdims=True))
    return y / y.sum(-1, keepdims=True)

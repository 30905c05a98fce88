# mypy: disable-error-code="untyped-decorator,no-untyped-call"
"""The kernels themselves, compiled by numba when they are first called; see ``kernels``."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int32, njit
from numba.extending import intrinsic

Array = Any
F = np.float32


@intrinsic
def _bits_as_float(typing: Any, value: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return float32(int32), code


@njit(inline="always")
def _exp(x: Any) -> Any:
    x = min(max(x, F(-87.3)), F(88.3))
    n = np.floor(x * F(1.4426950408889634) + F(0.5))
    r = (x - n * F(0.693359375)) - n * F(-2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    y = p * r * r + r + F(1.0)
    power: Any = _bits_as_float((int32(n) + int32(127)) << int32(23))  # type: ignore[call-arg]  # numba adds the first
    return y * power


@njit(inline="always")
def _erf(x: Any) -> Any:
    x = min(max(x, F(-4.0)), F(4.0))
    s = x * x
    p = F(-2.72614225801306e-10)
    p = p * s + F(2.77068142495902e-08)
    p = p * s + F(-2.10102402082508e-06)
    p = p * s + F(-5.69250639462346e-05)
    p = p * s + F(-7.34990630326855e-04)
    p = p * s + F(-2.95459980854025e-03)
    p = p * s + F(-1.60960333262415e-02)
    q = F(-1.45660718464996e-05)
    q = q * s + F(-2.13374055278905e-04)
    q = q * s + F(-1.68282697438203e-03)
    q = q * s + F(-7.37332916720468e-03)
    q = q * s + F(-1.42647390514189e-02)
    return x * p / q


@njit(inline="always")
def _sigmoid(x: Any) -> Any:
    return F(1.0) / (F(1.0) + _exp(-x))


@njit(inline="always")
def _tanh(x: Any) -> Any:
    # 2 sigmoid(2x) - 1 loses digits near 0, where the odd series is exact to float32.
    s = x * x
    near = x * (F(1.0) + s * (F(-0.33333334) + s * (F(0.13333334) + s * F(-0.05396825))))
    far = F(2.0) / (F(1.0) + _exp(F(-2.0) * x)) - F(1.0)
    return near if abs(x) < F(0.25) else far


@njit(cache=True, nogil=True)
def bias_activation(y: Array, bias: Array, code: int) -> None:
    """y[i, j] = f(y[i, j] + bias[j]) in place; ``code`` names f."""
    rows, columns = y.shape
    for i in range(rows):
        row = y[i]
        if code == 0:
            for j in range(columns):
                row[j] = row[j] + bias[j]
        elif code == 1:
            for j in range(columns):
                row[j] = max(row[j] + bias[j], F(0.0))
        elif code == 2:
            for j in range(columns):
                x = row[j] + bias[j]
                row[j] = F(0.5) * x * (F(1.0) + _erf(x * F(0.7071067811865476)))
        elif code == 3:
            for j in range(columns):
                x = row[j] + bias[j]
                row[j] = F(0.5) * x * (F(1.0) + _tanh(F(0.7978845608028654) * (x + F(0.044715) * x * x * x)))
        elif code == 4:
            for j in range(columns):
                x = row[j] + bias[j]
                row[j] = x * _sigmoid(x)
        elif code == 5:
            for j in range(columns):
                row[j] = _tanh(row[j] + bias[j])
        else:
            for j in range(columns):
                row[j] = _sigmoid(row[j] + bias[j])


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def layer_norm(
    x: Array,
    residual: Array,
    added: bool,
    weight: Array,
    bias: Array,
    eps: Any,
    out: Array,
) -> None:
    """out = layer_norm(x + residual): two passes over a row that stays in cache."""
    rows, columns = x.shape
    for i in range(rows):
        target = out[i]
        total = F(0.0)
        if added:
            for j in range(columns):
                value = x[i, j] + residual[i, j]
                target[j] = value
                total += value
        else:
            for j in range(columns):
                value = x[i, j]
                target[j] = value
                total += value
        mean = total / F(columns)
        squares = F(0.0)
        for j in range(columns):
            centred = target[j] - mean
            squares += centred * centred
        scale = F(1.0) / np.sqrt(squares / F(columns) + eps)
        for j in range(columns):
            target[j] = (target[j] - mean) * scale * weight[j] + bias[j]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def softmax(x: Array, scale: Any, mask: Array) -> None:
    """x = softmax(x * scale + mask) over the last axis, in place; mask dims of 1 are shared."""
    batch, heads, queries, keys = x.shape
    for at in range(batch * heads * queries):
        b, h, i = at // (heads * queries), at // queries % heads, at % queries
        row = x[b, h, i]
        added = mask[
            b if mask.shape[0] > 1 else 0, h if mask.shape[1] > 1 else 0, i if mask.shape[2] > 1 else 0
        ]
        peak = F(-3.4e38)
        for j in range(keys):
            row[j] = row[j] * scale + added[j]
            peak = max(peak, row[j])
        total = F(0.0)
        for j in range(keys):
            value = _exp(row[j] - peak)
            # Below the range of exp the weight is nothing at all, not the smallest number.
            value = value if row[j] - peak > F(-87.0) else F(0.0)
            row[j] = value
            total += value
        inverse = F(1.0) / total
        for j in range(keys):
            row[j] = row[j] * inverse

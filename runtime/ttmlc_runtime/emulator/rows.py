# mypy: disable-error-code="untyped-decorator"
"""The compiled kernels; ``kernels`` imports this when one is first needed, because numba takes half a second to.

Each works on rows ``first`` to ``last`` and lets go of the interpreter lock. exp, tanh and erf are written out in
float32 so that the compiler can vectorise them: exp splits off a power of two and is a polynomial of degree 6
(Cephes ``expf``); erf is Eigen's and XLA's rational approximation; tanh comes from expm1 in the same terms. Errors
against float64, measured over every 97th float32: exp 2 ulp, tanh 4 ulp, erf 6e-7 relative, gelu 2e-7 of max(1, |x|).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import float32, int32, njit
from numba.extending import intrinsic

Array = Any  # numba types arrays by itself
F = np.float32
Kernel = TypeVar("Kernel", bound=Callable[..., Any])
SUMS = {"reassoc", "contract", "nsz"}  # in sums over a row the order is free, so that they vectorise


def _compiled(function: Kernel) -> Kernel:
    options: dict[str, Any] = {"nogil": True, "fastmath": SUMS, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that a cache may be written to
        return njit(**options)(function)


def _inlined(function: Kernel) -> Kernel:
    """A function of one element. Its own arithmetic is not reordered: exp would lose what its two steps are for."""
    options: dict[str, Any] = {"forceinline": True, "fastmath": {"contract"}, "error_model": "numpy"}
    return njit(**options)(function)


@intrinsic
def _bits_as_float(typing: Any, value: Any) -> Any:
    """The float32 whose bits are those of an int32."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return float32(int32), code


_as_float: Any = _bits_as_float  # numba passes the first argument by itself


@_inlined
def _exp(x: Any) -> Any:
    """exp in float32. The power of two goes in by halves: at both ends it is beyond a float32 by itself."""
    y = min(max(x, F(-104.0)), F(89.0))
    n = np.floor(y * F(1.4426950408889634) + F(0.5))
    r = (y - n * F(0.693359375)) - n * F(-2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    z = p * r * r + r + F(1.0)
    whole = int32(n)
    half = whole >> int32(1)
    z = z * _as_float((half + int32(127)) << int32(23)) * _as_float((whole - half + int32(127)) << int32(23))
    return x if x != x else z


@_inlined
def _erfc_tail(t: Any) -> Any:
    """1 - erf(t) for t > 0.92, from a polynomial in the exponent."""
    s = t * t
    r = F(-1.72853470e-5) * t + F(3.83197126e-4)
    u = F(-3.88396438e-3) * t + F(2.42546219e-2)
    r = r * s + u
    r = r * t + F(-1.06777877e-1)
    r = r * t + F(-6.34846687e-1)
    r = r * t + F(-1.28717512e-1)
    return _exp(r * t - t)


@_inlined
def _erf_near(x: Any) -> Any:
    """erf(x) for |x| < 0.93, an odd series."""
    s = x * x
    r = F(-5.96761703e-4)
    r = r * s + F(4.99119423e-3)
    r = r * s + F(-2.67681349e-2)
    r = r * s + F(1.12819925e-1)
    r = r * s + F(-3.76125336e-1)
    r = r * s + F(1.28379166e-1)
    return r * x + x


@_inlined
def _erf(x: Any) -> Any:
    """erf in float32."""
    t = min(abs(x), F(10.0))
    far = F(1.0) - _erfc_tail(t)
    far = -far if x < F(0.0) else far
    z = far if t > F(0.927734375) else _erf_near(x)
    return x if x != x else z


@_inlined
def _sigmoid(x: Any) -> Any:
    return F(1.0) / (F(1.0) + _exp(-x))


@_inlined
def _tanh(x: Any) -> Any:
    """tanh in float32: the odd series near 0, where the other form would lose digits."""
    s = x * x
    near = F(-0.0088632358)
    near = near * s + F(0.0218694885)
    near = near * s + F(-0.0539682540)
    near = near * s + F(0.1333333333)
    near = near * s + F(-0.3333333333)
    near = x + x * s * near
    far = F(2.0) / (F(1.0) + _exp(F(-2.0) * x)) - F(1.0)
    return near if abs(x) < F(0.4) else far


@_inlined
def _gelu(x: Any) -> Any:
    """x (1 + erf(x / sqrt 2)) / 2; in the tails from 1 - erf, so that no digits cancel."""
    z = x * F(0.7071067811865476)
    t = min(abs(z), F(10.0))
    tail = F(0.5) * _erfc_tail(t)
    far = tail if x < F(0.0) else F(1.0) - tail
    near = F(0.5) + F(0.5) * _erf_near(z)
    return x * (far if t > F(0.927734375) else near)


@_inlined
def _gelu_tanh(x: Any) -> Any:
    return F(0.5) * x * (F(1.0) + _tanh(F(0.7978845608028654) * (x + F(0.044715) * x * x * x)))


@_compiled
def activate(y: Array, bias: Array, code: int, first: int, last: int) -> None:
    """y[i, j] = f(y[i, j] + bias[j]) in place; ``code`` is the index of f in ``kernels.FUSED``."""
    columns = y.shape[1]
    for i in range(first, last):
        row = y[i]
        if code == 0:
            for j in range(columns):
                row[j] = row[j] + bias[j]
        elif code == 1:
            for j in range(columns):
                row[j] = max(row[j] + bias[j], F(0.0))
        elif code == 2:
            for j in range(columns):
                row[j] = _gelu(row[j] + bias[j])
        elif code == 3:
            for j in range(columns):
                row[j] = _gelu_tanh(row[j] + bias[j])
        elif code == 4:
            for j in range(columns):
                x = row[j] + bias[j]
                row[j] = x * _sigmoid(x)
        elif code == 5:
            for j in range(columns):
                row[j] = _tanh(row[j] + bias[j])
        elif code == 6:
            for j in range(columns):
                row[j] = _sigmoid(row[j] + bias[j])
        elif code == 7:
            for j in range(columns):
                row[j] = _exp(row[j] + bias[j])
        else:
            for j in range(columns):
                row[j] = _erf(row[j] + bias[j])


@_compiled
def map_into(x: Array, out: Array, code: int, first: int, last: int) -> None:
    """out = f(x) of flat arrays that share no memory; ``code`` as of ``activate``."""
    source, into = x[first:last], out[first:last]
    if code == 0:
        for j in range(into.size):
            into[j] = source[j]
    elif code == 1:
        for j in range(into.size):
            into[j] = max(source[j], F(0.0))
    elif code == 2:
        for j in range(into.size):
            into[j] = _gelu(source[j])
    elif code == 3:
        for j in range(into.size):
            into[j] = _gelu_tanh(source[j])
    elif code == 4:
        for j in range(into.size):
            into[j] = source[j] * _sigmoid(source[j])
    elif code == 5:
        for j in range(into.size):
            into[j] = _tanh(source[j])
    elif code == 6:
        for j in range(into.size):
            into[j] = _sigmoid(source[j])
    elif code == 7:
        for j in range(into.size):
            into[j] = _exp(source[j])
    else:
        for j in range(into.size):
            into[j] = _erf(source[j])


@_compiled
def softmax_into(x: Array, out: Array, first: int, last: int) -> None:
    """out = softmax(x) over each row; the two share no memory."""
    columns = x.shape[1]
    for i in range(first, last):
        row, target = x[i], out[i]
        peak = F(-np.inf)
        for j in range(columns):
            peak = max(peak, row[j])
        total = F(0.0)
        for j in range(columns):
            value = _exp(row[j] - peak)
            target[j] = value
            total += value
        inverse = F(1.0) / total
        for j in range(columns):
            target[j] = target[j] * inverse


@_compiled
def normalise(
    x: Array,
    residual: Array,
    added: bool,
    centre: bool,
    weight: Array,
    bias: Array,
    eps: Any,
    out: Array,
    first: int,
    last: int,
) -> None:
    """out = (x + residual - mean) / sqrt(variance + eps) * weight + bias; without ``centre`` no mean is taken."""
    columns = x.shape[1]
    for i in range(first, last):
        row, target = x[i], out[i]
        total = F(0.0)
        if added:
            other = residual[i]
            for j in range(columns):
                target[j] = row[j] + other[j]
        else:
            for j in range(columns):
                target[j] = row[j]
        if centre:
            for j in range(columns):
                total += target[j]
        mean = total / F(columns)
        squares = F(0.0)
        for j in range(columns):
            centred = target[j] - mean
            squares += centred * centred
        scale = F(1.0) / np.sqrt(squares / F(columns) + eps)
        for j in range(columns):
            target[j] = (target[j] - mean) * scale * weight[j] + bias[j]


@_compiled
def softmax(x: Array, scale: Any, mask: Array, causal: bool, first: int, last: int) -> None:
    """x = softmax(x * scale + mask) over the last axis, in place; ``first`` and ``last`` count rows of [B, H, S, K].

    Dims of 1 in ``mask`` are shared. ``causal`` hides the keys after a query's own place.
    """
    _, heads, queries, keys = x.shape
    for at in range(first, last):
        b, h, i = at // (heads * queries), at // queries % heads, at % queries
        row = x[b, h, i]
        added = mask[
            b if mask.shape[0] > 1 else 0, h if mask.shape[1] > 1 else 0, i if mask.shape[2] > 1 else 0
        ]
        seen = min(i + 1, keys) if causal else keys
        peak = F(-np.inf)
        for j in range(seen):
            row[j] = row[j] * scale + added[j]
            peak = max(peak, row[j])
        total = F(0.0)
        for j in range(seen):
            value = _exp(row[j] - peak)
            row[j] = value
            total += value
        inverse = F(1.0) / total
        for j in range(seen):
            row[j] = row[j] * inverse
        for j in range(seen, keys):
            row[j] = F(0.0)


@_compiled
def round_bfloat16(bits: Array, first: int, last: int) -> None:
    """The bits of float32 values rounded to bfloat16, in place."""
    for i in range(first, last):
        b = bits[i]
        odd = np.uint32((b >> np.uint32(16)) & np.uint32(1))
        r = np.uint32(np.uint32(b + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000))
        bits[i] = np.uint32(0x7FC00000) if np.uint32(b & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000) else r


@_compiled
def erf64(x: Array, out: Array, first: int, last: int) -> None:
    """erf in float64, as the C library has it."""
    for i in range(first, last):
        out[i] = math.erf(x[i])

"""Kernels of training: compiled for float32, in numpy for float64 and where there is no numba; see ``kernels``."""

from __future__ import annotations

import math
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.threads import over_rows

Array = np.ndarray[Any, Any]

SLOPES = ("gelu", "gelu_tanh", "tanh", "sigmoid")
"""Functions whose derivative is compiled, in the order of its codes."""
WORDS = 1 << 32


@lru_cache(maxsize=1)
def _compiled() -> ModuleType | None:
    try:
        from ttmlc_runtime.emulator import gradient_rows
    except ImportError:
        return None
    return gradient_rows


def _rows_for(*values: Array) -> ModuleType | None:
    return _compiled() if all(array.dtype == np.float32 for array in values) else None


def _flat(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1)


def scale_by_slope(dy: Array, x: Array, function: str) -> Array:
    """A new array: dy f'(x), element by element; ``function`` is one of ``SLOPES``."""
    rows = _rows_for(dy, x)
    if rows is None:
        return np.asarray(dy * _slope(function, x))
    out, code = np.empty(x.shape, np.float32), SLOPES.index(function)
    grad, at, into = _flat(dy), _flat(x), out.reshape(-1)
    over_rows(lambda first, last: rows.scale_by_slope(grad, at, into, code, first, last), x.size, x.size)
    return out


def _slope(function: str, x: Array) -> Array:
    """f'(x) in numpy."""
    kind = x.dtype.type
    if function == "gelu":
        density = np.exp(x * x * kind(-0.5)) * kind(1 / math.sqrt(2 * math.pi))
        return kind(0.5) * (kind(1) + kernels.erf(x * kind(math.sqrt(0.5)))) + x * density
    if function == "gelu_tanh":  # x sigmoid(z) for an odd polynomial z
        root, cubic = kind(2 * math.sqrt(2 / math.pi)), kind(0.044715)
        z = root * (x + cubic * x * x * x)
        return kernels.sigmoid(z) + x * _bell(z) * root * (kind(1) + kind(3) * cubic * x * x)
    if function == "tanh":
        return kind(4) * _bell(kind(2) * x)
    return _bell(x)


def _bell(x: Array) -> Array:
    """sigmoid(x) (1 - sigmoid(x)), from exp(-abs(x)), so that no digits cancel in the tails."""
    small = np.exp(-np.abs(x))
    return np.asarray(small / np.square(x.dtype.type(1) + small))


def _seeded(seed: int) -> tuple[int, int]:
    """Two words out of a seed, by the finaliser of splitmix64."""
    z = (seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    z ^= z >> 31
    return z % WORDS, z // WORDS


def dropout(x: Array, probability: float, scale: float, seed: int) -> Array:
    """A new array: x * scale, and 0 where an element is dropped.

    What is dropped follows from the seed and the element's number alone: the number plus one word of the seed is
    hashed, with the other word hashed again, and compared.
    """
    threshold = round(min(max(probability, 0.0), 1.0) * WORDS)
    if threshold >= WORDS:
        return np.zeros(x.shape, x.dtype)
    start, middle = map(np.uint32, _seeded(seed))
    factor, bound = x.dtype.type(scale), np.uint32(threshold)
    out = np.empty(x.shape, x.dtype)
    source, into = _flat(x), out.reshape(-1)
    rows = _rows_for(x)
    if rows is not None:
        over_rows(
            lambda first, last: rows.drop_out(source, into, factor, bound, start, middle, first, last),
            x.size,
            x.size,
        )
        return out
    h = np.arange(x.size, dtype=np.uint32)
    h += start
    _mix(h)
    h ^= middle
    _mix(h)
    into[:] = np.where(h >= bound, source * factor, x.dtype.type(0))
    return out


def _mix(h: Array) -> None:
    """The same bijection of 32 bits as the compiled one, in place."""
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)


def normalise(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """(x - mean) rstd weight + bias over the last axis, the mean, and rstd = 1 / sqrt(variance + eps)."""
    width = x.shape[-1]
    rows = _rows_for(x)
    if rows is None:
        mean = x.mean(-1, keepdims=True)
        centred = x - mean
        rstd = x.dtype.type(1) / np.sqrt((centred * centred).mean(-1, keepdims=True) + x.dtype.type(eps))
        y = centred * rstd
        y = y if weight is None else y * weight
        return y if bias is None else y + bias, mean[..., 0], rstd[..., 0]
    scale = np.ones(width, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
    shift = np.zeros(width, np.float32) if bias is None else np.ascontiguousarray(bias, np.float32)
    out, mean, rstd = np.empty(x.shape, np.float32), *np.empty((2, *x.shape[:-1]), np.float32)
    flat, target = np.ascontiguousarray(x).reshape(-1, width), out.reshape(-1, width)
    means, scales, small = mean.reshape(-1), rstd.reshape(-1), np.float32(eps)
    over_rows(
        lambda first, last: rows.normalise_with_statistics(
            flat, scale, shift, small, target, means, scales, first, last
        ),
        flat.shape[0],
        flat.size,
    )
    return out, mean, rstd


def normalise_backward(
    dy: Array, x: Array, mean: Array, rstd: Array, weight: Array | None, *, inner: bool
) -> tuple[Array | None, Array, Array]:
    """The gradients of x (None unless ``inner``), of the weight and of the bias."""
    width = x.shape[-1]
    rows = _rows_for(dy, x, mean, rstd)
    if rows is None:
        normed = (x - mean[..., None]) * rstd[..., None]
        axes = tuple(range(x.ndim - 1))
        weighted = dy if weight is None else dy * weight
        along = weighted.mean(-1, keepdims=True)
        across = (weighted * normed).mean(-1, keepdims=True)
        dx = rstd[..., None] * (weighted - along - normed * across) if inner else None
        return dx, (dy * normed).sum(axes), dy.sum(axes)
    scale = np.ones(width, np.float32) if weight is None else np.ascontiguousarray(weight, np.float32)
    out = np.empty(x.shape if inner else (0, width), np.float32)
    grad, flat = (np.ascontiguousarray(array).reshape(-1, width) for array in (dy, x))
    means, scales, target = _flat(mean), _flat(rstd), out.reshape(-1, width)
    shares: dict[int, Array] = {}

    def share(first: int, last: int) -> None:
        sums = shares[first] = np.zeros((2, width))
        rows.normalise_backward(grad, flat, means, scales, scale, target, inner, sums, first, last)

    over_rows(share, flat.shape[0], flat.size)
    total = sum(shares[first] for first in sorted(shares)) + np.zeros((2, width))
    return (out if inner else None), *np.asarray(total, np.float32)


def softmax_backward(y: Array, dy: Array) -> Array:
    """y (dy - sum(y dy)) over the last axis."""
    rows = _rows_for(y, dy)
    if rows is None:
        return np.asarray(y * (dy - (y * dy).sum(-1, keepdims=True)))
    width = y.shape[-1]
    out = np.empty(y.shape, np.float32)
    flat, grad = (np.ascontiguousarray(array).reshape(-1, width) for array in (y, dy))
    target = out.reshape(-1, width)
    over_rows(
        lambda first, last: rows.softmax_backward(flat, grad, target, first, last), flat.shape[0], flat.size
    )
    return out


def add_rows(ids: Array, grads: Array, count: int) -> Array:
    """[count, width]: each row of ``grads`` added to the row that ``ids`` names."""
    out = np.zeros((count, grads.shape[-1]), grads.dtype)
    places = np.ascontiguousarray(ids, np.int64).reshape(-1)
    rows = _rows_for(grads)
    if rows is None:
        np.add.at(out, places, grads)
        return out
    flat = np.ascontiguousarray(grads)
    over_rows(lambda first, last: rows.add_rows(places, flat, out, first, last), flat.shape[1], flat.size)
    return out


def adam(
    arrays: tuple[Array, Array, Array, Array], into: tuple[Array | None, Array | None, Array | None],
    *, keep: float, pull: float, beta1: float, beta2: float, step: float, correction: float, eps: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """One step over (parameter, gradient, first and second moment).

    Args:
        arrays: what is read.
        into: the arrays of the parameter and the moments themselves, where they may be written to; None where not.
        keep: what the parameter is scaled by first.
        pull: what of the parameter is added to the gradient.
        beta1: of the first moment.
        beta2: of the second.
        step: the learning rate over the first moment's correction.
        correction: one over the root of the second moment's.
        eps: epsilon.
    """
    rows = _rows_for(*arrays)
    kind = arrays[0].dtype.type
    numbers = np.array([keep, pull, beta1, beta2, step, correction, eps], arrays[0].dtype)
    if rows is None:
        keep_, pull_, b1, b2, step_, correction_, eps_ = numbers
        p, g, m, v = arrays
        slope = g if not pull else g + pull_ * p
        m = b1 * m + (kind(1) - b1) * slope
        v = b2 * v + (kind(1) - b2) * slope * slope
        return p * keep_ - step_ * m / (np.sqrt(v) * correction_ + eps_), m, v
    # In place alone: where outputs may be inputs, the compiler has no vectors for kernels that have both.
    out = [
        np.array(read, order="C") if array is None else array
        for read, array in zip((arrays[0], *arrays[2:]), into, strict=True)
    ]
    p, m, v = (array.reshape(-1) for array in out)
    g, size = _flat(arrays[1]), arrays[1].size
    over_rows(lambda first, last: rows.adam(p, g, m, v, numbers, first, last), size, size)
    return out[0], out[1], out[2]

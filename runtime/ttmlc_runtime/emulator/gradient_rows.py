# mypy: disable-error-code="untyped-decorator"
"""The compiled kernels of training; ``gradients`` imports this when one is first needed.

Written as ``rows`` is: each works on a share of the rows (or of the elements), and lets go of the interpreter lock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime.emulator.rows import Array, F, _compiled, _exp, _inlined

U = np.uint32
BLOCK = 32
"""Rows whose float32 sums are added to the float64 ones at once: as fast as float32, and true over many rows."""


@_inlined
def _gelu_slope(x: Any) -> Any:
    """The derivative of gelu: the normal distribution function, and x times its density.

    One exponential serves both: erfc(t) is exp(-t^2) times a polynomial in 1 / (1 + 0.3275911 t), within 1.5e-7
    (Abramowitz and Stegun, 7.1.26).
    """
    t = abs(x) * F(0.7071067811865476)
    bell = _exp(-t * t)
    k = F(1.0) / (F(1.0) + F(0.3275911) * t)
    p = F(1.061405429)
    p = p * k - F(1.453152027)
    p = p * k + F(1.421413741)
    p = p * k - F(0.284496736)
    p = p * k + F(0.254829592)
    tail = F(0.5) * p * k * bell
    share = tail if x < F(0.0) else F(1.0) - tail
    return share + x * F(0.3989422804014327) * bell


@_inlined
def _bell(x: Any) -> Any:
    """sigmoid(x) (1 - sigmoid(x)), from exp(-abs(x)), so that no digits cancel in the tails."""
    small = _exp(-abs(x))
    whole = F(1.0) + small
    return small / (whole * whole)


@_inlined
def _gelu_tanh_slope(x: Any) -> Any:
    """The derivative of gelu's tanh form, which is x sigmoid(z) for an odd polynomial z."""
    square = x * x
    z = F(1.5957691216057308) * (x + F(0.044715) * x * square)
    small = _exp(-abs(z))
    share = F(1.0) / (F(1.0) + small)
    bell = small * share * share
    share = share if z > F(0.0) else small * share
    return share + x * bell * F(1.5957691216057308) * (F(1.0) + F(0.134145) * square)


@_compiled
def scale_by_slope(dy: Array, x: Array, out: Array, code: int, first: int, last: int) -> None:
    """out = dy f'(x) of flat arrays; ``code`` is the index of f in ``gradients.SLOPES``."""
    grad, at, into = dy[first:last], x[first:last], out[first:last]
    if code == 0:
        for j in range(into.size):
            into[j] = grad[j] * _gelu_slope(at[j])
    elif code == 1:
        for j in range(into.size):
            into[j] = grad[j] * _gelu_tanh_slope(at[j])
    elif code == 2:
        for j in range(into.size):
            into[j] = grad[j] * F(4.0) * _bell(F(2.0) * at[j])
    else:
        for j in range(into.size):
            into[j] = grad[j] * _bell(at[j])


@_inlined
def _mixed(h: Any) -> Any:
    """A bijection of 32 bits whose every output bit depends on all of the input (Wellons's lowbias32)."""
    h = U(h ^ (h >> U(16)))
    h = U(h * U(0x7FEB352D))
    h = U(h ^ (h >> U(15)))
    h = U(h * U(0x846CA68B))
    return U(h ^ (h >> U(16)))


@_compiled
def drop_out(
    x: Array, out: Array, scale: Any, threshold: Any, start: Any, middle: Any, first: int, last: int
) -> None:
    """out = x * scale where the hash of the element's number is ``threshold`` or more, else 0; flat arrays."""
    source, into = x[first:last], out[first:last]
    base = U(U(first) + start)
    for j in range(into.size):
        h = _mixed(U(_mixed(U(U(j) + base)) ^ middle))
        into[j] = source[j] * scale if h >= threshold else F(0.0)


@_compiled
def normalise_with_statistics(
    x: Array,
    weight: Array,
    bias: Array,
    eps: Any,
    out: Array,
    mean: Array,
    rstd: Array,
    first: int,
    last: int,
) -> None:
    """out = (x - mean) rstd weight + bias over each row, and the two statistics of it."""
    columns = x.shape[1]
    for i in range(first, last):
        row, target = x[i], out[i]
        total = F(0.0)
        for j in range(columns):
            total += row[j]
        middle = total / F(columns)
        squares = F(0.0)
        for j in range(columns):
            centred = row[j] - middle
            squares += centred * centred
        scale = F(1.0) / np.sqrt(squares / F(columns) + eps)
        for j in range(columns):
            target[j] = (row[j] - middle) * scale * weight[j] + bias[j]
        mean[i], rstd[i] = middle, scale


@_compiled
def normalise_backward(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array,
    out: Array,
    wanted: bool,
    sums: Array,
    first: int,
    last: int,
) -> None:
    """The gradients of a layer norm in one sweep.

    out is that of x, where ``wanted``; to sums[0] that of the weight is added, to sums[1] that of the bias.
    """
    columns = x.shape[1]
    scaled, plain = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    for i in range(first, last):
        grad, row, middle, scale = dy[i], x[i], mean[i], rstd[i]
        along, across = F(0.0), F(0.0)
        for j in range(columns):
            normed = (row[j] - middle) * scale
            weighted = grad[j] * weight[j]
            along += weighted
            across += weighted * normed
            scaled[j] += grad[j] * normed
            plain[j] += grad[j]
        if wanted:
            target = out[i]
            along, across = along / F(columns), across / F(columns)
            for j in range(columns):
                normed = (row[j] - middle) * scale
                target[j] = scale * (grad[j] * weight[j] - along - normed * across)
        if (i - first) % BLOCK == BLOCK - 1 or i == last - 1:
            for j in range(columns):
                sums[0, j] += scaled[j]
                sums[1, j] += plain[j]
                scaled[j] = F(0.0)
                plain[j] = F(0.0)


@_compiled
def softmax_backward(y: Array, dy: Array, out: Array, first: int, last: int) -> None:
    """out = y (dy - sum(y dy)) over each row."""
    columns = y.shape[1]
    for i in range(first, last):
        row, grad, target = y[i], dy[i], out[i]
        total = F(0.0)
        for j in range(columns):
            total += row[j] * grad[j]
        for j in range(columns):
            target[j] = row[j] * (grad[j] - total)


@_compiled
def add_rows(ids: Array, grads: Array, out: Array, first: int, last: int) -> None:
    """out[ids[i]] += grads[i], of the columns ``first`` to ``last``: threads that share columns share no element."""
    for i in range(ids.size):
        grad, target = grads[i, first:last], out[ids[i], first:last]
        for j in range(target.size):
            target[j] += grad[j]


@_compiled
def adam(
    param: Array, grad: Array, average: Array, square: Array, numbers: Array, first: int, last: int
) -> None:
    """One step of Adam over flat arrays, in place.

    ``numbers``: what the parameter is scaled by before, what of it is added to the gradient, beta1, beta2, the step,
    one over the root of the second moment's correction, epsilon.
    """
    keep, pull, beta1, beta2, step, correction, eps = numbers
    rest1, rest2 = F(1.0) - beta1, F(1.0) - beta2
    p, g, m, v = param[first:last], grad[first:last], average[first:last], square[first:last]
    for j in range(p.size):
        slope = g[j] + pull * p[j]
        moment = beta1 * m[j] + rest1 * slope
        power = beta2 * v[j] + rest2 * slope * slope
        m[j] = moment
        v[j] = power
        p[j] = p[j] * keep - step * moment / (np.sqrt(power) * correction + eps)

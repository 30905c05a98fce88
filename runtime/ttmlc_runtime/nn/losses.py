"""The losses, with PyTorch's meaning: cross-entropy over classes and over positions.

Each is a forward and a backward of a few programs, computed in float32 whatever the logits are. Over the vocabulary,
of N rows, cross-entropy writes one array of [N, V] in its forward and frees it, and two in its backward, of which one
is the gradient. With m the largest logit of a row, s = sum exp(z - m), a the row's weight (0 where it is left out,
divided by what a mean is divided by) and P the distribution that the labels stand for::

    loss      = sum a (log s - sum P (z - m))                 the label's logit is picked by its index
    d loss/dz = exp(z - (m + log s - log a)) - a P            nothing overflows: the exponent is never above log a
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.autograd import Context, Function
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.nn import labels as host
from ttmlc_runtime.nn.labels import Array, Host, Shape, upload, upload_integers
from ttmlc_runtime.nn.loss_parts import clean, loss_kernels, summed, taped
from ttmlc_runtime.nn.outputs import Activation

NOWHERE = -1e9
"""The logarithm of a row's weight where that is 0: so far down that its exponentials are 0, and a number."""


def cross_entropy(
    logits: Activation,
    labels: Host,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    weight: Host | None = None,
    reduction: str = "mean",
) -> Activation:
    """Cross-entropy over classes, as torch.nn.functional.cross_entropy computes it.

    Args:
        logits: [..., classes].
        labels: integers [...] on the host, in [0, classes), or ``ignore_index`` where a row does not count.
        ignore_index: as there.
        label_smoothing: the part of each label that is spread over all classes, in [0, 1].
        weight: of each class, [classes], 0 or more.
        reduction: "mean" (over what counts, by its weights; NaN where nothing does), "sum", or "none".

    Returns:
        [], or [...] for "none", in float32.

    Raises:
        InputError: an argument does not fit; of labels it names the first that does not.
    """
    host.reduction_of(reduction)
    rows = host.rows_of(logits, "logits")
    if not 0 <= label_smoothing <= 1:
        raise InputError(f"label_smoothing is {label_smoothing} and must be in [0, 1]")
    count = logits.shape[-1]
    ids, counts = host.classes("labels", labels, logits.shape[:-1], count, ignore_index)
    targets = _targets(
        ids, counts, host.weights("weight", weight, (count,)), label_smoothing, reduction, rows
    )
    shape = logits.shape[:-1] if reduction == "none" else ()
    return taped(_CrossEntropy, logits, targets, shape=shape)


def span_loss(
    start_logits: Activation, end_logits: Activation, start_positions: Host, end_positions: Host
) -> Activation:
    """The loss of extractive question answering: cross-entropy over the tokens, the mean of start and end.

    As in Transformers, a position below 0 is token 0, and one of S or beyond does not count. All S tokens have part,
    those that a mask hides as well.

    Args:
        start_logits: [B, S], on the device in rows [B, 1, 1, S] or in columns [B, 1, S, 1].
        end_logits: [B, S].
        start_positions: integers [B] on the host.
        end_positions: likewise.

    Raises:
        InputError: an argument does not fit.
    """
    losses = []
    for name, logits, positions in (
        ("start_positions", start_logits, start_positions),
        ("end_positions", end_logits, end_positions),
    ):
        tokens = logits.shape[-1]
        held = np.clip(host.integers(name, positions, logits.shape[:-1]), 0, tokens)
        losses.append(cross_entropy(_in_rows(logits), held, ignore_index=tokens))
    return (losses[0] + losses[1]) / 2


def _in_rows(logits: Activation) -> Activation:
    """With the last logical dim last on the device: a head that gives two numbers a token leaves columns."""
    device = tuple(logits.tensor.shape)
    columns = len(device) > 1 and device[-1] == 1 and device[-2] == logits.shape[-1] != 1
    return taped(_Turned, logits, shape=logits.shape) if columns else logits


class _Turned(Function):
    """The last two dims exchanged."""

    @staticmethod
    def forward(ctx: Context, x: types.Tensor) -> types.Tensor:
        return ttnn.transpose(x, -2, -1)

    @staticmethod
    def backward(ctx: Context, gradient: types.Tensor) -> types.Tensor:
        return clean(ttnn.transpose(gradient, -2, -1))


@dataclass(frozen=True)
class _Targets:
    """What the labels of one call stand for: on the host, in the device's shape of rows."""

    ids: Array
    """The labels; 0 where a row does not count."""
    rows: Array
    """What each row counts: 0 where it does not, and divided by the sum of weights for a mean."""
    share: float | Array
    """The part of a label that is not spread over all classes: of all rows or, with weights, of each."""
    spread: Array | None
    """How the rest is spread, where not evenly: [classes], adding up to 1."""
    reduction: str
    nothing: bool
    """Whether a mean is over nothing."""


def _targets(
    ids: Array, counts: Array, weight: Array | None, smoothing: float, reduction: str, shape: Shape
) -> _Targets:
    share: float | Array = 1.0 - smoothing
    spread = None
    if weight is None:
        of_label: Array = np.ones(ids.shape)
        rows: Array = of_label
    else:
        of_label = weight[ids]
        even = smoothing * weight.mean()
        rows = (1.0 - smoothing) * of_label + even
        if smoothing:
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(rows > 0, (1.0 - smoothing) * of_label / rows, 1.0).reshape(shape)
                spread = weight / weight.sum() if weight.any() else np.full(weight.shape, 1 / weight.size)
    if reduction == "mean":
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = rows / of_label[counts].sum()
    rows = np.where(counts, rows, 0.0).reshape(shape)
    nothing = reduction == "mean" and not counts.any()
    return _Targets(ids.reshape(shape), rows, share, spread, reduction, nothing)


class _CrossEntropy(Function):
    """Of logits [..., V] and targets; see the head of the file."""

    @staticmethod
    def forward(ctx: Context, logits: types.Tensor, targets: _Targets) -> types.Tensor:
        kernels = loss_kernels(logits)
        ids = upload_integers(targets.ids, logits, targets.ids.shape)
        rows = upload(targets.rows, logits, targets.rows.shape)
        largest = ttnn.max(logits, -1, True, **kernels)
        powers = ttnn.subtract(logits, largest, dtype=ttnn.float32, activations=[ttnn.UnaryOpType.EXP])
        total = ttnn.sum(powers, -1, True, **kernels)
        ttnn.deallocate(powers)
        picked = ttnn.gather(logits, -1, ids)
        wanted = ttnn.subtract(picked, largest, dtype=ttnn.float32)
        if not (isinstance(targets.share, float) and targets.share == 1.0):
            wanted = ttnn.lerp(_average(logits, largest, targets, kernels), wanted, _share(targets, logits))
        each = ttnn.subtract(total, wanted, input_tensor_a_activations=[ttnn.UnaryOpType.LOG])
        each = ttnn.multiply(each, rows)
        ctx.save(targets, logits, largest, total, rows)
        ctx.scalar = targets.reduction != "none"
        if not ctx.scalar:
            return each
        return summed(each, float("nan") if targets.nothing else 1.0, kernels)

    @staticmethod
    def backward(ctx: Context, gradient: Any) -> tuple[types.Tensor, None]:
        targets, logits, largest, total, rows = ctx.saved
        factor = gradient if ctx.scalar else 1.0
        with np.errstate(divide="ignore"):
            logs = np.log(targets.rows * abs(factor))
        logs = np.where(np.isneginf(logs), NOWHERE, logs)
        level = ttnn.add(total, largest, input_tensor_a_activations=[ttnn.UnaryOpType.LOG])
        level = ttnn.subtract(level, upload(logs, logits, logs.shape))
        powers = ttnn.subtract(logits, level, dtype=ttnn.float32, activations=[ttnn.UnaryOpType.EXP])
        meant = _distribution(targets, logits)
        # Ternary ops give their first operand's dtype, and cast into a tensor that is there.
        plain = ctx.scalar and factor >= 0
        out = _empty_like(logits) if plain else powers
        ttnn.addcmul(powers, meant, rows, value=-abs(factor), output_tensor=out)
        ttnn.deallocate(meant)
        if not plain:  # signs, which a logarithm cannot carry
            out = ttnn.multiply(powers, -1.0 if ctx.scalar else gradient, dtype=logits.dtype)
        if out is not powers:
            ttnn.deallocate(powers)
        return clean(out), None


def _share(targets: _Targets, like: types.Tensor) -> Any:
    share = targets.share
    return share if isinstance(share, float) else upload(share, like, share.shape)


def _average(
    logits: types.Tensor, largest: types.Tensor, targets: _Targets, kernels: dict[str, Any]
) -> types.Tensor:
    """The average of z - m over all classes, in each row."""
    below = ttnn.subtract(logits, largest, dtype=ttnn.float32)
    if targets.spread is None:
        average = ttnn.mean(below, -1, True, **kernels)
    else:
        part = ttnn.multiply(below, _in_row(targets.spread, logits), output_tensor=below)
        average = ttnn.sum(part, -1, True, **kernels)
    ttnn.deallocate(below)
    return average


def _distribution(targets: _Targets, logits: types.Tensor) -> types.Tensor:
    """P in float32: 1 at each label, smoothed. Labels are compared as float32, which counts exactly to 16,777,216."""
    count = logits.shape[-1]
    ids = upload(targets.ids, logits, targets.ids.shape)
    numbers = np.arange(count, dtype=np.float32).reshape([1] * (len(logits.shape) - 1) + [count])
    # In rows, of which the device makes tiles: a thirty-second of the bytes to bring there.
    places = ttnn.Tensor(numbers, ttnn.float32, logits.device(), ttnn.ROW_MAJOR_LAYOUT)
    places = ttnn.to_layout(places, ttnn.TILE_LAYOUT)
    share = targets.share
    if not isinstance(share, float):
        assert targets.spread is not None  # they come together
        return ttnn.lerp(_in_row(targets.spread, logits), ttnn.eq(ids, places), _share(targets, logits))
    if share == 1.0:
        return ttnn.eq(ids, places)
    of, kind = ttnn.UnaryWithParam, ttnn.UnaryOpType
    smoothing = [of(kind.MUL_UNARY_SFPU, share), of(kind.ADD_UNARY_SFPU, (1.0 - share) / count)]
    return ttnn.eq(ids, places, activations=smoothing)


def _in_row(values: Array, like: types.Tensor) -> types.Tensor:
    return upload(values, like, (*[1] * (len(like.shape) - 1), values.size))


def _empty_like(tensor: types.Tensor) -> types.Tensor:
    return ttnn.empty(list(tensor.shape), tensor.dtype, ttnn.TILE_LAYOUT, tensor.device())

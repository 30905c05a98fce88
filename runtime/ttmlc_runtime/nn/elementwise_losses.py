"""The losses of single numbers, with PyTorch's meaning: squared error, and a yes or no for each logit.

Targets are on the host, so what depends on them alone is computed there. With x a logit, y its target, w its weight and
p what a positive one counts::

    loss      = w ((1 - y) x + (1 + (p - 1) y) softplus(-x)) = a x + b softplus(-x)
    d loss/dx = a - b sigmoid(-x)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.autograd import Context, Function
from ttmlc_runtime.nn import labels as host
from ttmlc_runtime.nn.labels import Array, Host, upload
from ttmlc_runtime.nn.loss_parts import clean, loss_kernels, summed, taped
from ttmlc_runtime.nn.outputs import Activation


def mse_loss(input: Activation, target: Host, *, reduction: str = "mean") -> Activation:  # noqa: A002  # torch's name
    """The squared error, as torch.nn.functional.mse_loss computes it.

    Args:
        input: [...].
        target: finite numbers [...] on the host; a last dim of one may be there or not.
        reduction: "mean", "sum" or "none".

    Returns:
        [], or the input's shape for "none", in float32.

    Raises:
        InputError: an argument does not fit; of targets it names the first that does not.
    """
    reduction = host.reduction_of(reduction)
    host.rows_of(input, "input")
    wanted = host.reals("target", target, input.shape)
    return taped(_Squares, input, wanted, reduction, shape=input.shape if reduction == "none" else ())


def binary_cross_entropy_with_logits(
    logits: Activation,
    labels: Host,
    *,
    weight: Host | None = None,
    pos_weight: Host | None = None,
    reduction: str = "mean",
) -> Activation:
    """A yes or no for each logit, as torch.nn.functional.binary_cross_entropy_with_logits computes it.

    Args:
        logits: [...].
        labels: finite numbers [...] on the host, 1 for yes and 0 for no.
        weight: broadcasts to the labels; 0 or more.
        pos_weight: what a yes counts beside a no, likewise.
        reduction: "mean", "sum" or "none".

    Returns:
        [], or the logits' shape for "none", in float32.

    Raises:
        InputError: an argument does not fit; of labels it names the first that does not.
    """
    reduction = host.reduction_of(reduction)
    host.rows_of(logits, "logits")
    yes = host.reals("labels", labels, logits.shape)
    positive = host.weights("pos_weight", pos_weight, logits.shape)
    weights = host.weights("weight", weight, logits.shape)
    scale = 1.0 / yes.size if reduction == "mean" else 1.0
    linear = (1.0 - yes) * scale
    soft = linear + scale * yes * (1.0 if positive is None else positive)
    if weights is not None:
        linear, soft = linear * weights, soft * weights
    shape = logits.shape if reduction == "none" else ()
    return taped(_YesOrNo, logits, _Choice(linear, soft, reduction), shape=shape)


class _Squares(Function):
    """Of x and a target on the host."""

    @staticmethod
    def forward(ctx: Context, x: types.Tensor, target: Array, reduction: str) -> types.Tensor:
        wanted = upload(target, x, tuple(x.shape))
        factor = 1.0 / target.size if reduction == "mean" else 1.0
        ctx.save(x, wanted, factor)
        ctx.scalar = reduction != "none"
        away = ttnn.subtract(x, wanted, dtype=ttnn.float32)
        squares = ttnn.multiply(away, away)
        return summed(squares, factor, loss_kernels(x)) if ctx.scalar else squares

    @staticmethod
    def backward(ctx: Context, gradient: Any) -> tuple[types.Tensor, None, None]:
        x, wanted, factor = ctx.saved
        away = ttnn.subtract(x, wanted, dtype=ttnn.float32)
        if ctx.scalar:
            dx = ttnn.multiply(away, 2.0 * factor * gradient, dtype=x.dtype)
        else:
            dx = ttnn.multiply(ttnn.multiply(away, 2.0), gradient, dtype=x.dtype)
        return clean(dx), None, None


@dataclass(frozen=True)
class _Choice:
    """What the labels make of a logit, in the logits' shape on the host; see the head of the file."""

    linear: Array
    soft: Array
    reduction: str


class _YesOrNo(Function):
    """Of logits and a choice."""

    @staticmethod
    def forward(ctx: Context, logits: types.Tensor, choice: _Choice) -> types.Tensor:
        ctx.save(logits, choice)
        ctx.scalar = choice.reduction != "none"
        shape, kind = tuple(logits.shape), ttnn.UnaryOpType
        x = _wide(logits)
        near = ttnn.unary_chain(x, [kind.ABS, kind.NEG, kind.EXP, kind.LOG1P])
        soft = ttnn.add(near, x, input_tensor_b_activations=[kind.NEG, kind.RELU])
        each = ttnn.multiply(soft, upload(choice.soft, logits, shape))
        each = ttnn.addcmul(each, x, upload(choice.linear, logits, shape), value=1.0)
        return summed(each, 1.0, loss_kernels(logits)) if ctx.scalar else each

    @staticmethod
    def backward(ctx: Context, gradient: Any) -> tuple[types.Tensor, None]:
        logits, choice = ctx.saved
        shape, kind = tuple(logits.shape), ttnn.UnaryOpType
        factor = gradient if ctx.scalar else 1.0
        soft, linear = (upload(part * factor, logits, shape) for part in (choice.soft, choice.linear))
        part = ttnn.multiply(_wide(logits), soft, input_tensor_a_activations=[kind.NEG, kind.SIGMOID])
        if ctx.scalar:
            dx = ttnn.subtract(linear, part, dtype=logits.dtype)
        else:
            dx = ttnn.multiply(ttnn.subtract(linear, part), gradient, dtype=logits.dtype)
        return clean(dx), None


def _wide(tensor: types.Tensor) -> types.Tensor:
    """In float32: a function fused into an op is computed in its operand's dtype."""
    return tensor if tensor.dtype == ttnn.float32 else ttnn.typecast(tensor, ttnn.float32)

"""RMS norm: rows scaled to a mean square of one, with no mean taken off (Zhang and Sennrich, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Refusal, register
from ttmlc.ir.ops.common import floating, rules
from ttmlc.ir.ops.gradients import GradientOp
from ttmlc.ir.ops.norm import OverLast
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text, factors

if TYPE_CHECKING:
    from ttmlc.ir.builder import Builder
    from ttmlc.ir.evaluate import Call

ROUNDS = ("before_weight", "after_weight")
"""Where a model of fewer bits rounds: what is normalised before the weight multiplies it too, or the product alone."""


def _weighed(x: TensorType, weight: Type | None) -> None:
    if floating(weight, "weight").dims != x.dims[-1:]:
        raise Refusal("'weight' must have the last dimension of 'x'", at="weight", label=f"is {weight}")


@register
class RmsNorm(OverLast):
    """y = x / sqrt(mean(x^2) + eps) * weight over the last dimension.

    ``round`` is one of :data:`ROUNDS`. It changes no number that is computed exactly.
    """

    name = "rms_norm"
    operands = ("x", "weight")
    attributes = {
        "eps": AttributeSpec(required=True),
        "round": AttributeSpec(False, "before_weight", "string"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = floating(types[0], "x")
        _weighed(x, types[1])
        if attributes["round"] not in ROUNDS:
            hint = f"Known: {', '.join(ROUNDS)}."
            raise Refusal(f"{attributes['round']!r} is no place to round", at="round", hint=hint)
        return (x,)

    def expand(self, operation: Operation, build: Builder) -> None:
        x, weight = operation.operands
        assert x is not None and weight is not None and isinstance(x.type, TensorType)
        over = {"kind": "mean", "over": dim_text(x.type.dims[-1])}
        square = build.add("reduce", (build.add("multiply", (x, x)),), over)
        scale = build.add("rsqrt", (build.add("add", (square,), {"scalar": operation.scalar("eps")}),))
        build.add("multiply", (build.add("multiply", (x, scale)), weight))

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, weight = adjoint.operation.operands
        assert x is not None and weight is not None
        eps = {"eps": adjoint.operation.scalar("eps")}
        names = (f"d{x.name}", "dweight")
        return adjoint.add_all("rms_norm_gradient", (adjoint.grad, x, weight), eps, names=names)


@register
class RmsNormGradient(GradientOp):
    """dx, dweight: the gradients of an RMS norm, from what it read."""

    name = "rms_norm_gradient"
    operands = ("dy", "x", "weight")
    attributes = {"eps": AttributeSpec(required=True)}
    flops = 10

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        dy, x = floating(types[0], "dy"), floating(types[1], "x")
        if dy != x:
            raise Refusal(f"the gradient {dy} is not of the type of {x}", at="dy")
        _weighed(x, types[2])
        return (x, TensorType(DType.FLOAT, x.dims[-1:]))

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        made = operation.results[0].type
        assert isinstance(made, TensorType)
        return rules(operation, mixes=factors(made.dims[-1]))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        dy, x, weight = arrays
        rstd = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + call.value("eps"))
        normal = x * rstd
        scaled = dy * weight
        dx = (scaled - normal * (scaled * normal).mean(-1, keepdims=True)) * rstd
        return (dx, (dy * normal).sum(tuple(range(dy.ndim - 1))))

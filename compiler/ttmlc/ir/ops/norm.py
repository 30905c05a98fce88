"""Reductions, contraction by name, and the composites made of them: softmax and layer norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import elements, floating, per_element, rules, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, Dim, DType, TensorType, Type, dim_text, factors

if TYPE_CHECKING:
    from ttmlc.ir.builder import Builder
    from ttmlc.ir.evaluate import Call


def _place(x: TensorType, over: str, at: str = "x") -> int:
    for place, dim in enumerate(x.dims):
        if dim_text(dim) == over:
            return place
    raise Refusal(f"{at!r} has no dimension {over!r}", at=at, label=f"is {x}")


@register
class Reduce(TensorOp):
    """y = the sum, mean or max of x over the dimension ``over``."""

    name = "reduce"
    operands = ("x",)
    attributes = {
        "kind": AttributeSpec(required=True, takes="string"),
        "over": AttributeSpec(required=True, takes="string"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = floating(types[0], "x")
        if attributes["kind"] not in ("sum", "mean", "max"):
            raise Refusal(f"{attributes['kind']!r} is no reduction", at="kind", hint="Known: sum, mean, max.")
        place = _place(x, str(attributes["over"]))
        return (TensorType(DType.FLOAT, x.dims[:place] + x.dims[place + 1 :]),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        x = operation.operands[0]
        assert x is not None and isinstance(x.type, TensorType)
        return traffic(operation, elements(x.type.dims))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        x = call.types[0]
        assert isinstance(x, TensorType)
        return (getattr(arrays[0], call.text("kind"))(axis=_place(x, call.text("over"))),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, kind = adjoint.operation.operands[0], adjoint.operation.text("kind")
        assert x is not None and isinstance(x.type, TensorType)
        if kind == "max":
            raise Refusal("no gradient goes through a maximum: it only keeps exponentials in range", at="x")
        grad = adjoint.grad
        if kind == "mean":
            size = x.type.dims[_place(x.type, adjoint.operation.text("over"))].size
            grad = adjoint.add("divide", (grad,), {"scalar": size})
        return [adjoint.add("repeat_to", (grad,), types=(x.type,))]


@register
class Contract(TensorOp):
    """y = the sum over the dimension ``over`` of a * b, joined by axis name."""

    name = "contract"
    operands = ("a", "b")
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        a, b, over = floating(types[0], "a"), floating(types[1], "b"), str(attributes["over"])
        _place(a, over, "a"), _place(b, over, "b")
        dims: list[Dim] = [dim for dim in a.dims if dim_text(dim) != over]
        dims += [dim for dim in b.dims if dim_text(dim) != over and dim not in dims]
        return (TensorType(DType.FLOAT, tuple(dims)),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        a, made = operation.operands[0], operation.result.type
        assert a is not None and isinstance(a.type, TensorType) and isinstance(made, TensorType)
        over = a.type.dims[_place(a.type, operation.text("over"))]
        return traffic(
            operation, scalar.apply("*", Const(2), scalar.apply("*", elements(made.dims), over.size))
        )

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        a, b, result = call.types[0], call.types[1], call.results[0]
        assert isinstance(a, TensorType) and isinstance(b, TensorType) and isinstance(result, TensorType)
        numbers: dict[Dim, int] = {}

        def label(type_: TensorType) -> list[int]:
            return [numbers.setdefault(dim, len(numbers)) for dim in type_.dims]

        return (np.einsum(arrays[0], label(a), arrays[1], label(b), label(result), optimize=True),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        a, b = adjoint.operation.operands
        assert a is not None and b is not None
        return [self._back(adjoint, b, a), self._back(adjoint, a, b)]

    @staticmethod
    def _back(adjoint: Adjoint, other: Value, wanted: Value) -> Value:
        """The gradient of ``wanted``: the result's, contracted with ``other`` over what only that brought in."""
        assert isinstance(other.type, TensorType) and isinstance(wanted.type, TensorType)
        over = adjoint.operation.text("over")
        brought = [dim for dim in other.type.dims if dim not in wanted.type.dims and dim_text(dim) != over]
        if len(brought) != 1:
            raise Refusal("a contraction's gradient is over one dimension", at="b", label=f"is {other.type}")
        # The operand whose own dimensions the wanted type has first comes first, so that nothing has to be moved.
        grad = adjoint.grad
        assert isinstance(grad.type, TensorType)
        kept = [dim for dim in other.type.dims if dim in wanted.type.dims and dim not in grad.type.dims]
        pair = (other, grad) if kept and wanted.type.dims[-1] not in kept else (grad, other)
        back = adjoint.add("contract", pair, {"over": dim_text(brought[0])}, name=f"d{wanted.name}")
        if back.type == wanted.type:
            return back
        return adjoint.add("rearrange", (back,), types=(wanted.type,), name=f"d{wanted.name}")


class OverLast(TensorOp):
    """A composite that mixes the last dimension and keeps the type."""

    composite = True
    flops = 5

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        assert isinstance(operation.result.type, TensorType)
        return rules(operation, mixes=factors(operation.result.type.dims[-1]))

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, self.flops)


@register
class Softmax(OverLast):
    """y = exp(x - max x) / sum exp(x - max x) over the last dimension."""

    name = "softmax"
    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (floating(types[0], "x"),)

    def expand(self, operation: Operation, build: Builder) -> None:
        x = operation.operands[0]
        assert x is not None and isinstance(x.type, TensorType)
        over = {"over": dim_text(x.type.dims[-1])}
        peak = build.add("reduce", (x,), {"kind": "max", **over})
        powers = build.add("exp", (build.add("subtract", (x, peak)),))
        build.add("divide", (powers, build.add("reduce", (powers,), {"kind": "sum", **over})))

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        return [adjoint.add("softmax_gradient", (adjoint.grad, adjoint.operation.result))]


@register
class LayerNorm(OverLast):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension (Ba et al., 2016)."""

    name = "layer_norm"
    operands = ("x", "weight", "bias?")
    attributes = {"eps": AttributeSpec(required=True)}
    flops = 8

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = floating(types[0], "x")
        for operand, type_ in (("weight", types[1]), ("bias", types[2])):
            if type_ is not None and floating(type_, operand).dims != x.dims[-1:]:
                raise Refusal(
                    f"{operand!r} must have the last dimension of 'x'", at=operand, label=f"is {type_}"
                )
        return (x,)

    def expand(self, operation: Operation, build: Builder) -> None:
        x, weight, *rest = operation.operands
        assert x is not None and weight is not None and isinstance(x.type, TensorType)
        over = {"kind": "mean", "over": dim_text(x.type.dims[-1])}
        centred = build.add("subtract", (x, build.add("reduce", (x,), over)))
        variance = build.add("reduce", (build.add("multiply", (centred, centred)),), over)
        scale = build.add("rsqrt", (build.add("add", (variance,), {"scalar": operation.scalar("eps")}),))
        y = build.add("multiply", (build.add("multiply", (centred, scale)), weight))
        if rest and rest[0] is not None:
            build.add("add", (y, rest[0]))

    def for_training(self, operation: Operation, build: Builder) -> None:
        names = (operation.result.name, "mean", "rstd")
        eps = {"eps": operation.scalar("eps")}
        build.add_all("layer_norm_statistics", operation.operands, eps, names=names, span=operation.span)

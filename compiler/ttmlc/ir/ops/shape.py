"""Ops that only move elements: rearrange and relabel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, Role, TensorType, Type, factors

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


@register
class Rearrange(TensorOp):
    """y = x as [...]: permute dims, split or merge written products. The result type says how.

    Every axis of x occurs once in the result, so the move is never ambiguous.
    """

    name = "rearrange"
    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        raise Refusal("a rearrangement states its result type")

    @staticmethod
    def check(x: TensorType, result: TensorType) -> None:
        """Refuse a result that is not a rearrangement of ``x``."""
        had, has = [axis.name for axis in x.axes()], [axis.name for axis in result.axes()]
        if sorted(had) == sorted(has):
            return
        lost, new = sorted(set(had) - set(has)), sorted(set(has) - set(had))
        twice = sorted({name for name in has if has.count(name) > 1})
        parts = [f"{', '.join(map(repr, lost))} would be lost"] if lost else []
        parts += [f"{', '.join(map(repr, new))} is not there"] if new else []
        parts += [f"{', '.join(map(repr, twice))} occurs twice"] if twice else []
        raise Refusal(
            f"'as' only permutes, splits or merges: {'; '.join(parts)}",
            at="x",
            label=f"is {x}",
            hint=f"Write every axis of {x} once.",
        )

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        x, result = call.types[0], call.results[0]
        assert isinstance(x, TensorType) and isinstance(result, TensorType)
        flat = arrays[0].reshape([call.size(axis.size) for axis in x.axes()])
        order = [x.axes().index(axis) for axis in result.axes()]
        return (flat.transpose(order).reshape([call.size(dim.size) for dim in result.dims]),)


@register
class Relabel(TensorOp):
    """y = x with the axis ``from`` called ``to``: the second name of an axis that meets itself."""

    name = "relabel"
    operands = ("x",)
    attributes = {
        "source": AttributeSpec(required=True, takes="string"),
        "to": AttributeSpec(required=True, takes="string"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = tensor(types[0], "x")
        if not any(axis.name == attributes["source"] for axis in x.axes()):
            raise Refusal(f"'x' has no axis {attributes['source']!r}", at="x", label=f"is {x}")
        dims = tuple(
            Axis(str(attributes["to"]), dim.size, dim.role)
            if isinstance(dim, Axis) and dim.name == attributes["source"]
            else dim
            for dim in x.dims
        )
        return (TensorType(x.dtype, dims),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return dict.fromkeys(rules(operation), AxisRule.POINTWISE)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        return (arrays[0],)


@register
class First(TensorOp):
    """y = x at index 0 of the axis ``over``."""

    name = "first"
    operands = ("x",)
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = tensor(types[0], "x")
        kept = tuple(dim for dim in x.dims if not (isinstance(dim, Axis) and dim.name == attributes["over"]))
        if len(kept) == len(x.dims):
            raise Refusal(f"'x' has no dimension {attributes['over']!r}", at="x", label=f"is {x}")
        return (TensorType(x.dtype, kept),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        x = call.types[0]
        assert isinstance(x, TensorType)
        place = next(
            i for i, dim in enumerate(x.dims) if isinstance(dim, Axis) and dim.name == call.text("over")
        )
        return (arrays[0].take(0, axis=place),)


@register
class Visible(TensorOp):
    """bool [queries, keys]: which key a query may see. All of them, or those not after it where ``causal``."""

    name = "visible"
    operands = ("queries", "keys")
    attributes = {"causal": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        found = []
        for operand, type_ in zip(("queries", "keys"), types, strict=True):
            tokens = [axis for axis in tensor(type_, operand).axes() if axis.role is Role.TOKENS]
            if len(tokens) != 1:
                raise Refusal(f"{operand!r} must have one axis of tokens", at=operand, label=f"is {type_}")
            found.append(tokens[0])
        return (TensorType(DType.BOOL, tuple(found)),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        assert isinstance(operation.result.type, TensorType)
        kept = operation.result.type.axes()
        return {a: AxisRule.POINTWISE if a in kept else AxisRule.REDUCES for a in rules(operation)}

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        (result,) = call.results
        assert isinstance(result, TensorType)
        queries, keys = (call.size(factors(dim)[0].size) for dim in result.dims)
        everything = np.ones((queries, keys), bool)
        return (np.tril(everything) if call.value("causal") else everything,)

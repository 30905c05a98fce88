"""Ops that only move elements: rearrange, relabel, and what takes an element of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import floating, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, Role, TensorType, Type, dim_text

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


@register
class Rearrange(TensorOp):
    """y = x as [...]: permute dims, split or merge written products. The result type says how.

    Every axis of x occurs once in the result, so the move is never ambiguous. Axes of one entry come and go.
    """

    name = "rearrange"
    operands = ("x",)
    states_types = True

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        (made,) = results
        self.check(tensor(operands[0], "x"), tensor(made, "y"))

    @staticmethod
    def check(x: TensorType, result: TensorType) -> None:
        """Refuse a result that is not a rearrangement of ``x``."""
        had, has = ([axis.name for axis in _moved(type_)] for type_ in (x, result))
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
        flat = arrays[0].reshape([call.size(axis.size) for axis in _moved(x)])
        order = [_moved(x).index(axis) for axis in _moved(result)]
        return (flat.transpose(order).reshape([call.size(dim.size) for dim in result.dims]),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x = adjoint.operation.operands[0]
        assert x is not None
        return [adjoint.add("rearrange", (adjoint.grad,), types=(x.type,))]


def _moved(type_: TensorType) -> list[Axis]:
    """The axes that a rearrangement moves."""
    return [axis for axis in type_.axes() if axis.role is not Role.UNIT]


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

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        back = {"source": adjoint.operation.text("to"), "to": adjoint.operation.text("source")}
        return [adjoint.add("relabel", (adjoint.grad,), back)]


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

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, over = adjoint.operation.operands[0], {"over": adjoint.operation.text("over")}
        assert x is not None
        return [adjoint.add("spread", (adjoint.grad,), over, types=(x.type,))]


@register
class Narrow(TensorOp):
    """y = x; where ``when`` holds, only index 0 of the axis ``over`` may be read, and the rest is undefined.

    The reference makes the rest NaN, so that whoever reads it is found out.
    """

    name = "narrow"
    operands = ("x",)
    no_gradient = "it stands in models, where the tape follows what was taken"
    attributes = {"over": AttributeSpec(required=True, takes="string"), "when": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = floating(types[0], "x")
        if not any(isinstance(dim, Axis) and dim.name == attributes["over"] for dim in x.dims):
            raise Refusal(f"'x' has no dimension {attributes['over']!r}", at="x", label=f"is {x}")
        return (x,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        if not call.frame.scalar(call.operation.scalar("when")):
            return (arrays[0],)
        import numpy as np

        x = call.types[0]
        assert isinstance(x, TensorType)
        place = next(i for i, dim in enumerate(x.dims) if getattr(dim, "name", "") == call.text("over"))
        narrowed = np.full_like(arrays[0], np.nan)
        first = (slice(None),) * place + (0,)
        narrowed[first] = arrays[0][first]
        return (narrowed,)


@register
class Pick(TensorOp):
    """y = x at ``index`` of the axis ``over``, an index for each of what stands before it."""

    name = "pick"
    operands = ("x", "index")
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, index = floating(types[0], "x"), tensor(types[1], "index")
        names = [dim_text(dim) for dim in x.dims]
        if attributes["over"] not in names:
            raise Refusal(f"'x' has no dimension {attributes['over']!r}", at="x", label=f"is {x}")
        place = names.index(str(attributes["over"]))
        wanted = TensorType(DType.INT, x.dims[:place])
        if index != wanted:
            raise Refusal(
                f"'index' must be {wanted}", at="index", label=f"is {index}", related=(("x", f"is {x}"),)
            )
        return (TensorType(x.dtype, x.dims[:place] + x.dims[place + 1 :]),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x, index = arrays
        place = index_place(call.types[1])
        index = index.reshape(index.shape + (1,) * (x.ndim - index.ndim))
        if ((index < 0) | (index >= x.shape[place])).any():
            raise ValueError("an index is out of range")
        return (np.take_along_axis(x, index, axis=place).squeeze(place),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, index = adjoint.operation.operands
        assert x is not None
        over = {"over": adjoint.operation.text("over")}
        return [adjoint.add("place", (adjoint.grad, index), over, types=(x.type,)), None]


def index_place(index: Type | None) -> int:
    """The dimension that ``index`` is an index of: the one behind its own."""
    return len(tensor(index, "index").dims)

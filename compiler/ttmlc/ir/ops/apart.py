"""A tensor taken apart along an axis of labels, one value a label, and put together again.

%start, %end = take_apart(%x) {over = "span"}          float[B, S, span] -> float[B, S] each
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Attribute, Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import floating, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, TensorType, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

LETTERS = "abcdefgh"
MOST = len(LETTERS)
"""Labels that an axis may have to be taken apart along."""


def place_of(x: TensorType, over: Attribute) -> int:
    """Where ``over`` stands among the dimensions of ``x``.

    Raises:
        Refusal: nowhere.
    """
    for place, dim in enumerate(x.dims):
        if isinstance(dim, Axis) and dim.name == over:
            return place
    raise Refusal(f"'x' has no dimension {over!r}", at="x", label=f"is {x}")


def labels_of(x: TensorType, over: Attribute) -> int:
    """How many labels the axis ``over`` of ``x`` has.

    Raises:
        Refusal: it has no number of labels that is known when a spec is compiled.
    """
    size = x.dims[place_of(x, over)].size
    if not isinstance(size, Const) or not isinstance(size.value, int) or not 1 <= size.value <= MOST:
        raise Refusal(
            f"only an axis of at most {MOST} labels is taken apart",
            at="x",
            label=f"is {x}",
            hint="Declare it, as in axis span: start | end.",
        )
    return size.value


@register
class TakeApart(TensorOp):
    """A value for each label of the axis ``over`` of x, in order, without that axis."""

    name = "take_apart"
    operands = ("x",)
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, over = tensor(types[0], "x"), attributes["over"]
        place, count = place_of(x, over), labels_of(x, over)
        return (TensorType(x.dtype, x.dims[:place] + x.dims[place + 1 :]),) * count

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        x = call.types[0]
        assert isinstance(x, TensorType)
        place = place_of(x, call.text("over"))
        return tuple(arrays[0].take(index, axis=place) for index in range(len(call.results)))

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        operation = adjoint.operation
        x = operation.operands[0]
        assert x is not None
        parts = [
            adjoint.add("zeros", (), types=(made.type,), name=f"d{made.name}") if grad is None else grad
            for made, grad in zip(operation.results, adjoint.grads, strict=True)
        ]
        over = {"over": operation.text("over")}
        return [adjoint.add("put_together", parts, over, types=(x.type,), name=f"d{x.name}")]


@register
class PutTogether(TensorOp):
    """x of the values for each label of its axis ``over``: what take_apart undoes."""

    name = "put_together"
    operands = ("a", *(f"{letter}?" for letter in LETTERS[1:]))
    attributes = {"over": AttributeSpec(required=True, takes="string")}
    states_types = True

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        parts = [
            floating(part, name) for part, name in zip(operands, LETTERS, strict=True) if part is not None
        ]
        x = floating(results[0], "x")
        over = next((dim.name for dim in x.dims if dim not in parts[0].dims and isinstance(dim, Axis)), "")
        place, count = place_of(x, over), labels_of(x, over)
        without = TensorType(x.dtype, x.dims[:place] + x.dims[place + 1 :])
        if len(parts) != count or any(part != without for part in parts):
            raise Refusal("the result is not made of these", at="a", label=f"is {x}")

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x = call.results[0]
        assert isinstance(x, TensorType)
        parts = [array for array in arrays if array is not None]
        return (np.stack(parts, axis=place_of(x, call.text("over"))),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        parts = [part for part in adjoint.operation.operands if part is not None]
        over, names = {"over": adjoint.operation.text("over")}, [f"d{part.name}" for part in parts]
        return adjoint.add_all("take_apart", (adjoint.grad,), over, names=names)

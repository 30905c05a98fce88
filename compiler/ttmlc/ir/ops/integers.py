"""Whole numbers and what is true of them: computed on the host, from what the caller gives, before anything is sent.

%real = compare(%ids, %pad) {relation = "!="}            int[B, S], int[] -> bool[B, S]
%at = index() {over = "S"}                               int[S]
%last = argmax(%kept) {over = "S"}                       int[B, S] -> int[B]

They are joined by axis name as other tensors are; ``add``, ``subtract`` and ``multiply`` take them too. The same ops
stand at both levels: on the host nothing is lowered.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, Unfit, register
from ttmlc.ir.ops.common import align, batch_first, broadcast, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

RELATIONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WHOLE = (DType.INT, DType.BOOL)


def whole(type_: Type | None, operand: str) -> TensorType:
    """``type_`` as that of whole numbers, or of what is true or false."""
    checked = tensor(type_, operand)
    if checked.dtype not in WHOLE:
        raise Refusal(f"{operand!r} must be whole numbers", at=operand, label=f"is {checked}")
    return checked


def on_host(operation: Operation) -> bool:
    """Whether all that ``operation`` makes are whole numbers, or what is true or false: the host makes those."""
    types = [value.type for value in operation.results]
    return operation.op == "require" or (
        bool(types) and all(isinstance(type_, TensorType) and type_.dtype in WHOLE for type_ in types)
    )


class HostOp(TensorOp):
    """Shared by these."""

    no_gradient = "whole numbers have none"

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))


@register
class Fill(HostOp):
    """y = ``value`` everywhere; the result type says where that is."""

    name = "fill"
    attributes = {"value": AttributeSpec(required=True)}
    states_types = True

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        whole(results[0], "y")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        made, value = tensor(call.results[0], "y"), call.value("value")
        if value is None:
            raise Unfit("there is no number")
        return (np.full([call.size(dim.size) for dim in made.dims], value),)


@register
class Index(HostOp):
    """y = 0, 1, 2 ... along the axis ``over``, which the result type holds alone."""

    name = "index"
    attributes = {"over": AttributeSpec(required=True, takes="string")}
    states_types = True

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        made = tensor(results[0], "y")
        if made.dtype is not DType.INT or len(made.dims) != 1:
            raise Refusal(f"an index is whole numbers along one axis, not {made}", at="y")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        return (np.arange(call.size(tensor(call.results[0], "y").dims[0].size)),)


@register
class Compare(HostOp):
    """y = whether a and b stand in ``relation``, joined by axis name."""

    name = "compare"
    operands = ("a", "b")
    attributes = {"relation": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        if attributes["relation"] not in RELATIONS:
            raise Refusal(f"{attributes['relation']!r} compares nothing", at="relation")
        a, b = whole(types[0], "a"), whole(types[1], "b")
        return (TensorType(DType.BOOL, batch_first(broadcast([("a", a), ("b", b)]))),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        a, b = _aligned(arrays, call)
        return (RELATIONS[call.text("relation")](a, b),)


@register
class Either(HostOp):
    """y = a where ``condition``, else b, joined by axis name."""

    name = "either"
    operands = ("condition", "a", "b")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        condition, a, b = (whole(types[place], name) for place, name in enumerate(self.operands))
        if condition.dtype is not DType.BOOL:
            raise Refusal("'condition' must be bool", at="condition", label=f"is {condition}")
        if a.dtype is not b.dtype:
            raise Refusal(
                "alternatives must be of one type", at="b", label=f"is {b}", related=(("a", f"is {a}"),)
            )
        dims = broadcast([("condition", condition), ("a", a), ("b", b)])
        return (TensorType(a.dtype, batch_first(dims)),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        return (np.where(*_aligned(arrays, call)),)


class Along(HostOp):
    """Works along the axis ``over`` of x."""

    operands = ("x",)
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, over = whole(types[0], "x"), attributes["over"]
        if not any(dim_text(dim) == over for dim in x.dims):
            raise Refusal(f"'x' has no dimension {over!r}", at="x", label=f"is {x}")
        return (self.made(x, str(over)),)

    def made(self, x: TensorType, over: str) -> TensorType:
        """The type of the result."""
        raise NotImplementedError

    def place(self, call: Call) -> int:
        """Where the axis stands in x."""
        return list(map(dim_text, tensor(call.types[0], "x").dims)).index(call.text("over"))


@register
class Argmax(Along):
    """y = where along ``over`` x is greatest; the first place of equals."""

    name = "argmax"

    def made(self, x: TensorType, over: str) -> TensorType:
        return TensorType(DType.INT, tuple(dim for dim in x.dims if dim_text(dim) != over))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        return (arrays[0].argmax(axis=self.place(call)),)


@register
class Running(Along):
    """y = the sum of x from the first index along ``over`` to each, that one included."""

    name = "running"
    carries = True

    def made(self, x: TensorType, over: str) -> TensorType:
        return TensorType(DType.INT, x.dims)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        type_, over = tensor(operation.result.type, "y"), operation.text("over")
        counted = {axis: AxisRule.ACCUMULATES for axis in type_.axes() if axis.name == over}
        return {**rules(operation), **counted}

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        return (arrays[0].cumsum(axis=self.place(call), dtype=np.int64),)


@register
class Require(HostOp):
    """Refuse a call for which ``condition`` does not hold, with the words ``message``. Makes no value."""

    name = "require"
    no_gradient = "it makes no value"
    attributes = {"condition": AttributeSpec(required=True), "message": AttributeSpec(True, takes="string")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return ()

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        if not call.value("condition"):
            raise ValueError(call.text("message"))
        return ()


def _aligned(arrays: Sequence[Any], call: Call) -> list[Any]:
    """The operands so that they broadcast against the result."""
    target = tensor(call.results[0], "y").dims
    return [
        align(array, tensor(type_, "x").dims, target) for array, type_ in zip(arrays, call.types, strict=True)
    ]


OWN = frozenset({"fill", "index", "compare", "either", "argmax", "running", "require"})
"""Ops that the host alone has."""
HOST = OWN | {"choose", "add", "subtract", "multiply"}
"""Ops that the host computes, where what they make are whole numbers."""

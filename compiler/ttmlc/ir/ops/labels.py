"""What is done with labels before a loss reads them: on the host, where the caller leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, Unfit, register
from ttmlc.ir.ops.common import rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


class LabelOp(TensorOp):
    """int of x's type."""

    operands = ("x",)
    no_gradient = "whole numbers have none"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = tensor(types[0], "x")
        if x.dtype is not DType.INT:
            raise Refusal("only whole numbers are taken, as labels are", at="x", label=f"is {x}")
        return (x,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))


@register
class Next(LabelOp):
    """y = x moved by one along the axis ``over``: each index holds what the next one held, the last ``fill``."""

    name = "next"
    attributes = {
        "over": AttributeSpec(required=True, takes="string"),
        "fill": AttributeSpec(False, Const(-100)),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, over = tensor(types[0], "x"), attributes["over"]
        if not any(dim_text(dim) == over for dim in x.dims):
            raise Refusal(f"'x' has no dimension {over!r}", at="x", label=f"is {x}")
        return super().infer(types, attributes)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        type_ = operation.result.type
        assert isinstance(type_, TensorType)
        return rules(operation, mixes=[axis for axis in type_.axes() if axis.name == operation.text("over")])

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        (x,) = arrays
        _whole(x, self.name)
        type_ = call.results[0]
        assert isinstance(type_, TensorType)
        place = list(map(dim_text, type_.dims)).index(call.text("over"))
        moved = np.roll(x, -1, axis=place)
        moved[(slice(None),) * place + (-1,)] = call.value("fill")
        return (moved,)


@register
class Clamp(LabelOp):
    """y = x, but ``low`` where it is below and ``high`` where it is above."""

    name = "clamp"
    attributes = {"low": AttributeSpec(required=True), "high": AttributeSpec(required=True)}

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        (x,) = arrays
        _whole(x, self.name)
        return (x.clip(call.value("low"), call.value("high")),)


def _whole(x: Any, name: str) -> None:
    if x.dtype.kind not in "iu":
        raise Unfit(f"{name} takes whole numbers, not {x.dtype}")

"""Ops that give a program its shape: parameters, calls of blocks, repeats."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir.module import Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import rules
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, Type

FREE = Cost(Const(0), Const(0), Const(0))


class Structure(TensorOp):
    """Shared by these: result types are stated by whoever builds them, evaluation is the evaluator's own.

    Their gradient is the autodiff pass's matter: a parameter's is handed to ``gradient``, a call's is a call of the
    block's backward.
    """

    no_gradient = "the autodiff pass knows what to do with it"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        raise Refusal(f"{self.name} does not infer its result types: state them")

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return FREE


@register
class Param(Structure):
    """A parameter under its name in a checkpoint, relative to the block it is made in."""

    name = "param"
    attributes = {
        "at": AttributeSpec(required=True, takes="string"),
        "also": AttributeSpec(takes="names"),
        "init": AttributeSpec(required=True, takes="form"),
        "zero_row": AttributeSpec(),
    }


@register
class Call(Structure):
    """A block applied under a checkpoint path."""

    name = "call"
    operands = ("*",)
    attributes = {
        "block": AttributeSpec(required=True, takes="string"),
        "at": AttributeSpec(False, "", "string"),
    }


@register
class Repeat(Structure):
    """A body applied ``count`` times; its operands are carried around, ``index`` names the turn."""

    name = "repeat"
    operands = ("*",)
    attributes = {
        "index": AttributeSpec(required=True, takes="string"),
        "count": AttributeSpec(required=True),
        "at": AttributeSpec(False, "", "string"),
    }


@register
class CallBackward(Structure):
    """The gradients of a call: what its forward saved, and the gradients of its results, to those of its operands."""

    name = "call_backward"
    operands = ("*",)
    attributes = dict(Call.attributes)


@register
class Zeros(Structure):
    """Zeros of the stated type: the gradient of a result that nothing reads."""

    name = "zeros"

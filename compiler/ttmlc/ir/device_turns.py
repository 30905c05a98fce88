"""The ttnn level: what one turn of a repeat does unlike the others."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir import scalar
from ttmlc.ir.device import DeviceOp, declare, device
from ttmlc.ir.module import SCALARS
from ttmlc.ir.op import Attributes, AttributeSpec, Refusal
from ttmlc.ir.types import MaskType, Type

PICKED = "mask.picked"
FIRST = "nn.first"


@declare
class PickedMaskOp(DeviceOp):
    """The mask of one turn of a repeat: ``yes`` where ``condition``, which reads the index, holds, else ``no``."""

    name = PICKED
    operands = ("yes", "no")
    attributes = {"condition": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        yes, no = types
        condition = attributes["condition"]
        if not isinstance(yes, MaskType) or not isinstance(no, MaskType) or yes.causal != no.causal:
            raise Refusal("masks are picked of which all are causal, or none", at="yes")
        assert isinstance(condition, SCALARS)
        return (MaskType(yes.causal, scalar.apply("select", condition, yes.window, no.window)),)


@declare
class FirstOp(DeviceOp):
    """y = x, or where ``condition`` holds the first token of x [B, 1, S, features] alone: [B, 1, 1, features].

    The declared type is that of x all the same: a block finds out from its argument how many tokens it is given.
    """

    name = FIRST
    callee = FIRST
    operands = ("x",)
    attributes = {"condition": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], "x"),)

"""The ttnn level: rotary positions. The angles come from the host, as what turns heads by them."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir.device import DeviceOp, declare, device
from ttmlc.ir.module import Form
from ttmlc.ir.op import Attributes, AttributeSpec, Refusal
from ttmlc.ir.types import RotaryType, Type


@declare
class RotaryInputOp(DeviceOp):
    """Positions that the caller gave, times the frequencies of a table: ``numbers``, called ``table``."""

    name = "input.rotary"
    callee = "given.rotary"
    attributes = {
        "input": AttributeSpec(required=True, takes="string"),
        "table": AttributeSpec(required=True, takes="string"),
        "numbers": AttributeSpec(required=True, takes="form"),
        "axis": AttributeSpec(required=True, takes="string"),
        "half": AttributeSpec(required=True),
        "default": AttributeSpec(takes="form"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        half = attributes["half"]
        assert not isinstance(half, (str, Form, tuple))
        return (RotaryType(half),)


class TurnOp(DeviceOp):
    """Heads [B, heads, S, head_dim], each token's turned by its angles."""

    operands = ("x", "angles")
    role = "attention"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        if not isinstance(types[1], RotaryType):
            raise Refusal("heads are turned by the angles of tokens", at="angles")
        return (device(types[0], "x"),)


@declare
class RotaryOp(TurnOp):
    """See ``nn.rotary``."""

    name = "nn.rotary"
    callee = "nn.rotary"


@declare
class RotaryBackwardOp(TurnOp):
    """See ``nn.rotary_backward``."""

    name = "nn.rotary_backward"
    callee = "nn.rotary_backward"

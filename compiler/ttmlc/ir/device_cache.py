"""The ttnn level: keys and values that are kept from call to call."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir.device import DeviceOp, declare, device
from ttmlc.ir.op import Attributes, Refusal
from ttmlc.ir.types import MaskType, Type


@declare
class SeenOp(DeviceOp):
    """The keys and values that a mask is over: k and v, or where a cache is kept, those of earlier tokens too."""

    name = "nn.seen"
    callee = "mask.seen"
    operands = ("k", "v", "mask")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        if not isinstance(types[2], MaskType):
            raise Refusal("a mask says which keys are seen", at="mask")
        return (device(types[0], "k"), device(types[1], "v"))

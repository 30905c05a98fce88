"""The ttnn level beside the device: labels and whole numbers on the host, batches and losses in a model.

Whole numbers are computed by the ops of the tensor level themselves (``ttmlc.ir.ops.integers``); what is declared here
brings the caller's to them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir import scalar
from ttmlc.ir.device import BFLOAT16, DeviceOp, declare, device, shape_of
from ttmlc.ir.op import Attributes, AttributeSpec, Refusal
from ttmlc.ir.ops.apart import LETTERS
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import BATCH, DeviceType, DType, Layout, TensorType, Type


def host(type_: Type | None, operand: str) -> TensorType:
    """``type_`` as that of whole numbers on the host, which are typed as the tensor level types them."""
    if not isinstance(type_, TensorType) or type_.dtype is not DType.INT:
        raise Refusal(f"{operand!r} is not whole numbers on the host", at=operand)
    return type_


class HostOp(DeviceOp):
    """Labels made of labels."""

    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (host(types[0], "x"),)


@declare
class NextLabelsOp(HostOp):
    """See ``nn.next_labels``: moved by one along the last dimension."""

    name = "nn.next_labels"
    callee = "nn.next_labels"
    attributes = {"fill": AttributeSpec(False, Const(-100))}
    written = {"fill": "fill"}


@declare
class ClampLabelsOp(HostOp):
    """See ``nn.clamp_labels``."""

    name = "nn.clamp_labels"
    callee = "nn.clamp_labels"
    attributes = {"low": AttributeSpec(required=True), "high": AttributeSpec(required=True)}


class GivenOp(DeviceOp):
    """Shared by what a caller gives and the host reads."""

    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = types[0]
        if not isinstance(x, TensorType) or x.dtype is DType.FLOAT:
            raise Refusal("'x' is not whole numbers on the host", at="x")
        return (x,)


@declare
class IntegersOp(GivenOp):
    """What a caller gave, checked: an array on the host, whole numbers or, of a mask, true and false.

    ``merged`` types it with its batch of batches as one; ``default`` stands for what is not given.
    """

    name = "input.integers"
    callee = "given.integers"
    attributes = {
        "input": AttributeSpec(required=True, takes="string"),
        "merged": AttributeSpec(False, Const(False)),
        "default": AttributeSpec(takes="form"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        (x,) = super().infer(types, attributes)
        assert isinstance(x, TensorType)
        if attributes["merged"] == Const(True):
            return (TensorType(x.dtype, (BATCH, *x.dims[2:])),)
        return (x,)


@declare
class DefaultOp(GivenOp):
    """The input of this name where it is given, else x."""

    name = "input.default"
    attributes = {"input": AttributeSpec(required=True, takes="string")}


@declare
class PlacesOp(DeviceOp):
    """Of each index that the caller gave, or x, a row on the device: 1 at its place, 0 elsewhere; in range."""

    name = "input.places"
    callee = "given.places"
    operands = ("x?",)
    attributes = {
        "input": AttributeSpec(required=True, takes="string"),
        "shape": AttributeSpec(required=True, takes="names"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        if types[0] is not None:
            host(types[0], "x")
        return (DeviceType(BFLOAT16, shape_of(attributes["shape"]), Layout.TILE),)


@declare
class WeighedOp(DeviceOp):
    """A loss times ``factor``, none where it is missing."""

    name = "nn.weighed"
    callee = "nn.weighed"
    operands = ("x",)
    attributes = {"factor": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], "x"),)


@declare
class ModelReshapeOp(DeviceOp):
    """y = x in another shape, in a model: with a place on the tape."""

    name = "nn.reshape"
    callee = "nn.reshape"
    operands = ("x",)
    attributes = {"shape": AttributeSpec(required=True, takes="names")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (DeviceType(device(types[0], "x").dtype, shape_of(attributes["shape"]), Layout.TILE),)


@declare
class ConcatRowsOp(DeviceOp):
    """y = the tensors one below the other."""

    name = "ttnn.concat_rows"
    callee = "ttnn.concat"
    operands = ("a", *(f"{letter}?" for letter in LETTERS[1:]))

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        parts = [
            device(type_, name) for type_, name in zip(types, LETTERS, strict=False) if type_ is not None
        ]
        rows = parts[0].shape[-2]
        for part in parts[1:]:
            rows = scalar.apply("+", rows, part.shape[-2])
        shape = (*parts[0].shape[:-2], rows, parts[0].shape[-1])
        return (DeviceType(parts[0].dtype, shape, Layout.TILE),)

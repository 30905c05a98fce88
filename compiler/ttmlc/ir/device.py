"""The ttnn level: the calls that the emitted module makes, each declared once with how Python writes it.

A declaration is a row: what is called, which operands go by position and which by keyword, which attributes become
keywords, and which kernel policy (``role``) is spread into the call. Printing a call needs no code of its own.
Shapes here are scalars; what a device sees is sizes. The resident form of an activation over tokens is
[B, 1, S, features], which every op takes and no op has to reshape.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute, Form
from ttmlc.ir.op import TABLE, Attributes, AttributeSpec, OpDef, Refusal
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import DeviceType, Layout, MaskType, Type

BFLOAT16 = "bfloat16"
UINT32 = "uint32"


ROLES = ("matmul", "attention", "norm", "softmax", "reduce", "loss")
"""What a call does, as far as how it computes is decided by it; the runtime's policy has a field for each."""


class DeviceOp(OpDef):
    """An op of the ttnn level.

    ``callee`` is the Python name; ``written`` maps operands and attributes to keywords (by position where there is
    none); ``always`` are keywords that never change; ``role`` names the kernel policy the call is given.
    """

    callee: str = ""
    written: dict[str, str] = {}
    always: tuple[tuple[str, str], ...] = ()
    role: str = ""


def device(type_: Type | None, operand: str) -> DeviceType:
    """``type_`` as a device tensor's type."""
    if not isinstance(type_, DeviceType):
        raise Refusal(f"{operand!r} is not a device tensor", at=operand)
    return type_


def shape_of(value: Attribute) -> tuple[Scalar, ...]:
    """A shape attribute as scalars."""
    assert isinstance(value, tuple)
    return tuple(size for size in value if not isinstance(size, (str, Form, tuple)))


def declare(declaration: type[DeviceOp]) -> type[DeviceOp]:
    TABLE.add(declaration())
    return declaration


@declare
class StorageOp(DeviceOp):
    """A storage of the block: ``chain`` says what lies in it and how; ``holder.slot`` is where it is kept."""

    name = "storage"
    attributes = {
        "holder": AttributeSpec(required=True, takes="string"),
        "slot": AttributeSpec(required=True, takes="string"),
        "chain": AttributeSpec(required=True, takes="form"),
        "shape": AttributeSpec(required=True, takes="names"),
        "rows": AttributeSpec(False, Const(False)),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        layout = Layout.ROW_MAJOR if attributes["rows"] == Const(True) else Layout.TILE
        return (DeviceType(BFLOAT16, shape_of(attributes["shape"]), layout),)


@declare
class IdsOp(DeviceOp):
    """Integers that the caller gave, or x made of them, on the device: uint32[B, S], each below ``below``."""

    name = "input.ids"
    callee = "given.ids"
    operands = ("x?",)
    attributes = {
        "input": AttributeSpec(required=True, takes="string"),
        "below": AttributeSpec(required=True),
        "default": AttributeSpec(takes="form"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (DeviceType(UINT32, (scalar.Dynamic("B"), scalar.Dynamic("S")), Layout.ROW_MAJOR),)


@declare
class MaskOp(DeviceOp):
    """A validity mask that the caller gave, or x, in the form attention takes, causality folded in."""

    name = "input.mask"
    callee = "given.mask"
    operands = ("x?",)
    attributes = {
        "input": AttributeSpec(required=True, takes="string"),
        "causal": AttributeSpec(False, Const(False)),
        "window": AttributeSpec(False, Const(None)),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        causal, window = attributes["causal"], attributes["window"]
        assert not isinstance(causal, (str, Form, tuple)) and not isinstance(window, (str, Form, tuple))
        return (MaskType(causal, window),)


@declare
class CausalWindowOp(DeviceOp):
    """What hides all but the last ``window`` keys from each query of x, where the caller gives no mask."""

    name = "nn.causal_window"
    callee = "nn.causal_window"
    operands = ("x",)
    attributes = {"window": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        window = attributes["window"]
        assert not isinstance(window, (str, Form, tuple))
        return (MaskType(Const(True), window),)


@declare
class OutputOp(DeviceOp):
    """A device value as the caller gets it: read back in the logical ``shape``."""

    name = "output"
    callee = "nn.Activation"
    operands = ("x",)
    attributes = {"shape": AttributeSpec(required=True, takes="names")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], "x"),)


@declare
class LinearOp(DeviceOp):
    """y = activation(x @ weight + bias); weight is [in, out], or [out, in] where ``turned``."""

    name = "ttnn.linear"
    callee = "ttnn.linear"
    operands = ("x", "weight", "bias?")
    written = {"bias": "bias", "turned": "transpose_b", "activation": "activation"}
    attributes = {"turned": AttributeSpec(False, Const(False)), "activation": AttributeSpec()}
    role = "matmul"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, weight = device(types[0], "x"), device(types[1], "weight")
        takes, makes = weight.shape[::-1] if attributes["turned"] == Const(True) else weight.shape
        if takes != x.shape[-1]:
            raise Refusal(f"weight {weight} does not take x {x}", at="weight")
        if types[2] is not None and device(types[2], "bias").shape != (makes,):
            raise Refusal(f"bias {types[2]} does not fit weight {weight}", at="bias")
        return (DeviceType(BFLOAT16, (*x.shape[:-1], makes), Layout.TILE),)


@declare
class LayerNormOp(DeviceOp):
    """y = layer_norm(x + residual) over the last dimension."""

    name = "ttnn.layer_norm"
    callee = "ttnn.layer_norm"
    operands = ("x", "weight", "bias?", "residual?")
    written = {"residual": "residual_input_tensor", "weight": "weight", "bias": "bias", "epsilon": "epsilon"}
    attributes = {"epsilon": AttributeSpec(required=True)}
    role = "norm"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        if types[3] is not None and device(types[3], "residual").shape != x.shape:
            raise Refusal(f"residual {types[3]} differs from x {x}", at="residual")
        return (x,)


@declare
class RmsNormOp(DeviceOp):
    """y = rms_norm(x + residual) over the last dimension."""

    name = "ttnn.rms_norm"
    callee = "ttnn.rms_norm"
    operands = ("x", "weight?", "residual?")
    written = {"residual": "residual_input_tensor", "weight": "weight", "epsilon": "epsilon"}
    attributes = {"epsilon": AttributeSpec(required=True)}
    role = "norm"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        if types[2] is not None and device(types[2], "residual").shape != x.shape:
            raise Refusal(f"residual {types[2]} differs from x {x}", at="residual")
        return (x,)


@declare
class EmbeddingOp(DeviceOp):
    """y = table[ids], as tiles; the table is kept in rows."""

    name = "ttnn.embedding"
    callee = "ttnn.embedding"
    operands = ("ids", "table")
    always = (("layout", "TILE"),)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        ids, table = device(types[0], "ids"), device(types[1], "table")
        if ids.dtype != UINT32:
            raise Refusal(f"ids are {ids}, not uint32", at="ids")
        if table.layout is not Layout.ROW_MAJOR:
            raise Refusal("a table in tiles would be untilized at every call", at="table")
        return (DeviceType(BFLOAT16, (*ids.shape, table.shape[1]), Layout.TILE),)


class ElementwiseOp(DeviceOp):
    """Two tensors of one shape, or one that broadcasts; ``scalar`` is a number instead of the second."""

    operands = ("a", "b?")
    attributes = {"scalar": AttributeSpec()}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        a = device(types[0], "a")
        if types[1] is None:
            if attributes.get("scalar") is None:
                raise Refusal("there is neither a second tensor nor a number", at="b")
            return (a,)
        b = device(types[1], "b")
        if len(b.shape) == 1:  # a vector of features, such as a norm's weight
            b = DeviceType(b.dtype, (*(Const(1),) * (len(a.shape) - 1), *b.shape), b.layout)
        if len(a.shape) != len(b.shape):
            raise Refusal(f"{a} and {b} differ in rank", at="b")
        shape = []
        for left, right in zip(a.shape, b.shape, strict=True):
            if left != right and Const(1) not in (left, right):
                raise Refusal(f"{a} and {b} do not broadcast", at="b")
            shape.append(right if left == Const(1) else left)
        return (DeviceType(a.dtype, tuple(shape), Layout.TILE),)


for _name in ("add", "subtract", "multiply", "divide"):
    _callee = "ttnn.div" if _name == "divide" else f"ttnn.{_name}"
    declare(
        type(
            _name.title() + "Op",
            (ElementwiseOp,),
            {"name": f"ttnn.{_name}", "callee": _callee, "__doc__": f"a {_name} b."},
        )
    )


@declare
class ActivateOp(DeviceOp):
    """y = f(x) where ``kind`` names f as Hugging Face does."""

    name = "nn.activate"
    callee = "nn.activate"
    operands = ("x",)
    attributes = {"kind": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], "x"),)


@declare
class ReshapeOp(DeviceOp):
    """y = x in another shape."""

    name = "ttnn.reshape"
    callee = "ttnn.reshape"
    operands = ("x",)
    attributes = {"shape": AttributeSpec(required=True, takes="names")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        return (DeviceType(x.dtype, shape_of(attributes["shape"]), x.layout),)


@declare
class PermuteOp(DeviceOp):
    """y = x with its dimensions in the order ``dims``."""

    name = "ttnn.permute"
    callee = "ttnn.permute"
    operands = ("x",)
    attributes = {"dims": AttributeSpec(required=True, takes="names")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        order = [size.value for size in shape_of(attributes["dims"]) if isinstance(size, Const)]
        return (DeviceType(x.dtype, tuple(x.shape[int(str(place))] for place in order), x.layout),)


@declare
class SliceOp(DeviceOp):
    """y = x[start : end] in each dimension."""

    name = "ttnn.slice"
    callee = "ttnn.slice"
    operands = ("x",)
    attributes = {
        "start": AttributeSpec(required=True, takes="names"),
        "end": AttributeSpec(required=True, takes="names"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        ends = zip(shape_of(attributes["start"]), shape_of(attributes["end"]), strict=True)
        shape = tuple(end if start == Const(0) else scalar.apply("-", end, start) for start, end in ends)
        return (DeviceType(x.dtype, shape, x.layout),)


@declare
class SplitQkvOp(DeviceOp):
    """q, k, v = the heads of a joint projection [B, 1, S, (heads + 2 kv) * head_dim], each [B, heads, S, head_dim]."""

    name = "ttnn.create_qkv_heads"
    callee = "ttnn.experimental.nlp_create_qkv_heads"
    operands = ("x",)
    written = {"num_heads": "num_heads", "num_kv_heads": "num_kv_heads"}
    always = (("transpose_k_heads", "False"),)
    attributes = {
        "num_heads": AttributeSpec(required=True),
        "num_kv_heads": AttributeSpec(),
        "head_dim": AttributeSpec(required=True),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        heads, head_dim = attributes["num_heads"], attributes["head_dim"]
        kv = attributes.get("num_kv_heads", heads)
        assert not isinstance(heads, (str, Form, tuple)) and not isinstance(head_dim, (str, Form, tuple))
        assert not isinstance(kv, (str, Form, tuple))
        made, shared = (
            DeviceType(x.dtype, (x.shape[0], count, x.shape[2], head_dim), Layout.TILE)
            for count in (heads, kv)
        )
        return (made, shared, shared)


@declare
class ConcatHeadsOp(DeviceOp):
    """y = [B, heads, S, head_dim] as [B, 1, S, heads * head_dim]."""

    name = "ttnn.concat_heads"
    callee = "ttnn.experimental.nlp_concat_heads"
    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        batch, heads, tokens, width = device(types[0], "x").shape
        return (
            DeviceType(BFLOAT16, (batch, Const(1), tokens, scalar.apply("*", heads, width)), Layout.TILE),
        )


@declare
class ParameterOp(DeviceOp):
    """A parameter that some block of the model makes, as others are given it at construction."""

    name = "parameter"
    attributes = {
        "at": AttributeSpec(required=True, takes="string"),
        "shape": AttributeSpec(required=True, takes="names"),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (DeviceType(BFLOAT16, shape_of(attributes["shape"]), Layout.TILE),)


@declare
class SdpaOp(DeviceOp):
    """Fused attention; ``concat_heads`` gives [B, 1, S, heads * head_dim] instead of [B, heads, S, head_dim]."""

    name = "ttnn.sdpa"
    callee = "ttnn.transformer.scaled_dot_product_attention"
    operands = ("q", "k", "v", "mask?")
    attributes = {
        "scale": AttributeSpec(),
        "causal": AttributeSpec(False, Const(False)),
        "concat_heads": AttributeSpec(False, Const(False)),
    }
    written = {
        "mask": "attn_mask",
        "causal": "is_causal",
        "scale": "scale",
        "concat_heads": "output_concat_heads",
    }
    role = "attention"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        q = device(types[0], "q")
        if types[3] is not None and not isinstance(types[3], MaskType):
            raise Refusal("attention reads its mask in the mask form", at="mask")
        if attributes["concat_heads"] == Const(True):
            batch, heads, tokens, head_dim = q.shape
            return (
                DeviceType(
                    q.dtype, (batch, Const(1), tokens, scalar.apply("*", heads, head_dim)), Layout.TILE
                ),
            )
        return (q,)

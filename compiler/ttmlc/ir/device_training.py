"""The calls that only training makes: statistics kept, backwards, gradients handed to storages, losses."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.ir import scalar
from ttmlc.ir.device import BFLOAT16, DeviceOp, declare, device, shape_of
from ttmlc.ir.module import Form
from ttmlc.ir.op import Attributes, AttributeSpec, Refusal
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import DeviceType, Layout, MaskType, TensorType, Type

FLOAT32 = "float32"


@declare
class MatmulOp(DeviceOp):
    """y = a @ b over the last two dimensions, either of them transposed first."""

    name = "ttnn.matmul"
    callee = "ttnn.matmul"
    operands = ("a", "b")
    written = {"transpose_a": "transpose_a", "transpose_b": "transpose_b", "dtype": "dtype"}
    attributes = {
        "transpose_a": AttributeSpec(False, Const(False)),
        "transpose_b": AttributeSpec(False, Const(False)),
        "dtype": AttributeSpec(takes="string"),
    }
    role = "matmul"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        a, b = device(types[0], "a"), device(types[1], "b")
        rows, inner = a.shape[-2:] if attributes["transpose_a"] == Const(False) else a.shape[:-3:-1]
        other, columns = b.shape[-2:] if attributes["transpose_b"] == Const(False) else b.shape[:-3:-1]
        if inner != other:
            raise Refusal(f"{a} and {b} do not multiply", at="b")
        if len(b.shape) > 2 and a.shape[:-2] != b.shape[:-2]:
            raise Refusal(f"{a} and {b} differ in what stands before the matrices", at="b")
        dtype = str(attributes.get("dtype") or BFLOAT16)
        return (DeviceType(dtype, (*a.shape[:-2], rows, columns), Layout.TILE),)


@declare
class RowsOp(DeviceOp):
    """y = x as [1, 1, N, F]: a row for each token. A view where tiles allow it."""

    name = "nn.rows"
    callee = "nn.rows"
    operands = ("x",)

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        *leading, features = x.shape
        return (
            DeviceType(x.dtype, (Const(1), Const(1), scalar.product(tuple(leading)), features), x.layout),
        )


@declare
class SumRowsOp(DeviceOp):
    """y = x [1, 1, N, F] summed over its rows: [1, 1, 1, F]."""

    name = "ttnn.sum"
    callee = "ttnn.sum"
    operands = ("x",)
    always = (("dim", "-2"), ("keepdim", "True"))
    role = "reduce"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        return (DeviceType(x.dtype, (*x.shape[:-2], Const(1), x.shape[-1]), Layout.TILE),)


@declare
class LayerNormForwardOp(DeviceOp):
    """y, mean, rstd = a layer norm with what its backward needs of each row."""

    name = "nn.layer_norm"
    callee = "nn.layer_norm"
    operands = ("x", "weight", "bias?")
    attributes = {"epsilon": AttributeSpec(required=True)}
    role = "norm"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = device(types[0], "x")
        row = DeviceType(BFLOAT16, x.shape[:-1], Layout.TILE)
        return (x, row, row)


@declare
class LayerNormBackwardOp(DeviceOp):
    """dx, dweight, and dbias where ``bias``."""

    name = "nn.layer_norm_backward"
    callee = "nn.layer_norm_backward"
    operands = ("dy", "x", "mean", "rstd", "weight")
    attributes = {"bias": AttributeSpec(False, Const(True))}
    written = {"bias": "bias"}
    role = "norm"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, weight = device(types[1], "x"), device(types[4], "weight")
        return (x, weight, weight) if attributes["bias"] == Const(True) else (x, weight)


@declare
class RmsNormBackwardOp(DeviceOp):
    """dx, dweight of y = rms_norm(x) * weight."""

    name = "nn.rms_norm_backward"
    callee = "nn.rms_norm_backward"
    operands = ("dy", "x", "weight")
    attributes = {"epsilon": AttributeSpec(required=True)}
    role = "norm"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[1], "x"), device(types[2], "weight"))


class SameOp(DeviceOp):
    """The result is of the first operand's type."""

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], self.operand_names()[0]),)


@declare
class SoftmaxOp(SameOp):
    """y = softmax(x) over the last dimension."""

    name = "ttnn.softmax"
    callee = "ttnn.softmax"
    operands = ("x",)
    always = (("dim", "-1"),)
    role = "softmax"


@declare
class SoftmaxBackwardOp(SameOp):
    """dx of y = softmax(x)."""

    name = "nn.softmax_backward"
    callee = "nn.softmax_backward"
    operands = ("dy", "y")
    role = "softmax"


@declare
class MaskedScoresOp(DeviceOp):
    """y = scores * scale + what hides keys; ``causal`` and ``window`` where there is no mask to say it.

    Where ``group`` heads of queries stand one behind the other, what hides keys is there for each of them.
    """

    name = "nn.masked_scores"
    callee = "nn.masked_scores"
    operands = ("scores", "mask?")
    attributes = {
        "scale": AttributeSpec(required=True),
        "causal": AttributeSpec(False, Const(False)),
        "window": AttributeSpec(),
        "group": AttributeSpec(),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        if types[1] is not None and not isinstance(types[1], MaskType):
            raise Refusal("scores read their mask in the mask form", at="mask")
        return (device(types[0], "scores"),)


@declare
class DropoutOp(SameOp):
    """y = x * ``scale`` with elements dropped by the seed of the call and the ``site``."""

    name = "nn.dropout"
    callee = "nn.dropout"
    operands = ("x",)
    attributes = {
        "p": AttributeSpec(required=True),
        "site": AttributeSpec(required=True),
        "scale": AttributeSpec(),
    }


@declare
class ActivateBackwardOp(SameOp):
    """dx of y = f(x)."""

    name = "nn.activate_backward"
    callee = "nn.activate_backward"
    operands = ("dy", "x")
    attributes = {"kind": AttributeSpec(required=True)}


@declare
class EmbeddingBackwardOp(DeviceOp):
    """The gradient of a table: the rows of dy added up by id; row ``skip`` gets none."""

    name = "nn.embedding_backward"
    callee = "nn.embedding_backward"
    operands = ("ids", "table", "dy")
    attributes = {"skip": AttributeSpec()}
    written = {"skip": "skip_row"}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        table, dy = device(types[1], "table"), device(types[2], "dy")
        return (DeviceType(dy.dtype, table.shape, Layout.TILE),)


@declare
class SpreadOp(DeviceOp):
    """y = x [B, 1, 1, F] as the first of [B, 1, S, F], and zeros behind it."""

    name = "nn.spread"
    callee = "nn.spread"
    operands = ("x",)
    attributes = {"shape": AttributeSpec(required=True, takes="names")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (DeviceType(device(types[0], "x").dtype, shape_of(attributes["shape"]), Layout.TILE),)


@declare
class SplitHeadsOp(DeviceOp):
    """y = [B, 1, S, heads * head_dim] as [B, heads, S, head_dim]."""

    name = "nn.split_heads"
    callee = "nn.split_heads"
    operands = ("x",)
    attributes = {"num_heads": AttributeSpec(required=True), "head_dim": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, heads, width = device(types[0], "x"), attributes["num_heads"], attributes["head_dim"]
        assert not isinstance(heads, (str, Form, tuple)) and not isinstance(width, (str, Form, tuple))
        return (DeviceType(x.dtype, (x.shape[0], heads, x.shape[2], width), Layout.TILE),)


@declare
class JoinHeadsOp(DeviceOp):
    """y = tensors [B, heads, S, head_dim] as [B, 1, S, width]: the heads of all of them side by side."""

    name = "nn.join_heads"
    callee = "nn.join_heads"
    operands = ("a", "b?", "c?")
    attributes = {"width": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        a, width = device(types[0], "a"), attributes["width"]
        assert not isinstance(width, (str, Form, tuple))
        return (DeviceType(a.dtype, (a.shape[0], Const(1), a.shape[2], width), Layout.TILE),)


@declare
class AccumulateOp(DeviceOp):
    """Hand ``value`` to a storage as its gradient."""

    name = "accumulate"
    operands = ("storage", "value")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        device(types[0], "storage"), device(types[1], "value")
        return ()


class LossOp(DeviceOp):
    """A loss of logits and of labels on the host, which are what the caller gives or made of it; a number."""

    operands = ("logits", "labels")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        device(types[0], "logits")
        if not isinstance(types[1], TensorType):
            raise Refusal("labels are on the host", at="labels")
        return (DeviceType(FLOAT32, (), Layout.TILE),)


@declare
class CrossEntropyOp(LossOp):
    """See ``nn.cross_entropy``."""

    name = "nn.cross_entropy"
    callee = "nn.cross_entropy"
    attributes = {"ignore": AttributeSpec(False, Const(-100))}
    written = {"ignore": "ignore_index"}


@declare
class BinaryCrossEntropyOp(LossOp):
    """See ``nn.binary_cross_entropy_with_logits``."""

    name = "nn.binary_cross_entropy"
    callee = "nn.binary_cross_entropy_with_logits"


@declare
class MeanSquaredErrorOp(LossOp):
    """See ``nn.mse_loss``."""

    name = "nn.mean_squared_error"
    callee = "nn.mse_loss"


@declare
class BothOp(DeviceOp):
    """The sum of two losses, none where one is missing."""

    name = "nn.both"
    callee = "nn.both"
    operands = ("a", "b")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (device(types[0], "a"),)

"""Ops that read weights: linear and embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import elements, floating, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text, factors

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


@register
class Linear(TensorOp):
    """y = x @ weight.T + bias over the last dim of x.

    ``weight`` is [out, in] as torch.nn.Linear keeps it, or [in, out] where ``stored_in_out`` says so.
    """

    name = "linear"
    operands = ("x", "weight", "bias?")
    attributes = {"stored_in_out": AttributeSpec(False, Const(False))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, weight = floating(types[0], "x"), floating(types[1], "weight")
        if not x.dims:
            raise Refusal("'x' has no dimension to contract", at="x")
        if len(weight.dims) != 2:
            raise Refusal("'weight' must have two dimensions", at="weight", label=f"is {weight}")
        makes, takes = reversed(weight.dims) if attributes["stored_in_out"] == Const(True) else weight.dims
        if x.dims[-1] != takes:
            raise Refusal(
                f"cannot contract {dim_text(x.dims[-1])!r} with {dim_text(takes)!r}",
                at="x",
                label=f"ends in {dim_text(x.dims[-1])}",
                related=(("weight", f"takes {dim_text(takes)}"),),
            )
        if types[2] is not None and tensor(types[2], "bias").dims != (makes,):
            raise Refusal(
                "'bias' must have the dimension that the weight makes", at="bias", label=f"is {types[2]}"
            )
        clash = {axis.name for axis in factors(makes)} & {a.name for d in x.dims[:-1] for a in factors(d)}
        if clash:
            raise Refusal(f"'x' has the axis {min(clash)!r} already", at="x", label=f"is {x}")
        return (TensorType(DType.FLOAT, (*x.dims[:-1], makes)),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        x = operation.operands[0]
        assert x is not None and isinstance(x.type, TensorType)
        made = operation.result.type
        assert isinstance(made, TensorType)
        table = {axis: AxisRule.POINTWISE for dim in x.type.dims[:-1] for axis in factors(dim)}
        table.update(dict.fromkeys(factors(x.type.dims[-1]), AxisRule.REDUCES))
        for axis in factors(made.dims[-1]):
            table[axis] = AxisRule.MIXES if axis in table else AxisRule.MAKES
        return table

    def cost(self, operation: Operation) -> Cost:
        x, made = operation.operands[0], operation.result
        assert x is not None and isinstance(x.type, TensorType) and isinstance(made.type, TensorType)
        work = scalar.apply("*", elements(made.type.dims), x.type.dims[-1].size)
        return traffic(operation, scalar.apply("*", Const(2), work))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        x, weight, bias = arrays
        result = x @ (weight if call.value("stored_in_out") else weight.T)
        return (result if bias is None else result + bias,)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, weight, *bias = adjoint.operation.operands
        assert x is not None and weight is not None
        stored = (
            {"stored_in_out": adjoint.operation.scalar("stored_in_out")}
            if adjoint.operation.attributes
            else {}
        )
        return [
            adjoint.add("linear_input_gradient", (adjoint.grad, weight), stored, name=f"d{x.name}"),
            adjoint.add("linear_weight_gradient", (adjoint.grad, x, weight), stored, name=f"d{weight.name}"),
            *(adjoint.fitted(adjoint.grad, one) for one in bias),
        ]


@register
class Embedding(TensorOp):
    """y = table[ids]: the rows of a table [rows, features]."""

    name = "embedding"
    operands = ("ids", "table")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        ids, table = tensor(types[0], "ids"), floating(types[1], "table")
        if ids.dtype is not DType.INT:
            raise Refusal("only integers look up rows", at="ids", label=f"is {ids}")
        if len(table.dims) != 2:
            raise Refusal("a table has two dimensions, [rows, features]", at="table", label=f"is {table}")
        return (TensorType(DType.FLOAT, (*ids.dims, table.dims[1])),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        made = operation.result
        assert isinstance(made.type, TensorType)
        return Cost(Const(0), elements(made.type.dims), elements(made.type.dims))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        ids, table = arrays
        return (table[ids],)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        ids, table = adjoint.operation.operands
        assert table is not None
        made = adjoint.maker(table)
        row = None if made is None or made.op != "param" else made.get("zero_row")
        skipped = {} if row is None else {"skip": row}  # the row of padding learns nothing from lookups
        return [
            None,
            adjoint.add("embedding_gradient", (adjoint.grad, ids, table), skipped, name=f"d{table.name}"),
        ]

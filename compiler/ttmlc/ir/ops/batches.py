"""Batches of batches: what has one more axis in front is made one batch, and is many again.

    %rows = merge_batch(%ids)            int[batch, choices, S] -> int[B, S]
    %many = split_batch(%rows)           float[B, S, hidden] -> float[batch, choices, S, hidden]

So a model over B runs once, where there are several inputs for each entry of a batch. B is batch times choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation
from ttmlc.ir.op import Attributes, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import rules, tensor
from ttmlc.ir.scalar import Const, Dynamic
from ttmlc.ir.types import BATCH, Axis, Dim, Role, TensorType, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

OUTER = "batch"
"""What the batch is called where B is that of a base which runs once for each of another axis."""


def over(name: str) -> tuple[Axis, Axis]:
    """The batch, and the axis called ``name`` behind it, whose sizes a call decides."""
    return Axis(OUTER, Dynamic(OUTER), Role.BATCH), Axis(name, Dynamic(name), Role.BATCH)


def _outer(dims: Sequence[Dim]) -> bool:
    axes = [dim for dim in dims if isinstance(dim, Axis)]
    return len(axes) == 2 and all(dim.role is Role.BATCH and dim != BATCH for dim in axes)


class BatchOp(TensorOp):
    """Elements keep their order."""

    operands = ("x",)
    no_gradient = "it stays in the model, where the tape turns it around"

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return dict.fromkeys(rules(operation), AxisRule.POINTWISE)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))


@register
class MergeBatch(BatchOp):
    """y = x with its first two axes as one, B."""

    name = "merge_batch"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = tensor(types[0], "x")
        if not _outer(x.dims[:2]):
            raise Refusal("'x' does not begin with two axes of a batch", at="x", label=f"is {x}")
        return (TensorType(x.dtype, (BATCH, *x.dims[2:])),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        (x,) = arrays
        rows = x.shape[0] * x.shape[1]
        call.frame.dynamic[BATCH.name] = rows  # what B is from here on: no input says it
        return (x.reshape(rows, *x.shape[2:]),)


@register
class SplitBatch(BatchOp):
    """y = x with its first axis, B, as two; the result type says which."""

    name = "split_batch"
    states_types = True

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x, made = tensor(operands[0], "x"), tensor(results[0], "y")
        if x.dims[:1] != (BATCH,) or not _outer(made.dims[:2]) or made.dims[2:] != x.dims[1:]:
            raise Refusal(f"{x} is not {made} with its batch as one", at="x", label=f"is {x}")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        (made,) = call.results
        assert isinstance(made, TensorType)
        return (arrays[0].reshape([call.size(dim.size) for dim in made.dims]),)

"""What heads ask of the device beside what models do: labels, parts of a tensor, batches of batches, sums of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ttmlc.ir.device_labels  # noqa: F401  # declares the ops that these rules make
from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import DeviceType, Role, TensorType, dim_text
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import resident

if TYPE_CHECKING:
    from ttmlc.passes.lower import Lowering

TURNED = tuple(Const(place) for place in (0, 1, 3, 2))
"""The last two dimensions exchanged."""


def _next(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    type_ = operation.result.type
    assert isinstance(type_, TensorType)
    if dim_text(type_.dims[-1]) != operation.text("over"):
        raise cannot(operation.span, "labels move along their last dimension only")
    x = lowering.host(operation.operands[0], operation.span)
    return [lowering.add(operation, "nn.next_labels", (x,), fill=operation.get("fill"))]


def _clamp(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    x = lowering.host(operation.operands[0], operation.span)
    given = {name: operation.scalar(name) for name in ("low", "high")}
    return [lowering.add(operation, "nn.clamp_labels", (x,), **given)]


def _take_apart(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """[B, 1, S, labels] turned, of which each row is a label's: two programs a label less than columns would be."""
    value = lowering.operand(operation, 0)
    x = operation.operands[0]
    assert x is not None and isinstance(x.type, TensorType) and value is not None
    if len(x.type.dims) != 3 or dim_text(x.type.dims[-1]) != operation.text("over"):
        raise cannot(operation.span, f"{x.type} is not taken apart on the device yet")
    turned = lowering.build.add(
        "ttnn.permute", (value,), {"dims": TURNED}, name=f"{value.name}_rows", span=operation.span
    )
    assert isinstance(turned.type, DeviceType)
    batch, one, _, tokens = turned.type.shape
    made = []
    for row, result in enumerate(operation.results):
        ends = {
            "start": (Const(0), Const(0), Const(row), Const(0)),
            "end": (batch, one, Const(row + 1), tokens),
        }
        made.append(lowering.build.add("ttnn.slice", (turned,), ends, name=result.name, span=operation.span))
    return made


def _put_together(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    made = operation.result.type
    assert isinstance(made, TensorType)
    if len(made.dims) != 3 or dim_text(made.dims[-1]) != operation.text("over"):
        raise cannot(operation.span, f"{made} is not put together on the device yet")
    parts = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    name = f"{operation.result.name}_rows"
    rows = lowering.build.add("ttnn.concat_rows", parts, name=name, span=operation.span)
    return [lowering.add(operation, "ttnn.permute", (rows,), dims=TURNED)]


def _merge_batch(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """What the caller gives is one batch where it is brought to the device."""
    x = operation.operands[0]
    assert x is not None
    if x.name not in lowering.inputs:
        raise cannot(operation.span, "only inputs of a model are made one batch")
    lowering.merged[operation.result.name] = x
    return ()


def _split_batch(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    made = operation.result.type
    assert isinstance(made, TensorType)
    shape = resident(made, lowering.padding, operation.span).shape
    return [lowering.add(operation, "nn.reshape", (lowering.operand(operation, 0),), shape=shape)]


def unit_of(lowering: Lowering, operation: Operation) -> Sequence[Value] | None:
    """[B, n, 1] as [B, n], or the other way: a column is a row. None where axes of one entry are not what moves."""
    x, made = operation.operands[0], operation.result.type
    assert x is not None and isinstance(x.type, TensorType) and isinstance(made, TensorType)
    long, short = sorted((x.type.dims, made.dims), key=len, reverse=True)
    if len(long) != 3 or long[:2] != short or getattr(long[2], "role", None) is not Role.UNIT:
        return None
    return [lowering.add(operation, "ttnn.permute", (lowering.operand(operation, 0),), dims=TURNED)]


def of_losses(lowering: Lowering, operation: Operation) -> Value:
    """Sums and multiples of losses, which the host makes."""
    a, *rest = (lowering.operand(operation, place) for place in range(len(operation.operands)))
    if operation.op in ("add", "subtract") and rest:
        if operation.op == "subtract":
            negative = lowering.add(operation, "nn.weighed", (rest[0],), factor=Const(-1))
            rest = [negative]
        return lowering.add(operation, "nn.both", (a, *rest))
    if operation.op in ("multiply", "divide") and not rest:
        factor: Scalar = operation.scalar("scalar")
        if operation.op == "divide":
            factor = scalar.apply("/", Const(1), factor)
        return lowering.add(operation, "nn.weighed", (a,), factor=factor)
    raise cannot(
        operation.span,
        "losses are added, and multiplied by numbers; more has no form on the device yet",
    )


HEADS: dict[str, Callable[[Lowering, Operation], Sequence[Value]]] = {
    "next": _next,
    "clamp": _clamp,
    "take_apart": _take_apart,
    "put_together": _put_together,
    "merge_batch": _merge_batch,
    "split_batch": _split_batch,
}

"""What rotary positions are on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ttmlc.ir.device_rotary  # noqa: F401  # declares the ops that these rules make
from ttmlc.ir import scalar
from ttmlc.ir.module import Fact, Form, Function, Kind, Operation, Value
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, RotaryType, TensorType
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.source import Span

if TYPE_CHECKING:
    from ttmlc.passes.lower import Lowering


TURNED_BY = "heads are turned by the angles of tokens: positions times a table"
TURNED_ONLY = "angles do nothing but turn heads"


def _table(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """The module's own: what reads it says so."""
    return ()


def _angles(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    positions, frequencies = operation.operands
    assert positions is not None and frequencies is not None
    table = next((o for o in lowering.function.walk() if o.op == "table" and frequencies in o.results), None)
    given = lowering.merged.get(positions.name, positions)
    if table is None or lowering.function.kind is not Kind.MODEL or given.name not in lowering.inputs:
        raise cannot(
            operation.span, "angles are made where the model is entered, of an input and a table of the spec"
        )
    type_ = frequencies.type
    assert isinstance(type_, TensorType) and isinstance(type_.dims[0], Axis)
    default = lowering.inputs[given.name].default
    made = lowering.enter(
        given,
        "input.rotary",
        table.text("name"),
        operation.result.name,
        table=table.text("name"),
        numbers=table.get("numbers"),
        axis=type_.dims[0].name,
        half=type_.dims[0].size,
        default=Form("full", (default,)) if isinstance(default, Const) else default,
    )
    return [made]


def _rotary(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    x, angles = operation.operands
    assert x is not None and angles is not None
    assert isinstance(x.type, TensorType) and isinstance(angles.type, TensorType)
    turned, width = angles.type.dims[2], x.type.dims[3]
    condition = scalar.apply("<=", scalar.apply("*", Const(2), turned.size), width.size)
    if condition != Const(True):
        name = width.name if isinstance(width, Axis) else "head"
        message = f"rotary positions turn more features than the {{{name}}} of a head"
        fact = Fact(condition, message, "features are turned in pairs of one head")
        lowering.facts += [fact] if fact not in lowering.facts else []
    op = "nn.rotary_backward" if operation.get("back") == Const(True) else "nn.rotary"
    return [lowering.add(operation, op, (lowering.operand(operation, 0), lowering.operand(operation, 1)))]


def turning(lowering: Lowering, value: Value, span: Span | None) -> Value:
    """The angles that a block is called with.

    Raises:
        DiagnosticError: they are no angles.
    """
    made = lowering.value(value, span)
    if not isinstance(made.type, RotaryType):
        raise cannot(span, TURNED_BY)
    return made


def turned_by(function: Function, value: Value, done: Mapping[str, Lowering]) -> Scalar | None:
    """Of an input of a block that heads are turned by, how many angles a token has; else None."""
    for operation in function.walk():
        for place, operand in enumerate(operation.operands):
            if operand is None or operand.name != value.name:
                continue
            if operation.op == "rotary" and place == 1:
                assert isinstance(value.type, TensorType)
                return value.type.dims[2].size
            if operation.op == "call":
                passed = done[operation.text("block")].made.inputs[place].value.type
                if isinstance(passed, RotaryType):
                    return passed.half
    return None


ROTARY = {"table": _table, "angles": _angles, "rotary": _rotary}

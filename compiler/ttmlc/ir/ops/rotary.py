"""Rotary positions: tables of the config, the angles of tokens, heads turned by them (Su et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Form, Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import floating, per_element, rules, tensor
from ttmlc.ir.scalar import Const, Index, Scalar
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

Named = tuple[str, Scalar]
Case = tuple[Scalar, Scalar]


def table_form(values: Sequence[Named], cases: Sequence[Case]) -> Form:
    """The numbers of a table as an attribute: values by name, and of the cases the first whose condition holds.

    A scalar of a table reads the place along its axis, and the values before it, as an index: ``#half``, ``#f``.
    """
    lets = tuple(Form("let", (name, value)) for name, value in values)
    return Form("table", (*lets, *(Form("case", case) for case in cases)))


def table_parts(form: Form) -> tuple[list[Named], list[Case]]:
    """The values and the cases of a table; no more than are asked for where what decides is known."""
    values: list[Named] = []
    cases: list[Case] = []
    for part in form.args:
        assert isinstance(part, Form)
        first, second = part.args
        assert not isinstance(second, (str, Form, tuple)) and not isinstance(first, (Form, tuple))
        if isinstance(first, str):
            values.append((first, second))
        elif first != Const(False) and not (cases and cases[-1][0] == Const(True)):
            cases.append((first, second))
    read = {leaf.name for case in cases for part in case for leaf in _indices(part)}
    for name, value in reversed(values):
        if name in read:
            read |= {leaf.name for leaf in _indices(value)}
    return [(name, value) for name, value in values if name in read], cases


def _indices(value: Scalar) -> list[Index]:
    return [leaf for leaf in scalar.leaves(value) if isinstance(leaf, Index)]


@register
class Table(TensorOp):
    """y = numbers over one axis, computed of the config alone; the result type says which axis."""

    name = "table"
    operands = ()
    attributes = {
        "name": AttributeSpec(required=True, takes="string"),
        "numbers": AttributeSpec(required=True, takes="form"),
    }
    states_types = True
    no_gradient = "a table is computed of the config"

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        made = floating(results[0], "y")
        if len(made.dims) != 1 or not isinstance(made.dims[0], Axis) or made.dims[0].is_dynamic:
            raise Refusal("a table has one axis, whose size the config knows", label=f"is {made}")

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        (made,), form = call.results, call.operation.get("numbers")
        assert isinstance(made, TensorType) and isinstance(form, Form)
        values, cases = table_parts(form)
        found = []
        for place in range(call.size(made.dims[0].size)):
            known: dict[str, Any] = {made.axes()[0].name: float(place)}
            for name, value in values:
                known[name] = scalar.evaluate(value, call.frame.fields, None, known)
            chosen = (case for case in cases if scalar.evaluate(case[0], call.frame.fields, None, known))
            found.append(scalar.evaluate(next(chosen)[1], call.frame.fields, None, known))
        return (np.asarray(found, call.frame.dtype),)


@register
class Angles(TensorOp):
    """y = positions * frequencies: the angle of each token for each pair of features, [B, S, half]."""

    name = "angles"
    operands = ("positions", "frequencies")
    no_gradient = "positions are integers, and frequencies numbers of the config"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        positions, frequencies = tensor(types[0], "positions"), floating(types[1], "frequencies")
        if positions.dtype is not DType.INT or len(frequencies.dims) != 1:
            raise Refusal(
                "angles are integers times a table over one axis",
                at="positions",
                label=f"is {positions}",
                related=(("frequencies", f"is {frequencies}"),),
            )
        return (TensorType(DType.FLOAT, (*positions.dims, *frequencies.dims)),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, 1)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        positions, frequencies = arrays
        return (positions[..., None] * frequencies,)


@register
class Rotary(TensorOp):
    """y = x with feature j and feature j + half of each head turned by angle j, as one point of a plane.

    x is [B, heads, S, head_dim], the angles are [B, S, half]; features from 2 * half on stay as they are. With ``back``
    they are turned the other way, which is the gradient.
    """

    name = "rotary"
    operands = ("x", "angles")
    attributes = {"back": AttributeSpec(False, Const(False))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, angles = floating(types[0], "x"), floating(types[1], "angles")
        if len(x.dims) != 4 or not isinstance(x.dims[3], Axis):
            hint = "Split the heads with 'as [B, heads, S, head_dim]'."
            raise Refusal("'x' must be [B, heads, S, head_dim]", at="x", label=f"is {x}", hint=hint)
        if len(angles.dims) != 3 or angles.dims[:2] != (x.dims[0], x.dims[2]):
            tokens = f"{dim_text(x.dims[0])}, {dim_text(x.dims[2])}"
            raise Refusal(
                f"the angles of these heads are [{tokens}, half]",
                at="angles",
                label=f"is {angles}",
                related=(("x", f"is {x}"),),
            )
        turned, width = scalar.apply("*", Const(2), angles.dims[2].size), x.dims[3].size
        if scalar.apply("<=", turned, width) == Const(False):
            label = f"turns {scalar.text(turned)} of {scalar.text(width)} features"
            raise Refusal("these angles turn more features than a head has", at="angles", label=label)
        return (x,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        x = operation.operands[0]
        assert x is not None and isinstance(x.type, TensorType)
        (features,) = (axis for axis in x.type.dims[3:] if isinstance(axis, Axis))
        return rules(operation, mixes=(features,))

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, 3)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x, angles = arrays
        half = angles.shape[-1]
        cos = np.cos(angles)[:, None].astype(x.dtype)
        sin = np.sin(angles)[:, None].astype(x.dtype) * (-1 if call.value("back") else 1)
        first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return (np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], -1),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        angles = adjoint.operation.operands[1]
        back = Const(adjoint.operation.get("back") != Const(True))
        return [adjoint.add("rotary", (adjoint.grad, angles), {"back": back}), None]

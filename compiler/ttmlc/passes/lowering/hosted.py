"""Whole numbers stay on the host: what is made of the caller's, and the forms in which it goes to the device.

An input that an expression reads is checked once, and an array from there on. What looks up rows goes to the device as
ids; an index of an axis as rows of zeros with a one, because the product with those is exact and has a gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttmlc.ir.module import Form, Kind, Operation, Value, plain
from ttmlc.ir.ops.integers import WHOLE
from ttmlc.ir.ops.structure import defaults
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import DeviceType, TensorType, dim_text
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.source import Span

if TYPE_CHECKING:
    from ttmlc.passes.lower import Lowering

TURNED = tuple(map(Const, (0, 2, 1, 3)))
"""What stands before the matrices, and their rows, exchanged."""

AHEAD = frozenset({"parameter", "input.integers"})
"""What a model begins with."""


def computed(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """An op that the host computes, as it is; or the default of an input."""
    if lowering.function.kind is not Kind.MODEL:
        hint = "Compute them in the model, and give the block what is made of them."
        raise cannot(operation.span, "a block computes no whole numbers yet", hint)
    name = defaults(lowering.function).get(operation.result.name) if operation.results else None
    if name is not None:
        made = whole(lowering, operation.operands[1], operation.span)
        lowering.defaulted[operation.result.name] = name
        return [lowering.add(operation, "input.default", (made,), input=name)]
    operands = [whole(lowering, value, operation.span) for value in operation.operands]
    names, types = (
        [value.name for value in operation.results],
        [value.type for value in operation.results],
    )
    given = dict(operation.attributes)
    return lowering.build.add_all(
        operation.op, operands, given, names=names, span=operation.span, types=types
    ).results


def whole(lowering: Lowering, value: Value | None, span: Span | None) -> Value:
    """Whole numbers as arrays on the host: made there, or the caller's, checked.

    Raises:
        DiagnosticError: they are neither.
    """
    assert value is not None
    refuse_absent(lowering, value, span)
    made = lowering.values.get(value.name)
    if value.name in lowering.defaulted and made is not None:
        return _checked(lowering, value, lowering.defaulted[value.name], made)
    if made is not None and isinstance(made.type, TensorType):
        return made
    source = lowering.merged.get(value.name, value)
    given = lowering.inputs.get(source.name)
    if made is not None or given is None or getattr(value.type, "dtype", None) not in WHOLE:
        raise cannot(span, "whole numbers are made of inputs of the model, and of each other")
    return _checked(lowering, value, source.name, source)


def _checked(lowering: Lowering, value: Value, name: str, source: Value) -> Value:
    if (value.name, "integers", 0) not in lowering.entered:
        default = lowering.inputs[name].default if source.name == name else None
        given = {
            "input": name,
            "merged": Const(value.name in lowering.merged) if source.name == name else None,
            "default": Form("full", (default,)) if isinstance(default, Const) else default,
        }
        kept = {key: entry for key, entry in given.items() if entry is not None}
        build = lowering.outermost()
        made = build.add("input.integers", (source,), kept, name=name, span=lowering.function.span)
        if source.name == name:  # before whatever reads it, on the device too
            own = build.operations.pop()
            ahead = itertools.takewhile(lambda one: one.op in AHEAD, build.operations)
            build.operations.insert(len(list(ahead)), own)
        lowering.entered[value.name, "integers", 0] = made
    return lowering.entered[value.name, "integers", 0]


def on_host(lowering: Lowering, value: Value, span: Span | None) -> Value | None:
    """What the host made for ``value``; None where it is as the caller gave it.

    Raises:
        DiagnosticError: it is made of what may be absent.
    """
    made = lowering.values.get(value.name)
    if made is None or not isinstance(made.type, TensorType):
        return None
    refuse_absent(lowering, value, span)
    return made


def refuse_absent(lowering: Lowering, value: Value, span: Span | None) -> None:
    """Refuse whole numbers that are made of an input which may be absent."""
    makers = {made.name: one for one in lowering.function.walk() for made in one.results}
    waiting = [value]
    while waiting:
        found = waiting.pop()
        given = lowering.inputs.get(found.name)
        if given is not None and given.optional:
            raise cannot(span, f"{found.name!r} may be absent: what is made of it stays with losses")
        maker = makers.get(found.name)
        waiting += [] if maker is None else [one for one in maker.operands if one is not None]


def called(lowering: Lowering, value: Value) -> str:
    """What a message calls ``value``: the input that it is, or its name in the spec."""
    given = lowering.merged.get(value.name, value).name
    return lowering.defaulted.get(value.name, given if given in lowering.inputs else plain(value.name))


def places(lowering: Lowering, value: Value, shape: tuple[Scalar, ...], span: Span | None) -> Value:
    """An index as rows of zeros with a one, on the device: a block's own, or entered from the model's."""
    made = lowering.values.get(value.name)
    if made is not None and isinstance(made.type, DeviceType):
        return made
    refuse_absent(lowering, value, span)
    source = made if made is not None else lowering.merged.get(value.name, value)
    if made is None and source.name not in lowering.inputs:
        raise cannot(span, "an index is an input of the model, or made of some")
    name, key = called(lowering, value), f"places {shape}"
    return lowering.enter(source, "input.places", key, name, input=name, shape=shape)


def row_shape(x: TensorType, over: str, lowering: Lowering, span: Span | None) -> tuple[Scalar, ...]:
    """The shape of such rows for an axis of ``x``.

    Raises:
        DiagnosticError: it is not the axis before the features.
    """
    if len(x.dims) not in (3, 4) or dim_text(x.dims[-2]) != over:
        raise cannot(span, "an element is picked of [B, S, features], along the axis before the last")
    sizes = [lowering.padding.size(dim) for dim in x.dims]
    return (sizes[0], sizes[1] if len(sizes) == 4 else Const(1), Const(1), sizes[-2])


def pick(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """The product of the index's rows and x: a sum of which one term is not zero."""
    x = operation.operands[0]
    assert x is not None and isinstance(x.type, TensorType)
    row_shape(x.type, operation.text("over"), lowering, operation.span)
    operands = (lowering.operand(operation, 1), lowering.operand(operation, 0))
    made = lowering.add(operation, "ttnn.matmul", operands)
    return (
        [made] if len(x.type.dims) == 3 else [lowering.add(operation, "ttnn.permute", (made,), dims=TURNED)]
    )


def place(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """The same rows turned, times the gradient."""
    made, dy = operation.result.type, lowering.operand(operation, 0)
    assert isinstance(made, TensorType) and dy is not None
    if len(made.dims) == 4:
        dy = lowering.add(operation, "ttnn.permute", (dy,), dims=TURNED)
    rows = lowering.operand(operation, 1)
    return [lowering.add(operation, "ttnn.matmul", (rows, dy), transpose_a=Const(True))]

"""Fold what a preset or a config decides: a generic module becomes one built for these values alone.

    linear(%x, %w) : float[B, S, inner]     =>     the same, where inner is 512
    choose(%a, %b) {conditions = [tie]}     =>     %a, where tie is true

Sizes stay named in the axes, so types read as before; only their scalars become numbers. The values go into
``module.build``, from which emission makes the check that a config fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ttmlc.ir import scalar
from ttmlc.ir.module import (
    Attribute,
    Build,
    Fact,
    Form,
    Function,
    Input,
    Level,
    Module,
    Operation,
    Region,
    Value,
    with_indices_read,
)
from ttmlc.ir.ops.structure import conditions
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, Product, Sum, TensorType, Type
from ttmlc.passes.base import Outcome, Pass

Known = dict[str, scalar.Value]


@dataclass(frozen=True)
class Specialise(Pass):
    """Fold ``fields``; ``label`` says where they came from (a preset's name, a config file's)."""

    fields: tuple[tuple[str, scalar.Value], ...]
    label: str

    name = "specialise"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        known = module.config.values(dict(self.fields))
        stored = tuple((entry.name, known[entry.name]) for entry in module.config.fields)
        functions = with_indices_read(
            tuple(_settled(_function(function, known)) for function in module.functions)
        )
        facts = tuple(
            Fact(scalar.fold(fact.condition, known), fact.message, fact.reason) for fact in module.facts
        )
        return Outcome(replace(module, functions=functions, facts=facts, build=Build(stored, self.label)))


def _function(function: Function, known: Known) -> Function:
    return replace(
        function,
        inputs=tuple(_input(given, known) for given in function.inputs),
        operations=tuple(_operation(operation, known) for operation in function.operations),
        outputs=tuple((name, _value(value, known)) for name, value in function.outputs),
        saved=tuple(_value(value, known) for value in function.saved),
    )


def _settled(function: Function) -> Function:
    """``function`` with the choices made that nothing is left to ask about."""
    instead: dict[Value, Value] = {}
    gone: set[Value] = set()

    def one(value: Value) -> Value:
        return instead.get(value, value)

    def settle(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        kept = []
        for old in operations:
            if old.op == "require" and old.get("condition") == Const(True):
                continue
            if old.op == "param" and old.get("only") == Const(False):
                gone.add(old.result)
                continue
            operands = [None if value is None or value in gone else one(value) for value in old.operands]
            while operands and operands[-1] is None:
                operands.pop()
            operation = replace(old, operands=tuple(operands))
            if operation.body is not None:
                inner = settle(operation.body.operations)
                yields = tuple(map(one, operation.body.yields))
                operation = replace(operation, body=replace(operation.body, operations=inner, yields=yields))
            made = {"param": _parameter, "choose": _choice}.get(operation.op, lambda same: same)(operation)
            if isinstance(made, Value):
                instead[operation.result] = made
            else:
                kept.append(made)
        return tuple(kept)

    operations = settle(function.operations)
    return replace(
        function,
        operations=operations,
        outputs=tuple((name, one(value)) for name, value in function.outputs),
    )


def _twice(at: Form) -> bool:
    """Whether files may hold under the second path what is held under the first: where the first is the one."""
    return at.args[0] == Const(True) and all(isinstance(path, str) for path in at.args[1:])


def _parameter(operation: Operation) -> Operation | Value:
    left = [name for name in ("only",) if operation.get(name) == Const(True)]
    attributes = {name: value for name, value in operation.attributes if name not in ("when", *left)}
    at = attributes["at"]
    while isinstance(at, Form) and isinstance(at.args[0], Const) and not _twice(at):
        at = at.args[1] if at.args[0].value else at.args[2]
    attributes["at"] = at
    when = operation.get("when")
    if isinstance(when, Const) and when.value:
        if isinstance(at, str):  # where files may hold the shared parameter a second time
            return replace(operation, attributes=tuple(sorted({**attributes, "when": when}.items())))
        (shared,) = operation.operands
        assert shared is not None
        return shared
    if when is not None and not isinstance(when, Const):
        attributes["when"] = when
        return replace(operation, attributes=tuple(sorted(attributes.items())))
    return replace(operation, operands=(), attributes=tuple(sorted(attributes.items())))


def _choice(operation: Operation) -> Operation | Value:
    asked: list[Attribute] = []
    kept: list[Value | None] = []
    last = operation.operands[-1]
    for condition, value in zip(conditions(operation), operation.operands, strict=False):
        if condition == Const(True):
            last = value
            break
        if condition != Const(False):
            asked.append(condition)
            kept.append(value)
    if not asked:
        assert last is not None
        return last
    return replace(operation, operands=(*kept, last), attributes=(("conditions", tuple(asked)),))


def _input(given: Input, known: Known) -> Input:
    types = tuple(_type(type_, known) for type_ in given.alternatives)
    alternatives = tuple(type_ for type_ in types if isinstance(type_, TensorType))
    return replace(given, value=_value(given.value, known), alternatives=alternatives)


def _operation(operation: Operation, known: Known) -> Operation:
    return replace(
        operation,
        operands=tuple(None if value is None else _value(value, known) for value in operation.operands),
        attributes=tuple((name, _attribute(value, known)) for name, value in operation.attributes),
        results=tuple(_value(value, known) for value in operation.results),
        body=None if operation.body is None else _region(operation.body, known),
    )


def _region(body: Region, known: Known) -> Region:
    return Region(
        tuple(_value(value, known) for value in body.arguments),
        tuple(_operation(operation, known) for operation in body.operations),
        tuple(_value(value, known) for value in body.yields),
    )


def _attribute(value: Attribute, known: Known) -> Attribute:
    if isinstance(value, str):
        return value
    if isinstance(value, Form):
        return Form(value.name, tuple(_attribute(arg, known) for arg in value.args))
    if isinstance(value, tuple):
        return tuple(_attribute(entry, known) for entry in value)
    return scalar.fold(value, known)


def _value(value: Value, known: Known) -> Value:
    return Value(value.name, _type(value.type, known))


def _type(type_: Type, known: Known) -> Type:
    if not isinstance(type_, TensorType):
        return type_

    def axis(old: Axis) -> Axis:
        return replace(old, size=scalar.fold(old.size, known))

    def term(dim: Axis | Product) -> Axis | Product:
        return Product(tuple(map(axis, dim.factors))) if isinstance(dim, Product) else axis(dim)

    dims = tuple(Sum(tuple(map(term, d.parts))) if isinstance(d, Sum) else term(d) for d in type_.dims)
    return TensorType(type_.dtype, dims)

"""IR text, printing: a module as a language that :mod:`ttmlc.ir.parse` reads back to the same module.

module tiny tensor from "tiny.spec"
config Tiny for "tiny"
  field hidden: size = 768 from ["hidden_size"]
end
axis hidden: features = hidden
block Norm(%x: float[B, S, hidden])
  %weight = param {at = "norm.weight", init = !ones()} : float[hidden]
  %norm = layer_norm(%x, %weight) {eps = 1e-12} : float[B, S, hidden]
  return y = %norm
end
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ttmlc.ir import scalar
from ttmlc.ir.config import Config, Each
from ttmlc.ir.module import Attribute, Form, Function, Input, Module, Operation, Region, Value
from ttmlc.ir.types import Axis, TensorType


def print_module(module: Module) -> str:
    """``module`` as IR text."""
    return "\n".join(_module(module)) + "\n"


def attribute(value: Attribute) -> str:
    """An attribute's value: a scalar, a "string", a !form(...), or a [list]."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Form):
        return f"!{value.name}({', '.join(map(attribute, value.args))})"
    if isinstance(value, tuple):
        return f"[{', '.join(map(attribute, value))}]"
    return scalar.text(value)


def _strings(values: tuple[str, ...]) -> str:
    return attribute(values)


def _module(module: Module) -> Iterator[str]:
    yield f"module {module.name} {module.level.value} from {json.dumps(module.source)}"
    yield f"doc {json.dumps(module.doc)}"
    yield f"passes {_strings(module.passes)}"
    if not module.build.is_generic:
        fields = ", ".join(f"{name} = {scalar.literal(value)}" for name, value in module.build.fields)
        yield f"build {json.dumps(module.build.label)} {{{fields}}}"
    yield from _config(module.config)
    for axis in _axes(module):
        yield f"axis {axis.name}: {axis.role.value} = {scalar.text(axis.size)}"
    for fact in module.facts:
        yield f"fact {scalar.text(fact.condition)}, {json.dumps(fact.message)}"
    for function in module.functions:
        yield ""
        yield from _function(function)


def _config(config: Config) -> Iterator[str]:
    yield f"config {config.name} for {json.dumps(config.model_type)}"
    for entry in config.fields:
        each = _each(entry.each)
        line = f"  field {entry.name}{each}: {entry.kind.value}{'?' if entry.nullable else ''}"
        if entry.choices:
            line += f" of {_strings(entry.choices)}"
        if entry.default is not None:
            line += f" = {scalar.text(entry.default)}"
        if entry.null_default is not None:
            line += f" null {scalar.text(entry.null_default)}"
        line += f" from {_strings(entry.keys)}" if entry.keys else ""
        line += f" if {scalar.text(entry.gate)}" if entry.gate is not None else ""
        yield line + (f" inside {_strings(entry.inside)}" if entry.inside else "")
    for derived in config.derived:
        yield f"  derived {derived.name}: {'whole' if derived.whole else 'real'} = {scalar.text(derived.value)}"
    for requirement in config.requirements:
        condition = scalar.text(requirement.condition)
        yield f"  require{_each(requirement.each)} {condition}, {json.dumps(requirement.message)}"
    for key, value in config.fixed:
        yield f"  fixed {json.dumps(key)} = {scalar.literal(value)}"
    if config.harmless:
        yield f"  harmless {_strings(config.harmless)}"
    if config.stale:
        yield f"  stale {_strings(config.stale)}"
    yield "end"


def _each(each: Each | None) -> str:
    return "" if each is None else f"[{each.index} in {each.over}]"


def _axes(module: Module) -> list[Axis]:
    found: dict[str, Axis] = {}

    def see(value: Value | None) -> None:
        if value is not None and isinstance(value.type, TensorType):
            for axis in value.type.axes():
                found.setdefault(axis.name, axis)

    for function in module.functions:
        for given in function.inputs:
            see(given.value)
            for type_ in given.alternatives:
                see(Value(given.value.name, type_))
        for operation in function.walk():
            for value in (*operation.operands, *operation.results):
                see(value)
    return list(found.values())


def _typed(value: Value) -> str:
    return f"%{value.name}: {value.type}"


def _input(given: Input) -> str:
    mark = "?" if given.optional else ""
    default = "" if given.default is None else f" = {attribute(given.default)}"
    types = " | ".join(map(str, given.alternatives or (given.value.type,)))
    made = "param " if given.parameter else ""
    return f"{made}%{given.value.name}{mark}: {types}{default}"


def _function(function: Function) -> Iterator[str]:
    yield f"{function.kind.value} {function.name}({', '.join(map(_input, function.inputs))})"
    if function.prefixes:
        yield f"  prefixes {_strings(function.prefixes)}"
    for operation in function.operations:
        yield from _operation(operation, "  ")
    if function.predicts is not None:
        yield f"  predicts {attribute(function.predicts)}"
    if function.saved:
        yield f"  saved {', '.join(f'%{value.name}' for value in function.saved)}"
    yield f"  return {', '.join(f'{name} = %{value.name}' for name, value in function.outputs)}"
    yield "end"


def _operation(operation: Operation, indent: str) -> Iterator[str]:
    made = ", ".join(f"%{value.name}" for value in operation.results)
    line = f"{indent}{made} = {operation.op}" if made else f"{indent}{operation.op}"
    line += f"({', '.join('none' if value is None else f'%{value.name}' for value in operation.operands)})"
    if operation.attributes:
        line += " {" + ", ".join(f"{name} = {attribute(value)}" for name, value in operation.attributes) + "}"
    types = ", ".join(str(value.type) for value in operation.results)
    yield f"{line} : {types}" if types else line
    if operation.body is not None:
        yield from _region(operation.body, indent)


def _region(body: Region, indent: str) -> Iterator[str]:
    yield f"{indent}do ({', '.join(map(_typed, body.arguments))})"
    for operation in body.operations:
        yield from _operation(operation, indent + "  ")
    yield f"{indent}yield {', '.join(f'%{value.name}' for value in body.yields)}"

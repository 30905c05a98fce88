"""The config class of a module, as a view."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from ttmlc.emit.python import (
    ARGUMENT,
    Arg,
    Call,
    Raw,
    expression,
    identifier,
    layout,
    literal,
    literal_code,
    string,
    tuple_of,
)
from ttmlc.emit.views import ConfigView, DerivedView, FieldView
from ttmlc.ir.config import ConfigField, Each, FieldKind, Requirement
from ttmlc.ir.module import Fact, Module
from ttmlc.ir.scalar import Apply, Const, Field, Scalar, Value

MAKERS: dict[FieldKind, tuple[str, str]] = {
    FieldKind.SIZE: ("nn.size", "int"),
    FieldKind.INT: ("nn.integer", "int"),
    FieldKind.FLOAT: ("nn.real", "float"),
    FieldKind.BOOL: ("nn.flag", "bool"),
    FieldKind.RATE: ("nn.rate", "float"),
    FieldKind.TOKEN: ("nn.token", "int"),
    FieldKind.ACTIVATION: ("nn.activation", "str"),
    FieldKind.CHOICE: ("nn.choice", "str"),
}


def config_view(module: Module) -> ConfigView:
    """The view of ``module``'s config."""
    config = module.config
    built = dict(module.build.fields)
    types = {entry.name: _field_type(entry) for entry in config.fields}
    for entry in config.derived:
        types[entry.name] = "int" if entry.whole else _type(entry.value, types)
    derived = tuple(
        DerivedView(entry.name, types[entry.name], expression(entry.value, "self"))
        for entry in config.derived
    )
    return ConfigView(
        name=f"{config.name}Config",
        model_type=string(config.model_type),
        fixed=tuple(f"{string(key)}: {literal(value)}," for key, value in config.fixed),
        harmless=tuple(f"{string(key)}," for key in config.harmless),
        built_for=tuple(
            line[8:]
            for name, value in module.build.fields
            for line in layout(f"{string(name)}: ", literal_code(value), 8, ",")
        ),
        fingerprint=string(fingerprint(module)) if built else "",
        fields=tuple(FieldView(tuple(_field(entry, built))) for entry in config.fields),
        derived=derived,
        requirements=tuple(
            _lines(_require(_condition(entry), string(entry.message)) for entry in config.requirements)
        ),
        facts=tuple(
            _lines(_require(expression(f.condition, "self"), _message(module, f)) for f in module.facts)
        ),
    )


def fingerprint(module: Module) -> str:
    """Twelve hex digits that name what a specialised module was built for."""
    described = json.dumps([module.name, list(module.build.fields)], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _field_type(entry: ConfigField) -> str:
    """The type of a field as an attribute."""
    one = f"{MAKERS[entry.kind][1]}{' | None' if entry.nullable else ''}"
    return one if entry.each is None else f"tuple[{one}, ...]"


CONDITIONS = frozenset(["or", "and", "not", "==", "!=", "<", "<=", ">", ">=", "is_none"])


def _type(value: Scalar, known: dict[str, str]) -> str:
    """The type of a value that is computed from what is ``known``; a number is a float where it need not be whole."""
    if isinstance(value, Const):
        return "None" if value.value is None else type(value.value).__name__
    if isinstance(value, Field):
        return known.get(value.name, "float")
    if isinstance(value, Apply) and value.op in CONDITIONS:
        return "bool"
    if isinstance(value, Apply) and value.op == "select":
        kinds = {part for arg in value.args[1:] for part in _type(arg, known).split(" | ")}
        return " | ".join(sorted(kinds, key=lambda kind: (kind == "None", kind)))
    return "float"


def _field(entry: ConfigField, built: dict[str, Value]) -> list[str]:
    maker = MAKERS[entry.kind][0]
    args = []
    if entry.name in built:
        args.append(Arg(literal_code(built[entry.name])))
    elif entry.default is not None:
        args.append(Arg(Raw(_default(entry.default, entry.each))))
    else:
        args.append(Arg(Raw("nn.REQUIRED")))
    if entry.choices:
        args.append(Arg(Raw(tuple_of(map(string, entry.choices))), "one_of"))
    args[1:1] = [Arg(Raw(string(key))) for key in entry.keys]
    if entry.each is not None:
        args.append(Arg(Raw(f"lambda c: c.{entry.each.over}"), "each"))
    if entry.inside:
        args.append(Arg(Raw(tuple_of(map(string, entry.inside))), "inside"))
    if entry.null_default is not None:
        args.append(Arg(Raw(f"lambda c: {expression(entry.null_default, 'c')}"), "null"))
    if entry.nullable:
        args.append(Arg(Raw("True"), "nullable"))
    if entry.gate is not None and entry.name not in built:
        args.append(Arg(Raw(f"lambda c: {expression(entry.gate, 'c')}"), "gate"))
    return layout(f"{entry.name}: {_field_type(entry)} = ", Call(maker, tuple(args)), 4)


def _default(default: Scalar, each: Each | None) -> str:
    """A default: a value, a function of the config, or one of the config and an index."""
    if isinstance(default, Const):
        return expression(default, "c")
    if each is None:
        return f"lambda c: {_exactly(default)}"
    return f"lambda c, {identifier(each.index)}: {expression(default, 'c', ARGUMENT, index=identifier)}"


def _condition(requirement: Requirement) -> str:
    """What a requirement asks, of each where it is one of several."""
    each = requirement.each
    if each is None:
        return expression(requirement.condition, "self")
    asked = expression(requirement.condition, "self", index=identifier)
    return f"all({asked} for {identifier(each.index)} in range(self.{each.over}))"


def _exactly(default: Scalar) -> str:
    """A default in Python; one that is a quotient is refused where it does not come out, as the spec has it."""
    if isinstance(default, Apply) and default.op == "//":
        return f"nn.exactly({', '.join(expression(arg, 'c') for arg in default.args)})"
    return expression(default, "c")


def _require(condition: str, message: str) -> list[str]:
    return layout("", Call("nn.require", (Arg(Raw(condition)), Arg(Raw(message)))), 8)


def _lines(parts: Iterable[list[str]]) -> list[str]:
    return [line for part in parts for line in part]


def _message(module: Module, fact: Fact) -> str:
    """A fact's message; the names of config values in braces become their values."""
    names = set(module.config.names())
    message = string(fact.message)
    used = [name for name in names if "{" + name + "}" in message]
    for name in used:
        message = message.replace("{" + name + "}", "{self." + name + "}")
    return f"f{message}" if used else message

"""The config class of a module, as a view."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from ttmlc.emit.python import Arg, Call, Raw, expression, layout, literal, string, tuple_of
from ttmlc.emit.views import ConfigView, DerivedView, FieldView
from ttmlc.ir.config import ConfigField, FieldKind
from ttmlc.ir.module import Fact, Module
from ttmlc.ir.scalar import Const

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
    derived = tuple(
        DerivedView(entry.name, "int" if entry.whole else "float", expression(entry.value, "self"))
        for entry in config.derived
    )
    return ConfigView(
        name=f"{config.name}Config",
        model_type=string(config.model_type),
        fixed=tuple(f"{string(key)}: {literal(value)}," for key, value in config.fixed),
        harmless=tuple(f"{string(key)}," for key in config.harmless),
        built_for=tuple(f"{string(name)}: {literal(value)}," for name, value in module.build.fields),
        fingerprint=string(fingerprint(module)) if built else "",
        fields=tuple(FieldView(tuple(_field(entry, built))) for entry in config.fields),
        derived=derived,
        requirements=tuple(
            _lines(_require(expression(e.condition, "self"), string(e.message)) for e in config.requirements)
        ),
        facts=tuple(
            _lines(_require(expression(f.condition, "self"), _message(module, f)) for f in module.facts)
        ),
    )


def fingerprint(module: Module) -> str:
    """Twelve hex digits that name what a specialised module was built for."""
    described = json.dumps([module.name, list(module.build.fields)], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def _field(entry: ConfigField, built: dict[str, int | float | bool | str | None]) -> list[str]:
    maker, annotation = MAKERS[entry.kind]
    args = []
    if entry.name in built:
        args.append(Arg(Raw(literal(built[entry.name]))))
    elif entry.default is not None:
        fixed = isinstance(entry.default, Const)
        written = expression(entry.default, "c")
        args.append(Arg(Raw(written if fixed else f"lambda c: {written}")))
    else:
        args.append(Arg(Raw("nn.REQUIRED")))
    if entry.choices:
        args.append(Arg(Raw(tuple_of(map(string, entry.choices))), "one_of"))
    args[1:1] = [Arg(Raw(string(key))) for key in entry.keys]
    if entry.inside:
        args.append(Arg(Raw(tuple_of(map(string, entry.inside))), "inside"))
    if entry.null_default is not None:
        args.append(Arg(Raw(f"lambda c: {expression(entry.null_default, 'c')}"), "null"))
    if entry.nullable:
        args.append(Arg(Raw("True"), "nullable"))
        annotation += " | None"
    return layout(f"{entry.name}: {annotation} = ", Call(maker, tuple(args)), 4)


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

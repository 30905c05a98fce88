"""Presets and configs: the values that a specialised build folds in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttmlc.elaborate.problems import nearest
from ttmlc.ir import scalar
from ttmlc.ir.config import Config, ConfigField, FieldKind, Requirement
from ttmlc.ir.ops.arithmetic import ACTIVATIONS

CONFIG = "config.json"
"""What the runtime calls the file in its messages."""
MAX_BYTES = 1 << 20


class PresetError(Exception):
    """A preset or config cannot be read or does not fit the spec; the message says where and what to do."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping of plain values; object tags, repeated keys and anything else are refused.

    Raises:
        PresetError: it cannot be read, or is no such mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """A safe loader that refuses aliases, which can make a small file huge, and repeated keys."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("anchors and aliases are not read")
            return super().compose_node(parent, index)

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: keys are words, not {key!r}")
            if key in found:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: {key!r} is given twice")
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    text = _text(path)
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506  # a SafeLoader: no tag makes an object
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PresetError(f"{path} is no preset: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise PresetError(f"{path} is no preset: it must hold 'model' and 'config'")
    return value


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PresetError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise PresetError(f"{path} is larger than 1 MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise PresetError(f"{path} is not UTF-8") from None


def preset_fields(path: Path, spec: str, config: Config) -> dict[str, scalar.Value]:
    """The fields that a preset sets.

    Raises:
        PresetError: it is for another spec, or a key or value does not fit.
    """
    return checked(preset_values(path, spec), config, str(path))


def preset_values(path: Path, spec: str) -> dict[str, Any]:
    """What a preset of ``spec`` says of fields, not compared with any config yet.

    Raises:
        PresetError: it cannot be read, or is for another spec.
    """
    value = read_yaml(path)
    for key in value:
        if key not in ("model", "config"):
            raise PresetError(f"{path}: unknown key {key!r}. {nearest(key, ('model', 'config'))}")
    if value.get("model") != spec:
        raise PresetError(f"{path} is a preset of {value.get('model')!r}, not of {spec!r}")
    fields = value.get("config")
    if not isinstance(fields, dict):
        raise PresetError(f"{path}: 'config' must be a mapping of fields")
    return fields


def checked(values: Mapping[str, Any], config: Config, where: str) -> dict[str, scalar.Value]:
    """``values`` as fields of ``config``.

    Raises:
        PresetError: a name is unknown or a value has a wrong type; the requirements of the spec do not hold.
    """
    known = {entry.name: entry for entry in config.fields}
    found: dict[str, scalar.Value] = {}
    for name, value in values.items():
        if name not in known:
            raise PresetError(f"{where}: the spec has no field {name!r}. {nearest(name, known)}")
        found[name] = _held(known[name], value, where)
    return met(config, found, where)


def met(config: Config, fields: dict[str, scalar.Value], where: str) -> dict[str, scalar.Value]:
    """``fields``, where the requirements of the spec hold for them.

    Raises:
        PresetError: one does not, or an expression of the spec has no value for them.
    """
    known: dict[str, scalar.Value] = {}
    try:
        for entry in config.fields:
            if entry.gate is not None and not config.evaluate(entry.gate, known):
                if fields.get(entry.name) is not None:
                    message = f"{entry.name} is none for these fields, and {fields[entry.name]!r} is given"
                    raise PresetError(f"{where}: {message}")
                known[entry.name] = None
                continue
            known[entry.name] = fields[entry.name] if entry.name in fields else config.default(entry, known)
            held = known[entry.name]
            if entry.each is not None and isinstance(held, tuple) and len(held) != known[entry.each.over]:
                message = (
                    f"{entry.name} has {len(held)} values, and {entry.each.over} is {known[entry.each.over]}"
                )
                raise PresetError(f"{where}: {message}")
        # What is required of the fields comes before what is derived of them, which may have no value without it.
        waiting = list(config.requirements)
        for derived in (*config.derived, None):
            for requirement in [one for one in waiting if _reads(one) <= set(known)]:
                waiting.remove(requirement)
                if not requirement.holds(known):
                    raise PresetError(f"{where}: {requirement.message}")
            if derived is not None:
                known[derived.name] = scalar.evaluate(derived.value, known)
    except (ArithmeticError, ValueError, TypeError, KeyError) as error:
        raise PresetError(
            f"{where}: an expression of the spec has no value for these fields: {error}"
        ) from None
    return fields


def _reads(requirement: Requirement) -> set[str]:
    return {leaf.name for leaf in scalar.leaves(requirement.condition) if isinstance(leaf, scalar.Field)}


def _held(entry: ConfigField, value: Any, where: str) -> scalar.Value:
    """What a field is given, of which one with several values takes a list."""
    if entry.each is None:
        return _value(entry, value, where)
    if not isinstance(value, (list, tuple)):
        raise PresetError(
            f"{where}: {entry.name} has a value for each of {entry.each.over}, and {value!r} is no list"
        )
    return tuple(_value(entry, one, where) for one in value)


def _value(entry: ConfigField, value: Any, where: str) -> scalar.Plain:
    if value is None and entry.nullable:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = {
        FieldKind.SIZE: whole and 0 < value < 1 << 31,
        FieldKind.INT: whole and abs(value) < 1 << 31,
        FieldKind.TOKEN: whole and 0 <= value < 1 << 31,
        FieldKind.FLOAT: (whole or isinstance(value, float)) and abs(value) < 1e30,
        FieldKind.RATE: (whole or isinstance(value, float)) and 0 <= value < 1,
        FieldKind.BOOL: isinstance(value, bool),
        FieldKind.ACTIVATION: value in ACTIVATIONS,
        FieldKind.CHOICE: value in entry.choices,
    }[entry.kind]
    if not fits:
        raise PresetError(f"{where}: {entry.name} is a {entry.kind.value}, and {value!r} is none")
    return float(value) if entry.kind in (FieldKind.FLOAT, FieldKind.RATE) else value


def hugging_face_fields(values: Mapping[str, Any], config: Config, where: str) -> dict[str, scalar.Value]:
    """The fields that the contents of a config.json set, read as the emitted config class would.

    Raises:
        PresetError: they do not fit.
    """
    from ttmlc_runtime.errors import ConfigError

    try:
        made = _runtime_class(config).from_hugging_face(values)
    except ConfigError as error:
        told = str(error)  # of a file of that name, wherever it lies: here it is said where
        said = f"{where}{told.removeprefix(CONFIG)}" if told.startswith(CONFIG) else f"{where}: {told}"
        raise PresetError(said) from None
    fields = {entry.name: getattr(made, entry.name) for entry in config.fields}
    return met(config, fields, where)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        PresetError: it cannot be read, or is none.
    """
    try:
        values = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{path} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise PresetError(f"{path} holds no JSON object")
    return values


def _runtime_class(config: Config) -> Any:
    """The runtime's class for ``config``, so that a config.json is read by one piece of code only."""
    import dataclasses

    from ttmlc_runtime import nn

    makers = {
        FieldKind.SIZE: nn.size,
        FieldKind.INT: nn.integer,
        FieldKind.FLOAT: nn.real,
        FieldKind.BOOL: nn.flag,
        FieldKind.RATE: nn.rate,
        FieldKind.TOKEN: nn.token,
        FieldKind.ACTIVATION: nn.activation,
    }

    def maker(entry: ConfigField) -> Any:
        def default(made: Any, *turn: int) -> Any:
            assert entry.default is not None
            index = {} if entry.each is None else {entry.each.index: turn[0]}
            return scalar.evaluate(entry.default, {name: getattr(made, name) for name in names}, index=index)

        def holds(made: Any) -> bool:
            assert entry.gate is not None
            return bool(scalar.evaluate(entry.gate, {name: getattr(made, name) for name in names}))

        def count(made: Any) -> Any:
            assert entry.each is not None
            return getattr(made, entry.each.over)

        names = [other.name for other in config.fields[: config.fields.index(entry)]]
        gate = None if entry.gate is None else holds
        each = None if entry.each is None else count
        given = nn.REQUIRED if entry.default is None else default
        if entry.kind is FieldKind.CHOICE:
            return nn.choice(
                given,
                *entry.keys,
                one_of=entry.choices,
                nullable=entry.nullable,
                gate=gate,
                inside=entry.inside,
                each=each,
            )
        options = {"nullable": entry.nullable, "gate": gate, "inside": entry.inside, "each": each}
        return makers[entry.kind](given, *entry.keys, **options)

    fields = [(entry.name, Any, maker(entry)) for entry in config.fields]
    space = {"model_type": config.model_type, "fixed": dict(config.fixed), "harmless": config.harmless}
    return dataclasses.make_dataclass(
        f"{config.name}Config", fields, bases=(nn.Config,), namespace=space, frozen=True, kw_only=True
    )

"""Sections: what a file is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ttmlc.language.tree.configs import AxisLabels, AxisSize, ConfigEntry, Stale
from ttmlc.language.tree.expressions import Literal, Option, TensorExpr
from ttmlc.language.tree.node import Doc, Name, Node
from ttmlc.language.tree.statements import Param, Rename, Statement


@dataclass(frozen=True, slots=True)
class Use(Node):
    """``use heads, rope``: other specs that this one reads."""

    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Config(Node):
    """``config Name extends Other for "model_type":``."""

    name: Name
    extends: Name | None
    model_type: Literal | None
    entries: tuple[ConfigEntry, ...]


@dataclass(frozen=True, slots=True)
class DefaultRule(Node):
    """``linear, embedding: init=normal(std)``."""

    ops: tuple[Name, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Defaults(Node):
    """Options of ops where a call does not say otherwise; lexical to the file."""

    rules: tuple[DefaultRule, ...]


@dataclass(frozen=True, slots=True)
class Table(Node):
    """``table inv_freq: float32[half]:``: numbers made at construction and never saved."""

    name: Name
    type: TensorExpr
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Function(Node):
    """A ``fn`` or a ``block``, as ``kind`` says."""

    kind: str
    name: Name
    params: tuple[Param, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Model(Node):
    """A model; ``params`` is None where it extends another and changes parts of it."""

    name: Name
    extends: Name | None
    params: tuple[Param, ...] | None
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Head(Node):
    """A task head over an abstract base, once or over one more axis; ``holes`` are what a family fills in."""

    name: Name
    base: Name
    over: Name | None
    params: tuple[Param, ...]
    holes: tuple[Param, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Offer(Node):
    """``CausalLM(hole=value) as ClassName at "prefix"``; prefixes in ``also`` are read, never written."""

    head: Name
    options: tuple[Option, ...]
    alias: Name | None
    at: Literal | None
    also: tuple[Literal, ...] = ()


@dataclass(frozen=True, slots=True)
class Offers(Node):
    """``offers Model at "prefix" | "old":`` and the heads; prefixes in ``also`` are read, never written."""

    model: Name
    at: Literal | None
    offers: tuple[Offer, ...]
    also: tuple[Literal, ...] = ()


Item = Union[
    Doc, Use, Config, AxisSize, AxisLabels, Defaults, Table, Function, Model, Head, Offers, Rename, Stale
]


@dataclass(frozen=True, slots=True)
class File(Node):
    """A whole spec."""

    items: tuple[Item, ...]

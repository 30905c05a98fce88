"""The syntax tree. Every node has a span; equality ignores spans, so two layouts of one spec are equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Union

from ttmlc.source import Span


@dataclass(frozen=True)
class Node:
    """A node; ``span`` is where it stands."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Name(Node):
    """A word."""

    text: str


# Expressions


@dataclass(frozen=True)
class Literal(Node):
    """A number, a string, ``true``, ``false`` or ``none``."""

    value: int | float | str | bool | None


@dataclass(frozen=True)
class Reference(Node):
    """A name that is read."""

    name: Name


@dataclass(frozen=True)
class Member(Node):
    """``owner.name``."""

    owner: Expr
    name: Name


@dataclass(frozen=True)
class Lookup(Node):
    """``owner[index, ...]``."""

    owner: Expr
    indices: tuple[Expr, ...]


@dataclass(frozen=True)
class Option(Node):
    """``name=value``."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class Call(Node):
    """``function(argument, ..., name=value, ...)``."""

    function: Expr
    args: tuple[Expr, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class As(Node):
    """``value as [dim, ...]``."""

    value: Expr
    dims: tuple[DimExpr, ...]


@dataclass(frozen=True)
class Operator(Node):
    """An operator on one or two operands: arithmetic, comparison, ``and``, ``or``, ``not``, ``neg``."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Is(Node):
    """``value is none``, ``value is int``, or with ``not``."""

    value: Expr
    negated: bool
    what: Name


@dataclass(frozen=True)
class Choice(Node):
    """``yes if condition else no``; without ``else`` the value is absent where the condition does not hold."""

    yes: Expr
    condition: Expr
    no: Expr | None


@dataclass(frozen=True)
class ListExpr(Node):
    """``[a, b]``."""

    items: tuple[Expr, ...]


# Dimensions and types


@dataclass(frozen=True)
class DimName(Node):
    """An axis by name."""

    name: Name


@dataclass(frozen=True)
class DimNumber(Node):
    """A dimension that is just a number."""

    value: int


@dataclass(frozen=True)
class AxisSum(Node):
    """``(q: heads + k: kv)``: parts of unequal size side by side."""

    parts: tuple[tuple[Name, Name], ...]


@dataclass(frozen=True)
class ProductExpr(Node):
    """``(heads head_dim)``: a written product, outermost first."""

    factors: tuple[DimExpr, ...]


DimExpr = Union[DimName, DimNumber, AxisSum, ProductExpr]
Expr = Union[Literal, Reference, Member, Lookup, Call, As, Operator, Is, Choice, ListExpr, ProductExpr]


@dataclass(frozen=True)
class TensorExpr(Node):
    """``int[B, S]``; without a word it is float."""

    dtype: Name | None
    dims: tuple[DimExpr, ...]


@dataclass(frozen=True)
class ScalarType(Node):
    """A parameter that is no tensor: ``causal: bool``."""

    name: Name


TypeExpr = Union[TensorExpr, ScalarType]


@dataclass(frozen=True)
class Param(Node):
    """A parameter: ``name?: type | type = default``."""

    name: Name
    optional: bool
    types: tuple[TypeExpr, ...]
    default: Expr | None


# Statements


@dataclass(frozen=True)
class Target(Node):
    """What is assigned or amended: ``name`` or ``Block.name``."""

    path: tuple[Name, ...]


@dataclass(frozen=True)
class Assign(Node):
    """``label: a, b = value``."""

    label: Name | None
    targets: tuple[Target, ...]
    value: Expr


@dataclass(frozen=True)
class Amend(Node):
    """``Attention.a with window=4``."""

    target: Target
    options: tuple[Option, ...]


@dataclass(frozen=True)
class ParamStatement(Node):
    """``param word: [vocab, hidden] at "wte.weight" | "old.name", pad=pad``."""

    name: Name
    type: TensorExpr
    at: tuple[Literal, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Repeat(Node):
    """``repeat i in layers at "layer.{i}":``."""

    index: Name
    count: Expr
    at: Literal | None
    shared: tuple[Name, Expr] | None
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class If(Node):
    """A structural condition."""

    condition: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class Case(Node):
    """One case of a ``match``."""

    name: Name
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Match(Node):
    """A choice by an enumerated value."""

    value: Expr
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Return(Node):
    """``return value``, or ``return a=x, b=y``."""

    values: tuple[Option, ...]
    value: Expr | None


@dataclass(frozen=True)
class Require(Node):
    """A condition that must hold, and what to say where it does not."""

    condition: Expr
    message: Literal | None


@dataclass(frozen=True)
class Collect(Node):
    """``collect name``: the values of every turn, stacked."""

    name: Name


@dataclass(frozen=True)
class Doc(Node):
    """Prose between triple quotes."""

    text: str


# Configs


@dataclass(frozen=True)
class Key(Node):
    """A path into config.json; ``relative`` to the group's own dictionary, or the ``length`` of a list there."""

    words: tuple[Name, ...]
    relative: bool = False
    length: bool = False

    @property
    def path(self) -> str:
        """The path with dots, ``len(...)`` around it where it is a length."""
        dotted = ".".join(word.text for word in self.words)
        return f"len({dotted})" if self.length else f"{'.' if self.relative else ''}{dotted}"


@dataclass(frozen=True)
class ConfigField(Node):
    """``name[i in layers]: kind? = default, null = other from key | alias if gate``."""

    name: Name
    index: tuple[Name, Name] | None
    kinds: tuple[Name, ...]
    nullable: bool
    default: Expr | None
    null: Expr | None
    keys: tuple[Key, ...]
    gate: Expr | None


@dataclass(frozen=True)
class DerivedField(Node):
    """``name = expression``."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class Fixed(Node):
    """Keys that must have a value."""

    entries: tuple[tuple[Name, Literal], ...]


@dataclass(frozen=True)
class Glob(Node):
    """A key, or all keys that begin so."""

    name: Name
    open_ended: bool


@dataclass(frozen=True)
class Harmless(Node):
    """Keys that change nothing."""

    patterns: tuple[Glob, ...]


@dataclass(frozen=True)
class Stale(Node):
    """Tensors of old checkpoints that are skipped."""

    patterns: tuple[Literal, ...]


@dataclass(frozen=True)
class Rename(Node):
    """A rename of checkpoint paths."""

    old: Literal
    new: Literal


@dataclass(frozen=True)
class AxisSize(Node):
    """``axis half = head_dim / 2``, ``axis heads = (kv group)``."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class AxisLabels(Node):
    """``axis span: start | end``."""

    name: Name
    labels: tuple[Name, ...]


ConfigEntry = Union[ConfigField, DerivedField, Require, Fixed, Harmless, Stale, AxisSize, AxisLabels, Doc]


@dataclass(frozen=True)
class HeadConfig(Node):
    """Config fields that only a head reads."""

    entries: tuple[ConfigEntry, ...]


Statement = Union[Assign, Amend, ParamStatement, Repeat, If, Match, Return, Require, Collect, HeadConfig, Doc]


# Sections


@dataclass(frozen=True)
class Use(Node):
    """Other specs that this one reads."""

    names: tuple[Name, ...]


@dataclass(frozen=True)
class Config(Node):
    """``config Name extends Other for "model_type":``."""

    name: Name
    extends: Name | None
    model_type: Literal | None
    entries: tuple[ConfigEntry, ...]


@dataclass(frozen=True)
class DefaultRule(Node):
    """``linear, embedding: init=normal(std)``."""

    ops: tuple[Name, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Defaults(Node):
    """Options of ops where a call does not say otherwise; lexical to the file."""

    rules: tuple[DefaultRule, ...]


@dataclass(frozen=True)
class Table(Node):
    """A table of numbers made at construction."""

    name: Name
    type: TensorExpr
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Function(Node):
    """A ``fn`` or a ``block``."""

    kind: str
    name: Name
    params: tuple[Param, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Model(Node):
    """A model; without parameters where it extends another and changes parts of it."""

    name: Name
    extends: Name | None
    params: tuple[Param, ...] | None
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Head(Node):
    """A task head over an abstract base; ``holes`` are what a family fills in."""

    name: Name
    base: Name
    over: Name | None
    params: tuple[Param, ...]
    holes: tuple[Param, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Offer(Node):
    """One head that a family offers."""

    head: Name
    options: tuple[Option, ...]
    alias: Name | None
    at: Literal | None


@dataclass(frozen=True)
class Offers(Node):
    """The heads that a model offers."""

    model: Name
    at: Literal | None
    offers: tuple[Offer, ...]


Item = Union[
    Doc, Use, Config, AxisSize, AxisLabels, Defaults, Table, Function, Model, Head, Offers, Rename, Stale
]


@dataclass(frozen=True)
class File(Node):
    """A whole spec."""

    items: tuple[Item, ...]


def walk(node: object) -> Iterator[Node]:
    """``node`` and all nodes below it, outermost first."""
    if isinstance(node, Node):
        yield node
    if is_dataclass(node):
        for entry in fields(node):
            if entry.name != "span":
                yield from walk(getattr(node, entry.name))
    elif isinstance(node, tuple):
        for part in node:
            yield from walk(part)

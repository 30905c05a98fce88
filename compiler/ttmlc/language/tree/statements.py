"""Statements: what stands in the body of a ``fn``, ``block``, ``model``, ``head`` or ``table``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from ttmlc.language.tree.expressions import Expr, Literal, Option, TensorExpr, TypeExpr
from ttmlc.language.tree.node import Doc, Name, Node

if TYPE_CHECKING:
    from ttmlc.language.tree.configs import ConfigEntry


@dataclass(frozen=True, slots=True)
class Param(Node):
    """A parameter or a head's hole: ``name?: type | type = default``."""

    name: Name
    optional: bool
    types: tuple[TypeExpr, ...]
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Target(Node):
    """What is assigned or amended: ``name`` or ``Block.name``."""

    path: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """``label: a, b = value``. In a model that extends another, ``a`` may be a name or label of that one."""

    label: Name | None
    targets: tuple[Target, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Amend(Node):
    """``Attention.a with window=4``: other options for the call that an inherited statement makes."""

    target: Target
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class ParamStatement(Node):
    """``param word: [vocab, hidden] at "wte.weight" | "old.name", pad=pad``."""

    name: Name
    type: TensorExpr
    at: tuple[Literal, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Repeat(Node):
    """``repeat i in layers at "layer.{i}" shared g = i * groups / layers:``."""

    index: Name
    count: Expr
    at: Literal | None
    shared: tuple[Name, Expr] | None
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If(Node):
    """A structural condition; ``otherwise`` is empty where there is no ``else``."""

    condition: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Case(Node):
    """One case of a ``match``."""

    name: Name
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Match(Node):
    """A choice by an enumerated value."""

    value: Expr
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Return(Node):
    """``return a=x, b=y`` fills ``values``, ``return x`` fills ``value``; never both."""

    values: tuple[Option, ...]
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Require(Node):
    """A condition that must hold, and what to say where it does not."""

    condition: Expr
    message: Literal | None


@dataclass(frozen=True, slots=True)
class Collect(Node):
    """``collect name``: the values of every turn of a ``repeat``, stacked."""

    name: Name


@dataclass(frozen=True, slots=True)
class Rename(Node):
    """``rename "old" -> "new", ...``: parts of the checkpoint paths that this family spells otherwise."""

    pairs: tuple[tuple[Literal, Literal], ...]


@dataclass(frozen=True, slots=True)
class HeadConfig(Node):
    """Config fields that only a head reads."""

    entries: tuple[ConfigEntry, ...]


Statement = Union[
    Assign, Amend, ParamStatement, Repeat, If, Match, Return, Require, Collect, Rename, HeadConfig, Doc
]

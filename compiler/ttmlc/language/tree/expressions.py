"""Expressions, dimensions and types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ttmlc.language.tree.node import Name, Node


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number, a string, ``true``, ``false`` or ``none``. ``1``, ``1.0`` and ``true`` are three things."""

    value: int | float | str | bool | None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Alternatives(Node):
    """``"embed_out" | "lm_head"``: paths of which the first is written and all are read."""

    texts: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Reference(Node):
    """A name that is read."""

    name: Name


@dataclass(frozen=True, slots=True)
class Member(Node):
    """``owner.name``."""

    owner: Expr
    name: Name


@dataclass(frozen=True, slots=True)
class Lookup(Node):
    """``owner[index, ...]``."""

    owner: Expr
    indices: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Option(Node):
    """``name=value``."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Node):
    """``function(argument, ..., name=value, ...)``."""

    function: Expr
    args: tuple[Expr, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class As(Node):
    """``value as [dim, ...]``."""

    value: Expr
    dims: tuple[DimExpr, ...]


@dataclass(frozen=True, slots=True)
class Operator(Node):
    """One or two operands and ``+ - * / % ** == != < <= > >= and or not``, or ``neg``, the sign."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Is(Node):
    """``value is none``, ``value is int``, or with ``not``."""

    value: Expr
    negated: bool
    what: Name


@dataclass(frozen=True, slots=True)
class Choice(Node):
    """``yes if condition else no``; without ``else`` the value is absent where the condition does not hold."""

    yes: Expr
    condition: Expr
    no: Expr | None


@dataclass(frozen=True, slots=True)
class ListExpr(Node):
    """``[a, b]``."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class DimName(Node):
    """An axis by name."""

    name: Name


@dataclass(frozen=True, slots=True)
class DimNumber(Node):
    """A dimension that is just a number."""

    value: int


@dataclass(frozen=True, slots=True)
class AxisSum(Node):
    """``(q: heads + k: kv)``: parts of unequal size side by side, each a label and an axis."""

    parts: tuple[tuple[Name, Name], ...]


@dataclass(frozen=True, slots=True)
class ProductExpr(Node):
    """``(heads head_dim)``: a written product, outermost first. Its factors are names and sums."""

    factors: tuple[DimExpr, ...]


@dataclass(frozen=True, slots=True)
class TensorExpr(Node):
    """``int[B, S]``; without a word it is float."""

    dtype: Name | None
    dims: tuple[DimExpr, ...]


@dataclass(frozen=True, slots=True)
class ScalarType(Node):
    """A parameter that is no tensor: ``causal: bool``."""

    name: Name


DimExpr = Union[DimName, DimNumber, AxisSum, ProductExpr]
TypeExpr = Union[TensorExpr, ScalarType]
Expr = Union[
    Literal, Alternatives, Reference, Member, Lookup, Call, As, Operator, Is, Choice, ListExpr, ProductExpr
]

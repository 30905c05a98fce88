"""What stands in a ``config``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ttmlc.language.tree.expressions import Expr, Literal
from ttmlc.language.tree.node import Doc, Name, Node
from ttmlc.language.tree.statements import Require


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class ConfigField(Node):
    """``name[i in layers]: kind? = default, null = other from key | alias if gate``.

    Several ``kinds`` are an enumeration: ``a | b``. Of the ``keys`` the first that is present is read.
    """

    name: Name
    index: tuple[Name, Name] | None
    kinds: tuple[Name, ...]
    nullable: bool
    default: Expr | None
    null: Expr | None
    keys: tuple[Key, ...]
    gate: Expr | None


@dataclass(frozen=True, slots=True)
class DerivedField(Node):
    """``name = expression``."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Fixed(Node):
    """``fixed key = value, ...``: keys that must have this value where they are present."""

    entries: tuple[tuple[Name, Literal], ...]


@dataclass(frozen=True, slots=True)
class Glob(Node):
    """A key, or all keys that begin so: ``summary_*``."""

    name: Name
    open_ended: bool


@dataclass(frozen=True, slots=True)
class Harmless(Node):
    """``harmless key, prefix_*``: keys that change nothing."""

    patterns: tuple[Glob, ...]


@dataclass(frozen=True, slots=True)
class Stale(Node):
    """``stale "*.attn.bias"``: tensors of old checkpoints that are skipped."""

    patterns: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class AxisSize(Node):
    """``axis half = head_dim / 2``, ``axis heads = (kv group)``."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class AxisLabels(Node):
    """``axis span: start | end``."""

    name: Name
    labels: tuple[Name, ...]


ConfigEntry = Union[ConfigField, DerivedField, Require, Fixed, Harmless, Stale, AxisSize, AxisLabels, Doc]

"""What an expression of the spec can mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from ttmlc.ir.module import Value
from ttmlc.ir.scalar import Field, Scalar
from ttmlc.ir.types import Dim, TensorType
from ttmlc.language import tree
from ttmlc.source import Span


@dataclass(frozen=True)
class Tensor:
    """A tensor; ``span`` is the expression that made it.

    ``alternatives`` are the types that an input may have, the value's own first; empty where that is the only one.
    """

    value: Value
    span: Span = field(compare=False)
    alternatives: tuple[TensorType, ...] = ()


@dataclass(frozen=True)
class Number:
    """A scalar over the config, and the dimension it names where it names one.

    ``kind`` is int, float, bool, none, word (an enumerated choice) or activation; a field has its ``words``. With
    ``each`` it is the index of what that field counts, or, a field itself, has a value for each of these: it is read as
    ``kind[i]``.
    """

    scalar: Scalar
    kind: str
    dim: Dim | None = None
    words: tuple[str, ...] = ()
    each: str = ""

    @property
    def is_several(self) -> bool:
        """Whether it is a field that has a value for each of something."""
        return bool(self.each) and isinstance(self.scalar, Field)


@dataclass(frozen=True)
class Text:
    """A string; ``node`` is the literal."""

    text: str
    node: tree.Literal = field(compare=False)


@dataclass(frozen=True)
class Paths:
    """Strings of which a flag of the config chooses: ``"bias" if tie else "decoder.bias"``."""

    condition: Scalar
    yes: Text | Paths
    no: Text | Paths


@dataclass(frozen=True)
class Written:
    """A dimension that only a product or a declared axis can write."""

    dim: Dim


@dataclass(frozen=True)
class Init:
    """An initialisation: ``normal(std)``, ``zeros``, ``ones``."""

    name: str
    args: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class Words:
    """A list of words, as in ``stored=[in, out]``."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Several:
    """The named results of a block."""

    results: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True)
class Base:
    """The model that a head stands on: its outputs, its named parameters and its inputs, by name."""

    name: str
    members: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True)
class Definition:
    """A block that can be called."""

    function: tree.Function


@dataclass(frozen=True)
class Poison:
    """The value of what was wrong; whatever reads it stays silent."""


Meaning = Union[Tensor, Number, Text, Paths, Written, Init, Words, Several, Base, Definition, Poison]


def describe(meaning: Meaning) -> str:
    """What a value is, for a message."""
    if isinstance(meaning, Tensor):
        return f"{meaning.value.type}"
    if isinstance(meaning, Number):
        return {"word": "a word", "none": "none", "int": "a whole number", "float": "a number"}.get(
            meaning.kind, meaning.kind
        )
    return {
        Text: "a string",
        Paths: "a choice of strings",
        Base: "a model",
        Written: "a dimension",
        Init: "an initialisation",
        Words: "a list",
        Several: "several results",
        Definition: "a block",
        Poison: "wrong already",
    }[type(meaning)]

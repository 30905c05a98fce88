"""What a spec says of its config: fields, derived values, requirements, and which foreign keys it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from ttmlc.ir import scalar
from ttmlc.ir.scalar import Scalar
from ttmlc.ir.scalar import Value as Plain
from ttmlc.source import Span


class FieldKind(Enum):
    """What a config field may hold; the word is the spec's."""

    SIZE = "size"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    RATE = "rate"
    TOKEN = "token"
    ACTIVATION = "activation"
    CHOICE = "choice"


NUMBERS = frozenset({FieldKind.SIZE, FieldKind.INT, FieldKind.TOKEN, FieldKind.FLOAT, FieldKind.RATE})
WHOLE = frozenset({FieldKind.SIZE, FieldKind.INT, FieldKind.TOKEN})


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field that a user or a config.json may set.

    ``keys`` are paths into Hugging Face's config.json, in the order they are looked for; ``default`` is None where
    a value must be given. Where there is a ``gate`` that does not hold, the field is none, whatever its keys say.
    A field of a group has in ``inside`` the keys under which the group's own dictionary may stand; its keys that begin
    with a dot are read there, the others from the top.
    """

    name: str
    kind: FieldKind
    default: Scalar | None
    keys: tuple[str, ...] = ()
    nullable: bool = False
    null_default: Scalar | None = None
    choices: tuple[str, ...] = ()
    gate: Scalar | None = None
    inside: tuple[str, ...] = ()
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Derived:
    """A value computed from the fields."""

    name: str
    value: Scalar
    whole: bool
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition that every config must meet."""

    condition: Scalar
    message: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Config:
    """All that a spec says of the config of its family."""

    name: str
    model_type: str
    fields: tuple[ConfigField, ...] = ()
    derived: tuple[Derived, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    fixed: tuple[tuple[str, Plain], ...] = ()
    harmless: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    def names(self) -> Iterator[str]:
        """The names an expression may use."""
        yield from (entry.name for entry in self.fields)
        yield from (entry.name for entry in self.derived)

    def values(self, given: Mapping[str, Plain]) -> dict[str, Plain]:
        """Every field and derived value, where ``given`` sets some fields and the rest take their defaults.

        Raises:
            ValueError: a field has neither a value nor a default, or a requirement does not hold.
        """
        known: dict[str, Plain] = {}
        for entry in self.fields:
            if entry.gate is not None and not scalar.evaluate(entry.gate, known):
                known[entry.name] = None
            elif entry.name in given and (given[entry.name] is not None or entry.nullable):
                known[entry.name] = given[entry.name]
            elif entry.default is None:
                raise ValueError(f"{entry.name} has no default: give it a value")
            else:
                known[entry.name] = scalar.evaluate(entry.default, known)
        for entry_ in self.derived:
            known[entry_.name] = scalar.evaluate(entry_.value, known)
        return known

    def unmet(self, known: Mapping[str, Plain]) -> list[Requirement]:
        """The requirements that do not hold for ``known``."""
        return [entry for entry in self.requirements if not scalar.evaluate(entry.condition, known)]

"""What a spec says of its config: fields, derived values, requirements, and which foreign keys it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from ttmlc.ir import scalar
from ttmlc.ir.scalar import Plain, Scalar, Value
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
class Each:
    """``i in layers``: an index, and the field that says how many there are."""

    index: str
    over: str

    def turns(self, known: Mapping[str, Value]) -> Iterator[dict[str, int]]:
        """The index at each of its values, where ``known`` has the field."""
        count = known[self.over]
        assert isinstance(count, int)
        return ({self.index: turn} for turn in range(count))


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field that a user or a config.json may set.

    ``keys`` are paths into Hugging Face's config.json, in the order they are looked for; ``default`` is None where
    a value must be given. Where there is a ``gate`` that does not hold, the field is none, whatever its keys say.
    A field of a group has in ``inside`` the keys under which the group's own dictionary may stand; its keys that begin
    with a dot are read there, the others from the top. With ``each`` it has a value for each of these, a list in the
    config.json, and its default may read the index.
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
    each: Each | None = None
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
    """A condition that every config must meet; with ``each`` for each of these."""

    condition: Scalar
    message: str
    each: Each | None = None
    span: Span | None = field(default=None, compare=False)

    def holds(self, known: Mapping[str, Value]) -> bool:
        """Whether it is met, where ``known`` has the fields that it reads."""
        turns = (None,) if self.each is None else self.each.turns(known)
        return all(scalar.evaluate(self.condition, known, index=turn) for turn in turns)


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

    def evaluate(
        self, value: Scalar, known: dict[str, Value], index: Mapping[str, int] | None = None
    ) -> Plain:
        """``value``, where ``known`` has the fields that it reads; the derived values that it reads are added there."""
        read = {leaf.name for leaf in scalar.leaves(value) if isinstance(leaf, scalar.Field)}
        for entry in self.derived:
            if entry.name in read - known.keys():
                known[entry.name] = self.evaluate(entry.value, known)
        return scalar.evaluate(value, known, index=index)

    def default(self, entry: ConfigField, known: dict[str, Value]) -> Value:
        """What a field is where it is not given, where ``known`` has those before it; none without a default."""
        if entry.default is None:
            return None
        if entry.each is None:
            return self.evaluate(entry.default, known)
        return tuple(self.evaluate(entry.default, known, turn) for turn in entry.each.turns(known))

    def values(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Every field and derived value, where ``given`` sets some fields and the rest take their defaults.

        Raises:
            ValueError: a field has neither a value nor a default, or a requirement does not hold.
        """
        known: dict[str, Value] = {}
        for entry in self.fields:
            if entry.gate is not None and not self.evaluate(entry.gate, known):
                known[entry.name] = None
            elif entry.name in given and (given[entry.name] is not None or entry.nullable):
                known[entry.name] = given[entry.name]
            elif entry.default is None:
                raise ValueError(f"{entry.name} has no default: give it a value")
            else:
                known[entry.name] = self.default(entry, known)
        for entry_ in self.derived:
            known[entry_.name] = scalar.evaluate(entry_.value, known)
        return known

    def unmet(self, known: Mapping[str, Value]) -> list[Requirement]:
        """The requirements that do not hold for ``known``."""
        return [entry for entry in self.requirements if not entry.holds(known)]

"""The fields of a config: their kinds, keys, defaults and conditions, and what names mean over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ttmlc.elaborate.hints import hinted, sections
from ttmlc.elaborate.names import CONFIG_MEMBERS, plain
from ttmlc.elaborate.problems import (
    BAD_DEFAULT,
    DECLARED_TWICE,
    NOT_YET,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    Problems,
    nearest,
    problem,
)
from ttmlc.elaborate.scalars import Lookup, elaborate
from ttmlc.elaborate.values import Number
from ttmlc.ir.config import ConfigField, Derived, Each, FieldKind, Requirement
from ttmlc.ir.ops.arithmetic import ACTIVATIONS
from ttmlc.ir.scalar import Const, Field, Index, Scalar
from ttmlc.ir.types import Axis, Role
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

KINDS = {kind.value: kind for kind in FieldKind if kind is not FieldKind.CHOICE}
MEANS = {
    FieldKind.SIZE: "int",
    FieldKind.INT: "int",
    FieldKind.TOKEN: "int",
    FieldKind.FLOAT: "float",
    FieldKind.RATE: "float",
    FieldKind.BOOL: "bool",
    FieldKind.ACTIVATION: "activation",
    FieldKind.CHOICE: "word",
}


@dataclass(frozen=True)
class Group:
    """A config of its own inside another: the field's name, and the keys under which its dictionary may stand.

    Its fields are fields of the config around it, called ``rope_theta`` where the spec says ``rope.theta``.
    """

    name: str = ""
    keys: tuple[str, ...] = ()

    def flat(self, name: str) -> str:
        """What the config around it calls a field."""
        return f"{self.name}_{name}" if self.name else name

    def written(self, name: str) -> str:
        """What the spec calls it from outside."""
        return f"{self.name}.{name}" if self.name else name


class Fields:
    """What one config has so far; ``groups`` are the configs that a field may be of, ``used`` other specs."""

    def __init__(
        self,
        problems: Problems,
        groups: Mapping[str, tree.Config] | None = None,
        used: Sequence[tree.File] = (),
    ) -> None:
        self.problems = problems
        self.used = tuple(used)
        self.groups = dict(groups or {})
        self.group = Group()
        self.numbers: dict[str, Number] = {}
        self.spans: dict[str, Span] = {}
        self.fields: list[ConfigField] = []
        self.derived: list[Derived] = []
        self.requirements: list[Requirement] = []
        self.fixed: list[tuple[str, int | float | str | bool | None]] = []
        self.harmless: list[str] = []
        self.stale: list[str] = []
        self.poisoned: set[str] = set()
        self.factors: dict[str, tuple[str, ...]] = {}
        self.indices: dict[str, str] = {}
        """Of each index that a field has a value for, the field that counts them."""

    def lookup(self, name: tree.Name) -> Number | None:
        """A field or derived value that stands above; poison stays silent."""
        for text in (self.group.written(name.text), name.text):
            if text in self.poisoned or text.partition(".")[0] in self.poisoned:
                raise DiagnosticError([])
            if text in self.numbers:
                return self.numbers[text]
        return None

    def scalar(
        self, node: tree.Expr, words: tuple[str, ...] | None = None, lookup: Lookup | None = None
    ) -> Number:
        """What ``node`` means over the entries above.

        Raises:
            DiagnosticError: it is no scalar, or reads what is not declared; the hint says where to declare it.
        """
        words = self.words() if words is None else words
        with hinted([*self.numbers, *words], self.used):
            return elaborate(node, lookup or self.lookup, words)

    def at_each(self, name: tree.Name) -> Number | None:
        """As ``lookup``, or the index of fields by layer, which stands for each of its values."""
        found, over = self.lookup(name), self.indices.get(name.text)
        return Number(Index(name.text), "int", each=over) if found is None and over else found

    def words(self) -> tuple[str, ...]:
        """The choices of all fields."""
        return tuple(choice for entry in self.fields for choice in entry.choices)

    def declare(self, name: tree.Name, number: Number) -> str:
        """Give ``name`` a meaning.

        Raises:
            DiagnosticError: it has one, or cannot be used.
        """
        flat, text = self.group.flat(plain(name, CONFIG_MEMBERS)), self.group.written(name.text)
        if flat in self.spans or flat in CONFIG_MEMBERS or flat in self.indices:
            related = ((self.spans[flat], "first here"),) if flat in self.spans else ()
            raise problem(DECLARED_TWICE, f"{flat!r} is declared twice", name.span, related=related)
        self.numbers[text] = number
        self.spans[flat] = name.span
        return flat

    def field(self, entry: tree.ConfigField) -> None:
        """Take one field."""
        written = self.group.written(entry.name.text)
        try:
            gate = self.gate(entry)
            kind, choices = self.kind(entry)
            each = self.each(entry, kind)
            words = ACTIVATIONS if kind is FieldKind.ACTIVATION else choices
            default = self.default(entry, entry.default, kind, words)
            null = self.default(entry, entry.null, kind, words)
        except DiagnosticError:
            self.poisoned.add(written)
            raise
        held = Field(self.group.flat(entry.name.text))
        whole = kind is FieldKind.SIZE and not entry.nullable
        dim = Axis(held.name, held, Role.FEATURES) if whole else None
        over = "" if each is None else each.over
        name = self.declare(entry.name, Number(held, MEANS[kind], dim, choices, over))
        keys = tuple(key.path for key in entry.keys)
        seen = {_place(key, other.inside): other.name for other in self.fields for key in other.keys}
        for key, path in zip(entry.keys, keys, strict=True):
            if key.relative and not self.group.keys:
                hint = "A dot begins a key of a group's own dictionary."
                raise problem(WRONG_SHAPE, "this config is no group", key.span, hint=hint)
            known = seen.get(_place(path, self.group.keys))
            if known is not None:
                raise problem(DECLARED_TWICE, f"key {path!r} is read by {known!r} already", key.span)
        inside = self.group.keys
        self.fields.append(
            ConfigField(
                name, kind, default, keys, entry.nullable, null, choices, gate, inside, each, entry.span
            )
        )

    def each(self, entry: tree.ConfigField, kind: FieldKind) -> Each | None:
        """What a field has a value for each of: ``kind[i in layers]``.

        Raises:
            DiagnosticError: that is no size that stands above, or a value of this kind cannot be one of several.
        """
        if entry.index is None:
            return None
        index, axis = plain(entry.index[0]), entry.index[1]
        over = self.lookup(axis)
        if (
            over is None
            or not isinstance(over.dim, Axis)
            or all(e.name != over.dim.name for e in self.fields)
        ):
            hint = "As in kind[i in layers], with layers: size above."
            raise problem(UNKNOWN_NAME, f"{axis.text!r} is no size of this config", axis.span, hint=hint)
        if index in self.numbers or self.indices.get(index, over.dim.name) != over.dim.name:
            raise problem(DECLARED_TWICE, f"{index!r} is declared already", entry.index[0].span)
        if kind in (FieldKind.SIZE, FieldKind.ACTIVATION):
            message = f"a {kind.value} for each of {axis.text!r} is not compiled yet"
            raise problem(NOT_YET, message, entry.kinds[0].span)
        if entry.nullable or entry.null is not None or self.group.name:
            message = "only a field at the top that is never none has several values yet"
            raise problem(NOT_YET, message, entry.span)
        self.indices[index] = over.dim.name
        return Each(index, over.dim.name)

    def gate(self, entry: tree.ConfigField) -> Scalar | None:
        """The condition under which the keys of a field are read; else it is none, which its kind must allow.

        Raises:
            DiagnosticError: it is no condition, or the field cannot be none.
        """
        if entry.gate is None:
            return None
        condition = self.scalar(entry.gate)
        if condition.kind != "bool":
            raise problem(WRONG_SHAPE, "a condition must be bool", entry.gate.span, f"is {condition.kind}")
        if not entry.nullable:
            hint = f"Say '{entry.kinds[0].text}?'."
            message = f"{entry.name.text!r} is none where this does not hold, and may not be"
            raise problem(BAD_DEFAULT, message, entry.gate.span, hint=hint)
        return condition.scalar

    def kind(self, entry: tree.ConfigField) -> tuple[FieldKind, tuple[str, ...]]:
        """The kind of a field, and its choices where it is enumerated."""
        words = [word.text for word in entry.kinds]
        if len(words) > 1:
            return FieldKind.CHOICE, tuple(words)
        if words[0] not in KINDS:
            hint = nearest(words[0], [*KINDS, *self.groups, *sections(self.used)])
            if words[0][0].isupper() and not hint.startswith("Did"):
                hint = "A group is a config of this spec, or of one that it uses: 'use' that one."
            message = f"{words[0]!r} is no kind of field"
            raise problem(BAD_DEFAULT, message, entry.kinds[0].span, hint=hint)
        return KINDS[words[0]], ()

    def default(
        self, entry: tree.ConfigField, node: tree.Expr | None, kind: FieldKind, words: tuple[str, ...]
    ) -> Scalar | None:
        """The default of a field as a scalar."""
        if node is None:
            return None
        number = self.scalar(node, words, self.lookup if entry.index is None else self.at_each)
        fits = {
            FieldKind.FLOAT: ("int", "float"),
            FieldKind.RATE: ("int", "float"),
            FieldKind.ACTIVATION: ("word", "activation"),
        }.get(kind, (MEANS[kind],))
        if number.kind == "none" and entry.nullable:
            return Const(None)
        if number.kind not in fits:
            raise problem(BAD_DEFAULT, f"a {kind.value} cannot be {_shown(number)}", node.span)
        value = number.scalar.value if isinstance(number.scalar, Const) else None
        if kind is FieldKind.SIZE and isinstance(value, int) and not 0 < value < 1 << 31:
            raise problem(
                BAD_DEFAULT, "a size is at least 1", node.span, hint="Sizes are positive and below 2**31."
            )
        if kind is FieldKind.RATE and isinstance(value, (int, float)) and not 0 <= value < 1:
            raise problem(BAD_DEFAULT, "a rate lies in [0, 1)", node.span)
        if kind is FieldKind.TOKEN and isinstance(value, int) and value < 0:
            raise problem(BAD_DEFAULT, "a token is not negative", node.span)
        if kind in (FieldKind.FLOAT, FieldKind.RATE) and isinstance(value, int):
            return Const(float(value))
        return number.scalar


def _place(key: str, inside: tuple[str, ...]) -> tuple[str, ...]:
    """What tells a key of a group's own dictionary from the same word elsewhere."""
    return (*inside, key) if key.startswith(".") else (key,)


def _shown(number: Number) -> str:
    value = number.scalar.value if isinstance(number.scalar, Const) else None
    return {"none": "none", "bool": str(value).lower() if value is not None else "a flag"}.get(
        number.kind, f"of kind {number.kind}"
    )

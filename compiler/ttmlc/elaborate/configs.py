"""A ``config`` section becomes the config of a module."""

from __future__ import annotations

from ttmlc.elaborate.configfields import Fields, Group
from ttmlc.elaborate.names import CONFIG_MEMBERS, class_name, plain
from ttmlc.elaborate.problems import (
    BAD_DEFAULT,
    DECLARED_TWICE,
    NOT_YET,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    Problems,
    problem,
)
from ttmlc.elaborate.values import Number
from ttmlc.ir.config import Config, Derived, Each, Requirement
from ttmlc.ir.scalar import Const, Field, Index, Scalar, apply, leaves, literal
from ttmlc.ir.scalar import product as multiplied
from ttmlc.ir.types import Axis, Role
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span


class ConfigBuilder(Fields):
    """Collects the entries of one config."""

    def copy(self, problems: Problems) -> ConfigBuilder:
        """Another that has the same entries, and takes more; what is wrong with those goes to ``problems``."""
        made = ConfigBuilder(problems, used=self.used)
        for name, held in vars(self).items():
            if name not in ("problems", "group", "used"):
                setattr(made, name, held.copy())
        return made

    def build(self, node: tree.Config) -> None:
        """Take all that ``node``, which extends nothing, declares."""
        for entry in node.entries:
            with self.problems.kept():
                self.entry(entry)

    def made(self, node: tree.Config) -> Config:
        """What was taken, as the config that ``node`` declares."""
        model_type = str(node.model_type.value) if node.model_type is not None else node.name.text.lower()
        return Config(
            class_name(node.name),
            model_type,
            tuple(self.fields),
            tuple(self.derived),
            tuple(self.requirements),
            tuple(self.fixed),
            tuple(self.harmless),
            tuple(self.stale),
        )

    def entry(self, entry: tree.ConfigEntry) -> None:
        """Take one entry.

        Raises:
            DiagnosticError: it does not fit.
        """
        if isinstance(entry, tree.ConfigField):
            group = self.groups.get(entry.kinds[0].text) if len(entry.kinds) == 1 else None
            if group is None:
                self.field(entry)
            else:
                self.nested(entry, group)
        elif isinstance(entry, tree.DerivedField):
            self.derive(entry)
        elif isinstance(entry, tree.Require):
            condition = self.scalar(entry.condition, lookup=self.at_each)
            if condition.kind != "bool":
                raise problem(
                    WRONG_SHAPE, "a requirement must be bool", entry.condition.span, f"is {condition.kind}"
                )
            message = (
                str(entry.message.value)
                if entry.message is not None
                else "a requirement of the spec does not hold"
            )
            each = self.each_of(condition.scalar, entry.condition.span)
            self.requirements.append(Requirement(condition.scalar, message, each, entry.span))
        elif isinstance(entry, tree.Fixed):
            self.fix(entry)
        elif isinstance(entry, tree.Harmless):
            known = [glob.name.text + ("*" if glob.open_ended else "") for glob in entry.patterns]
            inside = self.group.keys
            self.harmless += [f"{key}.{word}" for key in inside for word in known] if inside else known
        elif isinstance(entry, tree.Stale):
            self.stale += [str(pattern.value) for pattern in entry.patterns]
        elif isinstance(entry, tree.AxisSize) and isinstance(entry.value, tree.ProductExpr):
            self.product(entry.name, entry.value)
        elif not isinstance(entry, tree.Doc):
            raise problem(NOT_YET, "an axis inside a config is not compiled yet", entry.span)

    def each_of(self, condition: Scalar, span: Span) -> Each | None:
        """The index that ``condition`` reads, if it reads one.

        Raises:
            DiagnosticError: it reads several.
        """
        read = list(dict.fromkeys(leaf.name for leaf in leaves(condition) if isinstance(leaf, Index)))
        if len(read) > 1:
            raise problem(NOT_YET, "a requirement of several indices is not compiled yet", span)
        return Each(read[0], self.indices[read[0]]) if read else None

    def fix(self, entry: tree.Fixed) -> None:
        """Take keys that may have one value only.

        Raises:
            DiagnosticError: one of them is fixed to another value already.
        """
        for name, value in entry.entries:
            other = dict(self.fixed).get(name.text, value.value)
            if Const(other) != Const(value.value):
                message = f"{name.text!r} is fixed to {literal(other)} already"
                raise problem(DECLARED_TWICE, message, name.span)
            self.fixed.append((name.text, value.value))

    def product(self, whole: tree.Name, node: tree.ProductExpr) -> None:
        """Take a size apart: ``axis heads = (kv group)``, where the one factor that is new is what the others leave.

        Raises:
            DiagnosticError: it is no size, or not one factor is new.
        """
        found = self.lookup(whole)
        if found is None or not isinstance(found.dim, Axis):
            hint = "Only a size that stands above is taken apart."
            raise problem(UNKNOWN_NAME, f"{whole.text!r} is no size of this config", whole.span, hint=hint)
        if whole.text in self.factors:
            raise problem(DECLARED_TWICE, f"{whole.text!r} is taken apart already", whole.span)
        names = [factor.name for factor in node.factors if isinstance(factor, tree.DimName)]
        if len(names) < len(node.factors) or len(names) < 2:
            raise problem(NOT_YET, "only a product of names is compiled yet", node.span)
        known = [(name, self.lookup(name)) for name in names]
        new = [name for name, number in known if number is None]
        if len(new) != 1:
            label = f"{len(new)} of them are new"
            raise problem(BAD_DEFAULT, "one factor follows from the others", node.span, label)
        sizes = []
        for name, number in known:
            if number is not None:
                if not isinstance(number.dim, Axis):
                    raise problem(BAD_DEFAULT, f"{name.text!r} is no size", name.span)
                sizes.append(number.scalar)
        size = apply("//", found.scalar, multiplied(tuple(sizes)))
        (name,) = new
        text = self.declare(
            name, Number(Field(name.text), "int", Axis(name.text, Field(name.text), Role.FEATURES))
        )
        self.derived.append(Derived(text, size, True, node.span))
        self.factors[whole.text] = tuple(name.text for name in names)

    def nested(self, entry: tree.ConfigField, section: tree.Config) -> None:
        """Take a field that is a config of its own: its fields become fields of this one."""
        if self.group.name:
            raise problem(NOT_YET, "a group inside a group is not compiled yet", entry.span)
        value = entry.nullable or entry.index or entry.default is not None or entry.null is not None
        if value or not entry.keys:
            hint = f"As in {entry.name.text}: {section.name.text} from {entry.name.text}_key."
            raise problem(
                WRONG_SHAPE, "a group is read from its keys, and has no value itself", entry.span, hint=hint
            )
        for key in entry.keys:
            if key.relative or key.length or len(key.words) > 1:
                raise problem(NOT_YET, "a group is read from keys at the top", key.span)
        self.group = Group(plain(entry.name, CONFIG_MEMBERS), tuple(key.path for key in entry.keys))
        try:
            for part in section.entries:
                with self.problems.kept():
                    if isinstance(part, (tree.Fixed, tree.Stale)):
                        raise problem(NOT_YET, "this is not compiled yet inside a group", part.span)
                    self.entry(part)
        finally:
            self.group = Group()

    def axis(self, entry: tree.AxisSize) -> None:
        """Take an axis that a section of a spec declares: a derived value, and a dimension."""
        if isinstance(entry.value, (tree.Reference, tree.ProductExpr)):
            raise problem(NOT_YET, "a second name for an axis is not compiled yet", entry.span)
        try:
            number = self.scalar(entry.value)
        except DiagnosticError:
            self.poisoned.add(entry.name.text)
            raise
        if number.kind != "int":
            raise problem(
                WRONG_SHAPE, "an axis is as long as a whole number", entry.value.span, f"is {number.kind}"
            )
        self.derive(tree.DerivedField(entry.span, entry.name, entry.value))

    def derive(self, entry: tree.DerivedField) -> None:
        """Take one derived value."""
        try:
            number = self.scalar(entry.value)
        except DiagnosticError:
            self.poisoned.add(self.group.written(entry.name.text))
            raise
        whole = number.kind == "int"
        held = Field(self.group.flat(entry.name.text))
        dim = Axis(held.name, held, Role.FEATURES) if whole else None
        name = self.declare(entry.name, Number(held, number.kind, dim))
        self.derived.append(Derived(name, number.scalar, whole, entry.span))

"""A ``table`` section: numbers over one axis, computed once from the config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ttmlc.elaborate import scalars
from ttmlc.elaborate.hints import hinted
from ttmlc.elaborate.names import INPUTS, plain
from ttmlc.elaborate.problems import (
    BAD_SCALAR,
    DECLARED_TWICE,
    MISFIT,
    MISSING_ARGUMENT,
    NOT_YET,
    RESERVED_NAME,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import Scope, TableValue
from ttmlc.elaborate.values import Number, Poison
from ttmlc.ir import scalar
from ttmlc.ir.ops.rotary import Case, Named, table_form
from ttmlc.ir.scalar import Const, Field, Index
from ttmlc.ir.types import Axis, DType, TensorType
from ttmlc.language import tree
from ttmlc.source import DiagnosticError

NUMBERS = "float32"
"""What a table holds."""
TAKEN = INPUTS | {"np"}
"""What the emitted function of a table has under a name already."""


def elaborate_table(node: tree.Table, scope: Scope) -> TableValue:
    """The table that ``node`` declares.

    Raises:
        DiagnosticError: it is no table over one axis, or its numbers do not work out.
    """
    name = plain(node.name, TAKEN)
    if not name[0].islower():
        raise problem(RESERVED_NAME, "tables are named like_this", node.name.span, hint="As in inv_freq.")
    axes = tuple(scope.dim(dim) for dim in node.type.dims)
    if node.type.dtype is None or node.type.dtype.text != NUMBERS:
        raise problem(MISFIT, f"a table holds {NUMBERS}", node.type.span, hint=f"As in {NUMBERS}[half].")
    if len(axes) != 1 or not isinstance(axes[0], Axis) or axes[0].is_dynamic:
        raise problem(NOT_YET, "a table is over one axis of the config", node.type.span)
    making = _Making(node.name, scope, axes[0])
    making.statements(node.body)
    return TableValue(name, TensorType(DType.FLOAT, axes), table_form(making.values, making.cases))


@dataclass
class _Making:
    """A table on its way; ``varies`` are its values that differ from place to place."""

    name: tree.Name
    scope: Scope
    axis: Axis
    known: dict[str, Number] = field(default_factory=dict)
    values: list[Named] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    done: bool = False

    def statements(self, statements: Sequence[tree.Statement]) -> None:
        """Take ``statements`` in order, up to the one after which every place has its number."""
        for node in statements:
            if isinstance(node, tree.Doc):
                continue
            if self.done:
                raise problem(WRONG_SHAPE, "nothing comes after 'return'", node.span)
            if isinstance(node, tree.Assign):
                self._assign(node)
            elif isinstance(node, tree.Return):
                self._case(Const(True), (node,))
            elif isinstance(node, tree.If):
                self._case(self._decided(node.condition), node.then)
                if node.otherwise:
                    self._case(Const(True), node.otherwise)
            elif isinstance(node, tree.Match):
                self._match(node)
            else:
                raise problem(NOT_YET, "this statement is not compiled in a table yet", node.span)
        if not self.done:
            hint = "End it with 'return', or with a 'match' of all words."
            raise problem(
                WRONG_SHAPE, f"{self.name.text!r} returns nothing in some case", self.name.span, hint=hint
            )

    def _assign(self, node: tree.Assign) -> None:
        if len(node.targets) != 1 or len(node.targets[0].path) != 1:
            raise problem(NOT_YET, "a table gives one name at a time", node.span)
        name = plain(node.targets[0].path[0], TAKEN)
        if name in self.known or name == self.axis.name:
            raise problem(DECLARED_TWICE, f"{name!r} is declared already", node.targets[0].span)
        value = self._number(node.value)
        self.values.append((name, value.scalar))
        self.known[name] = Number(Index(name), value.kind)

    def _case(self, condition: scalar.Scalar, body: Sequence[tree.Statement]) -> None:
        node = body[0]
        if len(body) != 1 or not isinstance(node, tree.Return) or node.value is None:
            raise problem(NOT_YET, "a case of a table is one 'return' of a value", node.span)
        value = self._number(node.value)
        if value.kind not in scalars.NUMERIC:
            raise problem(MISFIT, "a table holds numbers", node.value.span, f"is {value.kind}")
        self.cases.append((condition, value.scalar))
        self.done = self.done or condition == Const(True)

    def _decided(self, node: tree.Expr) -> scalar.Scalar:
        """A condition that is one for the whole table."""
        value = self._number(node)
        if value.kind != "bool" or any(isinstance(leaf, Index) for leaf in scalar.leaves(value.scalar)):
            hint = "Between places of a table chooses where(condition, a, b)."
            raise problem(BAD_SCALAR, "this must be a condition on the config", node.span, hint=hint)
        return value.scalar

    def _match(self, node: tree.Match) -> None:
        value = self._number(node.value).scalar
        words = self.scope.choices.get(value.name) if isinstance(value, Field) else None
        if words is None:
            raise problem(BAD_SCALAR, "a table matches a field that is a choice of words", node.value.span)
        seen: set[str] = set()
        for case in node.cases:
            word = case.name.text
            if word not in words:
                hint = nearest(word, words)
                raise problem(UNKNOWN_NAME, f"this is never {word!r}", case.name.span, hint=hint)
            if word in seen:
                raise problem(DECLARED_TWICE, f"{word!r} is a case already", case.name.span)
            seen.add(word)
            last = seen == set(words)
            self._case(Const(True) if last else scalar.apply("==", value, Const(word)), case.body)

    # Expressions

    def _number(self, node: tree.Expr) -> Number:
        words = self.scope.words
        with hinted([*self.known, *self.scope.numbers, *words], self.scope.used):
            return scalars.elaborate(node, self._lookup, words, None, self._call)

    def _lookup(self, name: tree.Name) -> Number | None:
        if name.text in self.known:
            return self.known[name.text]
        if isinstance(self.scope.meaning(name.text), Poison):
            raise DiagnosticError([])
        found = self.scope.number(name.text)
        return Number(Const(math.pi), "float") if found is None and name.text == "pi" else found

    def _call(self, node: tree.Call) -> Number | None:
        """``index(half)``, the place along the axis, and ``where(condition, a, b)``; None for any other."""
        name = node.function.name.text if isinstance(node.function, tree.Reference) else ""
        takes = {"index": 1, "where": 3}.get(name)
        if takes is None:
            return None
        if len(node.args) != takes or node.options:
            raise problem(MISSING_ARGUMENT, f"'{name}' takes {takes} arguments", node.span)
        if name == "index":
            (over,) = node.args
            if not isinstance(over, tree.Reference) or over.name.text != self.axis.name:
                hint = f"Write index({self.axis.name})."
                raise problem(MISFIT, "a table counts along its own axis", over.span, hint=hint)
            return Number(Index(self.axis.name), "float")
        condition, yes, no = map(self._number, node.args)
        if condition.kind != "bool":
            raise problem(BAD_SCALAR, "a condition must be bool", node.args[0].span, f"is {condition.kind}")
        return scalars.select(node, condition.scalar, yes, no)

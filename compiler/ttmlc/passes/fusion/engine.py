"""How a fusion is written and applied: ``pattern``, ``check``, ``rewrite``, one rule a file.

A rule looks at one operation (the root) and the scope around it. ``pattern`` finds the operations that take part or
nothing; ``check`` gives the reason why a find must stay as it is; ``rewrite`` gives what stands in the root's place.
The operations of a find other than the root are removed, so ``check`` must have seen that nobody else reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import Function, Kind, Level, Module, Operation, Region, Value, names_in
from ttmlc.passes.base import Declined, Outcome, Pass


class Scope:
    """The operations of one body: who makes a value and how often it is read."""

    def __init__(self, operations: Sequence[Operation], wanted: Sequence[Value]) -> None:
        self.place = {id(operation): place for place, operation in enumerate(operations)}
        self._maker = {value.name: operation for operation in operations for value in operation.results}
        self._uses: dict[str, int] = {}
        for value in [v for operation in operations for v in operation.reads()] + list(wanted):
            self._uses[value.name] = self._uses.get(value.name, 0) + 1

    def maker(self, value: Value | None, op: str = "") -> Operation | None:
        """The operation that makes ``value``, if it is an ``op`` of this body."""
        found = None if value is None else self._maker.get(value.name)
        return found if found is not None and op in ("", found.op) else None

    def shared(self, *operations: Operation) -> Value | None:
        """A result of ``operations`` that is read more than once, if there is one."""
        values = (value for operation in operations for value in operation.results)
        return next((value for value in values if self._uses.get(value.name, 0) > 1), None)


@dataclass(frozen=True)
class Match:
    """The operations that take part: the root, and those that go."""

    root: Operation
    parts: tuple[Operation, ...]


class Rule(Protocol):
    """A rewrite of the ttnn level."""

    name: ClassVar[str]

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        """What takes part, with ``root`` last."""

    def check(self, match: Match, scope: Scope) -> str | None:
        """Why the find must stay as it is, or None."""

    def rewrite(self, match: Match, build: Builder) -> None:
        """Add what replaces the root; its results keep the names of the root's."""


@dataclass(frozen=True)
class Fuse(Pass):
    """Apply one rule wherever it fits."""

    rule: Rule

    takes = gives = Level.DEVICE

    @property
    def name(self) -> str:  # type: ignore[override]  # a pass is named by its rule
        """The rule's name."""
        return self.rule.name

    def run(self, module: Module) -> Outcome:
        declined: list[Declined] = []

        def change(function: Function) -> Function:
            wanted = list(function.wanted)
            # That a value is kept for the backward is no news to whoever reads why a rewrite was not made.
            trains = function.kind in (Kind.FORWARD, Kind.BACKWARD)
            work = _Work([] if trains else declined, names_in(function))
            return replace(function, operations=self._body(function.operations, wanted, work))

        return Outcome(module.map_functions(change), tuple(declined))

    def _body(
        self, operations: tuple[Operation, ...], wanted: list[Value], work: _Work
    ) -> tuple[Operation, ...]:
        refused: dict[int, Operation] = {}  # by identity: two equal operations are two finds
        operations = tuple(self._inside(operation, work) for operation in operations)
        while True:
            scope = Scope(operations, wanted)
            for root in operations:
                match = None if id(root) in refused else self.rule.pattern(root, scope)
                if match is None:
                    continue
                reason = self.rule.check(match, scope)
                if reason is None:
                    operations = _replace(operations, match, self.rule, work)
                    break
                refused[id(root)] = root
                work.declined.append(Declined(self.rule.name, reason, root.span))
            else:
                return operations

    def _inside(self, operation: Operation, work: _Work) -> Operation:
        if operation.body is None:
            return operation
        body: Region = operation.body
        inner = self._body(body.operations, list(body.yields), work)
        return replace(operation, body=replace(body, operations=inner))


@dataclass
class _Work:
    """What applying a rule to one function keeps: the reasons for declining, and the names that are in use."""

    declined: list[Declined]
    names: set[str]


def _replace(
    operations: tuple[Operation, ...], match: Match, rule: Rule, work: _Work
) -> tuple[Operation, ...]:
    gone = {id(part) for part in match.parts}
    freed = {value.name for part in (*match.parts, match.root) for value in part.results}
    build = Builder(Names(work.names - freed))
    rule.rewrite(match, build)
    work.names -= freed
    work.names.update(value.name for made in build.operations for value in made.results)
    result: list[Operation] = []
    for operation in operations:
        if operation is match.root:
            result.extend(replace(made, by=rule.name) for made in build.operations)
        elif id(operation) not in gone:
            result.append(operation)
    return tuple(result)

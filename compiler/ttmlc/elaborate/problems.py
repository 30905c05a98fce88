"""Diagnostics of elaboration: the codes, and how many are collected in one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ttmlc.source import Diagnostic, DiagnosticError, Span, declare
from ttmlc.source import nearest as nearest
from ttmlc.source import problem as problem

UNKNOWN_NAME = declare("E0201", "a name that nothing declares")
MISFIT = declare("E0202", "an operand or attribute does not fit the op")
UNKNOWN_OPTION = declare("E0203", "an option that the op or block does not have")
MISSING_ARGUMENT = declare("E0204", "an argument is missing, or there is one too many")
DECLARED_TWICE = declare("E0205", "a name is declared twice")
RESERVED_NAME = declare("E0206", "a name cannot be used in the emitted module")
BAD_DEFAULT = declare("E0207", "a config field's value does not fit its kind")
BAD_PATH = declare("E0208", "a checkpoint path is malformed, or belongs to two parameters")
NOT_YET = declare("E0210", "the language has this, but it is not compiled yet")
NO_SUCH_SPEC = declare("E0211", "a spec that is used cannot be found")
WRONG_SHAPE = declare("E0212", "a statement or section is not shaped as it must be")
BAD_SCALAR = declare("E0213", "an expression over the config does not work out")

MAX_PROBLEMS = 20


class Problems:
    """Collects diagnostics, so that one run tells all of them."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self.silent = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what the body raises and go on after it."""
        try:
            yield
        except DiagnosticError as error:
            self.silent = self.silent or not error.diagnostics
            self._note(error.diagnostics)

    def add(self, other: Problems) -> None:
        """Keep what ``other`` has."""
        self.silent = self.silent or other.silent
        self._note(other.found)

    def without(self, code: str) -> Problems:
        """What is wrong, but for a code."""
        kept = Problems()
        kept.found = [diagnostic for diagnostic in self.found if diagnostic.code != code]
        return kept

    def _note(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.found += [diagnostic for diagnostic in diagnostics if diagnostic not in self.found]

    def raise_any(self, everything: Span) -> None:
        """Raise what was found.

        Raises:
            DiagnosticError: where anything was.
        """
        if (
            self.silent and not self.found
        ):  # a value was wrong and nobody said why: better said so than compiled
            raise problem(WRONG_SHAPE, "something in this spec has no meaning", everything)
        if self.found:
            order = sorted(self.found, key=lambda d: (d.span.file.name, d.span.start))
            raise DiagnosticError(order[:MAX_PROBLEMS])

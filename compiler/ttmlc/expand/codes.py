"""Diagnostics of expansion: the codes, and how many are collected in one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ttmlc.source import Diagnostic, DiagnosticError, declare

NO_BASE = declare("E0301", "what is extended is declared nowhere, or in several places")
CYCLE = declare("E0302", "a spec that extends itself")
NOTHING_TO_REPLACE = declare("E0303", "what is replaced is not there")
NO_SUPER = declare("E0304", "'super' where nothing is replaced")
AMBIGUOUS = declare("E0305", "what is replaced is there more than once")
NO_CALL = declare("E0306", "'with' on a statement that makes no call")
NO_PATH = declare("E0307", "a 'rename' that no path has")


class Told:
    """Collects diagnostics, so that one run tells all of them."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what the body raises and go on after it."""
        try:
            yield
        except DiagnosticError as error:
            self.found += [told for told in error.diagnostics if told not in self.found]

    def raise_any(self) -> None:
        """Raise what was found.

        Raises:
            DiagnosticError: where anything was.
        """
        if self.found:
            raise DiagnosticError(sorted(self.found, key=lambda told: (told.span.file.name, told.span.start)))

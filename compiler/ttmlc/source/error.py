"""Diagnostics as an exception."""

from __future__ import annotations

from collections.abc import Iterable

from ttmlc.source.diagnostic import Diagnostic
from ttmlc.source.drawing import render


class DiagnosticError(Exception):
    """One or more diagnostics; its text is all of them, drawn."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n".join(render(diagnostic) for diagnostic in self.diagnostics)

"""How one diagnostic is made, and the hint that names what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ttmlc.source.diagnostic import Diagnostic
from ttmlc.source.error import DiagnosticError
from ttmlc.source.file import Span


def problem(
    code: str,
    message: str,
    span: Span,
    label: str = "",
    *,
    related: tuple[tuple[Span, str], ...] = (),
    hint: str = "",
) -> DiagnosticError:
    """One diagnostic, ready to raise."""
    return DiagnosticError([Diagnostic(code, message, span, label, related, (), hint)])


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names what may have been meant, or what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(word, names, 1, 0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}." if names else ""

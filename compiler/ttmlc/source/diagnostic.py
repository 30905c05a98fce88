"""A diagnostic is data: the smallest wrong span, what else is involved, what to do. ``render`` draws it."""

from __future__ import annotations

from dataclasses import dataclass

from ttmlc.source.file import Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong.

    ``message`` is one sentence without a full stop; ``label`` says what is the matter with ``span`` itself;
    ``related`` are other places and what they have to do with it; ``hint`` says what to do, as a sentence.
    """

    code: str
    message: str
    span: Span
    label: str = ""
    related: tuple[tuple[Span, str], ...] = ()
    notes: tuple[str, ...] = ()
    hint: str = ""

"""A diagnostic is data; one function draws it.

tiny.spec:41:20: error[E0312]: 'linear' cannot contract 'x' with 'w_gate'
   41 |   gate = linear(x, w_gate)
      |                    ^^^^^^ has 4096 rows
      |                 - has 2048 columns
   hint: Transpose 'w_gate', or declare it as [hidden, ffn].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ttmlc.source.file import Span

WIDTH = 120
"""Longer lines of source are cut around what is marked."""
TAB = 4


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: where (the smallest span), what, what else is involved, what to do."""

    code: str
    message: str
    span: Span
    label: str = ""
    related: tuple[tuple[Span, str], ...] = ()
    notes: tuple[str, ...] = ()
    hint: str = ""


class DiagnosticError(Exception):
    """One or more diagnostics; its text is all of them, drawn."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(render(diagnostic) for diagnostic in self.diagnostics))


def visible(text: str) -> str:
    """``text`` with tabs widened and whatever could move a cursor or hide a letter written as its number."""
    shown = []
    for char in text:
        if char == "\t":
            shown.append(" " * TAB)
        elif unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown.append(f"<U+{ord(char):04X}>")
        else:
            shown.append(char)
    return "".join(shown)


def _width(text: str) -> int:
    """How many columns a terminal gives ``text``."""
    total = 0
    for char in visible(text):
        if not unicodedata.combining(char):
            total += 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
    return total


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """Draw ``diagnostic``; ``color`` adds ANSI colours."""
    red, blue, bold, off = ("\033[31m", "\033[34m", "\033[1m", "\033[0m") if color else ("", "", "", "")
    head = f"{bold}{diagnostic.span}: {red}error[{diagnostic.code}]{off}{bold}: {visible(diagnostic.message)}{off}"
    lines = [head]
    marks = [
        (diagnostic.span, diagnostic.label, "^"),
        *((span, label, "-") for span, label in diagnostic.related),
    ]
    numbers = sorted({span.line for span, _, _ in marks if span.file is diagnostic.span.file})
    gutter = max(len(str(number)) for number in numbers) + 3
    for number in numbers:
        here = [
            (span, label, sign)
            for span, label, sign in marks
            if span.file is diagnostic.span.file and span.line == number
        ]
        lines += _line(number, here, gutter, (red, blue, off))
    for span, label in diagnostic.related:
        if span.file is not diagnostic.span.file:
            lines.append(f"{' ' * gutter}{span}: {visible(label)}")
    lines += [f"{' ' * (gutter - 2)}note: {visible(note)}" for note in diagnostic.notes]
    if diagnostic.hint:
        lines.append(f"{' ' * (gutter - 2)}{bold}hint{off}: {visible(diagnostic.hint)}")
    return "\n".join(lines)


def _line(
    number: int, marks: Sequence[tuple[Span, str, str]], gutter: int, colors: tuple[str, str, str]
) -> list[str]:
    red, blue, off = colors
    source = marks[0][0].file.line_text(number)
    first = min(span.column for span, _, _ in marks) - 1
    start = 0 if len(source) <= WIDTH else max(0, min(first - WIDTH // 3, len(source) - WIDTH))
    cut = source[start : start + WIDTH]
    left, right = ("..." if start else ""), ("..." if start + WIDTH < len(source) else "")
    drawn = [f"{blue}{number:>{gutter}} |{off} {left}{visible(cut)}{right}"]
    for span, label, sign in marks:
        column = min(max(span.column - 1 - start, 0), len(cut))
        last = span.end - span.start if span.end_line == number else len(source) - (span.column - 1)
        before = len(left) + _width(cut[:column])
        under = max(1, _width(cut[column : column + max(1, last)]))
        paint = red if sign == "^" else blue
        drawn.append(
            f"{blue}{'':>{gutter}} |{off} {' ' * before}{paint}{sign * under} {visible(label)}{off}".rstrip()
        )
    return drawn

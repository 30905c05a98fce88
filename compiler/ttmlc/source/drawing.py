"""The one function that draws a diagnostic.

tiny.spec:41:20: error[E0312]: 'linear' cannot contract 'x' with 'w_gate'
   41 |   gate = linear(x, w_gate)
      |                    ^^^^^^ has 4096 rows
      |                 - has 2048 columns
   hint: Transpose 'w_gate', or declare it as [hidden, ffn].

A spec is somebody else's text: whatever in it could move a cursor, hide or reorder letters, or flood a screen, is
drawn as its number or cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ttmlc.source.diagnostic import Diagnostic
from ttmlc.source.file import SourceFile, Span

WIDTH = 120
"""Columns of source that are drawn; a longer line is cut around what is marked."""
LEAD = 40
"""Columns kept before a mark where a line is cut."""
TAB = 4
LONGEST = 400
"""Characters of a message, label, note or hint: they may quote a spec."""
DOTS = "..."
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that are never drawn as they are: controls, bidi overrides, unassigned, line separators."""
STACKED = 2
"""Combining marks that may stand on one letter; more are numbers."""


@dataclass(frozen=True)
class _Paint:
    """The colours, or nothing."""

    error: str = ""
    other: str = ""
    bold: str = ""
    off: str = ""


PLAIN = _Paint()
ANSI = _Paint("\033[31m", "\033[34m", "\033[1m", "\033[0m")


@dataclass(frozen=True)
class _Mark:
    """A span to underline, what to say beside it, and with which sign."""

    span: Span
    label: str
    sign: str

    def paint(self, paint: _Paint) -> str:
        return paint.error if self.sign == "^" else paint.other


def _cells(text: str) -> list[tuple[str, int]]:
    """Each character as it is drawn, and the columns that takes."""
    cells = []
    stacked = 0
    for char in text:
        if " " <= char <= "~":
            cells.append((char, 1))
            stacked = 0
            continue
        category = unicodedata.category(char)
        stacked = stacked + 1 if category in ("Mn", "Me") else 0
        if char == "\t":
            cells.append((" " * TAB, TAB))
        elif category in HIDDEN or stacked > STACKED:
            number = f"<U+{ord(char):04X}>"
            cells.append((number, len(number)))
        elif stacked:
            cells.append((char, 0))
        else:
            cells.append((char, 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1))
    return cells


def visible(text: str, limit: int = LONGEST) -> str:
    """``text`` as it may be shown: tabs widened, hidden characters as numbers, no longer than ``limit``."""
    shown = "".join(drawn for drawn, _ in _cells(text[: limit + 1]))
    return shown if len(shown) <= limit else shown[: limit - len(DOTS)] + DOTS


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """Draw ``diagnostic``; ``color`` adds ANSI colours."""
    paint = ANSI if color else PLAIN
    file = diagnostic.span.file
    marks = [_Mark(diagnostic.span, diagnostic.label, "^")]
    marks += [_Mark(span, label, "-") for span, label in diagnostic.related]
    elsewhere = [other for other in dict.fromkeys(mark.span.file for mark in marks) if other != file]
    gutter = max(len(str(mark.span.line)) for mark in marks) + 3
    error = f"{paint.error}error[{diagnostic.code}]{paint.off}{paint.bold}"
    lines = [f"{paint.bold}{_place(diagnostic.span)}: {error}: {visible(diagnostic.message)}{paint.off}"]
    for source in [file, *elsewhere]:
        here = [mark for mark in marks if mark.span.file == source]
        if source != file:
            lines.append(f"{' ' * (gutter - 2)}{paint.other}in {_place(here[0].span)}{paint.off}")
        lines += _excerpt(source, here, gutter, paint)
    lines += [f"{' ' * (gutter - 2)}note: {visible(note)}" for note in diagnostic.notes]
    if diagnostic.hint:
        lines.append(f"{' ' * (gutter - 2)}{paint.bold}hint{paint.off}: {visible(diagnostic.hint)}")
    return "\n".join(lines)


def _place(span: Span) -> str:
    return f"{visible(span.file.name)}:{span.line}:{span.column}"


def _excerpt(file: SourceFile, marks: list[_Mark], gutter: int, paint: _Paint) -> Iterator[str]:
    """The marked lines of one file in order, each with its marks below it, the error's own first."""
    for number in sorted({mark.span.line for mark in marks}):
        waiting = [mark for mark in marks if mark.span.line == number]
        cells = _cells(file.line_text(number))
        while waiting:
            window = _window(cells, waiting[0].span.column - 1)
            now = [mark for mark in waiting if _fits(mark, window, len(cells))]
            waiting = [mark for mark in waiting if mark not in now]
            yield from _drawn(number, cells, window, now or [waiting.pop(0)], gutter, paint)


def _window(cells: list[tuple[str, int]], column: int) -> tuple[int, int]:
    """The cells, from and to, that fit into the width and show ``column``."""
    if sum(width for _, width in cells) <= WIDTH:
        return 0, len(cells)
    start = min(column, len(cells))
    lead = 0
    while start > 0 and lead + cells[start - 1][1] <= LEAD:
        start -= 1
        lead += cells[start][1]
    end, used = start, 0
    while end < len(cells) and used + cells[end][1] <= WIDTH:
        used += cells[end][1]
        end += 1
    return start, end


def _fits(mark: _Mark, window: tuple[int, int], length: int) -> bool:
    column = mark.span.column - 1
    return window[0] <= column < window[1] or (column >= length == window[1])


def _drawn(
    number: int,
    cells: list[tuple[str, int]],
    window: tuple[int, int],
    marks: list[_Mark],
    gutter: int,
    paint: _Paint,
) -> Iterator[str]:
    start, end = window
    left, right = DOTS if start else "", DOTS if end < len(cells) else ""
    shown = "".join(drawn for drawn, _ in cells[start:end])
    yield f"{paint.other}{number:>{gutter}} |{paint.off} {left}{shown}{right}".rstrip()
    for mark in marks:
        first = min(max(mark.span.column - 1, start), end)
        length = max(1, mark.span.end - mark.span.start)
        last = min(first + length, end) if mark.span.end_line == number else end
        before = len(left) + sum(width for _, width in cells[start:first])
        under = max(1, sum(width for _, width in cells[first:last]))
        label = visible(mark.label)
        if mark.span.end_line != number:
            label = f"{label} (to line {mark.span.end_line})".strip()
        signs = f"{mark.paint(paint)}{mark.sign * under}{' ' if label else ''}{label}{paint.off}"
        yield f"{paint.other}{'':>{gutter}} |{paint.off} {' ' * before}{signs}".rstrip()

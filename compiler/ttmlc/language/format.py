"""``ttmlc fmt``: a spec's text made canonical, with every comment where it was.

    x=linear( a,b )#why          =>    x = linear(a, b)  # why

The text is parsed, and its tree printed: so the result means what the text meant. A comment stays behind its statement
or above it; one inside of a statement moves above it. Blank lines stay, at most one at a time, and never below the head
of a block; sections have one around them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from ttmlc.language import tree as t
from ttmlc.language.lines import PrintedLine, lines
from ttmlc.language.parser import parse
from ttmlc.language.scan import Comment, Scan, scan
from ttmlc.source import SourceFile


def format_text(text: str, name: str = "spec") -> str:
    """``text`` in canonical form; formatting that again changes nothing.

    Args:
        text: a spec.
        name: what messages call it.

    Raises:
        DiagnosticError: it does not parse.
    """
    file = SourceFile(name, text.replace("\r\n", "\n"))
    printed = lines(parse(file))
    return _written(_Placing(scan(file), printed).run())


def print_tree(file: t.File) -> str:
    """The canonical text of a tree; parsed, it gives the tree back."""
    return _written(_Placed(line) for line in lines(file))


@dataclass(frozen=True)
class _Above:
    """A comment on a line of its own."""

    text: str
    level: int
    blank: bool


@dataclass
class _Placed:
    """A printed line, or the end of the file, with its comments; ``blank`` lines had a blank one above them."""

    line: PrintedLine | None
    above: list[_Above] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    blank: bool = False

    @property
    def level(self) -> int:
        """How deep it stands."""
        return 0 if self.line is None else self.line.level


class _Placing:
    """Finds the printed line that each comment and blank line of the source belongs to."""

    def __init__(self, found: Scan, printed: list[PrintedLine]) -> None:
        self._file = found.file
        self._found = found
        self._starts = [line.start for line in found.lines]
        self._begins = [self._begin(line) for line in printed]
        self._placed = [
            _Placed(line, blank=self._blank_above(begin))
            for line, begin in zip(printed, self._begins, strict=True)
        ]
        self._columns = self._open_columns()

    def run(self) -> list[_Placed]:
        """The printed lines, and the end of the file."""
        placed = [*self._placed, _Placed(None)]
        for comment in self._found.comments:
            number = bisect_right(self._begins, comment.start) - 1  # of the last line that begins before it
            if number >= 0 and comment.start < self._end(number):
                here = placed[number]
                here.above.append(_Above(_comment(comment), here.level, here.blank))
                here.blank = False
            elif comment.alone:
                level = self._level(comment, number, placed[number + 1].level)
                above = _Above(_comment(comment), level, self._blank_above(comment.start))
                placed[number + 1].above.append(above)
            else:
                placed[number].behind.append(_comment(comment))
        return placed

    def _begin(self, line: PrintedLine) -> int:
        """Where a printed line began; an ``else`` has no node, and stands before its first statement."""
        if line.text != "else:":
            return line.span.start
        number = bisect_right(self._starts, line.span.start) - 1
        return self._starts[number if self._found.lines[number].first == "else" else number - 1]

    def _end(self, number: int) -> int:
        """Where what is printed on a line ended: a statement, or the head of a block."""
        line = self._placed[number].line
        assert line is not None
        if line.opens:
            return self._found.lines[bisect_right(self._starts, self._begins[number]) - 1].end
        return line.span.end

    def _open_columns(self) -> list[list[int]]:
        """For each printed line the columns, by level, at which the blocks stand that are open there."""
        columns: list[list[int]] = []
        for placed, begin in zip(self._placed, self._begins, strict=True):
            enclosing = columns[-1][: placed.level] if columns else []
            columns.append([*enclosing, self._file.place(begin)[1] - 1])
        return columns

    def _level(self, comment: Comment, number: int, least: int) -> int:
        """The level of a comment between two statements: of the deepest block open there that is not deeper than it."""
        column = self._file.place(comment.start)[1] - 1
        open_here = self._columns[number] if number >= 0 else []
        return max(
            (level for level, at in enumerate(open_here) if least < level and at <= column), default=least
        )

    def _blank_above(self, start: int) -> bool:
        """Whether the line above the one that holds ``start`` is blank."""
        line = self._file.place(start)[0]
        return line > 1 and not self._file.line_text(line - 1).strip()


def _written(placed: Iterable[_Placed]) -> str:
    """The text: comments and lines with their indentation and blank lines."""
    texts: list[str] = []
    opened = False  # whether the last line is the head of a block
    for here in placed:
        spaced = here.line is not None and here.line.spaced
        first = _first_of_section(here) if spaced else -1
        for number, above in enumerate(here.above):
            _add(texts, above.level, above.text, above.blank or number == first, opened)
            opened = False
        if here.line is not None:
            text = here.line.text + "".join(f"  {comment}" for comment in here.behind)
            _add(texts, here.line.level, text, here.blank or first == len(here.above), opened)
            opened = here.line.opens
    return "\n".join(texts) + "\n" if texts else ""


def _first_of_section(here: _Placed) -> int:
    """The number of the first comment that belongs to a section, because it stands directly above it."""
    first = len(here.above)
    if here.blank:
        return first
    while first > 0 and here.above[first - 1].level == 0:
        first -= 1
        if here.above[first].blank:
            break
    return first


def _add(texts: list[str], level: int, text: str, blank: bool, opened: bool) -> None:
    """Add a line, with a blank one above it where it has one or leaves the section before it."""
    leaves = level == 0 and bool(texts) and texts[-1].rsplit("\n", 1)[-1].startswith(" ")
    if texts and not opened and (blank or leaves):
        texts.append("")
    texts.append(" " * (4 * level) + text)


def _comment(comment: Comment) -> str:
    """A comment with one space behind its sign."""
    body = comment.text.lstrip("#")
    signs = comment.text[: len(comment.text) - len(body)]
    return f"{signs} {body.strip()}".rstrip()

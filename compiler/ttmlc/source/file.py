"""Source files and spans."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SourceFile:
    """A text and the short name that messages call it by, such as ``tiny.spec``."""

    name: str
    text: str
    starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Where each line begins; lines end at ``\\n`` only."""

    def __post_init__(self) -> None:
        starts = [0]
        place = self.text.find("\n")
        while place >= 0:
            starts.append(place + 1)
            place = self.text.find("\n", place + 1)
        object.__setattr__(self, "starts", tuple(starts))

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column of ``offset``, both from 1."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of ``line`` (from 1), without its end."""
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def end(self) -> Span:
        """The empty span at the end of the text."""
        return Span(self, len(self.text), len(self.text))

    def __repr__(self) -> str:
        return f"SourceFile({self.name!r}, {len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Span:
    """The characters ``start`` to ``end`` (not included) of a file."""

    file: SourceFile
    start: int
    end: int

    @property
    def line(self) -> int:
        """The line it begins on, from 1."""
        return self.file.place(self.start)[0]

    @property
    def column(self) -> int:
        """The column it begins at, from 1: the number of characters, however wide."""
        return self.file.place(self.start)[1]

    @property
    def end_line(self) -> int:
        """The line of its last character."""
        return self.file.place(max(self.start, self.end - 1))[0]

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.file.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this one to the end of ``other``, in whichever order they stand.

        Two files have nothing between them: then it is this one.
        """
        if self.file is not other.file and self.file != other.file:
            return self
        return Span(self.file, min(self.start, other.start), max(self.end, other.end))

    def __lt__(self, other: Span) -> bool:
        return (self.file.name, self.start, self.end) < (other.file.name, other.start, other.end)

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}:{self.column}"

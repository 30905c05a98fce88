"""Where a statement cannot be read on: what the rules of ``explain.py`` look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ttmlc.language.scan import PAIRS, Line, Scan, Word
from ttmlc.language.words import BODIES
from ttmlc.source import Diagnostic, Span


@dataclass(frozen=True)
class Trouble:
    """Statement ``number`` of ``scan`` cannot be read from ``place`` on, where one of ``accepts`` could have stood."""

    scan: Scan
    number: int
    place: int
    accepts: frozenset[str]

    @property
    def line(self) -> Line:
        """The statement."""
        return self.scan.lines[self.number]

    @cached_property
    def index(self) -> int:
        """Which of its words is the wrong one; their number where the line ends too early."""
        words = self.line.words
        return next((i for i, word in enumerate(words) if word.end > self.place), len(words))

    @property
    def word(self) -> Word | None:
        """The wrong word; None where the line ends too early."""
        return self.line.words[self.index] if self.index < len(self.line.words) else None

    @property
    def before(self) -> Word | None:
        """The word before that."""
        return self.line.words[self.index - 1] if self.index else None

    @property
    def after(self) -> Word | None:
        """The word after that."""
        return self.line.words[self.index + 1] if self.index + 1 < len(self.line.words) else None

    @cached_property
    def bracketed(self) -> bool:
        """Whether the wrong word stands inside of brackets."""
        words = [word.text for word in self.line.words[: self.index] if word.kind == "sign"]
        return sum(word in PAIRS for word in words) > sum(word in PAIRS.values() for word in words)

    @property
    def context(self) -> str:
        """The first word of the line whose block this stands in; empty in the first column."""
        return "" if self.line.parent is None else self.scan.lines[self.line.parent].first

    @property
    def section(self) -> str:
        """The first word of the section that this stands in."""
        return self.scan.lines[self.line.section].first

    @property
    def body(self) -> bool:
        """Whether it should be a statement."""
        return self.section in BODIES and self.context not in ("config", "match")

    def say(
        self, code: str, message: str, hint: str = "", word: Word | None = None, label: str = ""
    ) -> Diagnostic:
        """A diagnostic at ``word``, else at the wrong word, else just behind the line."""
        at = word or self.word
        end = self.line.end
        where = Span(self.scan.file, end, end) if at is None else Span(self.scan.file, at.start, at.end)
        return Diagnostic(code, message, where, label, hint=hint)

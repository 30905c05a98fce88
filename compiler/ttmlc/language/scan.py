"""A first look at a spec: its words, its statements, how they are indented, and what is wrong already.

Lark reads the same text by the grammar. This scan comes first because it can name causes where a parser can only name
tokens (a string that is not closed, a line indented like nothing above it), and because it knows where statements
begin and end, even wrong ones, so that the parser can go on behind one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ttmlc.language import literals
from ttmlc.language.codes import BAD_STRING, BRACKET, STRAY, TOO_MUCH
from ttmlc.language.limits import MAX_FILE_WORDS, MAX_LINE, MAX_NESTING, MAX_WORDS
from ttmlc.source import Diagnostic, SourceFile, Span

PAIRS = {"(": ")", "[": "]"}
CLOSING = frozenset(PAIRS.values())
# A number takes whatever is stuck to it, so that `1_000` and `12abc` are one wrong word and not two right ones.
WORD = re.compile(
    r'(?P<space>[ \t]+)|(?P<end>\r?\n)|(?P<comment>\#[^\n]*)|(?P<doc>""")|(?P<string>"(?:[^"\\\n]|\\[^\n])*"?)'
    r"|(?P<number>\.?[0-9](?:[eE][+-](?=[0-9])|\.(?=[0-9])|[0-9A-Za-z_]|\.(?![A-Za-z_.]))*)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>\*\*|->|==|!=|<=|>=|[-+*/%<>=()\[\],:;.?|])|(?P<stray>.)"
)


class Word(NamedTuple):
    """A word or sign; ``kind`` is ``name``, ``number``, ``string``, ``doc``, ``sign`` or ``stray``."""

    kind: str
    text: str
    start: int
    end: int


class Comment(NamedTuple):
    """A comment, and whether it has a line to itself."""

    text: str
    start: int
    alone: bool


@dataclass
class Line:
    """A statement, or the head of one that has a block: all its words, over one physical line or several."""

    indent: int
    words: list[Word] = field(default_factory=list)
    level: int = 0
    """How many blocks it stands in."""
    parent: int | None = None
    """The number of the line whose block it stands in."""
    section: int = 0
    """The number of the line that begins its section; its own where it begins one."""

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return self.words[-1].end

    @property
    def first(self) -> str:
        """Its first word."""
        return self.words[0].text

    @property
    def opens(self) -> bool:
        """Whether it ends in a colon."""
        return self.words[-1].text == ":"


@dataclass
class Scan:
    """What a look at a file finds. ``wrong`` are the lines, by number, whose words alone are wrong already."""

    file: SourceFile
    lines: list[Line] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    wrong: set[int] = field(default_factory=set)


def scan(file: SourceFile) -> Scan:
    """The statements of ``file``. Its text is clean: :func:`ttmlc.language.limits.unseen` found nothing."""
    return _Scanner(file).run()


class _Scanner:
    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._text = file.text
        self._found = Scan(file)
        self._line: Line | None = None
        self._open: list[Word] = []
        self._alone = True  # whether nothing but a comment has been met on this physical line
        self._words = 0
        self._begins = 0  # where this physical line begins

    def run(self) -> Scan:
        place = 0
        while place < len(self._text) and self._words <= MAX_FILE_WORDS:
            match = WORD.match(self._text, place)
            assert match is not None, "the last branch matches any character"
            place = self._take(str(match.lastgroup), match.group(), place)
        if self._words > MAX_FILE_WORDS:
            where = Span(self._file, place - 1, place)
            message = f"the file has more than {MAX_FILE_WORDS:,} words"
            hint = "Split the spec, and join its parts with 'use'."
            self._found.problems = [Diagnostic(TOO_MUCH, message, where, hint=hint)]
            return self._found
        self._close_line()
        self._long_lines()
        return self._found

    def _take(self, kind: str, text: str, start: int) -> int:
        """Take the word at ``start``; where the next one may begin."""
        if kind == "space":
            return start + len(text)
        if kind == "end":
            if not self._open and not self._goes_on():
                self._close_line()
            self._alone, self._begins = True, start + len(text)
            return start + len(text)
        if kind == "comment":
            self._found.comments.append(Comment(text.rstrip("\r"), start, self._alone))
            return start + len(text)
        if kind == "doc":
            return self._doc(start)
        if self._alone and self._line is not None:
            self._look_for_a_missing_bracket(text, start)
        self._add(Word(kind, text, start, start + len(text)))
        return start + len(text)

    def _goes_on(self) -> bool:
        """Whether the line ends in a backslash: which is wrong here, but says what its author meant."""
        return self._line is not None and self._line.words[-1].text == "\\"

    def _doc(self, start: int) -> int:
        end = self._text.find('"""', start + 3)
        closed = end >= 0
        end = end + 3 if closed else len(self._text)
        self._add(Word("doc", self._text[start:end], start, end))
        if not closed:
            hint = "End it with three quotes."
            where = Span(self._file, start, start + 3)
            self._refuse(Diagnostic(BAD_STRING, "this prose is not closed", where, hint=hint))
        return end

    def _add(self, word: Word) -> None:
        if self._line is None:
            self._line = Line(word.start - self._begins)
        line = self._line
        self._words += 1
        self._alone = False
        line.words.append(word)
        if word.kind == "sign":
            self._bracket(word)
        elif word.kind == "stray":
            self._stray(word)
        else:
            problem = literals.check(word.kind, word.text, Span(self._file, word.start, word.end))
            if problem is not None:
                self._refuse(problem)
                if word.kind == "string" and self._open:
                    self._open.clear()  # what closes them may stand inside of it
        if len(line.words) == MAX_WORDS + 1:
            message = f"this statement has more than {MAX_WORDS} words"
            self._refuse(self._too_much(message, word))

    def _bracket(self, word: Word) -> None:
        if word.text in PAIRS:
            self._open.append(word)
            if len(self._open) == MAX_NESTING + 1:
                self._refuse(self._too_much(f"more than {MAX_NESTING} brackets stand in each other", word))
        elif word.text in CLOSING:
            span = Span(self._file, word.start, word.end)
            if not self._open:
                self._refuse(Diagnostic(BRACKET, f"'{word.text}' closes nothing", span))
                return
            opened = self._open.pop()
            if PAIRS[opened.text] != word.text:
                message = f"'{opened.text}' is closed by '{word.text}'"
                related = ((Span(self._file, opened.start, opened.end), "opened here"),)
                hint = f"Close it with '{PAIRS[opened.text]}'."
                self._refuse(Diagnostic(BRACKET, message, span, "", related, (), hint))

    def _look_for_a_missing_bracket(self, text: str, start: int) -> None:
        """A line goes on indented deeper than it began, or with what closes a bracket; else one was forgotten."""
        assert self._line is not None
        if start - self._begins <= self._line.indent and text not in CLOSING:
            self._close_line()

    def _close_line(self) -> None:
        if self._line is None:
            return
        if self._open:
            opened = self._open[-1]
            span = Span(self._file, opened.start, opened.end)
            hint = f"Add '{PAIRS[opened.text]}' where it ends."
            self._refuse(Diagnostic(BRACKET, f"'{opened.text}' is not closed", span, hint=hint))
        self._found.lines.append(self._line)
        self._line = None
        self._open.clear()

    def _stray(self, word: Word) -> None:
        assert self._line is not None
        before = self._line.words[-2] if len(self._line.words) > 1 else None
        if before is not None and before.kind == "stray" and before.end == word.start:
            return  # one of several in a row is enough
        span = Span(self._file, word.start, word.end)
        name = {"'": "a single quote", "`": "a backquote"}.get(word.text, f"'{word.text}'")
        self._refuse(Diagnostic(STRAY, f"{name} means nothing here", span, hint=_stray_hint(word.text)))

    def _too_much(self, message: str, word: Word) -> Diagnostic:
        span = Span(self._file, word.start, word.end)
        return Diagnostic(TOO_MUCH, message, span, hint="Name its parts in statements of their own.")

    def _refuse(self, problem: Diagnostic) -> None:
        """Keep the first problem of a line; the others follow from it often enough."""
        if len(self._found.lines) not in self._found.wrong:
            self._found.problems.append(problem)
            self._found.wrong.add(len(self._found.lines))

    def _long_lines(self) -> None:
        for line, start in _long(self._text, self._file.starts):
            span = Span(self._file, start + MAX_LINE, start + MAX_LINE + 1)
            message = f"line {line} has more than {MAX_LINE} characters"
            self._found.problems.append(Diagnostic(TOO_MUCH, message, span, hint="Break it up."))
            break


def _long(text: str, starts: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for number, start in enumerate(starts, start=1):
        end = starts[number] - 1 if number < len(starts) else len(text)
        if end - start > MAX_LINE:
            yield number, start


def _stray_hint(char: str) -> str:
    if char in "'`\u2018\u2019\u201c\u201d":
        return "Strings stand in double quotes."
    if char in "{}":
        return 'Braces only stand inside a path, as in "layer.{i}".'
    if char in "&!~^":
        return "Conditions are joined by 'and', 'or' and 'not'."
    if char == "\\":
        return "A statement goes on over several lines inside brackets."
    if char.isalpha():
        return "Names are made of the letters a to z, digits and '_'."
    return ""

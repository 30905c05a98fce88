"""Reading a spec: text to tree, with as many errors as there are sections that have one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from lark import Token, Tree, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken
from lark.indenter import DedentError

from ttmlc.language import tree
from ttmlc.language.build import Builder
from ttmlc.language.grammar import parser
from ttmlc.language.limits import INDENTATION, SECTIONS, TOO_DEEP, check, decode
from ttmlc.source import Diagnostic, DiagnosticError, SourceFile, Span, declare

UNEXPECTED = declare("E0105", "something else was expected here")
STRAY = declare("E0106", "a character that the language does not have")
MISSPELT = declare("E0107", "a word is not one that may begin a section or statement")
UNREADABLE = declare("E0109", "a spec cannot be read")

MAX_ERRORS = 20
MAX_DEPTH = 90
STATEMENTS = ("param", "repeat", "if", "match", "return", "require", "collect", "config")

# What a token is called in a message; what is not here is called by its text.
WORDS = {
    "_NEWLINE": "the end of the line",
    "_INDENT": "an indented block",
    "_DEDENT": "the end of the block",
    "$END": "the end of the file",
    "NAME": "a name",
    "STRING": "a string",
    "INTEGER": "a number",
    "FLOAT": "a number",
    "DOC": "prose in triple quotes",
    "COLON": "':'",
    "COMMA": "','",
    "RPAR": "')'",
    "RSQB": "']'",
    "LPAR": "'('",
    "LSQB": "'['",
    "EQUAL": "'=='",
}
# Tokens worth naming as expected: operators could stand nearly anywhere and would only make noise.
TELLING = ("COLON", "COMMA", "RPAR", "RSQB", "LPAR", "LSQB", "NAME", "STRING", "_INDENT", "_NEWLINE")


def load(path: Path) -> SourceFile:
    """Read a spec's text.

    Raises:
        DiagnosticError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        where = SourceFile(path.name, "").end()
        reason = error.strerror or "it cannot be read"
        raise DiagnosticError([Diagnostic(UNREADABLE, f"cannot read {path}: {reason}", where)]) from None
    file, diagnostics = decode(path.name, data)
    if diagnostics:
        raise DiagnosticError(diagnostics)
    return file


def parse(file: SourceFile) -> tree.File:
    """The syntax tree of ``file``.

    Raises:
        DiagnosticError: with every section's first error.
    """
    diagnostics = check(file)
    if diagnostics:
        raise DiagnosticError(diagnostics)
    try:
        return _parse(file, file.text, 0)
    except DiagnosticError as error:
        first = error
    found: list[Diagnostic] = []
    for offset, text in _sections(file.text):
        try:
            _parse(file, text, offset)
        except DiagnosticError as error:
            found += error.diagnostics
    raise DiagnosticError(found[:MAX_ERRORS] or first.diagnostics)


def _sections(text: str) -> Iterator[tuple[int, str]]:
    """The pieces of ``text`` that begin with a word in the first column."""
    starts = [match.start() for match in re.finditer(r"^[A-Za-z_]", text, re.MULTILINE)] or [0]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield start, text[start:end]


def _parse(file: SourceFile, text: str, offset: int) -> tree.File:
    try:
        parsed = parser().parse(text + "\n")
    except UnexpectedInput as error:
        raise DiagnosticError([_explain(file, error, offset)]) from None
    except DedentError:
        raise DiagnosticError(
            [Diagnostic(INDENTATION, "indentation is wrong", Span(file, offset, offset + 1))]
        ) from None
    _refuse_depth(file, parsed, offset)
    built = Builder(file, offset).build(parsed)
    assert isinstance(built, tree.File)
    return built


def _refuse_depth(file: SourceFile, parsed: Tree[Token], offset: int) -> None:
    """Refuse trees that recursion should not walk; found without recursion."""
    level: list[Tree[Token]] = [parsed]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            start = offset + getattr(level[0].meta, "start_pos", 0)
            span = Span(file, start, min(start + 1, len(file.text)))
            hint = "Name its parts in statements of their own."
            raise DiagnosticError([Diagnostic(TOO_DEEP, "this is nested too deeply", span, hint=hint)])
        level = [child for node in level for child in node.children if isinstance(child, Tree)]


def _explain(file: SourceFile, error: UnexpectedInput, offset: int) -> Diagnostic:
    """A syntax error by its cause."""
    if isinstance(error, UnexpectedCharacters):
        start = offset + error.pos_in_stream
        span = Span(file, start, min(start + 1, len(file.text)))
        char = file.text[start : start + 1]
        return Diagnostic(STRAY, f"{char!r} means nothing here", span, hint=_stray_hint(char))
    if isinstance(error, UnexpectedToken):
        return _unexpected(file, error, offset)
    where = Span(file, len(file.text), len(file.text))
    what = "the file ends too early" if isinstance(error, UnexpectedEOF) else "this cannot be read"
    return Diagnostic(UNEXPECTED, what, where)


def _stray_hint(char: str) -> str:
    if char in "'`":
        return "Strings stand in double quotes."
    if char in "{}":
        return 'Braces only stand inside a path, as in "layer.{i}".'
    if char in "&|":
        return "Conditions are joined by 'and' and 'or'."
    return ""


def _unexpected(file: SourceFile, error: UnexpectedToken, offset: int) -> Diagnostic:
    token, expected = error.token, set(error.accepts or error.expected)
    at = token.start_pos
    start = len(file.text) if at is None else offset + at
    end = start if at is None else start + len(token)
    if token.type in ("_NEWLINE", "$END", "_DEDENT"):
        # Point just behind the last thing written, where what is missing belongs.
        start = len(file.text[:start].rstrip())
        end = start
    start, end = min(start, len(file.text)), min(max(end, start), len(file.text))
    span = Span(file, start, end)
    if token.type == "_INDENT":
        place = len(file.text[:end].rstrip("\n ")) if end else 0
        inner = Span(file, end, min(end + 1, len(file.text))) if end > place else span
        return Diagnostic(INDENTATION, "this line is indented, but nothing before it opens a block", inner)
    line_start = file.starts[span.line - 1]
    before = file.text[line_start:start]
    first = re.match(r"\s*([A-Za-z_]\w*)", file.text[line_start:])
    if first and not before.strip(" ") and token.type == "NAME" and span.column == 1:
        return _misspelt(span, str(token), sorted(SECTIONS))
    if (
        first is not None
        and first.group(1) not in (*SECTIONS, *STATEMENTS)
        and token.type in ("NAME", "LPAR", "STRING")
    ):
        guess = Span(file, line_start + first.start(1), line_start + first.end(1))
        known = sorted(SECTIONS) if guess.column == 1 else sorted(STATEMENTS)
        if difflib.get_close_matches(first.group(1), known, 1, 0.7):
            return _misspelt(guess, first.group(1), known)
    wanted = [WORDS[name] for name in TELLING if name in expected]
    found = (
        WORDS.get(token.type, f"'{token}'")
        if token.type not in ("NAME", "STRING", "INTEGER")
        else f"'{token}'"
    )
    message = f"{found} cannot stand here"
    if token.type in ("_NEWLINE", "$END", "_DEDENT") and "COLON" in expected:
        return Diagnostic(UNEXPECTED, "':' is missing", span, hint="A line that opens a block ends in ':'.")
    if str(token) == "=" and "EQUAL" in expected:
        return Diagnostic(UNEXPECTED, message, span, hint="To compare, write '=='.")
    hint = f"Expected {' or '.join(dict.fromkeys(wanted[:4]))}." if wanted else ""
    return Diagnostic(UNEXPECTED, message, span, hint=hint)


def _misspelt(span: Span, word: str, known: list[str]) -> Diagnostic:
    close = difflib.get_close_matches(word, known, 1, 0.6)
    hint = f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(known)}."
    return Diagnostic(MISSPELT, f"{word!r} begins nothing", span, hint=hint)

"""What is refused before parsing: text that is no spec at all, and text made to be slow."""

from __future__ import annotations

import re

from ttmlc.source import Diagnostic, SourceFile, Span, declare

NOT_TEXT = declare("E0101", "a spec is UTF-8 text of at most 1 MiB")
INDENTATION = declare("E0102", "indentation is wrong")
UNCLOSED = declare("E0103", "a bracket or string is not closed")
TOO_DEEP = declare("E0104", "a statement is too long or nested too deeply")

MAX_BYTES = 1 << 20
MAX_NESTING = 32
MAX_TOKENS = 400
MAX_INDENT = 16
PAIRS = {"(": ")", "[": "]"}
TOKEN = re.compile(r'"""[^"]*"""|"(?:[^"\\\n]|\\["\\])*"|#[^\n]*|\n|[A-Za-z0-9_.]+|[^\sA-Za-z0-9_.]')


def decode(name: str, data: bytes) -> tuple[SourceFile, list[Diagnostic]]:
    """``data`` as a source file, and what is wrong with it as text."""
    if len(data) > MAX_BYTES:
        file = SourceFile(name, "")
        return file, [
            Diagnostic(NOT_TEXT, "the file is larger than 1 MiB", file.end(), hint="Split the spec.")
        ]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        file = SourceFile(name, data[: error.start].decode("utf-8", "replace"))
        return file, [Diagnostic(NOT_TEXT, "the file is not UTF-8", file.end(), "stops being text here")]
    return SourceFile(name, text.replace("\r\n", "\n")), []


def check(file: SourceFile) -> list[Diagnostic]:
    """The diagnostics of a quick look at ``file``: characters, brackets, strings, nesting, indentation."""
    return _characters(file) or _brackets(file) or _indentation(file)


def _characters(file: SourceFile) -> list[Diagnostic]:
    for place, char in enumerate(file.text):
        if (char < " " and char not in "\n\t") or char == "\x7f":
            span = Span(file, place, place + 1)
            return [Diagnostic(NOT_TEXT, "a control character stands in the text", span, hint="Remove it.")]
    return []


def _brackets(file: SourceFile) -> list[Diagnostic]:
    """Unbalanced brackets and strings, and statements of too many words, in one scan."""
    opened: list[tuple[str, Span]] = []
    words = 0
    for match in TOKEN.finditer(file.text):
        token, span = match.group(), Span(file, match.start(), match.end())
        if token == "\n":
            words = words if opened else 0
            continue
        words += 1
        if words > MAX_TOKENS or len(opened) > MAX_NESTING:
            what = "too long" if words > MAX_TOKENS else "nested too deeply"
            return [
                Diagnostic(
                    TOO_DEEP,
                    f"this statement is {what}",
                    span,
                    hint="Name its parts in statements of their own.",
                )
            ]
        if token == '"':
            return [
                Diagnostic(
                    UNCLOSED, "this string is not closed", span, hint="End it with '\"' on the same line."
                )
            ]
        if token in PAIRS:
            opened.append((token, span))
        elif token in PAIRS.values():
            if not opened:
                return [Diagnostic(UNCLOSED, f"{token!r} closes nothing", span)]
            bracket, start = opened.pop()
            if PAIRS[bracket] != token:
                related = ((start, "opened here"),)
                return [Diagnostic(UNCLOSED, f"{bracket!r} is closed by {token!r}", span, related=related)]
        elif opened and opened[-1][1].line != span.line and span.column == 1 and token in SECTIONS:
            break
    if opened:
        bracket, start = opened[-1]
        return [Diagnostic(UNCLOSED, f"{bracket!r} is not closed", start, hint=f"Add {PAIRS[bracket]!r}.")]
    return []


SECTIONS = frozenset(
    {
        "use",
        "config",
        "axis",
        "defaults",
        "table",
        "fn",
        "block",
        "model",
        "head",
        "offers",
        "rename",
        "stale",
    }
)


def _indentation(file: SourceFile) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    levels, depth, prose = [0], 0, False
    for number in range(1, len(file.starts) + 1):
        line = file.line_text(number)
        quotes = line.count('"""')
        inside, prose = prose, prose != (quotes % 2 == 1)
        if inside or depth or not line.strip() or line.lstrip().startswith("#"):
            depth += _depth(line)
            continue
        indent = len(line) - len(line.lstrip(" \t"))
        start = file.starts[number - 1]
        span = Span(file, start, start + max(indent, 1))
        depth += _depth(line)
        if "\t" in line[:indent]:
            found.append(
                Diagnostic(
                    INDENTATION, "a tab stands in the indentation", span, hint="Indent with four spaces."
                )
            )
            return found
        if indent > levels[-1]:
            levels.append(indent)
            if len(levels) > MAX_INDENT:
                return [*found, Diagnostic(TOO_DEEP, "blocks are nested too deeply", span)]
        while indent < levels[-1]:
            levels.pop()
        if indent != levels[-1]:
            wanted = " or ".join(map(str, levels))
            hint = f"Indent it by {wanted} spaces, as the lines around it."
            return [
                *found,
                Diagnostic(INDENTATION, "this line is indented like nothing above it", span, hint=hint),
            ]
    return found


def _depth(line: str) -> int:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|#.*', "", line)
    return sum(bare.count(left) - bare.count(right) for left, right in PAIRS.items())

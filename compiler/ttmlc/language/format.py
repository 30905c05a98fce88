"""``ttmlc fmt``: a spec's text made canonical, line by line, with every comment where it was.

Spacing is decided from tokens alone, so the result means what the text meant: a line is never joined or broken, and
what stands in strings, prose and comments is kept to the letter.
"""

from __future__ import annotations

import re

from ttmlc.language.words import SECTIONS

INDENT = 4
TOKEN = re.compile(
    r'(?P<prose>""")|(?P<string>"(?:[^"\\\n]|\\["\\])*")|(?P<comment>#.*)|(?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\d+)'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>\*\*|->|==|!=|<=|>=|[-+*/%<>=()\[\],:;.?|])"
)
OPEN, CLOSE = "([", ")]"
INFIX = frozenset({"==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "|", "->"})
WORDS = frozenset(
    {
        "if",
        "else",
        "and",
        "or",
        "not",
        "is",
        "as",
        "at",
        "in",
        "from",
        "for",
        "extends",
        "over",
        "with",
        "shared",
        "null",
    }
    | {
        "return",
        "require",
        "param",
        "repeat",
        "match",
        "use",
        "config",
        "collect",
        "fixed",
        "harmless",
        "stale",
        "rename",
    }
)
# Statements whose `=` binds an argument and is written without spaces, from the word on.
TIGHT = frozenset({"return", "with"})


def format_text(text: str) -> str:
    """``text`` in canonical form; formatting that again changes nothing.

    The text should be one that parses: what does not is left as close as may be.
    """
    lines = _lines(text.replace("\r\n", "\n"))
    return "\n".join(_spaced(lines)).strip("\n") + "\n" if lines else ""


def _lines(text: str) -> list[str]:
    """The lines with canonical indentation and spacing, blank ones empty."""
    result: list[str] = []
    levels = [0]
    prose = False
    depth = 0
    context = ""
    for raw in text.split("\n"):
        if prose:
            result.append(raw.rstrip())
            prose = raw.count('"""') % 2 == 0
            continue
        stripped = raw.strip()
        if not stripped:
            result.append("")
            continue
        indent = len(raw) - len(raw.lstrip())
        if depth == 0 and not stripped.startswith("#"):
            while indent < levels[-1]:
                levels.pop()
            if indent > levels[-1]:
                levels.append(indent)
        level = len(levels) - 1 + (2 if depth else 0)
        if depth == 0 and stripped.startswith("#"):
            level = sum(1 for known in levels[1:] if known <= indent)
        tokens = _tokens(stripped)
        if depth == 0 and level == 0 and tokens:
            context = tokens[0][1]
        body, depth = _joined(tokens, depth, context if level else "")
        result.append(" " * (INDENT * level) + body)
        prose = stripped.count('"""') % 2 == 1
    return result


def _tokens(line: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(line):
        match = TOKEN.match(line, at)
        if match is None:
            if not line[at].isspace():
                found.append(("other", line[at]))
            at += 1
            continue
        if match.lastgroup == "prose":
            found.append(("prose", line[at:]))
            break
        found.append((str(match.lastgroup), match.group()))
        at = match.end()
    return found


def _joined(tokens: list[tuple[str, str]], depth: int, section: str) -> tuple[str, int]:
    """The tokens of a line with canonical spaces, and how deep in brackets it ends."""
    out = ""
    before: tuple[str, str] | None = None
    typed = [False] * (depth + 1)  # whether the argument at each depth has a type, so that its `=` is spaced
    tight = section == "defaults"
    for kind, text in tokens:
        if kind == "comment":
            out += (
                ("  " if out else "") + "# " + text[1:].strip()
                if text.strip("# ")
                else ("  " if out else "") + "#"
            )
            continue
        if before is not None and _space(before, (kind, text), depth, typed, tight, out):
            out += " "
        out += text
        if text in OPEN and kind == "sign":
            depth += 1
            typed.append(False)
        elif text in CLOSE and kind == "sign":
            depth = max(0, depth - 1)
            typed = typed[: depth + 1] or [False]
        elif text in ",;":
            typed[-1] = False
        elif text == ":":
            typed[-1] = True
        if depth == 0 and text in TIGHT:
            tight = True
        if depth == 0 and kind == "string" and tokens[0][1] == "param":
            tight = True
        before = (kind, text)
    return out, depth


def _space(
    before: tuple[str, str], now: tuple[str, str], depth: int, typed: list[bool], tight: bool, out: str
) -> bool:
    kind, last = before
    text = now[1]
    if (last in OPEN and kind == "sign") or (text in CLOSE and now[0] == "sign"):
        return False
    if text in (",", ":", ";", "?") and now[0] == "sign":
        return False
    if "." in (last, text):
        return last != "." and (last in WORDS or last in ("|", ",")) and kind in ("name", "sign")
    if last == "**" or text == "**":
        return True
    spaced = typed[-1] if depth else not tight
    if text == "=" or last == "=":
        return spaced
    if text == "(" and now[0] == "sign":
        return not (kind == "name" and last not in WORDS) and last not in CLOSE
    if text == "[" and now[0] == "sign":
        return not (kind == "name" and last not in WORDS) and last not in CLOSE
    if last == "-" and kind == "sign":
        return not _unary(out)
    return not (text == "*" and kind == "name" and out.split(None, 1)[0] == "harmless")


def _unary(out: str) -> bool:
    """Whether the minus that ``out`` ends in is a sign and not an operator."""
    rest = out[:-1].rstrip()
    if not rest:
        return True
    if rest[-1] in "([,=:;" or rest[-1] in "+-*/%<>":
        return True
    word = re.search(r"[A-Za-z_]\w*$", rest)
    return word is not None and word.group() in WORDS


def _spaced(lines: list[str]) -> list[str]:
    """Blank lines: one before a section, at most one elsewhere, none after a line that opens a block."""
    result: list[str] = []
    for line in lines:
        if not line:
            if result and result[-1] and not result[-1].split("#")[0].rstrip().endswith(":"):
                result.append("")
            continue
        top = not line.startswith(" ") and not line.startswith("#")
        word = re.match(r"[a-z]+", line)
        opens = (
            top
            and word is not None
            and word.group() in SECTIONS
            and line.split("#")[0].rstrip().endswith(":")
        )
        if opens and result:
            # A comment directly above a section belongs to it.
            back = len(result)
            while back > 0 and result[back - 1].startswith("#"):
                back -= 1
            if back > 0 and result[back - 1]:
                result.insert(back, "")
        result.append(line)
    while result and not result[-1]:
        result.pop()
    return result

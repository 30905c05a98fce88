"""Finding every syntax error, not only the first: a statement that is wrong is told, replaced, and read past.

    q = linear(x y)          told: ',' is missing before 'y'
    k = linear(x, hidden)    =>   require x
    v == linear(x, hidden)        k = linear(x, hidden)
                                  v == linear(x, hidden)       told next

What stands in for a wrong statement is one that may stand there, with a block where the wrong one has one. Positions
hold, because every line knows where it came from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import LarkError

from ttmlc.language.explain import explain
from ttmlc.language.grammar import parser
from ttmlc.language.limits import MAX_ERRORS, MAX_RETRIED
from ttmlc.language.scan import Line, Scan
from ttmlc.language.trouble import Trouble
from ttmlc.language.words import BODIES, SECTIONS, nearest
from ttmlc.source import Diagnostic

HEADERS = {
    "config": "config x:",
    "defaults": "defaults:",
    "table": "table x: [x]:",
    "fn": "fn x():",
    "block": "block x():",
    "model": "model x():",
    "head": "head x(x):",
    "offers": "offers x:",
}
"""What stands in for the head of a section; a wrong section of one line is left out."""
ENTRIES = {"config": "require x", "defaults": "x: x=x", "offers": "x"}
"""What stands in for a wrong line of these sections; its block, which it should not have, is left out."""


def syntax_errors(scan: Scan, start: int = 0) -> list[Diagnostic]:
    """The first syntax error of every statement of ``scan`` that the scan itself has not refused.

    Args:
        scan: the statements of a file.
        start: a place in the file before which no section ends that is wrong.
    """
    found: list[Diagnostic] = []
    budget = MAX_RETRIED
    for first, last in _sections(scan.lines):
        if last < len(scan.lines) and scan.lines[last].start <= start:
            continue
        words = sum(len(line.words) for line in scan.lines[first:last])
        wrong = {number for number in range(first, last) if number in scan.wrong}
        while budget > 0 and len(found) < MAX_ERRORS:
            text, places = _rewritten(scan, first, last, wrong)
            budget -= words
            trouble = _trouble(scan, text, places)
            if trouble is None or trouble.number in wrong:
                break
            found.append(explain(trouble))
            wrong.add(trouble.number)
    return found


def _sections(lines: list[Line]) -> Iterator[tuple[int, int]]:
    """The numbers of the lines from and to which the sections go."""
    starts = [number for number, line in enumerate(lines) if line.level == 0 or number == 0]
    yield from zip(starts, [*starts[1:], len(lines)], strict=True)


def _trouble(scan: Scan, text: str, places: list[tuple[int, int]]) -> Trouble | None:
    """Where the rewritten ``text`` of a section is wrong, in terms of the file."""
    try:
        parser().parse(text)
        return None
    except UnexpectedToken as error:
        place, accepts = error.pos_in_stream, set(error.accepts or error.expected)
    except UnexpectedCharacters as error:
        place, accepts = error.pos_in_stream, set(error.allowed or ())
    except (UnexpectedInput, LarkError):
        place, accepts = len(text), set()
    place = len(text) if place is None else place
    at, number = places[max(0, bisect_right(places, (place, len(scan.lines))) - 1)]
    return Trouble(scan, number, scan.lines[number].start + place - at, frozenset(accepts))


def _rewritten(scan: Scan, first: int, last: int, wrong: set[int]) -> tuple[str, list[tuple[int, int]]]:
    """A section with its wrong lines replaced, and for each line of it where it begins there and its number."""
    pieces: list[str] = []
    places: list[tuple[int, int]] = []
    length = 0
    hidden: int | None = None  # lines deeper than this level are left out
    for number in range(first, last):
        line = scan.lines[number]
        if hidden is not None and line.level > hidden:
            continue
        hidden = None
        body = scan.file.text[line.start : line.end]
        if number in wrong:
            deeper = number + 1 < last and scan.lines[number + 1].level > line.level
            body, keeps = _stand_in(scan, number, deeper)
            hidden = None if keeps else line.level
        if body:
            pieces.append(" " * (4 * line.level) + body + "\n")
            places.append((length + 4 * line.level, number))
            length += len(pieces[-1])
    return "".join(pieces), places or [(0, first)]


def _stand_in(scan: Scan, number: int, deeper: bool) -> tuple[str, bool]:
    """What stands in for a wrong line, and whether the block below it stays."""
    line = scan.lines[number]
    if line.level == 0:
        word = line.first if line.first in SECTIONS else nearest(line.first, SECTIONS)
        header = HEADERS.get(word or "", "") if deeper else ""
        return header, bool(header)
    parent = scan.lines[number if line.parent is None else line.parent]
    section = scan.lines[line.section]
    if parent.first in ENTRIES and (parent.first == "config" or parent.level == 0):
        return ENTRIES[parent.first], False
    if section.first not in BODIES:
        return "", False
    if parent.first == "match":
        return ("x:" if deeper else "x: require x"), True
    if deeper:
        return ("match x:" if line.first == "match" else "if x:"), True
    return "require x", True

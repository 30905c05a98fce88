"""How statements stand in each other: Python's rule, that a block is what is indented deeper."""

from __future__ import annotations

from ttmlc.language.codes import INDENTATION, NO_BLOCK, NO_COLON, TOO_MUCH
from ttmlc.language.limits import MAX_BLOCKS
from ttmlc.language.scan import Line, Scan
from ttmlc.language.words import OPENERS
from ttmlc.source import Diagnostic, Span


def arrange(scan: Scan) -> None:
    """Set the level of every line of ``scan``, and say what is wrong with the indentation.

    Lines whose level is in doubt get the likeliest one, so that one mistake is told once.
    """
    stack = [(0, 0, 0)]  # indentation, level and first line of the blocks that are open
    odd: set[int] = set()  # indentations that were told to be wrong
    parents: list[int] = []  # the lines whose blocks are open, outermost first, and the last line
    before: Line | None = None
    for number, line in enumerate(scan.lines):
        deeper = line.indent > stack[-1][0]
        if before is not None and before.opens and not deeper:
            _no_block(scan, number - 1)
        if deeper:
            stack.append((line.indent, stack[-1][1] + _opened(scan, number, before), number))
        else:
            _dedent(scan, number, stack, odd)
        line.level = stack[-1][1]
        parents = [*parents[: line.level], number]
        line.parent, line.section = (parents[-2] if len(parents) > 1 else None), parents[0]
        _tabs(scan, line)
        if line.level > MAX_BLOCKS:
            span = _indentation(scan, line)
            hint = "Move its inner part into a block of its own."
            scan.problems.append(Diagnostic(TOO_MUCH, "blocks are nested too deeply", span, hint=hint))
            return
        before = line
    if before is not None and before.opens:
        _no_block(scan, len(scan.lines) - 1)


def _opened(scan: Scan, number: int, before: Line | None) -> int:
    """By how many levels a line stands deeper that is indented deeper than the one before: 1, or 0 where wrongly."""
    if before is not None and before.opens:
        return 1
    if before is not None and before.first in OPENERS:
        if number - 1 not in scan.wrong:
            place = Span(scan.file, before.end, before.end)
            hint = f"A line that opens a block ends in ':'; this one begins with '{before.first}'."
            scan.problems.append(Diagnostic(NO_COLON, "':' is missing", place, hint=hint))
            scan.wrong.add(number - 1)
        return 1
    scan.wrong.add(number)
    message = "this line is indented, but nothing before it opens a block"
    related = () if before is None else ((Span(scan.file, before.start, before.end), "opens none"),)
    where = _indentation(scan, scan.lines[number])
    scan.problems.append(
        Diagnostic(INDENTATION, message, where, "", related, (), "Indent it like the line before it.")
    )
    return 0


def _dedent(scan: Scan, number: int, stack: list[tuple[int, int, int]], odd: set[int]) -> None:
    """Leave the blocks that a line is not indented for; one that fits none is taken for the nearest."""
    line = scan.lines[number]
    left = stack[-1]
    while line.indent < stack[-1][0]:
        left = stack.pop()
    if line.indent > stack[-1][0]:
        if line.indent not in odd:
            odd.add(line.indent)
            wanted = " or ".join(str(indent) for indent in sorted({stack[-1][0], left[0]}))
            message = "this line is indented like nothing before it"
            hint = f"Indent it by {wanted} spaces."
            related = ((_indentation(scan, scan.lines[left[2]]), f"the block above began with {left[0]}"),)
            where = _indentation(scan, line)
            scan.problems.append(
                Diagnostic(
                    INDENTATION,
                    message,
                    where,
                    f"{line.indent} space{'s' if line.indent > 1 else ''}",
                    related,
                    (),
                    hint,
                )
            )
            scan.wrong.add(number)
        if left[0] - line.indent <= line.indent - stack[-1][0]:
            stack.append(left)


def _tabs(scan: Scan, line: Line) -> None:
    text = scan.file.text[line.start - line.indent : line.start]
    if "\t" in text:
        place = line.start - line.indent + text.index("\t")
        where = Span(scan.file, place, place + 1)
        message = "a tab stands in the indentation"
        scan.problems.append(Diagnostic(INDENTATION, message, where, hint="Indent by four spaces."))


def _no_block(scan: Scan, number: int) -> None:
    if number in scan.wrong:
        return
    line = scan.lines[number]
    where = Span(scan.file, line.end - 1, line.end)
    hint = "Indent what belongs to it, by four spaces."
    scan.problems.append(Diagnostic(NO_BLOCK, "nothing stands in this block", where, hint=hint))
    scan.wrong.add(number)


def _indentation(scan: Scan, line: Line) -> Span:
    """What stands before the line, or its first word where nothing does."""
    if line.indent:
        return Span(scan.file, line.start - line.indent, line.start)
    return Span(scan.file, line.words[0].start, line.words[0].end)

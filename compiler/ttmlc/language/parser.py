"""Reading a spec: text to tree, or to everything that is wrong with the text."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from lark import Token, Tree, UnexpectedInput
from lark.exceptions import LarkError

from ttmlc.language import tree
from ttmlc.language.blocks import arrange
from ttmlc.language.build import Builder
from ttmlc.language.codes import TOO_MUCH
from ttmlc.language.grammar import parser
from ttmlc.language.limits import MAX_BYTES, MAX_DEPTH, MAX_ERRORS, load, too_large, unseen
from ttmlc.language.recover import syntax_errors
from ttmlc.language.scan import scan
from ttmlc.source import Diagnostic, DiagnosticError, SourceFile, Span

__all__ = ["load", "parse"]


@lru_cache(maxsize=32)  # trees are frozen, and every model of a process uses the same few shared specs
def parse(file: SourceFile) -> tree.File:
    """The syntax tree of ``file``.

    Raises:
        DiagnosticError: with what is wrong, at most ``MAX_ERRORS`` diagnostics in the order of the text: the first of
            each statement.
    """
    if len(file.text) > MAX_BYTES:
        raise DiagnosticError([too_large(SourceFile(file.name, ""))])
    problems = unseen(file)
    if problems:
        raise DiagnosticError(problems)
    found = scan(file)
    arrange(found)
    if len(found.problems) >= MAX_ERRORS or any(problem.code == TOO_MUCH for problem in found.problems):
        raise DiagnosticError(_in_order(found.problems))  # made to be slow, perhaps: no second look
    start = 0
    if not found.problems:
        try:
            parsed = parser().parse(file.text + "\n")
        except UnexpectedInput as error:
            start = int(getattr(error, "pos_in_stream", None) or 0)
        except LarkError:
            pass
        else:
            return _built(file, parsed)
    raise DiagnosticError(_in_order(found.problems + syntax_errors(found, start)))


def _built(file: SourceFile, parsed: Tree[Token]) -> tree.File:
    _refuse_depth(file, parsed)
    builder = Builder(file)
    built = builder.build(parsed)
    if builder.problems:
        raise DiagnosticError(_in_order(builder.problems))
    assert isinstance(built, tree.File)
    return built


def _in_order(problems: list[Diagnostic]) -> list[Diagnostic]:
    told = sorted(problems, key=lambda problem: problem.span.start)[:MAX_ERRORS]
    if len(told) == MAX_ERRORS:
        told[-1] = replace(told[-1], notes=(*told[-1].notes, "there may be more errors; these come first"))
    return told


def _refuse_depth(file: SourceFile, parsed: Tree[Token]) -> None:
    """Refuse trees that recursion should not walk; found without recursion."""
    level: list[Tree[Token]] = [parsed]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            start = getattr(level[0].meta, "start_pos", 0)
            where = Span(file, start, start + 1)
            hint = "Name its parts in statements of their own."
            raise DiagnosticError([Diagnostic(TOO_MUCH, "this is nested too deeply", where, hint=hint)])
        level = [child for node in level for child in node.children if isinstance(child, Tree)]

"""The canonical lines of a tree: one statement a line, four spaces a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttmlc.language import tree as t
from ttmlc.language.printer import (
    expression,
    literal,
    names,
    options,
    params,
    strings,
    tensor,
)
from ttmlc.source import Span


@dataclass(frozen=True)
class PrintedLine:
    """A line, or the several lines of a piece of prose; what it was printed from, and how deep it stands.

    ``spaced`` lines have a blank line before and after what they and the lines below them hold: they are sections.
    """

    level: int
    text: str
    span: Span
    spaced: bool = False

    @property
    def opens(self) -> bool:
        """Whether the next line stands deeper."""
        return self.text.endswith(":")


def lines(file: t.File) -> list[PrintedLine]:
    """The lines of a file, without comments and blank lines."""
    return [line for item in file.items for line in _item(item)]


def _item(node: t.Item) -> Iterator[PrintedLine]:
    if type(node) in SECTIONS:
        head, inner = SECTIONS[type(node)](node)
        yield PrintedLine(0, head + ":", node.span, spaced=True)
        yield from inner
    else:
        yield from _line(node, 0)


def _line(node: t.Node, level: int) -> Iterator[PrintedLine]:
    """A node of one line, or a statement with a block."""
    if type(node) in BLOCKS:
        yield from BLOCKS[type(node)](node, level)
    else:
        yield PrintedLine(level, SIMPLE[type(node)](node), node.span)


def _all(nodes: Sequence[t.Node], level: int) -> Iterator[PrintedLine]:
    for node in nodes:
        yield from _line(node, level)


def doc(node: t.Doc, level: int) -> Iterator[PrintedLine]:
    """Prose: on one line, or with its lines as deep as the quotes and the closing ones on a line of their own."""
    first, *rest = node.text.split("\n")
    indent = "\n" + " " * (4 * level)
    if not rest:
        text = f'"""{first}{" " if first.endswith(chr(34)) else ""}"""'
    else:
        # What all lines but the first are indented by is not theirs; where it should be, the first begins a line too.
        margin = min((len(line) - len(line.lstrip(" ")) for line in rest if line), default=0)
        begun = "" if margin == 0 and not first.startswith(" ") else indent
        body = "".join(indent + line if line else "\n" for line in rest)
        text = f'"""{begun}{first}{body}{indent}"""'
    yield PrintedLine(level, text, node.span)


def _repeat(node: t.Repeat, level: int) -> Iterator[PrintedLine]:
    at = f" at {literal(node.at)}" if node.at else ""
    shared = f" shared {node.shared[0].text} = {expression(node.shared[1])}" if node.shared else ""
    head = f"repeat {node.index.text} in {expression(node.count)}{at}{shared}:"
    yield PrintedLine(level, head, node.span)
    yield from _all(node.body, level + 1)


def _if(node: t.If, level: int) -> Iterator[PrintedLine]:
    yield PrintedLine(level, f"if {expression(node.condition)}:", node.span)
    yield from _all(node.then, level + 1)
    if node.otherwise:
        start = node.otherwise[0].span.start
        yield PrintedLine(level, "else:", Span(node.span.file, start, start))
        yield from _all(node.otherwise, level + 1)


def _match(node: t.Match, level: int) -> Iterator[PrintedLine]:
    yield PrintedLine(level, f"match {expression(node.value)}:", node.span)
    yield from _all(node.cases, level + 1)


def _case(node: t.Case, level: int) -> Iterator[PrintedLine]:
    body = list(_all(node.body, level + 1))
    if len(node.body) == 1 and type(node.body[0]) in SIMPLE:
        yield replace(body[0], level=level, text=f"{node.name.text}: {body[0].text}", span=node.span)
        return
    yield PrintedLine(level, f"{node.name.text}:", node.span)
    yield from body


def _head_config(node: t.HeadConfig, level: int) -> Iterator[PrintedLine]:
    yield PrintedLine(level, "config:", node.span)
    yield from _all(node.entries, level + 1)


def _assign(node: t.Assign) -> str:
    label = f"{node.label.text}: " if node.label else ""
    return f"{label}{', '.join(map(_target, node.targets))} = {expression(node.value)}"


def _target(node: t.Target) -> str:
    return names(node.path, ".")


def _param_statement(node: t.ParamStatement) -> str:
    text = f"param {node.name.text}: {tensor(node.type)} at {strings(node.at, ' | ')}"
    return f"{text}, {options(node.options)}" if node.options else text


def _return(node: t.Return) -> str:
    return f"return {options(node.values) if node.value is None else expression(node.value)}"


def _require(node: t.Require) -> str:
    message = f", {literal(node.message)}" if node.message else ""
    return f"require {expression(node.condition)}{message}"


def _field(node: t.ConfigField) -> str:
    index = f"[{node.index[0].text} in {node.index[1].text}]" if node.index else ""
    text = f"{node.name.text}{index}: {names(node.kinds, ' | ')}{'?' if node.nullable else ''}"
    if node.default is not None:
        text += f" = {expression(node.default)}"
    if node.null is not None:
        text += f", null = {expression(node.null)}"
    if node.keys:
        text += f" from {' | '.join(key.path for key in node.keys)}"
    return text if node.gate is None else f"{text} if {expression(node.gate)}"


def _fixed(node: t.Fixed) -> str:
    return "fixed " + ", ".join(f"{name.text} = {literal(value)}" for name, value in node.entries)


def _harmless(node: t.Harmless) -> str:
    return "harmless " + ", ".join(
        glob.name.text + ("*" if glob.open_ended else "") for glob in node.patterns
    )


def _offer(node: t.Offer) -> str:
    given = f"({options(node.options)})" if node.options else ""
    alias = f" as {node.alias.text}" if node.alias else ""
    return f"{node.head.text}{given}{alias}{_paths(node.at, node.also)}"


def _paths(at: t.Literal | None, also: tuple[t.Literal, ...]) -> str:
    return f" at {strings((at, *also), ' | ')}" if at else ""


def _rename(node: t.Rename) -> str:
    return "rename " + ", ".join(f"{literal(old)} -> {literal(new)}" for old, new in node.pairs)


SIMPLE: dict[type[t.Node], Callable[[Any], str]] = {
    t.Use: lambda node: f"use {names(node.names)}",
    t.Assign: _assign,
    t.Amend: lambda node: f"{_target(node.target)} with {options(node.options)}",
    t.ParamStatement: _param_statement,
    t.Return: _return,
    t.Require: _require,
    t.Collect: lambda node: f"collect {node.name.text}",
    t.Rename: _rename,
    t.ConfigField: _field,
    t.DerivedField: lambda node: f"{node.name.text} = {expression(node.value)}",
    t.Fixed: _fixed,
    t.Harmless: _harmless,
    t.Stale: lambda node: f"stale {strings(node.patterns, ', ')}",
    t.AxisSize: lambda node: f"axis {node.name.text} = {expression(node.value)}",
    t.AxisLabels: lambda node: f"axis {node.name.text}: {names(node.labels, ' | ')}",
    t.DefaultRule: lambda node: f"{names(node.ops)}: {options(node.options)}",
    t.Offer: _offer,
}
"""What takes one line."""

BLOCKS: dict[type[t.Node], Callable[[Any, int], Iterator[PrintedLine]]] = {
    t.Doc: doc,
    t.Repeat: _repeat,
    t.If: _if,
    t.Match: _match,
    t.Case: _case,
    t.HeadConfig: _head_config,
}
"""What may take several."""


def _config(node: t.Config) -> tuple[str, Iterator[PrintedLine]]:
    extends = f" extends {node.extends.text}" if node.extends else ""
    model_type = f" for {literal(node.model_type)}" if node.model_type else ""
    return f"config {node.name.text}{extends}{model_type}", _all(node.entries, 1)


def _model(node: t.Model) -> tuple[str, Iterator[PrintedLine]]:
    extends = f" extends {node.extends.text}" if node.extends else ""
    given = "" if node.params is None else f"({params(node.params)})"
    return f"model {node.name.text}{extends}{given}", _all(node.body, 1)


def _head(node: t.Head) -> tuple[str, Iterator[PrintedLine]]:
    base = node.base.text + (f" over {node.over.text}" if node.over else "")
    given = f", {params(node.params)}" if node.params else ""
    holes = f"; {params(node.holes)}" if node.holes else ""
    return f"head {node.name.text}({base}{given}{holes})", _all(node.body, 1)


SECTIONS: dict[type[t.Node], Callable[[Any], tuple[str, Iterator[PrintedLine]]]] = {
    t.Config: _config,
    t.Defaults: lambda node: ("defaults", _all(node.rules, 1)),
    t.Table: lambda node: (f"table {node.name.text}: {tensor(node.type)}", _all(node.body, 1)),
    t.Function: lambda node: (f"{node.kind} {node.name.text}({params(node.params)})", _all(node.body, 1)),
    t.Model: _model,
    t.Head: _head,
    t.Offers: lambda node: (f"offers {node.model.text}{_paths(node.at, node.also)}", _all(node.offers, 1)),
}
"""The sections that have a block: their head without its colon, and their lines."""

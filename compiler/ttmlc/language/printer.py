"""From tree to text: expressions by precedence, and a line for every statement, section and block head.

Operator("*", (Operator("+", (a, b)), c))    =>    (a + b) * c
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ttmlc.language import tree as t

# How tightly an expression binds; an operand that binds less than its place asks stands in parentheses.
CHOICE, OR, AND, NOT, COMPARE, SUM, TERM, UNARY, POWER, POSTFIX = range(10)
LOOSE = CHOICE
BINARY: dict[str, tuple[int, int, int]] = {
    # operator: how tightly it binds, what its left and what its right operand must bind
    "or": (OR, OR, AND),
    "and": (AND, AND, NOT),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), (COMPARE, SUM, SUM)),
    **dict.fromkeys(("+", "-"), (SUM, SUM, TERM)),
    **dict.fromkeys(("*", "/", "%"), (TERM, TERM, UNARY)),
    "**": (POWER, POSTFIX, UNARY),
}


def expression(node: t.Expr | t.DimExpr, least: int = LOOSE) -> str:
    """The text of an expression or dimension, in parentheses where it binds less than ``least``."""
    text, binds = PRINTERS[type(node)](node)
    return text if binds >= least else f"({text})"


def quoted(text: str) -> str:
    """A string as it stands in a spec."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(node: t.Literal) -> str:
    """A literal; a number as its author spelt it, where there is one."""
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if node.value is None:
        return "none"
    if isinstance(node.value, str):
        return quoted(node.value)
    written = node.span.text.replace(" ", "")
    return written if written[:1] in tuple("-0123456789") else repr(node.value)


def joined(nodes: Iterable[t.Expr | t.DimExpr], by: str = ", ") -> str:
    """Several expressions."""
    return by.join(map(expression, nodes))


def names(nodes: Iterable[t.Name], by: str = ", ") -> str:
    """Several names."""
    return by.join(node.text for node in nodes)


def options(nodes: Iterable[t.Option]) -> str:
    """``a=x, b=y``."""
    return ", ".join(f"{node.name.text}={expression(node.value)}" for node in nodes)


def strings(nodes: Iterable[t.Literal], by: str) -> str:
    """Several strings."""
    return by.join(map(literal, nodes))


def tensor(node: t.TensorExpr) -> str:
    """``int[B, S]``."""
    return f"{node.dtype.text if node.dtype else ''}[{joined(node.dims)}]"


def param(node: t.Param) -> str:
    """``name?: type | type = default``, or ``name=default``."""
    types = " | ".join(
        tensor(type_) if isinstance(type_, t.TensorExpr) else type_.name.text for type_ in node.types
    )
    text = node.name.text + ("?" if node.optional else "") + (f": {types}" if types else "")
    if node.default is None:
        return text
    return text + (" = " if types else "=") + expression(node.default)


def params(nodes: Iterable[t.Param]) -> str:
    """Several parameters."""
    return ", ".join(map(param, nodes))


def _operator(node: t.Operator) -> tuple[str, int]:
    if node.op == "not":
        return f"not {expression(node.args[0], NOT)}", NOT
    if node.op == "neg":
        return f"-{expression(node.args[0], UNARY)}", UNARY
    binds, left, right = BINARY[node.op]
    return f"{expression(node.args[0], left)} {node.op} {expression(node.args[1], right)}", binds


def _choice(node: t.Choice) -> tuple[str, int]:
    text = f"{expression(node.yes, OR)} if {expression(node.condition, OR)}"
    return (text if node.no is None else f"{text} else {expression(node.no)}"), CHOICE


def _call(node: t.Call) -> tuple[str, int]:
    given = [*map(expression, node.args), *([options(node.options)] if node.options else [])]
    return f"{expression(node.function, POSTFIX)}({', '.join(given)})", POSTFIX


def _sum(node: t.AxisSum) -> tuple[str, int]:
    return f"({' + '.join(f'{label.text}: {axis.text}' for label, axis in node.parts)})", POSTFIX


PRINTERS: dict[type[t.Node], Callable[[Any], tuple[str, int]]] = {
    t.Literal: lambda node: (literal(node), POSTFIX),
    t.Alternatives: lambda node: (strings(node.texts, " | "), CHOICE),
    t.Reference: lambda node: (node.name.text, POSTFIX),
    t.Member: lambda node: (f"{expression(node.owner, POSTFIX)}.{node.name.text}", POSTFIX),
    t.Lookup: lambda node: (f"{expression(node.owner, POSTFIX)}[{joined(node.indices)}]", POSTFIX),
    t.Call: _call,
    t.As: lambda node: (f"{expression(node.value, POSTFIX)} as [{joined(node.dims)}]", POSTFIX),
    t.Operator: _operator,
    t.Is: lambda node: (
        f"{expression(node.value, SUM)} is {'not ' if node.negated else ''}{node.what.text}",
        COMPARE,
    ),
    t.Choice: _choice,
    t.ListExpr: lambda node: (f"[{joined(node.items)}]", POSTFIX),
    t.DimName: lambda node: (node.name.text, POSTFIX),
    t.DimNumber: lambda node: (str(node.value), POSTFIX),
    t.AxisSum: _sum,
    t.ProductExpr: lambda node: (f"({joined(node.factors, ' ')})", POSTFIX),
}
"""For each kind of expression its text, and how tightly that binds."""

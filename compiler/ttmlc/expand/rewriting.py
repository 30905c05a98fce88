"""Trees made from trees: a node is changed in its place, and what holds it is made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from ttmlc.language import tree

Tree = TypeVar("Tree")


def mapped(node: Tree, change: Callable[[tree.Node], object]) -> Tree:
    """``node`` with ``change`` made to every node below it and to itself, innermost first.

    Args:
        node: a node, or a tuple of nodes.
        change: gives what stands in a node's place: itself where it stays. What is unchanged is the same object still.
    """
    if isinstance(node, tuple):
        items = tuple(mapped(item, change) for item in node)
        same = all(a is b for a, b in zip(items, node, strict=True))
        return node if same else cast("Tree", items)
    if not isinstance(node, tree.Node):
        return node
    held = {name: getattr(node, name) for name in tree.parts(type(node))}
    made = {name: mapped(value, change) for name, value in held.items()}
    changed = {name: value for name, value in made.items() if value is not held[name]}
    return cast("Tree", change(replace(node, **changed) if changed else node))


def exchanged(node: Tree, old: tree.Node, new: tree.Node) -> Tree:
    """``node`` with ``new`` where ``old`` stands in it."""
    return mapped(node, lambda here: new if here is old else here)


def statements(body: Sequence[tree.Statement]) -> Iterator[tree.Statement]:
    """The statements of a body, those of its blocks included, in order."""
    for node in body:
        yield node
        if isinstance(node, tree.Repeat):
            yield from statements(node.body)
        elif isinstance(node, tree.If):
            yield from statements((*node.then, *node.otherwise))
        elif isinstance(node, tree.Match):
            for case in node.cases:
                yield from statements(case.body)


def without(body: tuple[tree.Statement, ...], gone: Sequence[tree.Statement]) -> tuple[tree.Statement, ...]:
    """``body`` without some of its statements, wherever they stand; a block is never left empty."""

    def left(nodes: tuple[tree.Statement, ...]) -> tuple[tree.Statement, ...]:
        return tuple(node for node in nodes if not any(node is other for other in gone)) or nodes

    def change(node: tree.Node) -> tree.Node:
        if isinstance(node, (tree.Repeat, tree.Case)):
            return replace(node, body=left(node.body))
        if isinstance(node, tree.If):
            return replace(node, then=left(node.then), otherwise=left(node.otherwise))
        return node

    return mapped(left(body), change) if gone else body


def names_read(node: object) -> set[str]:
    """Every name that ``node`` and what is below it read, whatever it means there."""
    found: set[str] = set()
    for here in tree.walk(node):
        if isinstance(here, (tree.Reference, tree.DimName, tree.Collect)):
            found.add(here.name.text)
        elif isinstance(here, tree.AxisSum):
            found |= {axis.text for _, axis in here.parts}
        elif isinstance(here, tree.ConfigField):
            found |= {kind.text for kind in here.kinds}
            if here.index is not None:
                found.add(here.index[1].text)
    return found

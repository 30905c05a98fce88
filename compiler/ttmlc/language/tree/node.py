"""What all nodes have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from ttmlc.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """A node; ``span`` is where it stands, and no part of what it is."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A word."""

    text: str


@dataclass(frozen=True, slots=True)
class Doc(Node):
    """Prose between triple quotes, without the indentation that its lines share."""

    text: str


_PARTS: dict[type[Node], tuple[str, ...]] = {}


def parts(kind: type[Node]) -> tuple[str, ...]:
    """The names of a node class's fields, without the span."""
    if kind not in _PARTS:
        _PARTS[kind] = tuple(entry.name for entry in fields(kind) if entry.name != "span")
    return _PARTS[kind]


def walk(node: object) -> Iterator[Node]:
    """``node`` and all nodes below it, outermost first, in the order of the text."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Node):
            yield here
            waiting += [getattr(here, name) for name in reversed(parts(type(here)))]
        elif isinstance(here, tuple):
            waiting += reversed(here)

"""What all nodes have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

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


@cache
def parts(kind: type[Node]) -> tuple[str, ...]:
    """The names of a node class's fields, without the span."""
    return tuple(entry.name for entry in fields(kind) if entry.name != "span")


def walk(node: object) -> Iterator[Node]:
    """``node`` and all nodes below it, outermost first, in the order of the text."""
    waiting: list[object] = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Node):
            yield here
            kind: Any = type(here)  # mypy takes a class whose instances hash for one that does not
            waiting += [getattr(here, name) for name in reversed(parts(kind))]
        elif isinstance(here, tuple):
            waiting += reversed(here)

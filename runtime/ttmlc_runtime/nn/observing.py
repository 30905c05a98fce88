"""Watching a model's blocks: who observes is asked to run each, and sees what goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Observer = Callable[[Any, tuple[Any, ...]], Any]
"""Takes a block and its arguments, and gives what the call gives: ``block.run(*arguments)``, or of other arguments."""

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Let ``observer`` run every block that is called here, blocks within blocks too.

    Those within a recorded call run as parts of their block's ``forward``, and are not seen.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def observer() -> Observer | None:
    """Who observes here, if anybody."""
    return _observer.get()

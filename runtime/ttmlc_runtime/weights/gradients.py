"""Gradients of storages: how two are added, and hooks that see what arrives in one backward pass whole.

A parameter's gradient may come in parts: a tied embedding's from the lookup and from the projection, a window's from
each storage. A hook that clips must see their sum, so parts for watched storages wait for the end of the pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose

if TYPE_CHECKING:
    from ttmlc_runtime.weights.storage import Storage

ttnn = choose()

Arrived = dict["Storage", types.Tensor]
_arrived: ContextVar[Arrived | None] = ContextVar("arrived", default=None)


def added(one: types.Tensor, other: types.Tensor) -> types.Tensor:
    """The sum of two gradients in a new tensor, float32 where either is."""
    if other.dtype == ttnn.float32:  # of two labels the sum has the first one's
        one, other = other, one
    total: types.Tensor = ttnn.add(one, other)
    return total


class Removable:
    """A hook in its place; ``remove`` takes it out."""

    _keys = itertools.count()

    def __init__(self, hooks: dict[int, Any], entry: Any) -> None:
        self._hooks, self._key = hooks, next(self._keys)
        hooks[self._key] = entry

    def remove(self) -> None:
        """Take the hook out; a second time does nothing."""
        self._hooks.pop(self._key, None)


class Watcher:
    """A parameter with hooks."""

    def watch(self, arrived: Arrived) -> None:
        """See the parts of this parameter's gradient in ``arrived``; put others in their place."""
        raise NotImplementedError


@contextmanager
def one_pass() -> Iterator[None]:
    """Let hooks see once, at the end, all that arrives in this block; after an error nothing of it is kept."""
    arrived: Arrived = {}
    token = _arrived.set(arrived)
    try:
        yield
    finally:
        _arrived.reset(token)
    watchers = dict.fromkeys(watcher for storage in arrived for watcher in storage.watchers)
    for watcher in watchers:
        watcher.watch(arrived)
    for storage, gradient in arrived.items():
        storage.add(gradient)


def arrive(storage: Storage, gradient: types.Tensor) -> None:
    """Keep a part for the end of the pass; outside of one it is a pass of its own."""
    arrived = _arrived.get()
    if arrived is None:
        with one_pass():
            arrive(storage, gradient)
        return
    arrived[storage] = added(arrived[storage], gradient) if storage in arrived else gradient

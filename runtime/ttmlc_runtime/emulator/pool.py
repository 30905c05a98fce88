"""Buffers that are used again: a fresh array of some megabytes costs the system more than the arithmetic on it.

Large arrays come from mapped pages that the kernel clears one by one, and go back to it when they are freed. A
forward pass makes the same sizes over and over, so the pool keeps what it handed out and hands it out again once
nobody else refers to it, which the reference count tells. It holds at most ``LIMIT`` bytes that are not in use.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SMALL = 1 << 16
"""Below this many bytes the allocator is fast enough."""
LIMIT = 1 << 28
_FREE = 3
"""References to a buffer that only the pool holds: the list, the loop variable, the argument of getrefcount."""

_lock = threading.Lock()
_kept: dict[int, list[Array]] = {}


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of undefined content."""
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    with _lock:
        buffer = _take(size)
    return buffer.view(dtype).reshape(shape)


def _take(size: int) -> Array:
    for buffer in _kept.get(size, ()):
        if sys.getrefcount(buffer) == _FREE:
            return buffer
    _trim(size)
    made = np.empty(size, np.uint8)
    _kept.setdefault(size, []).append(made)
    return made


def _trim(wanted: int) -> None:
    """Let go of unused buffers, other sizes first, where the pool would grow beyond its limit."""
    unused = 0
    for buffers in _kept.values():
        for buffer in buffers:
            unused += buffer.nbytes if sys.getrefcount(buffer) == _FREE else 0
    if unused + wanted <= LIMIT:
        return
    for size, buffers in list(_kept.items()):
        _kept[size] = [buffer for buffer in buffers if sys.getrefcount(buffer) > _FREE]
        if not _kept[size]:
            del _kept[size]

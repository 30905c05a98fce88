"""Whether what is called now goes on the tape. Each thread, and each asyncio task, has its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

_recording: ContextVar[bool | None] = ContextVar("recording", default=None)


def is_recording(default: bool = True) -> bool:
    """What the innermost ``no_grad``, ``enable_grad`` or model call around says; ``default`` where there is none."""
    said = _recording.get()
    return default if said is None else said


@contextmanager
def recording(value: bool) -> Iterator[None]:
    """Record in this block, or do not."""
    token = _recording.set(value)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad() -> AbstractContextManager[None]:
    """Record nothing in this block, even of a model in training: it runs its inference program."""
    return recording(False)


def enable_grad() -> AbstractContextManager[None]:
    """Record in this block, even a model in eval mode, which drops nothing out; and inside ``no_grad``."""
    return recording(True)

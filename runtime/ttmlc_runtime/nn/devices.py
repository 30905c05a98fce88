"""Devices: opened for a dtype, or given by a ``with`` block around a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import BackendError

DTYPES = ("bfloat16", "float32", "float64")
_current: ContextVar[types.Device | None] = ContextVar("device", default=None)


def open_device(dtype: str = "bfloat16", device_id: int = 0) -> types.Device:
    """Open a device that computes in ``dtype``.

    ``bfloat16`` is what a board computes, rounding every result. ``float32`` and ``float64`` compute the same
    program exactly, which only the emulator can.

    Raises:
        BackendError: another dtype, or an exact one on a real board.
    """
    if dtype not in DTYPES:
        raise BackendError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if ttnn is types:
        return types.open_device(device_id, numerics="device" if dtype == "bfloat16" else dtype)
    if dtype != "bfloat16":
        raise BackendError(
            f"dtype={dtype!r} is exact arithmetic, which a board does not have: set TTMLC_BACKEND=emulator, "
            "or use bfloat16"
        )
    return ttnn.open_device(device_id)


@contextmanager
def device(opened: types.Device) -> Iterator[types.Device]:
    """Make models in this block on ``opened`` where they are not told otherwise."""
    token = _current.set(opened)
    try:
        yield opened
    finally:
        _current.reset(token)


def current(dtype: str) -> types.Device:
    """The device of the enclosing ``with device(...)``, else a new one for ``dtype``."""
    return _current.get() or open_device(dtype)

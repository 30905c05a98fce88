"""Which ttnn a program runs on: the real one where there is a board, the emulator elsewhere.

``TTMLC_BACKEND`` is ``auto`` (the default), ``ttnn`` or ``emulator``; it is read when ``ttnn`` is first asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType

from ttmlc_runtime.errors import BackendError

CHOICES = ("auto", "ttnn", "emulator")
DEVICES = Path("/dev")


def choose() -> ModuleType:
    """The module to call ``ttnn``.

    Raises:
        BackendError: TTMLC_BACKEND is none of its three values, or ttnn is wanted and cannot be imported.
    """
    wanted = os.environ.get("TTMLC_BACKEND") or "auto"
    if wanted not in CHOICES:
        raise BackendError(f"TTMLC_BACKEND={wanted!r} is not one of {', '.join(CHOICES)}")
    if wanted == "ttnn" or (
        wanted == "auto" and has_board() and importlib.util.find_spec("ttnn") is not None
    ):
        return real(wanted)
    return importlib.import_module("ttmlc_runtime.emulator")


def has_board() -> bool:
    """Whether the driver shows a Tenstorrent board."""
    return any(DEVICES.glob("tenstorrent*"))


def real(wanted: str = "ttnn") -> ModuleType:
    """The real ttnn.

    Raises:
        BackendError: it cannot be imported.
    """
    try:
        return importlib.import_module("ttnn")
    except Exception as error:  # a library that does not fit the machine fails in ways of its own
        raise BackendError(
            f"TTMLC_BACKEND is {wanted!r}, but ttnn cannot be imported ({type(error).__name__}: {error}). "
            "Install it with pip install 'ttmlc[ttnn]' (Python 3.10 or 3.12, Linux x86-64), "
            "or set TTMLC_BACKEND=emulator"
        ) from error

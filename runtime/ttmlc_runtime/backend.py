"""Which ttnn a program runs on: the real one where there is a board, the emulator elsewhere.

``TTMLC_BACKEND`` is ``auto`` (the default), ``ttnn`` or ``emulator``.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
from types import ModuleType

from ttmlc_runtime.errors import BackendError

CHOICES = ("auto", "ttnn", "emulator")


def choose() -> ModuleType:
    """The module to call ``ttnn``.

    Raises:
        BackendError: TTMLC_BACKEND is none of its three values, or asks for a ttnn that is not installed.
    """
    wanted = os.environ.get("TTMLC_BACKEND", "auto")
    if wanted not in CHOICES:
        raise BackendError(f"TTMLC_BACKEND={wanted!r} is not one of {', '.join(CHOICES)}")
    if wanted == "ttnn" or (wanted == "auto" and has_board()):
        return real()
    from ttmlc_runtime import emulator

    return emulator


def has_board() -> bool:
    """Whether a Tenstorrent board and the real ttnn are both here."""
    return bool(glob.glob("/dev/tenstorrent/*")) and importlib.util.find_spec("ttnn") is not None


def real() -> ModuleType:
    """The real ttnn.

    Raises:
        BackendError: it is not installed.
    """
    try:
        return importlib.import_module("ttnn")
    except ImportError as error:
        raise BackendError(
            f"TTMLC_BACKEND=ttnn, but ttnn cannot be imported ({error}): pip install 'ttmlc[ttnn]'"
        ) from error

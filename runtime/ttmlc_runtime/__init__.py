"""What generated modules import: ``from ttmlc_runtime import nn, ttnn``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ttmlc_runtime import emulator as ttnn
    from ttmlc_runtime import nn

__all__ = ["nn", "ttnn"]


def __getattr__(name: str) -> object:
    """Import ``nn`` and choose ``ttnn`` when they are first asked for, so that neither is paid for unused."""
    if name == "ttnn":
        from ttmlc_runtime.backend import choose

        globals()["ttnn"] = module = choose()
        return module
    if name == "nn":
        return importlib.import_module("ttmlc_runtime.nn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

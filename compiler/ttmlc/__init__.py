"""A declarative graph compiler for transformers: one page of spec to readable Python that calls ttnn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttmlc.loading import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """``ttmlc.load``, which brings the runtime along, is imported by whoever asks for it."""
    if name == "load":
        from ttmlc.loading import load

        return load
    raise AttributeError(f"module 'ttmlc' has no attribute {name!r}")

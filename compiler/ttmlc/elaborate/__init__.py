"""Names, scopes, axes and types: a syntax tree becomes a tensor-level module."""

from ttmlc.elaborate.module import elaborate

__all__ = ["elaborate"]

"""Names, scopes, axes and types: a syntax tree becomes a tensor-level module."""

from ttmlc.elaborate.module import elaborate, elaborate_heads
from ttmlc.elaborate.offers import DeclinedHead

__all__ = ["DeclinedHead", "elaborate", "elaborate_heads"]

"""A spec that extends another, written out: from one tree to another that needs no base."""

from ttmlc.expand.family import Sources, expand

__all__ = ["Sources", "expand"]

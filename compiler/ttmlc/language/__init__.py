"""The spec language: text to tree, and tree's text made canonical."""

from ttmlc.language.parser import load, parse

__all__ = ["load", "parse"]

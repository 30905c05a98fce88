"""The command line: ``ttmlc``."""

from ttmlc.cli.main import main

__all__ = ["main"]

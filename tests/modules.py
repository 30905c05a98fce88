"""Modules out of files and texts, such as compilers emit."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def imported(path: Path, name: str = "") -> ModuleType:
    """The module at ``path``, called ``name``, or else as the file is."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load(text: str, path: Path) -> ModuleType:
    """``text`` as a module, written to ``path``."""
    path.write_text(text)
    return imported(path)

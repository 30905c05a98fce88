"""The examples as modules, for their tests."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(name: str, *needed: str) -> ModuleType:
    """The module ``name`` of ``examples/``; the test is skipped where one of the ``needed`` packages is missing."""
    for package in needed:
        pytest.importorskip(package, reason=f"the example needs {package}: pip install -e '.[demo]'")
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


def fetched(shipped: Any) -> None:
    """Skip the test where the file ``shipped`` is not here, which `make env` fetches; in CI it must be."""
    if not shipped.kept.is_file() and os.environ.get("CI") != "true":
        pytest.skip(f"{shipped.what} is not here: python examples/fetch_data.py")

"""Finding the Python that has the real ttnn, whose wheels are for CPython 3.10 and 3.12 alone."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ttmlc_runtime
from ttmlc_runtime.errors import BackendError

PYTHON = "TTMLC_TTNN_PYTHON"
"""The variable that names the interpreter."""
FOLDERS = (".venv-ttnn", ".venv")
"""Environments that are looked for in the current folder, the package's, and those above."""

_ASK = (
    "import importlib.util as u; print(*(u.find_spec(name) is not None for name in ('ttnn', 'safetensors')))"
)


@functools.lru_cache
def python_with_ttnn() -> Path:
    """The interpreter that has ttnn: ``$TTMLC_TTNN_PYTHON``, else this one, else one of an environment nearby.

    Raises:
        BackendError: there is none; it says where was looked, and what to install.
    """
    named = os.environ.get(PYTHON)
    looked: list[str] = []
    for candidate in [Path(named)] if named else _candidates():
        found = _packages(candidate)
        if found == (True, True):
            return candidate
        if found == (True, False):
            looked.append(f"{candidate} (it lacks safetensors)")
        else:
            looked.append(str(candidate))
    raise BackendError(
        f"no Python with ttnn here (looked at {', '.join(looked)}): in a Python 3.10 or 3.12 environment on x86-64 "
        f"Linux, pip install 'ttmlc[ttnn]', and set {PYTHON} to its interpreter"
    )


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    here, package = Path.cwd(), Path(ttmlc_runtime.__file__).resolve().parent
    seen: set[Path] = set()
    for folder in (here, *here.parents, *package.parents):
        for name in FOLDERS:
            candidate = folder / name / "bin/python"
            if candidate.exists() and candidate not in seen:
                seen.add(candidate)
                yield candidate


def _packages(python: Path) -> tuple[bool, bool]:
    """Whether it has ttnn, and what else the runtime needs; a name may be a shim that does not run."""
    try:
        answer = subprocess.run(
            [str(python), "-c", _ASK], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False, False
    has_ttnn, has_safetensors = (word == "True" for word in answer.stdout.split()[:2])
    return has_ttnn, has_safetensors

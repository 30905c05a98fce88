"""Jobs in a process of their own, in the Python that has ttnn: a board is fixed there, and a crash is survived.

A job is a function of a module below, called with the request (data that JSON holds) and returning such data. The
request goes in by a file and the answer comes out by another, so that what ttnn prints is in nobody's way.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ttmlc_runtime
from ttmlc_runtime import errors
from ttmlc_runtime.errors import BackendError, RuntimeFault
from ttmlc_runtime.mockboard.environment import python_with_ttnn
from ttmlc_runtime.mockboard.kit import default_folder

Data = dict[str, Any]
TIMEOUT = 3600
SHOWN = 2000
"""Characters of a dead process's last words."""


def run(
    job: str, request: Mapping[str, Any], *, board: str, path: Path | None = None, timeout: float = TIMEOUT
) -> Data:
    """Run ``job`` ("package.module:function") on a mock board.

    Args:
        job: called with the request as its only argument, once the board is prepared and TTMLC_BACKEND is "ttnn".
        request: what JSON can hold.
        board: a name in ``BOARDS``.
        path: a folder that the job's module is imported from, where it is not of this package.
        timeout: in seconds.

    Raises:
        BackendError: there is no Python with ttnn, the process died, or the time is up.
        RuntimeFault: what the job raised, of the same class.
    """
    python = python_with_ttnn()
    with tempfile.TemporaryDirectory(prefix="ttmlc-job-") as folder:
        asked, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps({"job": job, "board": board, "request": dict(request)}), encoding="utf-8")
        command = [str(python), "-c", f"from {__name__} import main; main()", str(asked), str(answer)]
        try:
            ended = subprocess.run(
                command,
                env=environment(path),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise BackendError(f"ttnn did not answer within {timeout:g} s") from None
        if not answer.exists():
            raise BackendError(
                f"{python} {_death(ended.returncode)}; its last words:\n{ended.stderr[-SHOWN:]}"
            )
        found: Data = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        kind = getattr(errors, found["error"], RuntimeFault)
        raise kind(found["message"])
    value: Data = found["value"]
    return value


def environment(path: Path | None = None) -> dict[str, str]:
    """The child's environment: this very runtime ahead of any that is installed there, and the real ttnn.

    The runtime comes by a link in a folder of its own, because beside it lie packages of this Python.
    """
    package = Path(ttmlc_runtime.__file__).resolve().parent
    own = default_folder() / "path" / hashlib.sha256(str(package).encode()).hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    link = own / package.name
    if not link.is_symlink():
        with contextlib.suppress(FileExistsError):  # another process was first
            link.symlink_to(package)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TT_", "TTMLC_BACKEND"))
    }
    before = [str(own), *([str(path)] if path else ()), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(before), "TTMLC_BACKEND": "ttnn"}


def _death(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def main() -> None:
    """In the child: prepare the board, do the job, write the answer."""
    from ttmlc_runtime.mockboard.kit import prepare

    asked, answer = map(Path, sys.argv[1:3])
    order: Data = json.loads(asked.read_text(encoding="utf-8"))
    found: Data
    try:
        prepare(order["board"])
        module, _, function = order["job"].partition(":")
        found = {"value": getattr(importlib.import_module(module), function)(order["request"])}
    except RuntimeFault as error:
        found = {"error": type(error).__name__, "message": str(error)}
    new = answer.with_suffix(".new")
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(answer)

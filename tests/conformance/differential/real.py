"""The other end of ``server.py``: asks the real ttnn, and starts it anew where a call ended it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ttmlc_runtime.mockboard.child import environment
from ttmlc_runtime.mockboard.environment import python_with_ttnn

from tests.conformance.differential.answers import CRASH
from tests.conformance.differential.calls import Call, to_data

ROOT = Path(__file__).resolve().parents[3]
RESTARTS = 20
"""More than this without an answer between them, and something else is wrong."""


class Real:
    """The real ttnn, in a process of its own.

    Raises:
        BackendError: there is no Python with ttnn.
    """

    def __init__(self) -> None:
        self.python = python_with_ttnn()
        self.deaths = 0
        self.process: subprocess.Popen[str] | None = None

    def _started(self) -> subprocess.Popen[str]:
        if self.process is None:
            self.process = subprocess.Popen(
                [str(self.python), "-m", "tests.conformance.differential.server"],
                cwd=ROOT,
                env=environment(ROOT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self.process

    def ask(self, calls: Sequence[Call]) -> list[tuple[str, str]]:
        """An answer for each call, and what a refusal says."""
        found: list[tuple[str, str]] = []
        while len(found) < len(calls):
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            rest = [to_data(call) for call in calls[len(found) :]]
            try:
                process.stdin.write(json.dumps(rest) + "\n")
                process.stdin.flush()
            except BrokenPipeError:  # it ended after its last answer, before it read this
                pass
            for line in process.stdout:
                self.deaths = 0
                found.append(tuple(json.loads(line)))
                if len(found) == len(calls):
                    break
            else:
                self._buried(process)
                found.append((CRASH, f"exit code {process.returncode}"))
        return found

    def answer(self, call: Call) -> tuple[str, str]:
        """The answer to one call."""
        return self.ask([call])[0]

    def _buried(self, process: subprocess.Popen[str]) -> None:
        process.wait()
        self.process = None
        self.deaths += 1
        if self.deaths > RESTARTS:
            raise RuntimeError(f"ttnn ended {self.deaths} times, last with exit code {process.returncode}")

    def close(self) -> None:
        """End the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

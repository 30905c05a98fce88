"""A machine without the Python that the real ttnn needs: said loudly, and a failure in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout's scripts on a machine whose Pythons 3.10 and 3.12 are shims that refuse to run."""
    for name in ("python3.10", "python3.12", "python3"):
        shim = tmp_path / "bin" / name
        shim.parent.mkdir(exist_ok=True)
        shim.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 127\n")
        shim.chmod(0o755)
        for fixed in ("/usr/bin", "/usr/local/bin"):
            version = name.removeprefix("python")
            asked = f"import sys; print('%d.%d' % sys.version_info[:2] == '{version}')"
            found = Path(fixed, name)
            if version != "3" and found.exists():
                ran = subprocess.run([found, "-c", asked], capture_output=True, text=True)
                if ran.stdout.strip() == "True":
                    pytest.skip(f"{found} runs, and is looked for there")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/env.sh", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def device_environment(machine: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{machine / 'bin'}:/usr/bin:/bin"
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"PATH": path, "HOME": str(machine), **variables}
    return subprocess.run(
        ["bash", "tools/env.sh", "device"], cwd=machine, env=environment, capture_output=True, text=True
    )


def test_a_missing_python_is_said_loudly(machine: Path) -> None:
    ended = device_environment(machine)
    assert ended.returncode == 0
    assert "*** no Python 3.12 or 3.10 runs here" in ended.stderr
    assert "SKIPPED ***" in ended.stderr
    assert not (machine / ".venv-ttnn").exists()


def test_a_missing_python_fails_in_ci(machine: Path) -> None:
    ended = device_environment(machine, CI="true")
    assert ended.returncode == 1
    assert "SKIPPED ***" in ended.stderr


@pytest.mark.parametrize("ci", [False, True])
def test_tests_on_the_real_ttnn_say_that_they_did_not_run(ci: bool, tmp_path: Path) -> None:
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"TTMLC_TTNN_PYTHON": str(shim), **({"CI": "true"} if ci else {})}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance/test_declared_calls.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "NOTHING WAS RUN ON THE REAL ttnn" in ended.stdout
    assert "THE REAL ttnn IS NOT HERE" in ended.stdout
    assert ended.returncode == (1 if ci else 0)

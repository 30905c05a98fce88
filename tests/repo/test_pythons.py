"""Every Python that is promised: it installs, compiles to the same bytes, and computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISED = ("3.10", "3.11", "3.12", "3.13")
USE = """
import sys, numpy as np
from out.bert import BertConfig, BertModel
config = BertConfig(vocab=99, hidden=96, heads=3, layers=2, inner=64, positions=40)
hidden = BertModel(config, dtype="float32")(np.arange(14).reshape(2, 7)).last_hidden_state.numpy()
print(hidden.shape, bool(np.isfinite(hidden).all()), round(float(np.abs(hidden).sum()), 2))
"""


def runs(candidate: str, version: str) -> bool:
    """Whether an interpreter really runs: a name on PATH may be a shim that refuses to."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
    except OSError:
        return False
    return done.stdout.strip() == version


def interpreter(version: str) -> str | None:
    folders = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python3"))
    candidates = [sys.executable, f"python{version}", *map(str, folders)]
    return next((candidate for candidate in candidates if runs(candidate, version)), None)


@pytest.mark.deep
@pytest.mark.parametrize("version", PROMISED)
def test_a_promised_python_compiles_and_computes(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    bin_ = tmp_path / "venv" / "bin"
    subprocess.run([bin_ / "python", "-m", "pip", "install", "-q", str(ROOT)], check=True)
    command = [bin_ / "ttmlc", "compile", ROOT / "specs/models/bert.spec", "-o", tmp_path / "out", "-q"]
    subprocess.run(command, check=True)
    assert (tmp_path / "out/bert.py").read_text() == (ROOT / "generated/bert.py").read_text()
    done = subprocess.run(
        [bin_ / "python", "-c", USE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    here = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("(2, 7, 96) True")
    assert done.stdout == here.stdout

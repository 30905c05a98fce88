"""Which module ``from ttmlc_runtime import ttnn`` gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ttmlc_runtime import backend, emulator
from ttmlc_runtime.errors import BackendError

RUNTIME = Path(__file__).parents[3] / "runtime"


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    monkeypatch.delenv("TTMLC_BACKEND", raising=False)


@pytest.fixture
def board(monkeypatch, tmp_path):
    """A machine whose driver shows a board."""
    (tmp_path / "tenstorrent").mkdir()
    monkeypatch.setattr(backend, "DEVICES", tmp_path)


@pytest.fixture
def installed(monkeypatch):
    """A machine where a module called ttnn is to be had."""
    module = ModuleType("ttnn")
    monkeypatch.setitem(sys.modules, "ttnn", module)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: object())
    return module


def test_without_a_board_it_is_the_emulator(monkeypatch, tmp_path, installed):
    monkeypatch.setattr(backend, "DEVICES", tmp_path)
    assert backend.choose() is emulator


def test_with_a_board_and_ttnn_it_is_ttnn(board, installed):
    assert backend.choose() is installed


def test_a_board_without_ttnn_is_no_reason_to_fail(board, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: None)
    assert backend.choose() is emulator


def test_what_is_asked_for_wins(board, installed, monkeypatch, tmp_path):
    monkeypatch.setenv("TTMLC_BACKEND", "emulator")
    assert backend.choose() is emulator
    monkeypatch.setattr(backend, "DEVICES", tmp_path / "nothing")
    monkeypatch.setenv("TTMLC_BACKEND", "ttnn")
    assert backend.choose() is installed


def test_an_unknown_choice_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("TTMLC_BACKEND", "cuda")
    with pytest.raises(BackendError, match="'cuda' is not one of auto, ttnn, emulator"):
        backend.choose()


def test_a_ttnn_that_is_missing_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setenv("TTMLC_BACKEND", "ttnn")
    monkeypatch.setitem(sys.modules, "ttnn", None)
    with pytest.raises(BackendError, match=r"cannot be imported.*pip install 'ttmlc\[ttnn\]'"):
        backend.choose()


def test_both_names_are_imported_when_asked_for_only():
    code = (
        "import sys, ttmlc_runtime; assert 'numpy' not in sys.modules; "
        "from ttmlc_runtime import nn, ttnn; assert ttnn.__name__ == 'ttmlc_runtime.emulator'"
    )
    environment = {"PYTHONPATH": str(RUNTIME), "TTMLC_BACKEND": "emulator"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)

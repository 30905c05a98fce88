"""What all tests share: golden files, and the Python that has the real ttnn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["TTMLC_BACKEND"] = (
    "emulator"  # also where there is a board; jobs on the real ttnn say so themselves
)

pytest.register_assert_rewrite("tests.golden")

from ttmlc_runtime.errors import BackendError  # noqa: E402  # after the backend is chosen
from ttmlc_runtime.mockboard import python_with_ttnn  # noqa: E402  # likewise

from tests.golden import Golden  # noqa: E402  # after it is registered, so that its assertions show a difference


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares with golden files; see ``tests/golden.py``."""
    update = bool(request.config.getoption("--update-golden"))
    if update and os.environ.get("CI"):
        pytest.fail("golden files are not rewritten in CI")
    return Golden(update)


def missing_ttnn() -> str:
    """Why the real ttnn cannot be had; empty where it can."""
    try:
        python_with_ttnn()
    except BackendError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def real_ttnn() -> Path:
    """The Python that has the real ttnn; without one the test is skipped, and under CI=true it fails."""
    why = missing_ttnn()
    if why:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"THE REAL ttnn IS NOT HERE: {why}")
    return python_with_ttnn()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where nobody overlooks it."""
    why = missing_ttnn()
    if why:
        terminalreporter.section("NOTHING WAS RUN ON THE REAL ttnn", red=True, bold=True)
        terminalreporter.line(why)

"""What all tests share: golden files."""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("tests.golden")

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

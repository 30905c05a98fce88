"""The compiler's table of device calls beside ttnn's own signatures."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ttmlc.ir.ops  # noqa: F401  # importing it declares the ops
from ttmlc.ir.device import ROLES, DeviceOp
from ttmlc.ir.op import TABLE
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
CALLS = {
    op.callee: op for op in TABLE.ops.values() if isinstance(op, DeviceOp) and op.callee.startswith("ttnn.")
}

pytestmark = pytest.mark.usefixtures("real_ttnn")


@cache
def keywords() -> dict[str, set[str]]:
    """The parameters of each callee, of all its overloads."""
    request: dict[str, Any] = {"ops": sorted(CALLS)}
    found = mockboard.run("tests.conformance.board_jobs:signatures", request, board="n150", path=ROOT)
    return {name: set(re.findall(r"[(,] *(\w+):", text)) for name, text in found.items()}


@pytest.mark.parametrize("callee", CALLS)
def test_every_keyword_is_ttnns(callee: str) -> None:
    op = CALLS[callee]
    written = {*op.written.values(), *(name for name, _ in op.always)} - {""}
    assert written <= keywords()[callee]


@pytest.mark.parametrize("callee", CALLS)
def test_a_call_that_can_be_told_how_to_compute_is_told(callee: str) -> None:
    op = CALLS[callee]
    assert bool(op.role) is ("compute_kernel_config" in keywords()[callee])
    assert op.role in ("", *ROLES)


def test_there_are_calls_of_both_kinds() -> None:
    assert {"ttnn.linear", "ttnn.slice"} <= set(CALLS)

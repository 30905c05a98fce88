"""A token picked for each row by the host's numbers: accepted by the real ttnn, and no program for other numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.api import compile_text
from ttmlc.source import SourceFile
from ttmlc_runtime import mockboard

from tests.compiler.integer_specs import CAUSAL

ROOT = Path(__file__).resolve().parents[2]
TOKENS = (1, 7, 33)

pytestmark = pytest.mark.usefixtures("real_ttnn")


def test_picking_is_accepted_and_other_indexes_build_no_program(tmp_path: Path) -> None:
    made = tmp_path / "tiny.py"
    made.write_text(compile_text(SourceFile("tiny.spec", CAUSAL), tmp_path / "tiny.spec").text)
    request = {"path": str(made), "tokens": TOKENS}
    job = "tests.conformance.integers_jobs:picked"
    found = mockboard.run(job, request, board="n150", path=ROOT, timeout=300)
    assert len(found) == 2 * len(TOKENS)
    for name, one in found.items():
        for kind, step in one.items():
            assert len(step["programs"]) > 5, (name, kind)
            assert step["new"][1:] == [0], (name, kind)

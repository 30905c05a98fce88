"""Specs that read well and mean nothing: each with its pinned rendering, and one for every code of elaboration."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.api import check
from ttmlc.source import CATALOGUE, declare

from tests.golden import Golden, bad_specs

HERE = Path(__file__).parent / "diagnostics"
CASES = sorted(HERE.glob("*.spec"))


@pytest.mark.parametrize("spec", bad_specs(HERE))
def test_a_wrong_spec_is_told_as_pinned(spec: Path, golden: Golden) -> None:
    error = golden.refusal(spec, check)
    if spec.stem.startswith("e0"):
        assert spec.stem.split("_")[0].upper() in {diagnostic.code for diagnostic in error.diagnostics}


def test_every_code_has_a_case() -> None:
    covered = {path.stem.split("_")[0].upper() for path in CASES}
    assert {code for code in CATALOGUE if not code.startswith("E01")} <= covered  # E01 is the parser's


def test_a_code_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        declare("E0201", "again")

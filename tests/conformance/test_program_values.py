"""Which values of a call make a new program: what a training loop may vary freely, and what it must not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

from tests.conformance.program_values import FREE, ROWS

ROOT = Path(__file__).resolve().parents[2]


@cache
def found(board: str) -> dict[str, Any]:
    job = "tests.conformance.program_values:job"
    return mockboard.run(job, {"board": board}, board=board, path=ROOT, timeout=200)


@pytest.mark.usefixtures("real_ttnn")
@pytest.mark.parametrize("board", ["n150", "p150"])
@pytest.mark.parametrize("name", ROWS)
def test_a_value_is_free_or_built_in(name: str, board: str) -> None:
    added = found(board)[name]
    assert not isinstance(added, str), added
    _, second, again = added
    assert (second > 0) is ROWS[name].built_in
    assert again == 0, "the first value's program is still there"


def test_the_documents_list_what_is_free() -> None:
    text = (ROOT / "docs/boards.md").read_text(encoding="utf-8")
    for row in ROWS.values():
        short = row.op.rpartition(".")[2]
        assert f"`{short}`" in text, row.name
    assert len(FREE) == len({row.name for row in FREE})

"""Question answering, causal language models and multiple choice: accepted by the real ttnn, to infer and to train."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("BertForQuestionAnswering", "BertLMHeadModel", "BertForMultipleChoice")
TOKENS = (1, 7, 33, 64)

pytestmark = pytest.mark.usefixtures("real_ttnn")


@pytest.mark.parametrize("board", ["n150", pytest.param("p150", marks=pytest.mark.deep)])
def test_heads_are_accepted_and_a_second_step_builds_no_program(board: str) -> None:
    request = {"module": "generated.bert", "names": NAMES, "tokens": TOKENS}
    job = "tests.conformance.heads_jobs:heads"
    found = mockboard.run(job, request, board=board, path=ROOT, timeout=500)
    assert list(found) == [f"{name} {tokens}" for name in NAMES for tokens in TOKENS]
    for name, one in found.items():
        for kind, step in one.items():
            print(f"{board} {name} {kind}: {len(step['programs'])}")  # noqa: T201  # for whoever runs it with -s
            assert len(step["programs"]) > 10, (name, kind)
            assert step["new"][1:] == [0], (name, kind)

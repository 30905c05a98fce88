"""Prompts and one more token a row on the real ttnn: accepted, and a text within its tiles builds no new program."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_modules_on_boards import verified

MODULE = Path(__file__).parents[2] / "generated" / "gpt2.py"
SIZES = {"vocab": 300, "hidden": 64, "heads": 2, "layers": 2, "positions": 160}
SHAPES = ((1, 1), (1, 31), (2, 32), (3, 33), (2, 95))

pytestmark = pytest.mark.usefixtures("real_ttnn")


@cache
def found() -> dict[tuple[int, int], Any]:
    asked = [
        {
            "module": str(MODULE),
            "model": "GPT2LMHeadModel",
            "fields": SIZES,
            "batch": batch,
            "seq": seq,
            "mask": True,
            "entry": "generate",
            "optimizer": "none",
        }
        for batch, seq in SHAPES
    ]
    return dict(zip(SHAPES, verified("n150", asked), strict=True))


def test_it_is_accepted_and_builds_its_programs_once() -> None:
    for shape, answer in found().items():
        assert answer["accepted"], (shape, answer)
        assert answer["new_programs"]["second_step"] == 0, shape
        assert answer["left_bytes"] == 0, shape


def test_only_the_last_tile_of_longer_logits_is_cut_out() -> None:
    """One tile is read as it is; of several the last one is sliced, for the prompt and for the token."""
    cut = {shape: answer["by_kind"].get("Slice", 0) for shape, answer in found().items()}
    assert cut == {(1, 1): 0, (1, 31): 0, (2, 32): 1, (3, 33): 2, (2, 95): 2}


def test_a_token_within_the_tile_runs_the_prompts_programs() -> None:
    for (batch, seq), answer in found().items():
        rows = {shape[2] for shape in _left_operands(answer)}
        filled = {-(-seq // 32) * 32, -(-(seq + 1) // 32) * 32}
        assert rows == filled, (batch, seq)


def _left_operands(answer: dict[str, Any]) -> list[list[int]]:
    return [matmul["a"] for matmul in answer["matmuls"]]

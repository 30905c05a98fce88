"""A model with rotary positions on the real ttnn: accepted in both forms, forward and in training, built once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

from tests.compiler.rotary_spec import compiled

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = {32: "RotaryEmbeddingHf", 64: "RotaryEmbeddingHf", 96: "Matmul"}
"""Of each width of a head, what turns it."""
SHAPES = ((1, 1), (2, 33), (2, 64))

pytestmark = pytest.mark.usefixtures("real_ttnn")


def verified(path: Path, entry: str, widths: list[int]) -> list[dict[str, Any]]:
    requests = [
        {
            "module": str(path),
            "model": "TurnedModel",
            "fields": {"hidden": 2 * width, "layers": 1, "vocab": 64},
            "batch": batch,
            "seq": seq,
            "mask": True,
            "entry": entry,
        }
        for width in widths
        for batch, seq in SHAPES
    ]
    job = "tests.conformance.board_jobs:verify_many"
    request = {"board": "n150", "requests": requests}
    found: list[dict[str, Any]] = mockboard.run(job, request, board="n150", path=ROOT, timeout=300)["found"]
    return found


@pytest.mark.parametrize("entry", ["forward", "train"])
def test_the_model_is_accepted_and_a_second_step_builds_no_program(entry: str, tmp_path: Path) -> None:
    found = verified(compiled(tmp_path), entry, list(WIDTHS))
    turned = [width for width in WIDTHS for _ in SHAPES]
    for width, one in zip(turned, found, strict=True):
        assert one["accepted"], (width, one)
        assert one["new_programs"]["second_step"] == 0, (width, one)
        kinds = json.dumps(one)
        assert ("RotaryEmbeddingHf" in kinds) == (WIDTHS[width] == "RotaryEmbeddingHf"), width


@pytest.mark.parametrize("entry", ["forward", "train"])
def test_padded_heads_are_accepted(entry: str, tmp_path: Path) -> None:
    values = {"vocab_size": 64, "hidden_size": 48, "num_attention_heads": 2, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(values))
    path = compiled(tmp_path, tmp_path / "config.json")
    fields = {"vocab": 64, "hidden": 48, "heads": 2, "layers": 1}
    request = {"module": str(path), "model": "TurnedModel", "fields": fields, "batch": 2, "seq": 33}
    request |= {"mask": True, "entry": entry}
    job = "tests.conformance.board_jobs:verify_many"
    (found,) = mockboard.run(
        job, {"board": "n150", "requests": [request]}, board="n150", path=ROOT, timeout=300
    )["found"]
    assert found["accepted"], found
    assert found["new_programs"]["second_step"] == 0

"""Prompts and one more token a row on the real ttnn: accepted, and a token after a token builds no new program."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.boards import verified

MODULE = Path(__file__).parents[2] / "generated" / "gpt2.py"
SIZES = {"vocab": 300, "hidden": 64, "heads": 2, "layers": 2, "positions": 160}
GROUPED = {"vocab": 300, "hidden": 128, "heads": 4, "kv": 2, "layers": 2, "inner": 96, "positions": 160}
SHAPES = ((1, 1), (1, 31), (2, 32), (3, 33), (2, 95))
DECODED: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", SIZES),
    "llama": ("LlamaForCausalLM", GROUPED),
    "mistral": ("MistralForCausalLM", {**GROUPED, "reach": 40}),
    "qwen2": ("Qwen2ForCausalLM", {**GROUPED, "windowed": True, "reach": 40, "late": 1}),
    "qwen3": ("Qwen3ForCausalLM", {**GROUPED, "head_dim": 32}),
    "roberta": ("RobertaForCausalLM", {**SIZES, "inner": 96, "causal": True}),
}

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
    """One tile is read as it is; of several the last one is sliced; a token alone is a tile."""
    cut = {shape: answer["by_kind"].get("Slice", 0) for shape, answer in found().items()}
    assert cut == {(1, 1): 0, (1, 31): 0, (2, 32): 0, (3, 33): 1, (2, 95): 1}


def test_a_token_runs_alone() -> None:
    for (batch, seq), answer in found().items():
        rows = {matmul["a"][2] for matmul in answer["matmuls"]}
        assert rows == {-(-seq // 32) * 32, 1}, (batch, seq)


@cache
def decoded(batch: int) -> dict[tuple[str, str], Any]:
    asked = {
        (name, entry): {
            "module": str(MODULE.with_name(f"{name}.py")),
            "model": model,
            "fields": fields,
            "batch": batch,
            "seq": 64,
            "mask": True,
            "entry": entry,
            "optimizer": "none",
        }
        for name, (model, fields) in DECODED.items()
        for entry in ("prefill", "decode")
    }
    return dict(zip(asked, verified("n150", list(asked.values())), strict=True))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", DECODED)
def test_prefill_and_decode_are_accepted(name: str, batch: int) -> None:
    """A token writes its keys and its values in place, each by one program, and swaps rows and tokens of several."""
    layers, writes = 2, 2
    filled, token = (decoded(batch)[name, entry] for entry in ("prefill", "decode"))
    for answer in (filled, token):
        assert answer["accepted"], answer
        assert answer["new_programs"]["second_step"] == 0
    assert filled["left_bytes"] == 0
    turned = "nn.Rotary" in MODULE.with_name(f"{name}.py").read_text(encoding="utf-8")
    assert bool(token["left_bytes"]) == turned, "the angles of a new position are kept for the calls after it"
    assert filled["by_kind"]["Pad"] == token["by_kind"]["UpdateKVCache"] == layers * writes
    assert token["by_kind"].get("Permute", 0) == (layers * writes if batch > 1 else 0)
    assert token["by_kind"]["SDPA"] == layers
    assert token["state_bytes"] > 0

"""The real ttnn takes every call of the sketches of docs/adr, on a mock board, and counts their programs."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
BOARDS = {"llama_layer_tp8": "t3000", "llama_decode_step": "n150", "refusals": "n150"}
MIB = 1 << 20
HEADER = (ROOT / "docs/adr/sketches/llama_layer_tp8.py").read_text(encoding="utf-8")


pytestmark = pytest.mark.usefixtures("real_ttnn")


@cache
def report_of(sketch: str) -> dict[str, Any]:
    """What ``on_board`` reports of a sketch."""
    return mockboard.run(f"tests.adr.on_board:{sketch}", {}, board=BOARDS[sketch], path=ROOT, timeout=300)


def run(sketch: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The report, after printing how many programs each direction launches."""
    report = report_of(sketch)
    counts = ", ".join(f"{name} {len(programs)}" for name, programs in report["programs"].items())
    if counts:
        with capsys.disabled():
            sys.stdout.write(f"\n{sketch}, programs: {counts}\n")
    return report


def collectives(programs: list[str]) -> int:
    """How many all-reduces ran: ttnn makes one of a reduce-scatter and an all-gather."""
    scattered = programs.count("ReduceScatter")
    assert scattered == programs.count("AllGather")
    return scattered


def test_the_layer_on_eight_chips(capsys: pytest.CaptureFixture[str]) -> None:
    report = run("llama_layer_tp8", capsys)
    assert report["shapes"] == {"y": [1, 1, 2048, 4096], "dh": [1, 1, 2048, 4096]}
    # Megatron's count, two a layer and direction
    assert {way: collectives(programs) for way, programs in report["programs"].items()} == {
        "forward": 2,
        "backward": 2,
    }
    assert {name: len(programs) for name, programs in report["programs"].items()} == {
        "forward": 21,
        "backward": 59,
    }
    # a gradient has its storage's layout: each chip's part
    assert report["grads"] == {
        "input_layernorm.weight": [1, 1, 1, 4096],
        "post_attention_layernorm.weight": [1, 1, 1, 4096],
        "self_attn.q_proj.weight": [1, 1, 4096, 768],
        "self_attn.o_proj.weight": [1, 1, 512, 4096],
        "mlp.gate_proj.weight": [1, 1, 4096, 3584],
        "mlp.down_proj.weight": [1, 1, 1792, 4096],
    }


def test_the_memory_that_the_layers_header_promises(capsys: pytest.CaptureFixture[str]) -> None:
    report = run("llama_layer_tp8", capsys)
    (kept, all_layers, more) = re.findall(
        r"memory: (\d+) MiB kept a layer and device, ([\d.]+) GiB for 32 layers; at most (\d+) MiB more",
        HEADER,
    )[0]
    assert report["kept_bytes"] == int(kept) * MIB
    assert round(32 * int(kept) / 1024, 1) == float(all_layers)
    peak = report["peak_bytes"]
    assert peak["forward"] < peak["backward"]
    assert round(peak["backward"] / MIB) == int(more)
    assert 32 * report["kept_bytes"] + peak["backward"] < 2048 * MIB, "the budget"


def test_ttnn_splits_a_storage_as_its_chain_says(capsys: pytest.CaptureFixture[str]) -> None:
    report = run("llama_layer_tp8", capsys)
    assert report["parts_as_in_the_chain"] == 8


def test_prefill_and_decode(capsys: pytest.CaptureFixture[str]) -> None:
    report = run("llama_decode_step", capsys)
    assert report["logits"] == [1, 1, 2, 512]
    assert report["cache"] == [2, 2, 64, 64], "60 tokens are two tiles"
    assert report["tokens"] == [3, 3]
    programs = report["programs"]
    assert len(programs["attention_decode"]) == 9
    assert len(programs["feed_forward"]) == 4
    # two layers of 9 + 4, two norms and two sums each, 9 before and 2 after them
    assert len(programs["decode"]) == 2 * (9 + 4 + 4) + 11
    assert report["new_programs_for_other_lengths"] == 0, (
        "a step and a prefill compile once for all positions"
    )
    assert report["refused"] == "33 rows: decode takes at most 32"


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("33 rows in a decode step", "Unsupported input shape"),
        ("a cache of 200 tokens", "Chunk size must be multiple of 32"),
        ("rotary on a head_dim of 96", "Input X dim"),
        ("attention on a head_dim of 48", "Padding is not supported on the head_dim"),
        ("a mask of one row for all queries", "Mask sequence length must match Q sequence length"),
        ("angles that differ by row", "Cos dims must match input dims"),
        ("a mask beside causality", "is_causal and attn_mask cannot both be present"),
        # and what the records name in their place
        ("a mask of every query and key, its tiles filled", "accepted"),
        ("composed rotary with angles that differ by row", "accepted"),
    ],
)
def test_what_ttnn_answers_to_calls_that_the_records_speak_of(
    what: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run("refusals", capsys)
    assert answer in report["refusals"][what]

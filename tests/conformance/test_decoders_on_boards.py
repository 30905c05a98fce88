"""A decoder with grouped queries, windows, RMS norms and a gated feed-forward on the real ttnn: it is accepted."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.compiler.decoders import PLAIN, SPEC, written
from tests.conformance.boards import verified

SIZES: tuple[dict[str, Any], ...] = (
    {"kv": 1, "reach": None},
    {"kv": 3, "reach": 4, "bias": True, "mlp_bias": True},
    {"heads": 6, "kv": 2, "head_dim": 32, "reach": 40, "tie": True, "p_attn": 0.1},
)
SHAPES = ((1, 1), (2, 7), (2, 33), (2, 128))

pytestmark = pytest.mark.usefixtures("real_ttnn")


def request(entry: str, shape: tuple[int, int], fields: dict[str, Any], *, mask: bool) -> dict[str, Any]:
    batch, seq = shape
    return {
        "module": str(written(SPEC if mask else PLAIN)),
        "model": "DecoderForCausalLM",
        "fields": fields,
        "batch": batch,
        "seq": seq,
        "mask": mask,
        "entry": entry,
        "optimizer": "adamw",
    }


@cache
def found(entry: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    asked = [
        request(entry, shape, fields, mask=bool((place + turn) % 2))
        for turn, shape in enumerate(SHAPES)
        for place, fields in enumerate(SIZES)
        if shape[1] > 1 or entry == "forward"  # one token has no next one to learn
    ]
    return list(zip(asked, verified("n150", asked), strict=True))


@pytest.mark.parametrize("entry", ["forward", "train"])
def test_it_is_accepted_and_builds_its_programs_once(entry: str) -> None:
    for asked, answer in found(entry):
        assert answer["accepted"], (asked, answer)
        assert answer["new_programs"]["second_step"] == 0, asked
        assert answer["left_bytes"] == 0, asked


@pytest.mark.parametrize("entry", ["forward", "train"])
def test_every_program_computes_as_the_policy_says(entry: str) -> None:
    wanted = {"math_fidelity": "HiFi4", "math_approx_mode": "0", "fp32_dest_acc_en": "1"}
    for asked, answer in found(entry):
        for kind, configs in answer["compute_by_kind"].items():
            for config in configs:
                assert {name: config.get(name) for name in wanted} == wanted, (asked, kind, config)


@pytest.mark.deep
def test_windows_that_differ_by_layer_are_accepted() -> None:
    """Two masks are made, whatever the number of layers, and the programs of a layer are those of any other."""
    kinds = (["full_attention", "sliding_attention"] * 2, ["full_attention"] * 4)
    sizes = {"vocab": 300, "hidden": 128, "heads": 4, "kv": 2, "layers": 4, "inner": 96, "positions": 160}
    asked = [
        {
            **request(entry, (2, 64), {**sizes, "windowed": True, "reach": 40, "kind": kind}, mask=True),
            "module": str(Path(__file__).parents[2] / "generated" / "qwen2.py"),
            "model": "Qwen2ForCausalLM",
        }
        for entry in ("forward", "train")
        for kind in kinds
    ]
    answers = verified("n150", asked)
    for answer in answers:
        assert answer["accepted"], answer
        assert answer["new_programs"]["second_step"] == 0
        assert answer["left_bytes"] == 0
    forward, whole, *trained = (answer["by_kind"] for answer in answers)
    for some, none in ((forward, whole), trained):
        more = {kind: some.get(kind, 0) - none.get(kind, 0) for kind in {*some, *none}}
        assert {kind for kind, count in more.items() if count} == {"BinaryNg"}
        assert more["BinaryNg"] > 0, "what makes the second mask"


def test_inference_takes_few_programs() -> None:
    """Of a layer five matmuls: the projections to queries, keys and values are one."""
    for asked, answer in found("forward"):
        assert answer["by_kind"]["Matmul"] == 2 * 5 + 1, asked
        activated = [kind for kind in answer["by_kind"] if kind.startswith("Unary")]
        assert not activated, (asked, "the activation is applied in the matmul")


def test_groups_cost_no_copies_where_tokens_fill_tiles() -> None:
    for asked, answer in found("train"):
        if asked["seq"] % 32 == 0:
            assert "Repeat" not in " ".join(answer["by_kind"]), asked
            assert "ReshapeView" not in answer["phases"]["forward"]["by_kind"], asked

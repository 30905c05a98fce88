"""What ``nn`` offers blocks in training, on the real ttnn: accepted, in so many programs, built once."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ("n150", "p150")
SIZES = ((1, 1, 32), (2, 7, 40), (2, 33, 64), (2, 64, 96), (8, 128, 768))
"""Batch, tokens and features: tokens that fill no tile, just miss one, and are several."""
BACKWARD = ["MorehLayerNormBackwardInputGrad", "MorehLayerNormBackwardGammaBetaGrad"]
KINDS = {
    "dropout": ["Dropout"],
    "layer_norm": ["MorehLayerNorm"],
    "layer_norm without bias": ["MorehLayerNorm"],
    "layer_norm_backward": BACKWARD,
    "layer_norm_backward without bias": BACKWARD,
    "rms_norm_backward": [
        "BinaryNg", "Reduce", "BinaryNg", "FillPad", "LayerNorm", "BinaryNg", "Reduce", "FillPad", "Matmul", "BinaryNg",
        "Ternary", "BinaryNg",
    ],
    "softmax_backward": ["MorehSoftmaxBackward"],
    "masked_scores over keys": ["BinaryNg"],
    "masked_scores causal": ["BinaryNg"],
    "masked_scores without a mask": ["BinaryNg"],
    "embedding_backward": ["EmbeddingBackward"],
    "embedding_backward of three dims": ["EmbeddingBackward"],
    "embedding_backward with a row that is skipped": [
        "ReshapeView", "TilizeWithValPadding", "BinaryNg", "BinaryNg", "EmbeddingBackward",
    ],
    **{f"{name} of a part, by row": ["Matmul", *["BinaryNg"] * 3] for name in ("rotary", "rotary_backward")},
    "activate_backward of relu": ["BinaryNg"],
    "activate_backward of silu": ["BinaryNg"] * 3,
    **{f"activate_backward of {name}": ["UnaryBackward"] for name in ("gelu", "gelu_new", "tanh", "sigmoid")},
}  # fmt: skip
PADDED = ["Pad", "FillPad"]
"""First, where the tokens do not fill tiles: the ids, and the gradient within its last tile."""
MOVED = ("FillPad", "ReshapeView")

pytestmark = pytest.mark.usefixtures("real_ttnn")


@cache
def found(board: str) -> dict[str, dict[str, Any]]:
    """What each call made, by its name and size."""
    request = {"board": board, "sizes": SIZES}
    job = "tests.conformance.functional_jobs:training_calls"
    answer: dict[str, dict[str, Any]] = mockboard.run(job, request, board=board, path=ROOT, timeout=500)
    return answer


def summed(kinds: list[str]) -> list[str]:
    """``kinds`` with a sum of many rows, which ttnn makes in two steps, as one."""
    return [
        kind for kind, before in zip(kinds, ["", *kinds], strict=False) if (kind, before) != ("Reduce",) * 2
    ]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("name", KINDS)
def test_every_call_is_taken_and_makes_the_programs_it_says(name: str, board: str) -> None:
    for batch, tokens, features in SIZES:
        made = found(board)[f"{name} {batch} x {tokens} x {features}"]
        wanted = [*(PADDED if name.startswith("embedding") and tokens % 32 else ()), *KINDS[name]]
        kinds = made["kinds"]
        if name == "rms_norm_backward":
            if tokens % 32 or features % 32:  # the padding of what is summed is filled first
                wanted, kinds = ([kind for kind in one if kind not in MOVED] for one in (wanted, kinds))
            kinds = summed(kinds)
        assert kinds == wanted, (tokens, features)


@pytest.mark.parametrize("board", BOARDS)
def test_other_numbers_build_no_other_program(board: str) -> None:
    assert {name: made["new"] for name, made in found(board).items() if made["new"]} == {}


@pytest.mark.parametrize("board", BOARDS)
def test_every_program_computes_as_it_is_told(board: str) -> None:
    told = [config for made in found(board).values() for config in made["compute"]]
    assert len(told) >= 6 * len(SIZES)
    for config in told:
        assert (config["math_fidelity"], config["fp32_dest_acc_en"]) == ("HiFi4", "1")


def test_gradients_have_the_shapes_of_what_they_are_of() -> None:
    for batch, tokens, features in SIZES:
        size = f"{batch} x {tokens} x {features}"
        whole, rows = [batch, 1, tokens, features], [batch, 1, tokens]
        assert found("n150")[f"layer_norm {size}"]["shapes"] == [whole, rows, rows]
        assert found("n150")[f"layer_norm_backward {size}"]["shapes"] == [whole, [features], [features]]
        assert found("n150")[f"embedding_backward {size}"]["shapes"] == [[99, features]]


def test_every_call_is_looked_at() -> None:
    asked = {re.sub(r" \d+ x \d+ x \d+$", "", name) for name in found("n150")}
    assert asked == set(KINDS)

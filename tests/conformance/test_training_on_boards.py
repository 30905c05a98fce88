"""Losses and optimizers on the real ttnn: accepted, counted, and built once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ("n150", "p150")

pytestmark = pytest.mark.usefixtures("real_ttnn")


def run(job: str, board: str) -> dict[str, Any]:
    return mockboard.run(f"tests.conformance.training_jobs:{job}", {}, board=board, path=ROOT, timeout=300)


FORWARD = {
    # FillPad where the vocabulary leaves tiles unfilled: before the largest, the sum, and the pick (of logits and ids).
    "vocabulary": 14,
    "large vocabulary": 10,
    "smoothed": 17,
    "sequences": 15,
    "span": 28,
    "squares": 5,
    "yes or no": 10,
}
"""Programs of a forward: few enough to be counted by hand, so that one more is noticed."""
BACKWARD = {
    "vocabulary": 7,
    "large vocabulary": 6,
    "smoothed": 7,
    "sequences": 7,
    "span": 14,
    "squares": 3,
    "yes or no": 4,
}


@pytest.mark.parametrize("board", BOARDS)
def test_losses_are_accepted_and_a_second_one_builds_no_program(board: str) -> None:
    found = run("losses", board)
    for name, one in found.items():
        print(f"{board} {name}: {one}")  # noqa: T201  # for whoever runs it with -s
        assert one["new"] == [0] * 4, name
        assert {dtype for _, dtype in one["gradients"]} == {"DataType.BFLOAT16"}, name
    assert {name: len(found[name]["forward"]) for name in FORWARD} == FORWARD
    assert {name: len(found[name]["backward"]) for name in BACKWARD} == BACKWARD


@pytest.mark.parametrize("board", BOARDS)
def test_optimizers_are_accepted_and_a_second_step_builds_no_program(board: str) -> None:
    found = run("optimizers", board)
    alone = found.pop("alone")
    for name, one in found.items():
        print(f"{board} {name}: {len(one['programs'])} {one}")  # noqa: T201  # for whoever runs it with -s
        assert one["new"][2:] == [0, 0], name
        if not name.startswith("clip"):
            assert one["state"] in (["DataType.FLOAT32"], []), name
    print(f"{board} {alone}")  # noqa: T201  # likewise
    assert {name: sum(kinds.values()) for name, kinds in alone.items()} == {
        "adamw": 6,
        "adamw without decay": 5,
        "adam": 5,
        "sgd": 2,
        "sgd momentum": 3,
        "lion": 5,
    }

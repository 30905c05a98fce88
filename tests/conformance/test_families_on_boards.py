"""The matrix of families and heads that is held against Transformers, on the real ttnn: forward and training steps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.boards import BOARDS, MODULES, verified

families = pytest.importorskip("tests.runtime.nn.families", reason="the table builds Transformers' models")
LENGTHS = families.LENGTHS
pytestmark = [pytest.mark.usefixtures("real_ttnn"), pytest.mark.deep]


def cells(family: str, board: str) -> list[dict[str, Any]]:
    """Requests for each head at each length on the first board, and on the other at one length, another for each head.

    A mask is there at every second; what it changes is asked of all models elsewhere.
    """
    found = families.FAMILIES[family]
    asked = []
    for at, head in enumerate(found.heads.values()):
        config = {**found.sizes, **head.options, "model_type": family}
        lengths = LENGTHS if board == BOARDS[0] else LENGTHS[at % len(LENGTHS) :][:1]
        asked += [
            {
                "module": str(MODULES[found.module]),
                "model": head.model,
                "hugging_face": config,
                "batch": 3,
                "seq": max(length, 2) if head.labels in families.PAIRED else length,
                "entry": entry,
                "mask": bool((at + turn) % 2),
            }
            for turn, length in enumerate(lengths)
            for entry in ("forward", "train")
            if entry == "forward" or head.labels != "outputs"
        ]
    return asked


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_head_is_accepted_at_every_length(family: str, board: str) -> None:
    asked = cells(family, board)
    for one, found in zip(asked, verified(board, asked, timeout=900), strict=True):
        assert found["accepted"], (one, found)
        assert found["new_programs"]["second_step"] == 0, one
        assert found["left_bytes"] == 0, one

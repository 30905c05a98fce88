"""Boards that are asked, the modules that they are asked about, and the asking, in one process for many requests."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from ttmlc.specs import models
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[2]
MODULES = {path.stem: path for path in sorted((ROOT / "generated").glob("*.py"))}
DERIVED = {path.stem for path in models() if " extends " in path.read_text(encoding="utf-8")}
"""Modules of specs that change another's: what a fast run leaves to the deep one."""
BOARDS = ("n150", "p150")
MOSTLY_ONE = ("n150", pytest.param("p150", marks=pytest.mark.deep))
"""For a fast run one board: what is accepted differs where memory does."""


def verified(board: str, requests: list[dict[str, Any]], timeout: float = 500) -> list[dict[str, Any]]:
    """What ``verify`` finds for each request, in one process."""
    request = {"board": board, "requests": requests}
    job = "tests.conformance.board_jobs:verify_many"
    found: list[dict[str, Any]] = mockboard.run(job, request, board=board, path=ROOT, timeout=timeout)[
        "found"
    ]
    return found


def known(module: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Those of ``fields`` that the config of ``module`` has."""
    names = set(
        re.findall(r"^    (\w+): .* = nn\.", MODULES[module].read_text(encoding="utf-8"), re.MULTILINE)
    )
    return {name: value for name, value in fields.items() if name in names}


def odd_configs(seed: int, count: int) -> list[tuple[dict[str, Any], int, int]]:
    """Sizes that nobody publishes, many of which do not fit each other; batch and tokens beside them."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        head_dim = chance.choice((16, 32, 32, 48, 64, 96, 100, 128))
        heads = chance.choice((1, 2, 3, 5))
        fields = {
            "layers": chance.choice((1, 2)),
            "heads": heads,
            "hidden": head_dim * heads + chance.choice((0, 0, 0, 1)),
            "inner": chance.choice((1, 31, 50, 96, 257)),
            "vocab": chance.choice((1, 31, 33, 99, 1000)),
            "positions": chance.choice((1, 33, 130, 512)),
            "types": chance.choice((1, 2, 5)),
            "act": chance.choice(("gelu", "gelu_new", "relu", "silu", "tanh", "sigmoid")),
            "causal": chance.choice((False, True)),
        }
        found.append((fields, chance.choice((1, 3, 32)), chance.choice((1, 7, 31, 33, 130))))
    return found

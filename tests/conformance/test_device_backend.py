"""TTMLC_BACKEND=ttnn: a user's program on the real ttnn, as it would run on a board."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard

from tests.conformance.backend_jobs import SMALL

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("real_ttnn")


def run(job: str, board: str = "n150", **request: Any) -> dict[str, Any]:
    request = {"module": str(ROOT / "generated/bert.py"), **request}
    return mockboard.run(
        f"tests.conformance.backend_jobs:{job}", request, board=board, path=ROOT, timeout=200
    )


def test_devices_are_opened_shared_and_closed() -> None:
    found = run("lifecycle")
    assert found["is_real"] is True
    assert found["shared"] is True
    assert found["programs_are_kept"] is True
    assert found["shape"] == [1, 3, 128]
    assert found["again"] == [1, 128]
    assert found["repr"].startswith("BertModel(") and "dtype='bfloat16'" in found["repr"]
    assert found["imported"] == [], "neither torch nor the compiler is needed on a training machine"


def test_exact_arithmetic_is_refused_with_the_reason() -> None:
    found = run("lifecycle")
    for refused in (found["exact"], found["exact_device"]):
        assert "is exact arithmetic, which a board does not have: set TTMLC_BACKEND=emulator" in refused
    assert found["unknown"] == "dtype 'float16' is not one of bfloat16, float32, float64"


def test_a_checkpoint_goes_to_the_board_and_back(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "generated"))
    try:
        import bert
    finally:
        sys.path.pop(0)
    model = bert.BertModel(bert.BertConfig(**SMALL), dtype="float32")
    model.save_pretrained(tmp_path / "saved")
    found = run("weights", folder=str(tmp_path / "saved"), out=str(tmp_path / "back"))
    assert found["report"] == [[], []]
    assert found["on_the_device"] is True
    assert found["names"] == sorted(name for name, _ in model.named_parameters())
    assert found["dtypes"] == ["float32"]
    assert sorted(found["written"]) == ["config.json", "model.safetensors"]
    # A mock device keeps no values: names and shapes are what can be compared.
    back = bert.BertModel.from_pretrained(tmp_path / "back", dtype="float32")
    shapes = [{name: p.shape for name, p in each.named_parameters()} for each in (back, model)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("board", ["n150", "p150"])
def test_a_second_step_builds_no_program_whatever_it_is_given(board: str) -> None:
    found = run("second_step", board)
    first, second, third = found["entries"]
    assert 0 < first == second == third
    assert found["new"] == 0
    assert found["left"] == 0, "a step leaves nothing behind"


@pytest.mark.parametrize("board", ["n150", "p150"])
def test_a_second_training_step_builds_no_program_and_leaves_nothing(board: str) -> None:
    """Forward, backward over a weighed loss, accumulation and values written to the storages, in place."""
    found = run("training", board, module=str(ROOT / "tests/runtime/autograd/taped.py"))
    assert found["shapes"] == found["wanted"]
    assert found["loss"] is True
    assert "came a second time" in found["freed"]
    assert (found["new"], found["left"]) == (0, 0)
    assert found["in place"] is True


@pytest.mark.parametrize(("board", "mesh"), [("n300", (1, 2)), ("t3000", (2, 4)), ("p150x4", (1, 4))])
def test_a_model_lives_on_every_chip_of_a_mesh(board: str, mesh: tuple[int, int]) -> None:
    found = run("mesh", board, mesh=mesh)
    assert found["chips"] == mesh[0] * mesh[1]
    assert found["shape"] == [1, 3, 128]
    assert found["weights"] == [1, 2]


def test_the_script_for_a_boards_owner_tells_a_board_that_computes_nothing() -> None:
    found = run("check_board", script=str(ROOT / "examples/check_board.py"))
    assert "the board does not compute what it should: PCC 0.0000" in found["ended"]
    rows = [line.split() for line in found["printed"].splitlines()[1:]]
    assert len(rows) == 6
    for row in rows:
        board, emulator = float(row[-3]), float(row[-2])
        assert board == 0 and emulator > 0.99, row


@pytest.mark.deep
def test_blocks_and_calls_are_seen_on_a_board_as_on_the_emulator(tmp_path: Path) -> None:
    import numpy as np
    from ttmlc_runtime.inspection import record, saved

    from generated.bert import BertConfig, BertModel

    trace = record(BertModel(BertConfig(**SMALL), dtype="float32"), {"input_ids": np.array([[5, 7, 9]])})
    saved.save(tmp_path / "emulator.safetensors", trace.recording)
    found = run("inspected", saved=str(tmp_path / "emulator.safetensors"))
    both = ["accumulated", "isolated"]
    assert found["blocks"] == [[str(part.key), None, True, both] for part in trace.recording.parts]
    steps = [[step.name, step.line, trace.specs[step.line], both] for step in trace.recording.steps]
    assert found["steps"] == steps

"""The kit: boards as ttnn sees them, jobs that die or dawdle, and ttnn's record read as ttnn reads it."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ttmlc_runtime import mockboard
from ttmlc_runtime.errors import BackendError
from ttmlc_runtime.mockboard import BOARDS, compiler, environment, kit

ROOT = Path(__file__).resolve().parents[2]

AS_SEEN = {  # mesh, architecture, grid of cores, GiB of DRAM on each chip
    "n150": ([1, 1], "WORMHOLE_B0", [8, 8], 12.0),
    "n300": ([1, 2], "WORMHOLE_B0", [8, 7], 12.0),
    "t3000": ([2, 4], "WORMHOLE_B0", [8, 7], 12.0),
    "p150": ([1, 1], "BLACKHOLE", [13, 10], 31.9),
    "p150x4": ([1, 4], "BLACKHOLE", [13, 10], 31.9),
}


def run(job: str, board: str = "n150", timeout: float = 100, **request: Any) -> dict[str, Any]:
    request = {"board": board, **request}
    return mockboard.run(
        f"tests.conformance.board_jobs:{job}", request, board=board, path=ROOT, timeout=timeout
    )


@pytest.mark.usefixtures("real_ttnn")
@pytest.mark.parametrize("board", BOARDS)
def test_ttnn_opens_every_board_and_sees_what_it_is(board: str) -> None:
    seen = run("survive", board)
    mesh, arch, grid, gib = AS_SEEN[board]
    assert (seen["mesh"], seen["arch"], seen["grid"], seen["gib"]) == (mesh, arch, grid, gib)
    assert seen["shape"] == [64, 128]
    assert seen["gathered"] == (None if mesh == [1, 1] else [64, 128 * mesh[1]])


@pytest.mark.usefixtures("real_ttnn")
def test_a_job_that_dies_is_told_with_its_signal() -> None:
    with pytest.raises(BackendError, match=r"was ended by SIG\w+; its last words"):
        run("crash")


@pytest.mark.usefixtures("real_ttnn")
def test_a_job_that_takes_too_long_is_ended() -> None:
    with pytest.raises(BackendError, match="did not answer within 2 s"):
        run("sleep", timeout=2, seconds=60)


@pytest.mark.usefixtures("real_ttnn")
def test_what_a_job_raises_is_raised_here() -> None:
    with pytest.raises(BackendError, match=r"before ttnn is imported: call prepare\(\) first"):
        run("prepared_too_late")


def test_an_unknown_board_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no board 'n159'; there are n150, n300, t3000, p150, p150x4"):
        kit.prepare("n159", tmp_path)
    with pytest.raises(ValueError, match="no board 'n159'"):
        mockboard.verify(ROOT / "generated/bert.py", board="n159")
    assert not list(tmp_path.iterdir())


def test_a_python_without_ttnn_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python"
    shim.write_text("#!/bin/sh\nexit 1\n")
    shim.chmod(0o755)
    monkeypatch.setenv(environment.PYTHON, str(shim))
    environment.python_with_ttnn.cache_clear()
    try:
        with pytest.raises(BackendError, match=rf"looked at {shim}.*pip install 'ttmlc\[ttnn\]'") as caught:
            mockboard.run("any:job", {}, board="n150")
    finally:
        environment.python_with_ttnn.cache_clear()
    assert environment.PYTHON in str(caught.value)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_description_hangs_together(board: mockboard.Board) -> None:
    told = json.loads(board.description())
    chips = set(map(str, range(board.chips)))
    assert set(told["arch"]) == set(told["harvesting"]) == chips
    assert board.chips == board.mesh[0] * board.mesh[1]
    assert sorted(str(chip) for card in board.cards for chip in card) == sorted(chips)
    ends = [(end["chip"], end["chan"]) for wire in told["ethernet_connections"] for end in wire]
    assert len(ends) == len(set(ends)), "a channel has one wire"
    linked = {0}
    for _ in chips:
        linked |= {end for one, _, other, _ in board.wires if {one, other} & linked for end in (one, other)}
    assert {str(chip) for chip in linked} == chips, "every chip can be reached"


def test_the_stand_in_kernel_is_a_risc_v_executable() -> None:
    data = compiler.kernel(0x8000)
    assert data[:7] == b"\x7fELF\x01\x01\x01"
    kind, machine, _, start = struct.unpack_from("<HHII", data, 16)
    assert (kind, machine, start) == (2, 243, 0x8000)
    sections_at, names_of = struct.unpack_from("<I", data, 32)[0], struct.unpack_from("<H", data, 50)[0]
    table = [struct.unpack_from("<10I", data, sections_at + 40 * number) for number in range(6)]
    at = table[names_of][4]
    names = [data[at + entry[0] :].split(b"\0")[0] for entry in table]
    assert names == [b"", b".text", b".rela.text", b".symtab", b".strtab", b".shstrtab"]
    text = table[1]
    assert struct.unpack_from("<I", data, text[4])[0] == 0x00008067, "ret"
    assert len(data) == sections_at + 6 * 40


@cache
def of_capture() -> dict[str, Any]:
    return run("captured")


@pytest.mark.usefixtures("real_ttnn")
def test_a_capture_says_which_programs_ran() -> None:
    found = of_capture()
    # gelu is fused into a matmul only where a core grid is given
    assert found["kinds"] == ["Matmul", "Unary", "Copy", "Softmax", "Embeddings"]
    assert found["kinds_dispatched"] == found["kinds"]
    assert found["writes"][0] == [[2, 100, 3000]]
    assert (found["new"], found["new_again"]) == (5, 0)


@pytest.mark.usefixtures("real_ttnn")
def test_a_capture_counts_memory_as_ttnn_does() -> None:
    found = of_capture()
    assert found["peak_l1"] == found["peak_l1_of_ttnn"] > 2 * 128 * 3008 * 2 // 64, "a tensor among 64 cores"
    assert found["left"] == found["left_of_ttnn"] > 0


@pytest.mark.usefixtures("real_ttnn")
def test_bytes_moved_are_each_operand_read_once_and_each_result_written_once() -> None:
    matmul, unary, copy, softmax, embeddings = of_capture()["moved"]
    tile = 32 * 32 * 2
    x, w, y = 2 * 4 * 3 * tile, 3 * 94 * tile, 2 * 4 * 94 * tile
    assert matmul == x + w + y
    assert unary == 2 * y
    assert copy == y, "what lies in L1 is near the cores"
    assert softmax == 0
    rows = 2 * 64 * 64 * 2
    assert embeddings == 2 * 64 * 4 + 2 * rows, "of the table, the rows that are asked for"


@pytest.mark.usefixtures("real_ttnn")
def test_transfers_are_counted() -> None:
    found = of_capture()
    assert found["to_device"] == [False]
    assert found["transferred"] == [2 * 4 * 94 * 32 * 32 * 2]

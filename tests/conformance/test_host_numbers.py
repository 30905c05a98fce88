"""What ttnn computes on the host is computed bit for bit by the emulator: rounding, packing, tiles, shards."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ttmlc_runtime.emulator as emulator
from ttmlc_runtime import mockboard

from tests.conformance.host_numbers import FLOATS, INTEGERS, Case, computed

ROOT = Path(__file__).resolve().parents[2]
MESHES = (("n300", (1, 2)), ("t3000", (2, 4)), ("t3000", (1, 8)), ("p150x4", (1, 4)), ("p150x4", (2, 2)))
RANKS = ([5], [1, 1], [33, 7], [32, 32], [3, 40, 96], [2, 1, 31, 130], [2, 3, 1, 17], [1, 2, 1, 2, 48])

pytestmark = pytest.mark.usefixtures("real_ttnn")


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array as integers; every NaN is one, since its payload is of no interest."""
    if array.dtype != np.float32:
        return array
    return np.where(np.isnan(array), np.uint32(0x7FC00000), array.view(np.uint32))


def compare(cases: list[Case], folder: Path, board: str = "n150", mesh: tuple[int, int] | None = None) -> int:
    """Each case on both; how many ttnn refused."""
    out = folder / "real.npz"
    request = {"cases": cases, "board": board, "mesh": mesh, "out": str(out)}
    job = "tests.conformance.host_numbers:job"
    kinds = mockboard.run(job, request, board=board, path=ROOT, timeout=300)["kinds"]
    real = np.load(out)
    opened = emulator.open_mesh_device(emulator.MeshShape(*(mesh or (1, 1))))
    told: list[str] = []
    for place, (case, kind) in enumerate(zip(cases, kinds, strict=True)):
        found = computed(emulator, opened, case)
        if isinstance(kind, str) or isinstance(found, str):
            if not (isinstance(kind, str) and isinstance(found, str)):
                told.append(
                    f"{case}: {'only ttnn' if isinstance(kind, str) else 'only the emulator'} refuses"
                )
            continue
        wanted = [real[f"{place}_{number}"] for number in range(kind)]
        told += [
            f"{case}: array {number} differs"
            for number, (array, other) in enumerate(zip(found, wanted, strict=True))
            if array.dtype != other.dtype or not np.array_equal(bits(array), bits(other))
        ]
    assert not told, "\n".join(["", *told[:8], f"{len(told)} differences in {len(cases)} cases"])
    emulator.close_mesh_device(opened)
    return sum(isinstance(kind, str) for kind in kinds)


def test_floats_are_rounded_and_packed_bit_for_bit(tmp_path: Path) -> None:
    cases: list[Case] = [
        {"kind": kind, "shape": shape, "dtype": dtype, "seed": number}
        for kind in ("bits", "near", "ties", "special")
        for dtype in FLOATS
        for number, shape in enumerate((*RANKS, [64, 512]))
    ]
    assert compare(cases, tmp_path) == 0


@pytest.mark.deep
def test_a_million_floats_are_rounded_and_packed_bit_for_bit(tmp_path: Path) -> None:
    cases: list[Case] = [
        {"kind": kind, "shape": [1024, 1024], "dtype": dtype, "seed": seed}
        for kind in ("bits", "near", "ties")
        for dtype in FLOATS
        for seed in (11, 12)
    ]
    assert compare(cases, tmp_path) == 0


def test_arrays_of_every_dtype_become_what_ttnn_makes_of_them(tmp_path: Path) -> None:
    sources = {
        "counts": ("int32", "uint32", "uint16", "uint8", "int8", "bool", "int64", "int16"),
        "numbers": ("float32", "float16", "float64"),
    }
    cases: list[Case] = [
        {"kind": kind, "source": source, "shape": [3, 40], "dtype": dtype, "layout": layout, "seed": 3}
        for kind, names in sources.items()
        for source in names
        for dtype in (*FLOATS, *INTEGERS)
        for layout in ("TILE", "ROW_MAJOR")
    ]
    assert compare(cases, tmp_path) > 10


def test_tiles_and_rows_hold_the_same(tmp_path: Path) -> None:
    cases: list[Case] = [
        {"kind": "near", "shape": shape, "dtype": dtype, "layout": first, "layouts": then, "seed": 5}
        for dtype in ("bfloat16", "float32", "bfloat8_b", "bfloat4_b")
        for shape in RANKS
        for first, then in (
            ("ROW_MAJOR", ["TILE"]),
            ("TILE", ["ROW_MAJOR"]),
            ("ROW_MAJOR", ["TILE", "ROW_MAJOR"]),
        )
    ]
    compare(cases, tmp_path)


def test_labels_are_exchanged_bit_for_bit(tmp_path: Path) -> None:
    kinds = {"counts": INTEGERS, "near": FLOATS}
    cases: list[Case] = [
        {"kind": kind, "shape": [33, 40], "dtype": dtype, "dtypes": [to], "layout": layout, "seed": 6}
        for kind, dtypes in kinds.items()
        for dtype in dtypes
        for to in (*FLOATS, *INTEGERS)
        for layout in ("TILE", "ROW_MAJOR")
    ]
    compare(cases, tmp_path)


def sharded(seed: int, count: int, mesh: tuple[int, int]) -> list[Case]:
    """Ways to cut over a mesh and put together again, of which some do not go."""
    chance = random.Random(seed)
    found: list[Case] = []
    for number in range(count):
        rank = chance.choice((1, 2, 2, 3, 4))
        shape = [chance.choice((1, 2, 8, 16, 24, 33, 64)) for _ in range(rank)]

        def dim(rank: int = rank) -> int:
            return chance.randrange(-rank, rank)

        how = chance.choice(("shard", "shard", "replicate", "2d", "placements"))
        cut: list[Any] = [how]
        if how == "shard":
            cut.append(dim())
        elif how != "replicate":
            cut += [chance.choice((None, dim())) for _ in mesh]
        if how == "shard":
            wanted = mesh[0] * mesh[1]
            if (
                shape[cut[1]] < wanted
            ):  # fewer shards than chips: ttnn makes them, and ends when they are to be used
                shape[cut[1]] *= wanted
        else:
            for count_, place in zip(mesh, cut[1:], strict=False):
                if place is not None and shape[place] < count_:
                    shape[place] *= count_
        join: list[Any] = ["concat", dim()] if chance.random() < 0.5 else ["2d", dim(), dim()]
        case: Case = {
            "kind": "near",
            "shape": shape,
            "dtype": chance.choice(FLOATS),
            "mapper": cut,
            "composer": join,
            "seed": number,
        }
        if chance.random() < 0.3:
            case["dtypes"] = [chance.choice(FLOATS)]
        found.append(case)
    return found


@pytest.mark.parametrize(("board", "mesh"), MESHES)
def test_shards_are_cut_and_put_together_bit_for_bit(
    board: str, mesh: tuple[int, int], tmp_path: Path
) -> None:
    refused = compare(sharded(7, 150, mesh), tmp_path, board, mesh)
    assert 15 < refused < 110, "of those that do not go there have to be some, and not too many"


@pytest.mark.deep
@pytest.mark.parametrize(("board", "mesh"), MESHES)
def test_many_shards_are_cut_and_put_together_bit_for_bit(
    board: str, mesh: tuple[int, int], tmp_path: Path
) -> None:
    compare(sharded(8, 1500, mesh), tmp_path, board, mesh)

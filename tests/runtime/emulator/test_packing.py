"""Rounding, bit for bit: bfloat16 as torch has it, the block formats as ttnn's host packs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import ttmlc_runtime.emulator as ttnn
from ttmlc_runtime.emulator import kernels, packing

from tests.runtime.emulator.record_packing import record

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RECORDED = HERE / "packed_by_ttnn.npz"
LABELS = ("bfloat16", "bfloat8_b", "bfloat4_b")


def torch_rounds(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()


def same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal in every bit; of two NaN the payload is of no interest."""
    numbers = ~(np.isnan(found) & np.isnan(wanted))
    np.testing.assert_array_equal(found.view(np.uint32)[numbers], wanted.view(np.uint32)[numbers])


@pytest.fixture(params=["numpy", "compiled"])
def round_bfloat16(request):
    """Both ways of rounding; the compiled one is for arrays large enough to be worth it."""
    return packing.round_bfloat16 if request.param == "numpy" else kernels.round_bfloat16


def test_bfloat16_of_random_bits_is_torchs(round_bfloat16):
    # Every exponent, subnormals, infinities and NaN come up many times among a million patterns.
    bits = np.random.default_rng(1).integers(0, 2**32, 1 << 20, dtype=np.uint32)
    values = bits.view(np.float32)
    same_bits(round_bfloat16(values), torch_rounds(values))


def test_bfloat16_ties_go_to_even(round_bfloat16):
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    ties = (upper | np.uint32(0x8000)).view(np.float32)
    same_bits(round_bfloat16(ties), torch_rounds(ties))
    assert round_bfloat16(np.full(1 << 14, 1.00390625, np.float32))[0] == 1.0
    assert round_bfloat16(np.full(1 << 14, 1.01171875, np.float32))[0] == 1.015625


def test_rounding_leaves_its_argument_alone(round_bfloat16):
    values = np.full(1 << 15, 1.0001, np.float32)
    round_bfloat16(values)
    assert values[0] == np.float32(1.0001)


@pytest.mark.parametrize("label", LABELS)
def test_every_recorded_value_is_packed_as_ttnn_packs_it(label):
    with np.load(RECORDED) as recorded:
        same_bits(packing.rounded(recorded["values"], getattr(ttnn, label)), recorded[label])


@pytest.mark.usefixtures("real_ttnn")
def test_the_record_is_what_ttnn_packs_today(tmp_path):
    record(tmp_path / "now.npz")
    with np.load(RECORDED) as recorded, np.load(tmp_path / "now.npz") as now:
        assert set(recorded.files) == set(now.files)
        for name in recorded.files:
            same_bits(recorded[name], now[name])


@pytest.mark.parametrize("width", [1, 5, 15, 17, 33])
def test_a_block_that_is_not_full_is_packed_as_if_zeros_followed(width):
    values = np.random.default_rng(2).standard_normal((3, width)).astype(np.float32)
    padded = np.zeros((3, -(-width // 16) * 16), np.float32)
    padded[:, :width] = values
    found = packing.rounded(values, ttnn.bfloat8_b)
    np.testing.assert_array_equal(found, packing.rounded(padded, ttnn.bfloat8_b)[:, :width])


def test_neighbours_share_an_exponent():
    row = np.zeros(32, np.float32)
    row[0], row[1], row[16] = 1024.0, 1.0, 1.0
    packed = packing.rounded(row[None], ttnn.bfloat4_b)[0]
    assert packed[0] == 1024.0
    assert packed[1] == 0.0  # lost beside 1024
    assert packed[16] == 1.0  # in a block of its own


@pytest.mark.parametrize(
    ("label", "values", "wanted"),
    [
        (ttnn.int32, [1.5, -2.7, 3e9, -1.0], [1, -2, -(2**31), -1]),
        (ttnn.uint32, [1.5, -2.7, 3e9, -1.0], [1, 2**32 - 2, 3_000_000_000, 2**32 - 1]),
        (ttnn.uint16, [1.5, -2.7, 300.0, -1.0], [1, 0, 300, 0]),
    ],
)
def test_floats_become_integers_as_ttnns_host_makes_them(label, values, wanted):
    assert ttnn.Tensor(np.array([values], np.float32), label).to_numpy().tolist() == [wanted]


def test_kernels_agree_with_and_without_numba(monkeypatch, rng):
    values = rng.standard_normal((64, 1024)).astype(np.float32) * 3
    fast = {name: kernels.mapped(name, values) for name in kernels.FUSED}
    monkeypatch.setattr(kernels, "_compiled", lambda: None)
    for name, found in fast.items():
        # One float32 step of the largest value here, a few times over: both are within a few ulp of the truth.
        np.testing.assert_allclose(found, kernels.mapped(name, values), rtol=2e-6, atol=5e-7, err_msg=name)


def test_importing_the_emulator_leaves_numba_alone():
    code = "import sys, ttmlc_runtime.emulator; sys.exit('numba' in sys.modules)"
    path = str(ROOT / "runtime")
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False).returncode == 0

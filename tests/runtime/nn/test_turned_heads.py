"""Heads turned by rotary positions, against complex numbers in float64; and what is kept between calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ttmlc_runtime.emulator as ttnn
from ttmlc_runtime import nn

EXACT = 1e-12
"""float64 to some hundred roundings."""


@pytest.fixture
def device() -> Iterator[ttnn.MeshDevice]:
    opened = ttnn.open_device(numerics="float64")
    yield opened
    ttnn.close_device(opened)


def turned(x: Any, angles: Any) -> Any:
    """Features j and j + half as real and imaginary parts, times e^(i angle); the rest as it is."""
    half = angles.shape[-1]
    points = (x[..., :half] + 1j * x[..., half : 2 * half]) * np.exp(1j * angles[:, None])
    return np.concatenate([points.real, points.imag, x[..., 2 * half :]], -1)


def values(tensor: ttnn.Tensor) -> Any:
    return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()


def places(rows: bool, batch: int, tokens: int) -> Any:
    return np.arange(tokens) + np.arange(batch)[:, None] * (5 if rows else 0)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize(("width", "half"), [(32, 16), (64, 32), (96, 48), (64, 8), (32, 12)])
@pytest.mark.parametrize("tokens", [1, 33])
def test_heads_are_turned_and_turned_back(
    tokens: int, width: int, half: int, rows: bool, device: ttnn.MeshDevice
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, tokens, width))
    on = ttnn.Tensor(x, ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
    angles = nn.Table(rng.uniform(0, 1, half)).at(places(rows, 2, tokens), device)
    # Cosines and sines are float32, of float32 angles.
    cos, sin = np.cos(angles.angles).astype(np.float64), np.sin(angles.angles).astype(np.float64)
    exact = np.log(cos + 1j * sin) / 1j
    wanted = turned(x, exact)
    made, back = nn.rotary(on, angles), nn.rotary_backward(on, angles)
    assert np.abs(values(made) - wanted).max() < EXACT
    assert np.abs(values(back) - turned(x, -exact.conj())).max() < 1e-6
    forms = {name for name, _ in angles._forms}
    assert forms == {"cos", "sin", "-sin"}
    assert bool(angles.table._swaps) == (not angles.fits(width))


def test_the_ops_own_form_takes_one_row_of_heads_turned_whole(device: ttnn.MeshDevice) -> None:
    table = nn.Table(np.ones(32))
    assert table.at(places(False, 2, 7), device).fits(64)
    assert not table.at(places(False, 2, 7), device).fits(96)
    assert not table.at(places(True, 2, 7), device).fits(64)
    assert not nn.Table(np.ones(48)).at(places(False, 2, 7), device).fits(96)


def test_equal_positions_give_the_same_tensors_and_old_ones_are_let_go(device: ttnn.MeshDevice) -> None:
    table = nn.Table(np.ones(16))
    first = table.at(places(False, 2, 7), device)
    assert table.at(places(False, 3, 7), device) is first, "another batch with the same rows"
    assert first.cosines(32) is first.cosines(32)
    assert table.at(places(True, 2, 7), device) is not first
    for tokens in range(8, 20):
        table.at(places(False, 1, tokens), device)
    assert table.at(places(False, 2, 7), device) is not first


def test_positions_that_the_caller_changes_are_other_positions(device: ttnn.MeshDevice) -> None:
    table, given = nn.Table(np.ones(16)), places(False, 1, 7)
    first = table.at(given, device)
    given += 1
    assert (first.positions == np.arange(7)).all()
    assert table.at(given, device) is not first

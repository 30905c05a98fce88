"""Devices for the emulator's tests, and comparison with a bar that follows the numerics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ttmlc_runtime.emulator as ttnn
from places import download

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
"""Relative to the largest value: the bars that the design sets for exact modes."""


@pytest.fixture(params=["float32", "float64"])
def exact(request: pytest.FixtureRequest) -> Iterator[ttnn.Device]:
    """A device in each of the exact numerics."""
    device = ttnn.open_device(numerics=request.param)
    yield device
    ttnn.close_device(device)


@pytest.fixture
def device() -> Iterator[ttnn.Device]:
    """A device that rounds as a board does."""
    opened = ttnn.open_device()
    yield opened
    ttnn.close_device(opened)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(20240229)


@pytest.fixture
def close() -> Callable[[ttnn.Tensor, Any], None]:
    """Assert that a tensor is what a float64 reference says, within its numerics' bar."""

    def check(tensor: ttnn.Tensor, wanted: Any) -> None:
        found, expected = download(tensor), np.asarray(wanted, np.float64)
        assert found.shape == expected.shape
        bar = TOLERANCE[tensor.numerics.name] * max(1.0, float(np.abs(expected).max(initial=0)))
        worst = float(np.abs(found - expected).max(initial=0))
        assert worst <= bar, f"off by {worst:.3g}, the bar is {bar:.3g}"

    return check

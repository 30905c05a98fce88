"""A device that computes in float64."""

from __future__ import annotations

from typing import Any

import pytest
from ttmlc_runtime import nn


@pytest.fixture
def device() -> Any:
    """It rounds nothing that a test would see."""
    return nn.open_device("float64")

"""How the values behind a dtype label are held and computed.

``device``: rounded to what the label can hold, computed in float32. ``float32`` and ``float64``: real numbers are
held and computed in that type whatever the label says. Integers are integers in all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels, packing
from ttmlc_runtime.emulator.dtypes import DataType

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Numerics:
    """One way to hold and compute."""

    name: str
    rounds: bool
    compute: np.dtype[Any]

    def holds(self, dtype: DataType) -> np.dtype[Any]:
        """The numpy type of a tensor with this label."""
        return self.compute if dtype.is_float else np.dtype(dtype.value)

    def held(self, values: Array, dtype: DataType) -> Array:
        """``values`` as a tensor of this label holds them; the same array where nothing changes."""
        if not dtype.is_float:
            return packing.to_integers(values, dtype)
        values = values.astype(self.compute, copy=False)
        if not self.rounds:
            return values
        return (
            kernels.round_bfloat16(values) if dtype is DataType.BFLOAT16 else packing.rounded(values, dtype)
        )


DEVICE = Numerics("device", True, np.dtype(np.float32))
FLOAT32 = Numerics("float32", False, np.dtype(np.float32))
FLOAT64 = Numerics("float64", False, np.dtype(np.float64))
BY_NAME = {numerics.name: numerics for numerics in (DEVICE, FLOAT32, FLOAT64)}

"""How far two arrays are apart, in four numbers, and from where on they count as apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TOLERANCES = {"bfloat16": (0.99, 0.999), "float32": (0.99999, 0.99999), "float64": (0.99999, 0.99999)}
"""The PCC that is asked of a dtype: where errors accumulate, and where each block has the reference's input.

The reference is in float32. Of a run in float32 the order of sums takes some 1e-11 of the PCC, and what is wrong in a
model takes more than 1e-5. bfloat16 keeps eight bits, so that each value is off by up to 0.4 %; a block's output is
off by about 1 %, which takes up to 2e-4 of the PCC, and depth adds that up. 0.99 of a whole model is what boards are
held to.
"""
FEW = 3
"""Of fewer values there is no PCC: two points always lie on a line."""


@dataclass(frozen=True)
class Measure:
    """What is between two arrays.

    Attributes:
        pcc: Pearson's correlation; None where it is not defined: of few values, or of values that are all the same.
        max_abs: the largest difference.
        max_rel: it, as a part of the reference's largest absolute value.
        off: the root mean square of the difference, as a part of the reference's own. Unlike the PCC it sees a wrong
            size, or a shift.
    """

    pcc: float | None
    max_abs: float
    max_rel: float
    off: float

    @property
    def lost(self) -> float:
        """What is lost of a PCC of 1, or would be by noise as large as the difference is, which is ``off**2 / 2``."""
        values = (self.off**2 / 2, *(() if self.pcc is None else (1 - self.pcc,)))
        return math.inf if any(map(math.isnan, values)) else max(values)

    def parts(self, tolerance: float) -> bool:
        """Whether the two are further apart than a PCC of ``tolerance``."""
        return self.lost > 1 - tolerance

    def json(self) -> dict[str, float | None]:
        """The numbers; those that are none, which JSON does not have, as None."""
        found = {"pcc": self.pcc, "max_abs": self.max_abs, "max_rel": self.max_rel, "off": self.off}
        return {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in found.items()
        }


def measure(ours: Array, theirs: Array) -> Measure:
    """How far ``ours`` is from ``theirs``, an array of as many elements."""
    a, b = (np.asarray(array, np.float64).ravel() for array in (ours, theirs))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Measure(math.nan, math.nan, math.nan, math.nan)
    difference = np.abs(a - b)
    most, largest = float(difference.max(initial=0)), float(np.abs(b).max(initial=0))
    off = _part(math.sqrt(float(difference @ difference)), math.sqrt(float(b @ b)))
    return Measure(_pcc(a, b), most, _part(most, largest), off)


def _pcc(a: Array, b: Array) -> float | None:
    da, db = a - a.mean(), b - b.mean()
    spreads = math.sqrt(float(da @ da)), math.sqrt(float(db @ db))
    flat = [  # but for what rounding leaves of the mean
        spread <= 1e-12 * math.sqrt(float(values @ values))
        for spread, values in zip(spreads, (a, b), strict=True)
    ]
    if a.size < FEW or any(flat):
        return None
    return float(da @ db) / (spreads[0] * spreads[1])


def worst(measures: Sequence[Measure]) -> Measure | None:
    """Of several outputs' the one with the lowest PCC, and with what is most of the other numbers."""
    if not measures:
        return None
    defined = [one.pcc for one in measures if one.pcc is not None]
    return Measure(
        min(defined, key=lambda pcc: -math.inf if math.isnan(pcc) else pcc) if defined else None,
        _most(one.max_abs for one in measures),
        _most(one.max_rel for one in measures),
        _most(one.off for one in measures),
    )


def _most(values: Any) -> float:
    return max(values, key=lambda value: math.inf if math.isnan(value) else value)


def _part(value: float, of: float) -> float:
    if of == 0:
        return 0.0 if value == 0 else math.inf
    return value / of

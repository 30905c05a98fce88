"""How far two arrays are apart, in four numbers, and from where on they count as apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TOLERANCES = {"bfloat16": (0.99, 0.999), "float32": (0.99999, 0.99999), "float64": (0.99999, 0.99999)}
"""The PCC that is asked of a dtype, where errors accumulate and where each block has the reference's input.

The reference is float32. Of a float32 run about 1e-11 of the PCC is lost by the order of sums, and what is wrong in a
model takes more than 1e-5 of it. bfloat16 keeps eight bits: a value is off by up to 0.4 %, a block's output by about
1 %, which takes 1e-4 of the PCC, and depth adds that up. 0.99 of a whole model is what boards are held to.
"""


@dataclass(frozen=True)
class Measure:
    """What is between two arrays.

    Attributes:
        pcc: Pearson's correlation; None where it is not defined, because all values of one are the same.
        max_abs: the largest difference.
        max_rel: it, as a part of the reference's largest absolute value.
        off: the root mean square of the difference, as a part of the reference's standard deviation (of its root mean
            square, where all its values are the same). Unlike the PCC it sees a wrong size, or a shift.
    """

    pcc: float | None
    max_abs: float
    max_rel: float
    off: float

    def parts(self, tolerance: float) -> bool:
        """Whether this is further apart than a PCC of ``tolerance``.

        Noise that leaves so much of the PCC has a root mean square of sqrt(2 (1 - tolerance)) of the spread. More is
        too much even where the PCC sees nothing of it.
        """
        if self.pcc is not None and not self.pcc >= tolerance:
            return True
        return not self.off <= math.sqrt(2 * (1 - tolerance))

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
    da, db = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(db @ db))
    both = math.sqrt(float(da @ da)) * spread
    tiny = 1e-12 * math.sqrt(b.size) * largest  # what the mean of equal values leaves of them
    constant = spread <= tiny
    size = math.sqrt(float(b @ b)) if constant else spread
    return Measure(
        None if constant or not both else float(da @ db) / both,
        most,
        _part(most, largest),
        _part(math.sqrt(float(difference @ difference)), size),
    )


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

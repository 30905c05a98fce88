"""What lies in the padding of tiles, and who may read it.

A board keeps whole tiles: 32 x 32 over the last two dims. What an op leaves beyond the logical shape is some value, and
a few kernels read it. The emulator keeps one description of it for each buffer: a number; ``FINITE``, some number that
is not known; or ``WILD``, anything, infinities and NaN included. An op whose result would be changed by what is there
refuses, which is stricter than a board: there the numbers would be wrong in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np

Padding = Optional[float]  # noqa: UP045  # evaluated when imported

FINITE: Padding = None
"""Some number: what arithmetic on numbers leaves."""
WILD: Padding = math.nan
"""Anything at all: memory nobody wrote, or a quotient by zero."""


def is_finite(padding: Padding) -> bool:
    """Whether the padding is made of numbers, so that nothing times it is NaN."""
    return padding is None or math.isfinite(padding)


def after(function: Callable[..., Any], paddings: Sequence[Padding], *, total: bool) -> Padding:
    """The padding of an elementwise result.

    Args:
        function: what is applied, in numpy.
        paddings: of each operand.
        total: whether ``function`` makes numbers of all numbers.
    """
    known = [padding for padding in paddings if padding is not FINITE]
    if len(known) == len(paddings):
        with np.errstate(all="ignore"):
            return float(np.asarray(function(*(np.float64(padding) for padding in known)), np.float64))
    if total and all(map(is_finite, paddings)):
        return FINITE
    return WILD

"""The learning curves of a run, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .sides import Timed

SMOOTHED = 20
"""Steps that a point of the smooth curve is the mean of."""
COLOURS = {"ttmlc": "tab:blue", "transformers": "tab:orange"}


def smooth(losses: Sequence[float]) -> np.ndarray:
    """The mean of the last ``SMOOTHED`` losses at each step."""
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(0, ends - SMOOTHED)
    return (sums[ends] - sums[starts]) / (ends - starts)


def apart(sides: Sequence[Timed]) -> np.ndarray:
    """How far the losses of two sides are apart at each step, as a share of the second's."""
    ours, theirs = (np.array(timed.losses) for timed in sides)
    return np.abs(ours - theirs) / np.abs(theirs)


def draw(
    path: Path,
    title: str,
    sides: Sequence[Timed],
    measured: str,
    *,
    lines: Mapping[str, float] | None = None,
    compared: bool = False,
) -> None:
    """Loss and what was measured over steps, of every side.

    Args:
        path: of the PNG.
        title: above it.
        sides: with their curves.
        measured: what was measured, for the axis.
        lines: losses that are worth a line of their own, by what they are.
        compared: whether two sides' losses are subtracted in a part of their own.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    compared = compared and len(sides) == 2
    rows = 3 if compared else 2
    figure, parts = plt.subplots(rows, 1, sharex=True, figsize=(8, 3.5 * rows), layout="constrained")
    above, below = parts[:2]
    for timed, style in zip(sides, ("-", "--"), strict=False):
        name, colour, steps = timed.side.name, COLOURS[timed.side.name], np.arange(1, len(timed.losses) + 1)
        above.plot(steps, timed.losses, color=colour, alpha=0.2, linewidth=0.8)
        above.plot(steps, smooth(timed.losses), style, color=colour, label=name)
        below.plot(*zip(*timed.measures, strict=True), f"o{style}", color=colour, label=name)
    for label, loss in (lines or {}).items():
        above.axhline(loss, color="gray", linestyle=":", label=f"{label}: {loss:.2f}")
    above.set(title=title, ylabel=f"loss (bold: mean of {SMOOTHED} steps)")
    below.set(ylabel=measured)
    if compared:
        _difference(parts[2], sides)
    for axes in (above, below):
        axes.legend()
    for axes in parts:
        axes.grid(alpha=0.3)
    parts[-1].set(xlabel="step")
    staging = path.with_name(f".{path.name}")
    figure.savefig(staging, dpi=120, format="png")
    staging.replace(path)
    plt.close(figure)


def _difference(axes: Any, sides: Sequence[Timed]) -> None:
    shares = apart(sides)
    axes.semilogy(np.arange(1, len(shares) + 1), shares, color="black", linewidth=0.8)
    axes.set(ylabel="difference of the two losses, relative")

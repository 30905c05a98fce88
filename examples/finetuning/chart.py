"""The learning curves of a run, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def draw(path: Path, title: str, sides: Sequence[Timed]) -> None:
    """Loss and held-out accuracy over steps, of every side."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
    for timed in sides:
        name, colour, steps = timed.side.name, COLOURS[timed.side.name], np.arange(1, len(timed.losses) + 1)
        above.plot(steps, timed.losses, color=colour, alpha=0.2, linewidth=0.8)
        above.plot(steps, smooth(timed.losses), color=colour, label=name)
        below.plot(*zip(*timed.accuracies, strict=True), "o-", color=colour, label=name)
    above.set(title=title, ylabel=f"loss (bold: mean of {SMOOTHED} steps)")
    below.set(xlabel="step", ylabel="accuracy on held-out reviews")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend()
    staging = path.with_name(f".{path.name}")
    figure.savefig(staging, dpi=120, format="png")
    staging.replace(path)
    plt.close(figure)

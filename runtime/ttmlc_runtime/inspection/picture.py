"""A comparison as a picture: a row a block, and how far it is from the reference."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from ttmlc_runtime.errors import BackendError
from ttmlc_runtime.inspection.rows import BlockRow, Report

COLOURS = {"accumulated": "tab:blue", "isolated": "tab:orange"}
WORDS = {"accumulated": "errors accumulate", "isolated": "fed the reference's input"}
SMALLEST, LARGEST = 1e-16, 2.0
"""The edges of what is drawn of a difference: nothing is at the left one, what is no number at the right one."""
ROW = 0.24
"""Inches."""


def draw(path: Path, report: Report) -> None:
    """Draw a report to a PNG; ``path`` appears whole or stays as it was.

    Raises:
        BackendError: matplotlib is missing.
        OSError: it cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise BackendError("--plot needs the package matplotlib: pip install matplotlib") from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    rows = [row for row in report.blocks if row.measures]
    height = 2.2 + ROW * max(len(rows), 4)
    figure, (lost, largest) = plt.subplots(1, 2, sharey=True, figsize=(12, height), layout="constrained")
    for nth, mode in enumerate(report.modes):
        shift = 0.15 * (2 * nth - 1) if len(report.modes) > 1 else 0.0
        _calls(lost, report, rows, mode, shift)
        _blocks(lost, largest, report, rows, mode, shift)
    names = [f"{row.key.name}  {row.key.kind}" for row in rows]
    lost.set_yticks(range(len(rows)), names, fontsize=8)
    lost.set_ylim(len(rows) - 0.5, -0.5)
    marks = ["hollow: within a block above"] if any(row.depth for row in rows) else []
    marks += ["ticks: calls of ops"] if report.steps else []
    lost.set_xlabel(f"1 - PCC ({'; '.join(marks)})" if marks else "1 - PCC")
    largest.set_xlabel("largest difference / largest value")
    for axes in (lost, largest):
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    figure.suptitle(f"{report.model} in {report.dtype} against {report.against}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(staging, dpi=120, format="png")
        staging.replace(path)
    finally:
        plt.close(figure)
        staging.unlink(missing_ok=True)


def _blocks(lost: Any, largest: Any, report: Report, rows: list[BlockRow], mode: str, shift: float) -> None:
    colour, tolerance = COLOURS[mode], report.tolerances[mode]
    style = {"color": colour, "markersize": 4.5, "linewidth": 0.7}
    measured = [(at + shift, row, row.measures[mode]) for at, row in enumerate(rows) if mode in row.measures]
    # A line for the blocks that the model calls; those within them stand beside it, hollow.
    for inner, form in (
        (False, {"marker": "o"}),
        (True, {"marker": "o", "linestyle": "", "markerfacecolor": "none"}),
    ):
        shown = [(height, one) for height, row, one in measured if (row.depth > 0) is inner]
        heights = [height for height, _ in shown]
        label = None if inner else WORDS[mode]
        lost.plot([_within(one.lost) for _, one in shown], heights, label=label, **style, **form)
        largest.plot([_within(one.max_rel) for _, one in shown], heights, **style, **form)
    lost.axvline(1 - tolerance, color=colour, linestyle="--", linewidth=0.9, label=f"PCC {tolerance:g}")
    found = report.parting(mode)
    if found is not None:
        at = rows.index(found[0])
        value = _within(found[0].measures[mode].lost)
        ring = {"color": "none", "markeredgecolor": "tab:red", "markersize": 11, "markeredgewidth": 1.8}
        lost.plot([value], [at + shift], "o", **ring)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        lost.annotate(
            "first apart", (value, at), xytext=(-10, 0), textcoords="offset points", ha="right", va="center",
            fontsize=8, color="tab:red", bbox=box,
        )  # fmt: skip


def _calls(axes: Any, report: Report, rows: list[BlockRow], mode: str, shift: float) -> None:
    places = {row.key: at for at, row in enumerate(rows)}
    found = [
        (_within(one.lost), places[step.key] + shift)
        for step in report.steps
        if step.key in places and (one := step.beside.get(mode) or step.same.get(mode)) is not None
    ]
    if found:
        axes.plot(*zip(*found, strict=True), "|", color=COLOURS[mode], markersize=6, alpha=0.4)


def _within(value: float) -> float:
    return min(max(value, SMALLEST), LARGEST) if value == value else LARGEST

"""Our model beside a reference, block by block and call by call, and where the two part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttmlc_runtime.inspection.blocks import Trace, record
from ttmlc_runtime.inspection.matching import Matching, Reference, match, steps_of
from ttmlc_runtime.inspection.measure import Measure, measure, worst
from ttmlc_runtime.inspection.recording import Array, Key, Recording, Step, fitted

MODES = ("accumulated", "isolated")
Measures = dict[str, Measure]
"""By mode."""


@dataclass(eq=False)
class BlockRow:
    """A call of a block. ``against`` says what of the reference; ``why`` what there is none of."""

    key: Key
    depth: int
    spec: str | None
    shape: tuple[int, ...]
    against: str | None
    why: str | None
    fed: bool
    """Whether the isolated run gave it the reference's input; else it had what the block before made."""
    order: int
    measures: Measures = field(default_factory=dict)


@dataclass(eq=False)
class StepRow:
    """A call of an op in a block: held against the same call elsewhere, and against a module where one does just that."""

    key: Key
    index: int
    name: str
    line: int
    text: str
    spec: str | None
    shape: tuple[int, ...]
    module: str | None
    order: int
    same: Measures = field(default_factory=dict)
    beside: Measures = field(default_factory=dict)


@dataclass(eq=False)
class Report:
    """A comparison.

    Attributes:
        model: the class.
        dtype: what ours computed in.
        against: what the reference is, in words.
        same: what steps are held against beside modules, in words; None where there is nothing.
        given: the shapes of what the model was called with.
        modes: those that were run.
        tolerances: of each mode, the PCC below which two are apart.
        blocks: in the order in which they began.
        steps: in order.
        outputs: of the model, where errors accumulate.
        finished: the calls in the order in which they ended.
        notes: what else is to be known.
    """

    model: str
    dtype: str
    against: str
    same: str | None
    given: dict[str, tuple[int, ...]]
    modes: tuple[str, ...]
    tolerances: dict[str, float]
    blocks: list[BlockRow] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    outputs: dict[str, Measure] = field(default_factory=dict)
    finished: list[Key] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def parting(self, mode: str) -> tuple[BlockRow, StepRow | None] | None:
        """The first block that is apart in a mode, and the first call in it that is; None where none is.

        Of blocks within blocks it is the inner one, unless the outer one is apart before the inner one begins.
        """
        bar = self.tolerances[mode]
        rows = {row.key: row for row in self.blocks if mode in row.measures and row.measures[mode].parts(bar)}
        found = next((rows[key] for key in self.finished if key in rows), None)
        if found is None:
            return None
        steps = [row for row in self.steps if self._is_apart(row, mode)]
        if steps and steps[0].order < found.order and steps[0].key in rows:
            found = rows[steps[0].key]
        return found, next((row for row in steps if row.key == found.key), None)

    def _is_apart(self, row: StepRow, mode: str) -> bool:
        bar = self.tolerances[mode]
        return any(mode in one and one[mode].parts(bar) for one in (row.same, row.beside))

    def apart(self, mode: str) -> list[BlockRow]:
        """All blocks that are apart in a mode."""
        bar = self.tolerances[mode]
        return [row for row in self.blocks if mode in row.measures and row.measures[mode].parts(bar)]

    @property
    def outputs_apart(self) -> list[str]:
        """The model's outputs that are apart."""
        bar = self.tolerances["accumulated"]
        return [name for name, one in self.outputs.items() if one.parts(bar)]

    @property
    def agrees(self) -> bool:
        """Whether nothing is apart."""
        return not self.outputs_apart and not any(self.apart(mode) for mode in self.modes)


def compare(
    model: Any,
    given: Mapping[str, Array],
    reference: Recording,
    *,
    against: str,
    modes: Sequence[str],
    tolerances: Mapping[str, float],
    twin: Any = None,
    trace: Trace | None = None,
) -> Report:
    """Hold a model's values against a reference's.

    Args:
        model: of an emitted module, in eval mode.
        given: what the reference was called with.
        reference: what it did.
        against: what the reference is, in words.
        modes: of ``MODES``.
        tolerances: the PCC for each mode, and for "accumulated" in any case.
        twin: the same model in a wider dtype, which calls are held against one by one; without, those of a reference
            that is the same program are.
        trace: a run of ``model`` with ``given``, where one was made.

    Raises:
        InputError: the model does not take ``given``.
    """
    ours = trace if trace is not None else record(model, given)
    matching = match(ours, reference)
    same = f"the same call in {twin.dtype}" if twin is not None else None
    if reference.kind == "blocks":
        same = f"the same call of {against}"
    shapes = {name: tuple(array.shape) for name, array in given.items()}
    report = Report(
        type(model).__name__, model.dtype, against, same, shapes, tuple(modes), dict(tolerances),
        finished=[call.key for call in ours.calls],
    )  # fmt: skip
    feed = {place: found.values[0] for place, found in matching.takes.items()}
    _rows(report, ours, matching, feed)
    for mode in modes:
        fed = feed if mode == "isolated" else None
        run = ours if fed is None else record(model, given, fed)
        steps = matching.steps if reference.kind == "blocks" else {}
        if twin is not None and reference.kind != "blocks":
            steps = steps_of(run, record(twin, given, fed).recording)
        _measure(report, run, matching, steps, reference.kind == "modules", mode)
    for name, value in ours.recording.outputs.items():
        other = reference.outputs.get(name)
        theirs = None if other is None else fitted(other, value.shape)
        if theirs is not None:
            report.outputs[name] = measure(value, theirs)
    return report


def _rows(
    report: Report, ours: Trace, matching: Matching, feed: Mapping[tuple[Key, int], Array]
) -> None:
    for call, part in zip(ours.calls, ours.recording.parts, strict=True):
        found = matching.gives.get(part.key)
        shape = part.gives[0].shape if part.gives else ()
        fed = any((part.key, place) in feed for place, _ in call.takes)
        report.blocks.append(
            BlockRow(
                part.key, call.info.depth, call.info.spec, shape, found.name if found else None,
                matching.unmatched.get(part.key), fed, call.order,
            )
        )  # fmt: skip
    report.blocks.sort(key=lambda row: row.order)
    for step in ours.recording.steps:
        beside = matching.steps.get((step.key, step.index))
        report.steps.append(
            StepRow(
                step.key, step.index, step.name, step.line, ours.texts[step.line], ours.specs[step.line],
                step.gives[0].shape, beside.name if beside else None, step.order,
            )
        )  # fmt: skip
    report.steps.sort(key=lambda row: row.order)


def _measure(
    report: Report,
    run: Trace,
    matching: Matching,
    same: Mapping[tuple[Key, int], Reference],
    beside: bool,
    mode: str,
) -> None:
    parts = {part.key: part for part in run.recording.parts}
    for row in report.blocks:
        if (found := _apart(parts[row.key].gives, matching.gives.get(row.key))) is not None:
            row.measures[mode] = found
    steps: dict[tuple[Key, int], Step] = {(step.key, step.index): step for step in run.recording.steps}
    for row in report.steps:
        place = (row.key, row.index)
        if place not in steps:
            continue
        gives = steps[place].gives
        if (found := _apart(gives, same.get(place))) is not None:
            row.same[mode] = found
        if beside and (found := _apart(gives, matching.steps.get(place))) is not None:
            row.beside[mode] = found


def _apart(ours: Sequence[Array], theirs: Reference | None) -> Measure | None:
    if theirs is None:
        return None
    return worst([measure(a, b) for a, b in zip(ours, theirs.values, strict=True)])

"""Our model beside a reference, block by block and call by call, and where the two part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ttmlc_runtime.inspection.blocks import Trace, record
from ttmlc_runtime.inspection.matching import Matching, Reference, match, steps_of
from ttmlc_runtime.inspection.measure import Measure, measure, worst
from ttmlc_runtime.inspection.recording import Array, Key, Recording, Step, fitted
from ttmlc_runtime.inspection.rows import BlockRow, Report, StepRow


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


def _rows(report: Report, ours: Trace, matching: Matching, feed: Mapping[tuple[Key, int], Array]) -> None:
    for call, part in zip(ours.calls, ours.recording.parts, strict=True):
        found = matching.gives.get(part.key)
        shape = part.gives[0].shape if part.gives else ()
        fed = not call.takes or any((part.key, place) in feed for place, _ in call.takes)
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
    for call in report.steps:
        place = (call.key, call.index)
        if place not in steps:
            continue
        gives = steps[place].gives
        if (found := _apart(gives, same.get(place))) is not None:
            call.same[mode] = found
        if beside and (found := _apart(gives, matching.steps.get(place))) is not None:
            call.beside[mode] = found


def _apart(ours: Sequence[Array], theirs: Reference | None) -> Measure | None:
    if theirs is None:
        return None
    return worst([measure(a, b) for a, b in zip(ours, theirs.values, strict=True)])

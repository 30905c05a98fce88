"""A Hugging Face folder's model beside a reference: what ``ttmlc inspect`` does.

report = inspect(Path(folder), against="transformers", dtype="bfloat16")
report.parting("isolated")     # the first block that is apart, and the first call in it
"""

from __future__ import annotations

import contextlib
import inspect as python
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ttmlc_runtime.errors import BackendError, InputError
from ttmlc_runtime.inspection import MODES, TOLERANCES, Measure, Report, StepRow, compare, record, saved
from ttmlc_runtime.inspection import modules as beside

from ttmlc.api import write_text
from ttmlc.loading import load

TRANSFORMERS = "transformers"
WIDER = {"bfloat16": "float32", "float32": "float64"}
"""What calls of a dtype are held against one by one."""
CHOICES = 2
"""Of made-up inputs where a row is a choice of several."""


@dataclass(frozen=True)
class Wanted:
    """What a model is called with: ``ids``, or random ones of this batch and length."""

    ids: np.ndarray[Any, Any] | None = None
    batch: int | None = None
    seq: int | None = None
    seed: int | None = None

    @property
    def said(self) -> bool:
        """Whether anything is asked for."""
        return any(value is not None for value in (self.ids, self.batch, self.seq, self.seed))

    def given(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs of ``model``.

        Raises:
            InputError: it needs more than ids, or the config does not say how many there are.
        """
        parameters = list(python.signature(type(model).__call__).parameters.values())[1:]
        more = [one.name for one in parameters[1:] if one.default is python.Parameter.empty]
        if more:
            raise InputError(
                f"{type(model).__name__} takes {', '.join(more)} as well, which cannot be made up"
            )
        if self.ids is not None:
            ids = self.ids[None] if model.over else self.ids  # the rows are one example's choices
            return {parameters[0].name: ids}
        vocab = model.config.to_hugging_face().get("vocab_size")
        if not isinstance(vocab, int):
            raise InputError("the config has no vocab_size to draw ids from: give --input-ids")
        batch, seq = self.batch or 1, self.seq or 32
        shape = (batch, CHOICES, seq) if model.over else (batch, seq)
        return {parameters[0].name: np.random.default_rng(self.seed or 0).integers(0, vocab, shape)}


def inspect(
    folder: Path,
    *,
    against: str = TRANSFORMERS,
    head: str | None = None,
    spec: Path | None = None,
    dtype: str = "bfloat16",
    wanted: Wanted | None = None,
    modes: Sequence[str] = MODES,
    tolerance: float | None = None,
    calls: bool = True,
    save: Path | None = None,
    save_reference: Path | None = None,
    source: Path | None = None,
) -> Report | None:
    """Run the model of a folder beside a reference, and compare them.

    Args:
        folder: a Hugging Face folder.
        against: "transformers", or the path of a file of activations; "" compares nothing.
        head: as for ``ttmlc.load``.
        spec: as for ``ttmlc.load``.
        dtype: what ours computes in.
        wanted: what both are called with; left out, what a file was saved with, or random ids.
        modes: of ``MODES``.
        tolerance: the PCC below which two are apart; left out, that of ``TOLERANCES``.
        calls: whether the calls of ops are compared as well.
        save: where to write our activations.
        save_reference: where to write the reference's.
        source: where to write the emitted module, whose lines the calls have.

    Returns:
        The comparison; None where there is nothing to compare with.

    Raises:
        InputError: the reference is of another model or of other inputs, or the model does not take them.
        BackendError: what the reference needs is missing, or the dtype is not to be had.
        PresetError: no spec fits the folder.
        RuntimeFault: the weights cannot be loaded.
        OSError: a file cannot be written.
    """
    wanted = wanted if wanted is not None else Wanted()
    if against == TRANSFORMERS:
        beside.libraries()  # before anything takes time
    there = saved.read(Path(against)) if against not in ("", TRANSFORMERS) else None
    model = _made(load, folder, head=head, spec=spec, dtype=dtype, train=False)
    given = dict(there.given) if there is not None and not wanted.said else wanted.given(model)
    if there is not None:
        saved.check(there, against, model, given)
    trace = record(model, given)
    if save is not None:
        saved.save(save, trace.recording)
    if source is not None:
        write_text(source, python.getsource(python.getmodule(type(model))))  # type: ignore[arg-type]  # it has one
    if not against:
        return None
    words, notes = f"{Path(against).name}", []
    if there is None:
        there = beside.record(beside.load(folder, model), given)
        words = f"Transformers {beside.libraries()[1].__version__} in float32"
    else:
        words += f", saved in {there.dtype}"
    if save_reference is not None:
        saved.save(save_reference, there)
    begun = model.report.initialised if model.report is not None else []
    if begun:
        notes.append(f"{len(begun)} parameters are not in the folder and begin at random: {', '.join(begun)}")
    twin = None
    if calls and there.kind == "modules" and dtype in WIDER:
        with contextlib.suppress(BackendError):  # a board computes in no other dtype
            twin = _made(type(model).from_pretrained, folder, config=model.config, dtype=WIDER[dtype])
    bars = dict(zip(MODES, TOLERANCES[dtype] if tolerance is None else (tolerance, tolerance), strict=True))
    report = compare(model, given, there, against=words, modes=modes, tolerances=bars, twin=twin, trace=trace)
    report.notes += notes
    if not calls:
        report.steps, report.same = [], None
    return report


def _made(make: Callable[..., Any], folder: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what begins at random is said with the report
        return make(folder, **options)


def as_json(report: Report) -> str:
    """A report as JSON.

    ``blocks`` are in the order in which they begin, ``calls`` in theirs. ``parts`` says of each mode the first block
    that is apart and the first call in it, ``first_call`` the first of all, each None where nothing is.
    """
    found: dict[str, Any] = {
        "model": report.model,
        "dtype": report.dtype,
        "against": report.against,
        "calls_against": report.same,
        "inputs": {name: list(shape) for name, shape in report.given.items()},
        "tolerances": {mode: report.tolerances[mode] for mode in report.modes},
        "agrees": report.agrees,
        "parts": {mode: _parting(report, mode) for mode in report.modes},
        "first_call": {mode: _call(report.first_call(mode)) for mode in report.modes},
        "blocks": [
            {
                "name": row.key.name,
                "class": row.key.kind,
                "call": row.key.turn,
                "depth": row.depth,
                "spec": row.spec,
                "shape": list(row.shape),
                "against": row.against,
                "why": row.why,
                "fed": row.fed,
                **_measures(report, row.measures),
            }
            for row in report.blocks
        ],
        "calls": [
            {
                "block": row.key.name,
                "class": row.key.kind,
                "call": row.key.turn,
                "index": row.index,
                "op": row.name,
                "line": row.line,
                "text": row.text,
                "spec": row.spec,
                "shape": list(row.shape),
                "same": _measures(report, row.same),
                "module": row.module,
                "beside": _measures(report, row.beside),
            }
            for row in report.steps
        ],
        "outputs": {
            name: {**one.json(), "apart": one.parts(report.tolerances["accumulated"])}
            for name, one in report.outputs.items()
        },
        "notes": report.notes,
    }
    return json.dumps(found, indent=2)


def _measures(report: Report, measures: Mapping[str, Measure]) -> dict[str, Any]:
    return {
        mode: {**measures[mode].json(), "apart": measures[mode].parts(report.tolerances[mode])}
        if mode in measures
        else None
        for mode in report.modes
    }


def _parting(report: Report, mode: str) -> dict[str, Any] | None:
    found = report.parting(mode)
    if found is None:
        return None
    block, call = found
    return {
        "block": block.key.name,
        "class": block.key.kind,
        "spec": block.spec,
        "call": _call(call),
    }


def _call(row: StepRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"block": row.key.name, "op": row.name, "line": row.line, "text": row.text, "spec": row.spec}

"""A comparison: a row for each call of a block and of an op, and where the two sides part."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc_runtime.inspection.measure import Measure
from ttmlc_runtime.inspection.recording import Key

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
    """Whether the isolated run gave it the reference's input, or it takes ids alone; else it had what ours made."""
    order: int
    measures: Measures = field(default_factory=dict)


@dataclass(eq=False)
class StepRow:
    """A call of an op in a block.

    ``same`` holds it against the same call elsewhere, ``beside`` against the module that does just that, if one does.
    """

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

    def first_call(self, mode: str) -> StepRow | None:
        """The first call of all that is apart in a mode, be its block or not."""
        return next((row for row in self.steps if self._is_apart(row, mode)), None)

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

"""Which value of the reference each of ours is held against.

Blocks are held against blocks by path, class and call. Against another library's modules it takes parameters, whose
names both sides share, and the way that values go:

- a module with just the parameters of a block is that block: its first activation is the block's, and its output;
- a value that one block gives and another takes is what that other's module takes;
- a call that reads just the parameters of a module gives what that module gives, and a block that it ends does, too;
- a model's output is the output of that name.

Where these disagree, because a module begins or ends with something that has no parameters and our block does not, it
is the one that is closer.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ttmlc_runtime.inspection.blocks import Call, Trace
from ttmlc_runtime.inspection.measure import measure
from ttmlc_runtime.inspection.recording import Array, Key, Part, Recording, Step, fitted


@dataclass(frozen=True, eq=False)
class Reference:
    """Values of the reference's in the shapes of ours, and where they are from."""

    values: tuple[Array, ...]
    name: str


@dataclass(eq=False)
class Matching:
    """What a reference has for the values of a trace.

    Attributes:
        gives: for each call of a block.
        takes: for each call and place of an argument.
        steps: for each step, by its call and its index in it.
        unmatched: why a call's output is held against nothing.
    """

    gives: dict[Key, Reference] = field(default_factory=dict)
    takes: dict[tuple[Key, int], Reference] = field(default_factory=dict)
    steps: dict[tuple[Key, int], Reference] = field(default_factory=dict)
    unmatched: dict[Key, str] = field(default_factory=dict)


def match(trace: Trace, reference: Recording) -> Matching:
    """Find what ``reference`` has for the values of ``trace``."""
    return (
        _by_name(trace, reference) if reference.kind == "blocks" else _ByParameters(trace, reference).match()
    )


def steps_of(trace: Trace, reference: Recording) -> dict[tuple[Key, int], Reference]:
    """The same steps of another run of the same program."""
    theirs = {(step.key, step.index): step for step in reference.steps}
    found = {}
    for step in trace.recording.steps:
        other = theirs.get((step.key, step.index))
        if other is not None and other.name == step.name:
            values = _fitted(other.gives, step.gives)
            if values is not None:
                found[step.key, step.index] = Reference(values, other.name)
    return found


def _by_name(trace: Trace, reference: Recording) -> Matching:
    matching = Matching(steps=steps_of(trace, reference))
    theirs = {part.key: part for part in reference.parts}
    for call, part in _pairs(trace):
        other = theirs.get(part.key)
        if other is None:
            matching.unmatched[part.key] = "the reference has no such block"
            continue
        values = _fitted(other.gives, part.gives)
        if values is None:
            matching.unmatched[part.key] = "the reference gives another shape"
        else:
            matching.gives[part.key] = Reference(values, str(part.key))
        if part.takes is not None and other.takes is not None:
            taken = fitted(other.takes, part.takes.shape)
            if taken is not None:
                matching.takes[part.key, call.takes[0][0]] = Reference((taken,), f"what {part.key} takes")
    return matching


class _ByParameters:
    """The rules for modules."""

    def __init__(self, trace: Trace, reference: Recording) -> None:
        self._trace, self._reference = trace, reference
        self._found = Matching()
        self._modules: dict[frozenset[str], list[Part]] = defaultdict(list)
        self._readers: dict[int, list[Part]] = defaultdict(list)
        """The modules that take a value, by its identity."""
        for part in reference.parts:
            self._modules[part.parameters].append(part)
            if part.takes is not None:
                self._readers[id(part.takes)].append(part)
        for several in self._modules.values():  # the outermost first
            several.sort(key=lambda part: part.key.name.count("."))
        self._blocks: dict[Key, list[Part]] = {}
        """The modules that each block is."""

    def match(self) -> Matching:
        """Find them all."""
        self._match_steps()
        for _, part in _pairs(self._trace):
            names = self._canonical(part.parameters)
            self._blocks[part.key] = [
                module
                for module in (self._modules[names] if names else ())
                if module.key.turn == part.key.turn
            ]
        takers: dict[int, list[Key]] = defaultdict(list)
        for call, part in _pairs(self._trace):
            if call.takes:
                takers[self._trace.origin(call.takes[0][1])].append(part.key)
        made: dict[int, Reference] = {}
        for call, part in _pairs(self._trace):
            found = [*self._as_module(part), *self._as_value(call, part, takers)]
            if found:
                self._found.gives[part.key] = made[id(call.gives[0])] = _nearest(part.gives, found)
            else:
                self._found.unmatched[part.key] = self._why(part)
        for call, part in _pairs(self._trace):
            for place, tensor in call.takes:
                self._match_taken(
                    call, part, place, made.get(self._trace.origin(tensor)), tuple(tensor.shape)
                )
        return self._found

    def _canonical(self, names: frozenset[str] | tuple[str, ...]) -> frozenset[str]:
        return frozenset(self._reference.aliases.get(name, name) for name in names)

    def _as_module(self, part: Part) -> Iterator[Reference]:
        for module in self._blocks[part.key]:
            values = _apart(module.gives, part.gives)
            if values is not None:
                yield Reference(values, str(module.key))

    def _as_value(self, call: Call, part: Part, takers: dict[int, list[Key]]) -> Iterator[Reference]:
        if len(part.gives) != 1:
            return
        shape = part.gives[0].shape
        for taker in takers[id(call.gives[0])]:
            yield from self._what_it_takes(taker, shape)
        yield from self._as_end(part)
        for name, tensor in self._trace.outputs.items():
            if tensor is call.gives[0] and name in self._reference.outputs:
                value = fitted(self._reference.outputs[name], shape)
                if value is not None:
                    yield Reference((value,), f"output {name}")

    def _what_it_takes(self, key: Key, shape: tuple[int, ...]) -> Iterator[Reference]:
        for module in self._blocks[key]:
            taken = None if module.takes is None else fitted(module.takes, shape)
            if taken is not None:
                yield Reference((taken,), f"what {module.key} takes")

    def _as_end(self, part: Part) -> Iterator[Reference]:
        """What the call gives that gave the block's output, or what that is a view of."""
        steps = [step for step in self._trace.recording.steps if step.key == part.key]
        value = part.gives[0]
        for step in reversed(steps):
            if step.gives[0] is not value:
                continue
            if (end := self._found.steps.get((step.key, step.index))) is not None:
                same = fitted(end.values[0], part.gives[0].shape)
                if same is not None:
                    yield Reference((same,), end.name)
                return
            if not step.name.endswith(".reshape") or not step.takes:
                return
            value = step.takes[0]

    def _match_taken(
        self, call: Call, part: Part, place: int, made: Reference | None, shape: tuple[int, ...]
    ) -> None:
        first = place == call.takes[0][0]
        found = list(self._what_it_takes(part.key, shape)) if first else []
        same = fitted(made.values[0], shape) if made is not None and len(made.values) == 1 else None
        if made is not None and same is not None:
            found.append(Reference((same,), made.name))
        if found:
            ours = (part.takes,) if first and part.takes is not None else found[0].values
            self._found.takes[part.key, place] = _nearest(ours, found)

    def _why(self, part: Part) -> str:
        modules = self._blocks[part.key]
        if not part.gives:
            return "it gives no activation"
        if not modules or not modules[0].gives:
            return "no module of the reference has just these parameters"
        theirs, ours = list(modules[0].gives[0].shape), list(part.gives[0].shape)
        return f"{modules[0].key} gives {theirs}, and this block {ours}"

    # Steps

    def _match_steps(self) -> None:
        turns: Counter[tuple[frozenset[str], str]] = Counter()
        for step in self._trace.recording.steps:
            if not step.reads or len(step.gives) != 1:
                continue
            names = self._canonical(step.reads)
            turn = turns[names, step.name]
            turns[names, step.name] += 1
            for find in (self._as_one, self._side_by_side):
                found = find(step, names, turn)
                if found is not None:
                    self._found.steps[step.key, step.index] = found
                    break

    def _as_one(self, step: Step, names: frozenset[str], turn: int) -> Reference | None:
        """A module with just these parameters; the innermost, which does the least beside."""
        for module in reversed(self._modules[names]):
            if module.key.turn != turn or not module.gives:
                continue
            if step.fused:
                module = next((m for m in self._readers[id(module.gives[0])] if not m.parameters), module)
                if module.parameters:
                    continue
            value = fitted(module.gives[0], step.gives[0].shape)
            if value is not None:
                return Reference((value,), module.key.name)
        return None

    def _side_by_side(self, step: Step, names: frozenset[str], turn: int) -> Reference | None:
        """Modules with a part of these parameters each, whose outputs stand one beside the other in one of ours."""
        if step.fused or turn:
            return None
        left, modules = set(names), []
        for name in step.reads:
            canonical = self._reference.aliases.get(name, name)
            if canonical in left:
                of_name = [part for part in self._reference.parts if canonical in part.parameters <= names]
                if not of_name:
                    return None
                modules.append(min(of_name, key=lambda part: len(part.parameters)))
                left -= modules[-1].parameters
        outputs = [module.gives[0] for module in modules if module.gives]
        if left or not outputs or any(one.shape[:-1] != outputs[0].shape[:-1] for one in outputs):
            return None
        value = fitted(np.concatenate(outputs, axis=-1), step.gives[0].shape)
        return (
            None if value is None else Reference((value,), ", ".join(module.key.name for module in modules))
        )


def _pairs(trace: Trace) -> Iterator[tuple[Call, Part]]:
    return zip(trace.calls, trace.recording.parts, strict=True)


def _fitted(theirs: Sequence[Array], ours: Sequence[Array]) -> tuple[Array, ...] | None:
    if not ours or len(theirs) != len(ours):
        return None
    found = [fitted(a, b.shape) for a, b in zip(theirs, ours, strict=True)]
    values = tuple(one for one in found if one is not None)
    return values if len(values) == len(ours) else None


def _apart(theirs: Sequence[Array], ours: Sequence[Array]) -> tuple[Array, ...] | None:
    """The module's first outputs, or its first one's last dim taken apart."""
    whole = _fitted(theirs[: len(ours)], ours)
    if whole is None and len(ours) > 1 and theirs and theirs[0].shape[-1:] == (len(ours),):
        return _fitted([theirs[0][..., at] for at in range(len(ours))], ours)
    return whole


def _nearest(ours: Sequence[Array], found: Sequence[Reference]) -> Reference:
    """The closest; of those that are as close, the first."""

    def distance(reference: Reference) -> float:
        off = max(measure(a, b).off for a, b in zip(ours, reference.values, strict=True))
        return math.inf if math.isnan(off) else off

    return found[0] if len(found) == 1 else min(found, key=distance)

"""A run of an emitted model, recorded: its blocks and the calls in them, each block fed by others or not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.inspection.calls import Source, calls_of, spec_of
from ttmlc_runtime.inspection.recording import Array, Key, Part, Recording, Step
from ttmlc_runtime.weights.storage import to_device, to_host

Feed = Mapping[tuple[Key, int], Array]
"""What a call's argument is to be instead of what it was called with, by its place."""


@dataclass(frozen=True, eq=False)
class Info:
    """What is to be known of a block beside its calls."""

    name: str
    depth: int
    spec: str | None
    parameters: frozenset[str]


@dataclass(eq=False)
class Call:
    """A call of a block, as it was: the tensors that it took and gave say what went from which to which."""

    key: Key
    info: Info
    order: int
    """By when it began; a recording has calls by when they ended."""
    takes: tuple[tuple[int, Any], ...]
    """Its activations, each with its place among the arguments."""
    gives: tuple[Any, ...] = ()
    fed: frozenset[int] = frozenset()
    """The places that were fed."""


@dataclass(eq=False)
class Trace:
    """A recording of an emitted model, with its calls beside its parts, one for one."""

    recording: Recording
    calls: list[Call] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    """The tensors of the model's outputs."""
    views: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """By identity a tensor that the model made of another by shape alone, between its blocks; and that one."""
    specs: dict[int, str | None] = field(default_factory=dict)
    """For each line that made a call the line of the spec."""
    texts: dict[int, str] = field(default_factory=dict)

    def origin(self, tensor: Any) -> int:
        """The identity of a tensor, or of the one that it is a view of."""
        while id(tensor) in self.views:
            tensor = self.views[id(tensor)][1]
        return id(tensor)


class Recorder:
    """Records what a model does while it is called once.

    Args:
        model: of an emitted module.
        feed: what blocks are given in place of what they are called with. A block within another that is fed runs
            twice: fed, which is recorded, and as it was called, which the outer one goes on with.
    """

    def __init__(self, model: Any, feed: Feed | None = None) -> None:
        self._model, self._feed = model, feed or {}
        self._infos = infos(model)
        self._modules = {name: sys.modules[name] for name in _modules(model)}
        self._sources = {name: Source(module) for name, module in self._modules.items()}
        self._storages = {id(s.tensor): s for s in model._registry.storages}
        self._turns: Counter[tuple[str, str]] = Counter()
        self._under_way: list[tuple[Call, str, list[Step]]] = []
        self._unseen = False
        self._ticks = 0
        self._arrays: dict[int, tuple[Any, Array]] = {}

    def run(self, given: Mapping[str, Array]) -> Trace:
        """Call the model, in its inference program.

        Raises:
            InputError: it does not take ``given``.
        """
        model = self._model
        config = model.config.to_hugging_face()
        self.trace = Trace(Recording("blocks", type(model).__name__, config, model.dtype, dict(given)))
        with nn.no_grad(), nn.observed(self._called), calls_of(self._modules.values(), self._told):
            output = model(**given)
        for name in output.keys():  # noqa: SIM118  # an output is no mapping
            self.trace.outputs[name] = output[name].tensor
            self.trace.recording.outputs[name] = output[name].numpy()
        return self.trace

    def _called(self, block: Any, arguments: tuple[Any, ...]) -> Any:
        if self._unseen:
            return block.run(*arguments)
        info = self._infos[id(block)]
        kind = type(block).__name__
        key = Key(info.name, kind, self._turns[info.name, kind])
        self._turns[info.name, kind] += 1
        given, fed = list(arguments), []
        for place, value in enumerate(arguments):
            if (key, place) in self._feed and is_activation(value):
                given[place] = _like(self._feed[key, place], value)
                fed.append(place)
        takes = tuple((place, value) for place, value in enumerate(given) if is_activation(value))
        call = Call(key, info, self._tick(), takes, fed=frozenset(fed))
        nested = bool(self._under_way)
        self._under_way.append((call, type(block).__module__, []))
        try:
            result = block.run(*given)
        finally:
            steps = self._under_way.pop()[2]
        call.gives = _tensors(result)
        taken = self._host(takes[0][1]) if takes else None
        made = Part(key, info.parameters, taken, tuple(map(self._host, call.gives)))
        self.trace.calls.append(call)
        self.trace.recording.parts.append(made)
        self.trace.recording.steps += steps
        if not (fed and nested):
            return result
        self._unseen = True
        try:
            return block.run(*arguments)
        finally:
            self._unseen = False

    def _told(
        self, name: str, line: int, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any
    ) -> None:
        made = _tensors(result)
        if self._unseen or not made:
            return
        if not self._under_way:
            if name.endswith(".reshape") and made[0] is not arguments[0]:
                self.trace.views[id(made[0])] = (made[0], arguments[0])
            return
        call, module, steps = self._under_way[-1]
        reads = [self._storages[id(a)] for a in (*arguments, *keywords.values()) if id(a) in self._storages]
        fused = any("activation" in word and value for word, value in keywords.items())
        names = tuple(dict.fromkeys(name for storage in reads for name in storage.names))
        gives = tuple(map(self._host, made))
        takes = tuple(self._arrays[id(one)][1] for one in arguments if id(one) in self._arrays)
        steps.append(Step(call.key, len(steps), name, line, names, fused, gives, takes, self._tick()))
        if line not in self.trace.specs:
            self.trace.specs[line] = self._sources[module].spec(line)
            self.trace.texts[line] = self._sources[module].text(line)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _host(self, tensor: Any) -> Array:
        """The values, one array for a tensor; tensors are kept, so that none has another's identity."""
        if id(tensor) not in self._arrays:
            self._arrays[id(tensor)] = (tensor, to_host(tensor))
        return self._arrays[id(tensor)][1]


def record(model: Any, given: Mapping[str, Array], feed: Feed | None = None) -> Trace:
    """A run of ``model``, recorded: see :class:`Recorder`."""
    return Recorder(model, feed).run(given)


def infos(model: Any) -> dict[int, Info]:
    """The blocks of a model, by identity.

    Each is called as its parameters are, by what all of their names begin with. Those that a block before it made do
    not count, and a block without any of its own has its attribute's name.
    """
    found: dict[int, Info] = {}
    _gather(model, 0, set(), found)
    return found


def _gather(whole: Any, depth: int, made: set[str], found: dict[int, Info]) -> None:
    for attribute, block in nn.blocks_of(whole):
        names = frozenset(name for storage in block.storages for name in storage.names)
        own = names - made
        name = _common(own) if own else attribute
        found.setdefault(id(block), Info(name, depth, spec_of(type(block)), names))
        _gather(block, depth + 1, made, found)
        if depth == 0:
            made |= names


def _common(names: frozenset[str]) -> str:
    """What dotted names begin with; of one name all but its last part."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


def _modules(model: Any) -> set[str]:
    """The modules of a model's blocks."""
    found: set[str] = set()

    def gather(whole: Any) -> None:
        for _, block in nn.blocks_of(whole):
            found.add(type(block).__module__)
            gather(block)

    gather(model)
    return found


def is_activation(value: Any) -> bool:
    """Whether it is a tensor of floats, and not of ids."""
    return isinstance(value, ttnn.Tensor) and value.dtype in (ttnn.bfloat16, ttnn.float32, ttnn.bfloat8_b)


def _tensors(value: Any) -> tuple[Any, ...]:
    several = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(one for one in several if is_activation(one))


def _like(array: Array, tensor: Any) -> Any:
    """``array`` on the device as ``tensor`` is."""
    values = np.ascontiguousarray(array.reshape(tuple(tensor.shape)))
    return to_device(values, tensor.dtype, tensor.device(), tensor.layout)

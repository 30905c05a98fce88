"""Blocks, models, device calls and parameters of a module, for given values of its config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute, Form, Function, Kind, Module, Operation
from ttmlc.ir.scalar import Scalar

FREE = frozenset(
    {
        "storage",
        "output",
        "input.ids",
        "input.mask",
        "input.places",
        "nn.seen",
        "ttnn.reshape",
        "nn.rows",
        "parameter",
        "accumulate",
        "call",
        "choose",
    }
)
"""Operations that are no call of the device's in a step: storages, inputs, views, what is handed on."""

Known = Mapping[str, scalar.Value]


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """A block: the device calls of each of its programs, 0 where it has none, and its parameters."""

    name: str
    infer: int
    forward: int
    backward: int
    parameters: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model: the device calls of one inference and of one forward and backward, losses and what optional inputs
    bring left out; its parameters.
    """

    name: str
    infer: int
    train: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole module; ``calls`` and ``parameters`` are those of the first model."""

    name: str
    build: str
    blocks: tuple[BlockSummary, ...]
    models: tuple[ModelSummary, ...]

    @property
    def calls(self) -> int:
        """Device calls of one inference."""
        return self.models[0].infer

    @property
    def parameters(self) -> int:
        """How many numbers the parameters hold."""
        return self.models[0].parameters


def summarise(module: Module, values: Mapping[str, scalar.Value]) -> Summary:
    """The summary of a ttnn-level module for the config ``values``."""
    known = module.config.values(values)
    own = {function.name: _calls(function.operations) for function in module.functions}
    blocks = tuple(
        BlockSummary(
            function.name,
            own[function.name],
            own.get(f"{function.name}.forward", 0),
            own.get(f"{function.name}.backward", 0),
            _parameters(function.operations, known),
        )
        for function in module.functions
        if function.kind is Kind.BLOCK
    )
    models = tuple(_model(module, function, own, known) for function in module.models)
    label = "generic" if module.build.is_generic else module.build.label
    return Summary(module.name, label, blocks, models)


def _model(module: Module, model: Function, own: Mapping[str, int], known: Known) -> ModelSummary:
    applied: Counter[str] = Counter()
    _apply(module, model.operations, 1, applied, known)
    held = {name: _parameters(module.function(name).operations, known) for name in applied}

    def calls(*programs: str) -> int:
        return sum(
            own.get(name + program, 0) * times for name, times in applied.items() for program in programs
        )

    trains = any(f"{name}.backward" in own for name in applied)
    return ModelSummary(
        model.name,
        calls(""),
        calls(".forward", ".backward") if trains else 0,
        sum(held[name] * max(times, 1) for name, times in applied.items()),
    )


def _apply(
    module: Module, operations: Sequence[Operation], times: int, applied: Counter[str], known: Known
) -> None:
    """Count how often each block is applied."""
    for operation in operations:
        if operation.op == "call":
            applied[operation.text("block")] += times
            _apply(module, module.function(operation.text("block")).operations, times, applied, known)
        elif operation.op == "when":  # its blocks are held, and called where an optional input is given
            assert operation.body is not None
            _apply(module, operation.body.operations, 0, applied, known)
        elif operation.body is not None:
            turns = _number(operation.scalar("count"), known)
            _apply(module, operation.body.operations, times * turns, applied, known)


def _calls(operations: Sequence[Operation]) -> int:
    return sum(operation.op not in FREE for operation in operations)


def _parameters(operations: Sequence[Operation], known: Known) -> int:
    return sum(_chain(operation.get("chain"), known) for operation in operations if operation.op == "storage")


def _chain(chain: Attribute | None, known: Known) -> int:
    if not isinstance(chain, Form):
        return 0
    if chain.name == "select":  # of a parameter that a flag shares
        condition, *ways = chain.args
        assert not isinstance(condition, (str, Form, tuple))
        return _chain(ways[not scalar.evaluate(condition, known)], known)
    if chain.name == "parameter":
        total = 1
        sizes = chain.args[1]
        assert isinstance(sizes, tuple)
        for size in sizes:
            assert not isinstance(size, (str, Form, tuple))
            total *= _number(size, known)
        return total
    return sum(_chain(part, known) for part in chain.args)


def _number(size: Scalar, known: Known) -> int:
    value = scalar.evaluate(size, known)
    assert isinstance(value, int)
    return value

"""Blocks, device calls and parameters of a module, for given values of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute, Form, Module, Operation
from ttmlc.ir.scalar import Scalar

FREE = frozenset(
    {
        "storage",
        "output",
        "input.ids",
        "input.mask",
        "ttnn.reshape",
        "nn.rows",
        "parameter",
        "accumulate",
        "call",
        "choose",
    }
)
"""Operations that are no call of the device's in a step: storages, inputs, views."""

Known = Mapping[str, scalar.Value]


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """One function: its own device calls, and parameters, each time it is applied."""

    name: str
    kind: str
    calls: int
    parameters: int
    applied: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole module: totals count every application."""

    name: str
    build: str
    blocks: tuple[BlockSummary, ...]
    calls: int
    parameters: int


def summarise(module: Module, values: Mapping[str, scalar.Value]) -> Summary:
    """The summary of a ttnn-level module for the config ``values``."""
    known = module.config.values(values)
    applied = {function.name: 0 for function in module.functions}
    for model in module.models:
        _apply(module, model.name, 1, applied, known)
    blocks = tuple(
        BlockSummary(
            function.name,
            function.kind.value,
            _calls(function.operations, known),
            _parameters(function.operations, known),
            applied[function.name],
        )
        for function in module.functions
    )
    label = "generic" if module.build.is_generic else module.build.label
    calls = sum(block.calls * block.applied for block in blocks)
    parameters = sum(block.parameters * block.applied for block in blocks)
    return Summary(module.name, label, blocks, calls, parameters)


def _apply(module: Module, name: str, times: int, applied: dict[str, int], known: Known) -> None:
    applied[name] += times

    def visit(operations: Sequence[Operation], times: int) -> None:
        for operation in operations:
            if operation.op == "call":
                _apply(module, operation.text("block"), times, applied, known)
            elif operation.body is not None:
                visit(operation.body.operations, times * _number(operation.scalar("count"), known))

    visit(module.function(name).operations, times)


def _calls(operations: Sequence[Operation], known: Known) -> int:
    own = sum(operation.op not in FREE and operation.op not in ("call", "repeat") for operation in operations)
    inside = [op for op in operations if op.body is not None]
    return own + sum(
        _calls(op.body.operations, known) * _number(op.scalar("count"), known)
        for op in inside
        if op.body is not None
    )


def _parameters(operations: Sequence[Operation], known: Known) -> int:
    return sum(_chain(operation.get("chain"), known) for operation in operations if operation.op == "storage")


def _chain(chain: Attribute | None, known: Known) -> int:
    if not isinstance(chain, Form):
        return 0
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

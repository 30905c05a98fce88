"""Drop what nothing reads.

    %w = param {at = "pooler.dense.weight"}
    %p = linear(%h, %w)                          =>   (nothing, where no output reads %p)

A parameter that no returned value reads is not made, and a block that nobody calls is not emitted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ttmlc.ir.module import Function, Kind, Level, Module, Operation, Value
from ttmlc.passes.base import Outcome, Pass


@dataclass(frozen=True)
class Prune(Pass):
    """Dead code and dead blocks, at the tensor level."""

    name = "prune"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        functions = tuple(_live(function) for function in module.functions)
        wanted = {function.name for function in functions if function.kind is Kind.MODEL}
        frontier = list(wanted)
        while frontier:
            name = frontier.pop()
            caller = next(function for function in functions if function.name == name)
            called = {op.text("block") for op in caller.walk() if op.op == "call"} - wanted
            wanted |= called
            frontier.extend(sorted(called))
        return Outcome(replace(module, functions=tuple(f for f in functions if f.name in wanted)))


def _live(function: Function) -> Function:
    return replace(function, operations=keep_live(function.operations, list(function.wanted)))


def keep_live(operations: tuple[Operation, ...], wanted: list[Value]) -> tuple[Operation, ...]:
    """The operations that ``wanted`` depends on, in order."""
    live = {value.name for value in wanted}
    kept: list[Operation] = []
    for operation in reversed(operations):
        if operation.results and not any(value.name in live for value in operation.results):
            continue
        if operation.body is not None:
            body = operation.body
            inner = keep_live(body.operations, list(body.yields))
            operation = replace(operation, body=replace(body, operations=inner))
        live.update(value.name for value in operation.reads())
        kept.append(operation)
    return tuple(reversed(kept))

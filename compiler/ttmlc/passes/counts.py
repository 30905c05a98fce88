"""How great the whole numbers of the host are, where they count tokens: what ends a text that they are looked up for.

%seen = compare(%ids, %pad) {relation = "!="}       0 or 1
%count = running(%seen) {over = "S"}                at most n, of n tokens
%at = add(%count, %pad)                             at most n + pad
%pos = embedding(%at, %table)                       rows up to n + pad: n is at most the rows - 1 - pad
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.ops.structure import conditions
from ttmlc.ir.scalar import Asked, Const, Scalar
from ttmlc.ir.types import DType, TensorType

FLAG = (0, Const(1))
Most = tuple[int, Scalar]
"""``times`` and ``more``: at most ``times * n + more`` of n tokens."""


@dataclass
class Counts:
    """The bounds of values, seen in the order of a program."""

    bounds: dict[str, Most] = field(default_factory=dict)
    ends: list[Scalar] = field(default_factory=list)
    """How many tokens fit each table in which a count is looked up."""

    def see(self, operation: Operation) -> None:
        """Take in what ``operation`` makes, or looks up."""
        if operation.op == "embedding":
            ids, table = operation.operands
            times, more = self._most(ids) or (0, Const(0))
            if times == 1 and table is not None and isinstance(table.type, TensorType):
                last = scalar.apply("-", table.type.dims[0].size, Const(1))
                self.ends.append(last if more == Const(0) else scalar.apply("-", last, more))
            return
        found = self._made(operation)
        if found is not None:
            self.bounds[operation.result.name] = found

    def _most(self, value: Value | None) -> Most | None:
        if value is None:
            return None
        flag = isinstance(value.type, TensorType) and value.type.dtype is DType.BOOL
        return FLAG if flag else self.bounds.get(value.name)

    def _made(self, operation: Operation) -> Most | None:
        parts = [self._most(value) for value in operation.operands]
        if operation.op == "fill":
            return 0, operation.scalar("value")
        if operation.op == "running":
            return (1, Const(0)) if parts == [FLAG] else None
        if operation.op == "choose" and all(map(_given, conditions(operation))):
            return parts[-1]  # what is made where an input is not given
        if operation.op == "multiply" and FLAG in parts:
            return parts[1 - parts.index(FLAG)]
        if operation.op == "add" and None not in parts:
            (times, more), (others, rest) = (part for part in parts if part is not None)
            return times + others, _sum(more, rest)
        return None


def _given(condition: Scalar) -> bool:
    return isinstance(condition, Asked) and condition.question == "given"


def _sum(a: Scalar, b: Scalar) -> Scalar:
    none = Const(0)
    return b if a == none else a if b == none else scalar.apply("+", a, b)

"""How an op is declared: once, in one class, found in one table.

    @register
    class Tanh(TensorOp):
        \"\"\"y = tanh(x).\"\"\"

        name = "tanh"
        operands = ("x",)
        axes = pointwise

        def infer(self, types, attributes): return (types[0],)
        def reference(self, arrays, call): return (np.tanh(arrays[0]),)

A declaration says what the op reads (``operands``; a trailing ``?`` marks one that may be absent), how it is set
(``attributes``), what it makes (``infer``, which is also its verifier), how it treats each axis (``axes``: the rule
that decoding, padding and sharding read), what it costs, and what it computes (``reference``, or ``expand`` into
primitives for a composite). A test walks the table and fails on a hole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Attribute, Operation
from ttmlc.ir.scalar import Scalar
from ttmlc.ir.types import Axis, Type

if TYPE_CHECKING:
    from ttmlc.ir.builder import Builder
    from ttmlc.ir.evaluate import Call

Attributes = Mapping[str, Attribute]


class AxisRule(Enum):
    """How an op treats an axis of its operands or results."""

    POINTWISE = "pointwise"  # each index on its own
    REDUCES = "reduces"  # in an operand, not in the result
    MIXES = "mixes"  # in both, and a result's index reads several of the operand's
    MAKES = "makes"  # in the result only


@dataclass
class Refusal(Exception):
    """An op cannot take what it was given.

    ``at`` names the operand or attribute at fault, so that whoever built the operation can point at it;
    ``related`` names others that are involved.
    """

    message: str
    at: str = ""
    label: str = ""
    related: tuple[tuple[str, str], ...] = ()
    hint: str = ""


class Unfit(ValueError):
    """Arrays that an op's reference cannot take, where the types allowed for more than one kind of them."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """An attribute an op takes: its default, or required."""

    required: bool = False
    default: Attribute | None = None
    takes: str = "scalar"  # scalar | scalars | string | path | form | names


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one application, as scalars: multiply-adds counted as two operations; elements read and written."""

    flops: Scalar
    reads: Scalar
    writes: Scalar


class OpDef:
    """What every declaration has, at either level."""

    name: str = ""
    operands: tuple[str, ...] = ()
    attributes: dict[str, AttributeSpec] = {}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        """The types of the results.

        Raises:
            Refusal: the operands or attributes do not fit.
        """
        raise NotImplementedError

    def operand_names(self) -> tuple[str, ...]:
        """The operand names without their marks."""
        return tuple(name.rstrip("?") for name in self.operands)


class TensorOp(OpDef):
    """An op of the tensor level: mathematics on named axes."""

    composite: bool = False

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        """The rule for each axis of the operands and results."""
        raise NotImplementedError

    def cost(self, operation: Operation) -> Cost:
        """What one application costs."""
        raise NotImplementedError

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        """The results for numpy arrays, in their dtype. Composites leave it out."""
        raise NotImplementedError

    def expand(self, operation: Operation, build: Builder) -> None:
        """A composite in primitives: its reference, and what passes may replace it by."""
        raise NotImplementedError


@dataclass
class Table:
    """The declared ops of both levels, by name."""

    ops: dict[str, OpDef] = field(default_factory=dict)

    def add(self, op: OpDef) -> None:
        """Declare ``op``; declaring a name twice is a mistake in the compiler."""
        if op.name in self.ops:
            raise ValueError(f"op {op.name!r} is declared twice")
        self.ops[op.name] = op

    def __getitem__(self, name: str) -> OpDef:
        return self.ops[name]

    def tensor(self, name: str) -> TensorOp:
        """The tensor-level declaration called ``name``."""
        op = self.ops[name]
        assert isinstance(op, TensorOp), f"{name} is not an op of the tensor level"
        return op

    def __contains__(self, name: object) -> bool:
        return name in self.ops


TABLE = Table()


def register(declaration: type[OpDef]) -> type[OpDef]:
    """Put a declaration into the table."""
    TABLE.add(declaration())
    return declaration

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
that decoding, padding and sharding read), what it costs, what it computes (``reference``, or ``expand`` into primitives
for a composite), and its gradient (``gradient``; by its expansion for a composite without one; or ``no_gradient``, the
reason why there is none). A test walks the table and fails on a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Attribute, Operation, Value
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
    ACCUMULATES = (
        "accumulates"  # in both, and a result's index reads the operand's up to the same, and none after it
    )
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


@dataclass(frozen=True)
class Adjoint:
    """What a gradient rule works with: the operation, the gradients of its results, and where to add operations."""

    operation: Operation
    grads: tuple[Value | None, ...]
    """One for each result; None where nothing reads it."""
    build: Builder
    maker: Callable[[Value], Operation | None]
    """The operation of the same function that made a value."""

    @property
    def grad(self) -> Value:
        """The gradient of the only result."""
        (value,) = self.grads
        assert value is not None
        return value

    def add(
        self,
        op: str,
        operands: Sequence[Value | None],
        attributes: Attributes | None = None,
        *,
        types: Sequence[Type] | None = None,
        name: str = "",
    ) -> Value:
        """Add one operation of the backward, which points at the line of the forward's."""
        (value,) = self.add_all(op, operands, attributes, types=types, names=(name,) if name else ())
        return value

    def add_all(
        self,
        op: str,
        operands: Sequence[Value | None],
        attributes: Attributes | None = None,
        *,
        types: Sequence[Type] | None = None,
        names: Sequence[str] = (),
    ) -> tuple[Value, ...]:
        """As ``add``, with all the results."""
        read = next((value.name for value in self.operation.operands if value is not None), "")
        made = self.build.add_all(
            op, operands, attributes, types=types, span=self.operation.span, names=names or (f"d{read}",)
        )
        return made.results

    def fitted(self, grad: Value, operand: Value | None) -> Value | None:
        """``grad`` summed over the axes along which ``operand`` was repeated, in the operand's type."""
        if operand is None:
            return None
        if grad.type == operand.type:
            return grad
        return self.add("sum_to", (grad,), types=(operand.type,), name=f"d{operand.name}")


class TensorOp(OpDef):
    """An op of the tensor level: mathematics on named axes."""

    composite: bool = False
    no_gradient: str = ""
    """Why no gradient goes through it, where none does."""
    carries: bool = False
    """Whether it goes on along an axis that it accumulates from what a cache carries of the indices before."""
    states_types: bool = False
    """Whether whoever adds it states its result types, which ``check_types`` looks at."""

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

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        """The gradients of the operands, None where there is none; added as operations of the tensor level."""
        raise NotImplementedError

    def for_training(self, operation: Operation, build: Builder) -> None:
        """The form whose results hold what the gradient needs, where that is another one."""
        raise NotImplementedError

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        """Refuse stated result types that cannot be made of the operands."""

    @property
    def has_gradient(self) -> bool:
        """Whether it declares a rule of its own."""
        return type(self).gradient is not TensorOp.gradient

    @property
    def has_training_form(self) -> bool:
        """Whether training asks for another form."""
        return type(self).for_training is not TensorOp.for_training


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

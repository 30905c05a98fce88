"""Where a tensor of the tensor level lives on the device, and which axes are padded there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc.ir import scalar
from ttmlc.ir.device import BFLOAT16
from ttmlc.ir.module import Build, Fact, Function
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, DeviceType, Dim, DType, Layout, Product, Sum, TensorType, total
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.source import Span

TILE = 32
"""Rows and columns of a tile."""


@dataclass
class Padding:
    """Axes that are wider on the device than in the spec, by name; and those that are known to fill tiles."""

    padded: dict[str, Scalar] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    def is_whole(self, dim: Dim) -> bool:
        """Whether ``dim`` is a multiple of a tile's side on the device."""
        return isinstance(dim, Axis) and dim.name in self.whole

    def size(self, dim: Dim) -> Scalar:
        """The size of ``dim`` on the device."""
        if isinstance(dim, Sum):
            return total(tuple(self.size(part) for part in dim.parts))
        if isinstance(dim, Product):
            return scalar.product(tuple(self.size(axis) for axis in dim.factors))
        return self.padded.get(dim.name, dim.size)


def resident(type_: TensorType, padding: Padding, span: Span | None) -> DeviceType:
    """The device form of a float tensor: batch first, features last, four dimensions.

    [B, S, features] -> [B, 1, S, features];  [B, features] -> [B, 1, 1, features];  heads stay as they are.

    Raises:
        DiagnosticError: there is no such form.
    """
    sizes = tuple(padding.size(dim) for dim in type_.dims)
    if type_.dtype is DType.FLOAT and 2 <= len(sizes) <= 4:
        return DeviceType(BFLOAT16, (sizes[0], *(Const(1),) * (4 - len(sizes)), *sizes[1:]), Layout.TILE)
    raise cannot(span, f"{type_} has no place on the device yet")


def attention_padding(function: Function, build: Build, facts: list[Fact]) -> Padding:
    """The padding that the attentions of ``function`` ask for.

    Fused attention takes a head_dim that is a multiple of 32. A generic build cannot know, so it writes the fact
    down; a specialised build pads the axis, in the storages of what makes and takes it.
    """
    padding = Padding()
    for operation in function.walk():
        if operation.op != "attention":
            continue
        q = operation.operands[0]
        assert q is not None and isinstance(q.type, TensorType)
        axis = q.type.dims[3]
        if not isinstance(axis, Axis):
            raise cannot(operation.span, "attention takes heads of one written axis")
        padding.whole.add(axis.name)
        if not isinstance(axis.size, Const):
            condition = scalar.apply("==", scalar.apply("%", axis.size, Const(TILE)), Const(0))
            name = axis.name
            remedy = "--preset or --config compiles a padded form"
            message = f"{name} {{{name}}} is no multiple of {TILE}: {remedy}"
            facts.append(Fact(condition, message, "fused attention takes whole tiles"))
        elif isinstance(axis.size.value, int) and axis.size.value % TILE:
            padding.padded[axis.name] = scalar.apply("round_up", axis.size, Const(TILE))
    return padding

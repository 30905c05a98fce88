"""What several declarations share: axis rules, type checks, costs, alignment of arrays by axis name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Attributes, AxisRule, Cost, Refusal
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, Dim, DType, Role, TensorType, Type, dim_text, factors

if TYPE_CHECKING:
    import numpy as np


def tensor(type_: Type | None, operand: str) -> TensorType:
    """``type_`` as a tensor type; an op of this level takes nothing else."""
    if not isinstance(type_, TensorType):
        raise Refusal(f"{operand!r} is not a tensor", at=operand)
    return type_


def floating(type_: Type | None, operand: str) -> TensorType:
    """A float tensor type, or a refusal."""
    checked = tensor(type_, operand)
    if checked.dtype is not DType.FLOAT:
        raise Refusal(f"{operand!r} must be float", at=operand, label=f"is {checked}")
    return checked


def check_rate(attributes: Attributes, name: str) -> None:
    """Refuse a dropout probability outside [0, 1) where it is known already."""
    p = attributes.get(name)
    if isinstance(p, Const) and not (isinstance(p.value, (int, float)) and 0 <= p.value < 1):
        raise Refusal("a dropout probability lies in [0, 1)", at=name)


def axes_of(operation: Operation) -> tuple[set[Axis], set[Axis]]:
    """The axes that an operation reads, and those it makes."""
    read = {
        a
        for v in operation.operands
        if v is not None and isinstance(v.type, TensorType)
        for a in v.type.axes()
    }
    made = {a for v in operation.results if isinstance(v.type, TensorType) for a in v.type.axes()}
    return read, made


def rules(operation: Operation, mixes: Iterable[Axis] = ()) -> dict[Axis, AxisRule]:
    """Pointwise on shared axes but ``mixes``; what is only read is reduced, what is only in the result is made."""
    read, made = axes_of(operation)
    table = dict.fromkeys(read & made, AxisRule.POINTWISE)
    table.update(dict.fromkeys(read - made, AxisRule.REDUCES))
    table.update(dict.fromkeys(made - read, AxisRule.MAKES))
    table.update(dict.fromkeys(mixes, AxisRule.MIXES))
    return table


def elements(dims: Sequence[Dim]) -> Scalar:
    """How many elements ``dims`` hold."""
    return scalar.product(tuple(dim.size for dim in dims))


def total(parts: Iterable[Scalar]) -> Scalar:
    """The sum of ``parts``."""
    result: Scalar = Const(0)
    for part in parts:
        result = part if result == Const(0) else scalar.apply("+", result, part)
    return result


def traffic(operation: Operation, flops: Scalar) -> Cost:
    """A cost whose traffic is each operand read once and each result written once."""

    def size(value: Value | None) -> Scalar:
        return (
            elements(value.type.dims)
            if value is not None and isinstance(value.type, TensorType)
            else Const(0)
        )

    return Cost(flops, total(map(size, operation.operands)), total(map(size, operation.results)))


def per_element(operation: Operation, flops: int) -> Cost:
    """A cost of ``flops`` operations for each element of the first result."""
    type_ = operation.results[0].type
    assert isinstance(type_, TensorType)
    return traffic(operation, scalar.apply("*", elements(type_.dims), Const(flops)))


def broadcast(types: Sequence[tuple[str, TensorType]]) -> tuple[Dim, ...]:
    """The dims of the operands joined by name, in order of first use."""
    dims: list[Dim] = []
    for operand, type_ in types:
        for dim in type_.dims:
            if dim in dims:
                continue
            clash = next((d for d in dims if set(_names(d)) & set(_names(dim))), None)
            if clash is not None:
                raise Refusal(
                    f"{dim_text(dim)!r} and {dim_text(clash)!r} share an axis but are not the same dimension",
                    at=operand,
                    label=f"is {type_}",
                    hint="Rearrange one of them with 'as' so that both write the axis alike.",
                )
            dims.append(dim)
    # A result has the order of its largest operand where that holds every dim: x + bias and bias + x are alike.
    for _, type_ in types:
        if set(type_.dims) == set(dims):
            return type_.dims
    return tuple(dims)


def batch_first(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """``dims`` with those of the batch in front, as whole numbers lie on the host."""
    return tuple(sorted(dims, key=lambda dim: not (isinstance(dim, Axis) and dim.role is Role.BATCH)))


def _names(dim: Dim) -> list[str]:
    return [axis.name for axis in factors(dim)]


def align(array: np.ndarray[Any, Any], dims: Sequence[Dim], target: Sequence[Dim]) -> np.ndarray[Any, Any]:
    """``array`` of ``dims`` transposed and widened with ones so that it broadcasts against ``target``."""
    order = sorted(range(len(dims)), key=lambda i: list(target).index(dims[i]))
    moved = array.transpose(order)
    sizes = iter(moved.shape)
    return moved.reshape([next(sizes) if dim in dims else 1 for dim in target])

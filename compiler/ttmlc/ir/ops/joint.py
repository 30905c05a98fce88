"""Several projections as one: parameters joined, and heads cut out of the joint result.

%w = join(%wq, %wk, %wv)                  {(heads head_dim) + (kv head_dim) + (kv head_dim)}, hidden
%y = linear(%x, %w)
%q, %k, %v = split_heads(%y)              each [B, heads, S, head_dim]

A product that begins with labels, ``(qkv heads head_dim)``, is such a result too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import floating, rules, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, Dim, DType, Product, Role, Sum, TensorType, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


@register
class Join(TensorOp):
    """y = the tensors one behind the other along their first dimension, which becomes the sum of theirs."""

    name = "join"
    operands = ("a", "b?", "c?")
    no_gradient = "it joins parameters: the gradient of what it makes is the gradient of the joint storage"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        parts = [
            floating(type_, name) for type_, name in zip(types, "abc", strict=False) if type_ is not None
        ]
        for name, part in zip("abc", parts, strict=False):
            if not part.dims or part.dims[1:] != parts[0].dims[1:]:
                raise Refusal("only tensors that agree in all but their first dimension join", at=name)
        firsts = tuple(part.dims[0] for part in parts)
        if any(isinstance(first, Sum) for first in firsts):
            raise Refusal("what is joined already is not joined again", at="a")
        return (TensorType(DType.FLOAT, (Sum(firsts), *parts[0].dims[1:])),)  # type: ignore[arg-type]  # no sums

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        found = [array for array in arrays if array is not None]
        return (np.concatenate(found) if found else None,)  # of biases that there are none of, nothing


def side_by_side(dim: Dim) -> tuple[Dim, ...]:
    """The parts of a sum, or of a product what stands for each label: ``(qkv heads head_dim)`` has three."""
    if isinstance(dim, Sum):
        return dim.parts
    if isinstance(dim, Product) and dim.factors[0].role is Role.LABELS:
        count = dim.factors[0].size
        if isinstance(count, Const) and isinstance(count.value, int):
            return (Product(dim.factors[1:]),) * count.value
    return ()


class Heads(TensorOp):
    """Shared by the two: elements only move, and the other one is the gradient."""

    states_types = True

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return traffic(operation, Const(0))

    @staticmethod
    def fits(joint: TensorType, parts: Sequence[TensorType]) -> bool:
        """Whether ``parts`` are the heads of ``joint``, in order."""
        sides = side_by_side(joint.dims[-1])
        if len(joint.dims) != 3 or len(sides) != len(parts):
            return False
        batch, tokens = joint.dims[:2]
        for part, dim in zip(parts, sides, strict=True):
            if len(part.dims) != 4 or (part.dims[0], part.dims[2]) != (batch, tokens):
                return False
            if not isinstance(dim, Product) or dim.factors != (part.dims[1], part.dims[3]):
                return False
        return True


@register
class SplitHeads(Heads):
    """q, k, v = the parts of x [B, S, {(heads head_dim) + ...}], each as [B, heads, S, head_dim]."""

    name = "split_heads"
    operands = ("x",)

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x = floating(operands[0], "x")
        if not self.fits(x, [floating(result, "y") for result in results]):
            raise Refusal("the results are not the heads of 'x'", at="x", label=f"is {x}")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        shapes = [[call.size(dim.size) for dim in type_.dims] for type_ in call.results]  # type: ignore[union-attr]  # all are tensors
        ends = np.cumsum([heads * width for _, heads, _, width in shapes])[:-1]
        parts = np.split(arrays[0], ends, axis=-1)
        return tuple(
            part.reshape(batch, tokens, heads, width).swapaxes(1, 2)
            for part, (batch, heads, tokens, width) in zip(parts, shapes, strict=True)
        )

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x = adjoint.operation.operands[0]
        assert x is not None
        return [adjoint.add("join_heads", adjoint.grads, types=(x.type,), name=f"d{x.name}")]


@register
class JoinHeads(Heads):
    """x = the heads of q, k and v as [B, S, {(heads head_dim) + ...}]: what split_heads undoes."""

    name = "join_heads"
    operands = ("q", "k?", "v?")

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        (made,) = results
        parts = [
            floating(part, name) for part, name in zip(operands, "qkv", strict=False) if part is not None
        ]
        if not self.fits(floating(made, "x"), parts):
            raise Refusal("the result is not made of these heads", at="q", label=f"is {made}")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        flat = [a.swapaxes(1, 2).reshape(a.shape[0], a.shape[2], -1) for a in arrays if a is not None]
        return (np.concatenate(flat, axis=-1),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        parts = [part for part in adjoint.operation.operands if part is not None]
        names = [f"d{part.name}" for part in parts]
        return adjoint.add_all(
            "split_heads", (adjoint.grad,), types=[part.type for part in parts], names=names
        )

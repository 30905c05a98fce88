"""Activations that a field of the config names: where they are applied, and where a condition chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttmlc.elaborate import integers
from ttmlc.elaborate.binding import Signature, bind
from ttmlc.elaborate.values import Number, Tensor
from ttmlc.ir import scalar
from ttmlc.ir.ops.arithmetic import IDENTITY
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.language import tree
from ttmlc.source import Span

if TYPE_CHECKING:
    from ttmlc.elaborate.expressions import Expressions


def applied(elaborator: Expressions, node: tree.Call, name: str, kind: Number, wanted: str) -> Tensor:
    """``act(x)`` for a field ``act``, ``kind``, of the config.

    Raises:
        DiagnosticError: the field may be none, and nobody has asked.
    """
    bound = bind(node, name, Signature(("x",), 1), {})
    x = elaborator.tensor(bound.given["x"], "")
    known = integers.certain(elaborator, kind.scalar, node.function.span)
    operands: list[Tensor | None] = [Tensor(x.value, bound.span("x"))]
    return elaborator.apply("activate", operands, {"kind": known}, node.span, name=wanted or name)


def applied_once(
    elaborator: Expressions, conditions: Sequence[Scalar], tensors: Sequence[Tensor], span: Span, wanted: str
) -> Tensor | None:
    """A choice among activations of one tensor, which itself may be one, as that tensor with the chosen one applied.

    None if it is no such. So ``act(x) if act is not none else x`` is one op, with its backward.
    """
    makers = {
        operation.result: operation for operation in elaborator.build.operations if operation.op == "activate"
    }
    for x in dict.fromkeys(makers[made.value].operands[0] for made in tensors if made.value in makers):
        kinds: list[Scalar] = []
        for made in tensors:
            maker = makers.get(made.value)
            if made.value == x:
                kinds.append(Const(IDENTITY))
            elif maker is not None and maker.operands[0] == x:
                kinds.append(maker.scalar("kind"))
        if x is None or len(kinds) < len(tensors):
            continue
        kind = kinds.pop()
        for condition, other in zip(reversed(conditions), reversed(kinds), strict=True):
            kind = scalar.apply("select", condition, other, kind)
        _forget(elaborator, tensors)
        return elaborator.apply("activate", [Tensor(x, span)], {"kind": kind}, span, name=wanted or "chosen")
    return None


def _forget(elaborator: Expressions, tensors: Sequence[Tensor]) -> None:
    """Take back the activations that were made last and that nothing else calls by a name."""
    made = {tensor.value for tensor in tensors}
    named = {meaning.value for meaning in elaborator.values.values() if isinstance(meaning, Tensor)}
    operations = elaborator.build.operations
    while operations and operations[-1].op == "activate" and operations[-1].result in made - named:
        elaborator.build.names.release(operations.pop().result.name)

"""Scaled dot-product attention over heads, with a validity mask and causality (Vaswani et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import check_rate, elements, floating, per_element, rules, tensor, total, traffic
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, DType, Role, TensorType, Type, dim_text

if TYPE_CHECKING:
    from ttmlc.ir.builder import Builder
    from ttmlc.ir.evaluate import Call

MASKED = -1e9
"""The score of a key that may not be seen: finite, so that a row which sees nothing stays a number."""


def _tokens(type_: TensorType, operand: str) -> Axis:
    found = [axis for axis in type_.dims if isinstance(axis, Axis) and axis.role is Role.TOKENS]
    if len(found) != 1:
        raise Refusal(f"{operand!r} must have one axis of tokens", at=operand, label=f"is {type_}")
    return found[0]


@register
class Attention(TensorOp):
    """a = softmax(q k^T * scale, over the keys that may be seen) v.

    q, k and v are [B, heads, S, head_dim]; ``mask`` is bool[B, S] over the keys. ``scale`` is 1 / sqrt(head_dim)
    where it is not given. Dropout acts on the probabilities.
    """

    name = "attention"
    composite = True
    operands = ("q", "k", "v", "mask?")
    attributes = {
        "causal": AttributeSpec(False, Const(False)),
        "scale": AttributeSpec(),
        "dropout": AttributeSpec(False, Const(0)),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        check_rate(attributes, "dropout")
        q, k, v = (floating(type_, name) for type_, name in zip(types, "qkv", strict=False))
        for operand, type_ in (("q", q), ("k", k), ("v", v)):
            if len(type_.dims) != 4:
                raise Refusal(
                    f"{operand!r} must be [B, heads, S, head_dim]",
                    at=operand,
                    label=f"is {type_}",
                    hint="Split the heads with 'as [B, heads, S, head_dim]'.",
                )
            if type_.dims[2] != _tokens(type_, operand):
                raise Refusal(f"{operand!r} must have its tokens third", at=operand, label=f"is {type_}")
        for operand, type_ in (("k", k), ("v", v)):
            for place in (0, 1, 3):
                if type_.dims[place] != q.dims[place]:
                    raise Refusal(
                        f"'q' and {operand!r} differ in {dim_text(q.dims[place])!r}",
                        at=operand,
                        label=f"is {type_}",
                        related=(("q", f"is {q}"),),
                    )
        if types[3] is not None:
            mask = tensor(types[3], "mask")
            if mask.dtype is not DType.BOOL or mask.dims != (q.dims[0], k.dims[2]):
                raise Refusal("'mask' must be bool over the keys", at="mask", label=f"is {mask}")
        return (q,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        q = operation.operands[0]
        assert q is not None and isinstance(q.type, TensorType)
        return rules(operation, mixes=(_tokens(q.type, "q"),))

    def cost(self, operation: Operation) -> Cost:
        q, k = operation.operands[:2]
        assert (
            q is not None
            and k is not None
            and isinstance(q.type, TensorType)
            and isinstance(k.type, TensorType)
        )
        pairs = scalar.apply("*", elements(q.type.dims[:3]), k.type.dims[2].size)
        flops = total(
            (
                scalar.apply("*", Const(4), scalar.apply("*", pairs, q.type.dims[3].size)),
                scalar.apply("*", Const(6), pairs),
            )
        )
        return traffic(operation, flops)

    def expand(self, operation: Operation, build: Builder) -> None:
        q, k, v, *rest = operation.operands
        assert q is not None and k is not None and v is not None and isinstance(q.type, TensorType)
        queries = _tokens(q.type, "q").name
        keys = {"source": queries, "to": f"{queries}'"}
        given = operation.get("scale")
        scale: Scalar = (
            scalar.apply("/", Const(1), scalar.apply("sqrt", q.type.dims[3].size))
            if given is None
            else operation.scalar("scale")
        )
        k, v = build.add("relabel", (k,), keys, name=k.name), build.add("relabel", (v,), keys, name=v.name)
        scores = build.add("contract", (q, k), {"over": dim_text(q.type.dims[3])}, name="scores")
        seen = {"scale": scale, "causal": operation.get("causal") or Const(False)}
        mask = (
            build.add("relabel", (rest[0],), keys, name=rest[0].name)
            if rest and rest[0] is not None
            else None
        )
        weights = build.add(
            "softmax", (build.add("masked_scores", (scores, mask), seen, name="masked"),), name="weights"
        )
        p = operation.get("dropout")
        if p not in (None, Const(0)):
            weights = build.add("dropout", (weights,), {"p": operation.scalar("dropout")}, name="kept")
        build.add("contract", (weights, v), {"over": keys["to"]})


@register
class MaskedScores(TensorOp):
    """y = scores * scale, and far below everything where a key may not be seen.

    ``mask`` is bool[B, keys]; a causal query sees no key after its own place. What hides a key is added to its score,
    as a device does it, so that the gradient is ``scale`` everywhere: behind the softmax a hidden key has none.
    """

    name = "masked_scores"
    operands = ("scores", "mask?")
    attributes = {"scale": AttributeSpec(required=True), "causal": AttributeSpec(False, Const(False))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        scores = floating(types[0], "scores")
        if len(scores.dims) != 4:
            raise Refusal("'scores' must be [B, heads, queries, keys]", at="scores", label=f"is {scores}")
        if types[1] is not None:
            mask = tensor(types[1], "mask")
            if mask.dtype is not DType.BOOL or mask.dims != (scores.dims[0], scores.dims[3]):
                raise Refusal("'mask' must be bool over the keys", at="mask", label=f"is {mask}")
        return (scores,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, 2)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        scores, mask = arrays
        scores = scores * call.value("scale")
        hidden = np.zeros(scores.shape[-2:], bool)
        if call.value("causal"):
            hidden = ~np.tril(~hidden)
        if mask is not None:
            hidden = hidden | ~mask[:, None, None, :]
        return (np.where(hidden, np.asarray(MASKED, scores.dtype), scores),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        scaled = adjoint.add(
            "multiply", (adjoint.grad,), {"scalar": adjoint.operation.scalar("scale")}, name="dscores"
        )
        return [scaled, *(None for _ in adjoint.operation.operands[1:])]

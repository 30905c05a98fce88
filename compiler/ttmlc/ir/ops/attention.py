"""Scaled dot-product attention over heads, with a validity mask and causality (Vaswani et al., 2017).

Several heads of queries may share one of keys and values (Ainslie et al., 2023), and a query may see the nearest keys
alone (Beltagy et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import check_rate, elements, floating, per_element, rules, tensor, total, traffic
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, DType, Product, Role, TensorType, Type, dim_text

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
    where it is not given. Dropout acts on the probabilities. With ``group`` k and v have so many times fewer heads, and
    head i of q goes with head i / group of theirs. With a ``window`` that is not none a causal query sees so many keys,
    itself included.
    """

    name = "attention"
    composite = True
    operands = ("q", "k", "v", "mask?")
    attributes = {
        "causal": AttributeSpec(False, Const(False)),
        "scale": AttributeSpec(),
        "dropout": AttributeSpec(False, Const(0)),
        "group": AttributeSpec(),
        "window": AttributeSpec(),
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
        grouped = attributes.get("group") is not None
        for operand, type_ in (("k", k), ("v", v)):
            other, name = (k, "k") if grouped and operand == "v" else (q, "q")
            for place in (0, 3) if other is q and grouped else (0, 1, 3):
                if type_.dims[place] != other.dims[place]:
                    heads = place == 1 and isinstance(type_.dims[1], Axis) and other is q
                    raise Refusal(
                        f"{name!r} and {operand!r} differ in {dim_text(other.dims[place])!r}",
                        at=operand,
                        label=f"is {type_}",
                        related=((name, f"is {other}"),),
                        hint=(
                            f"Say 'axis {dim_text(q.dims[1])} = ({dim_text(type_.dims[1])} group)' in the config "
                            "where several heads share keys and values."
                            if heads
                            else ""
                        ),
                    )
        check_window(attributes)
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
        made, width = q.type, q.type.dims[3]
        if operation.get("group") is not None:
            assert isinstance(k.type, TensorType)
            group = Axis("group'", operation.scalar("group"), Role.FEATURES)
            rows = Product((group, _tokens(q.type, "q")))
            grouped = TensorType(DType.FLOAT, (q.type.dims[0], k.type.dims[1], rows, q.type.dims[3]))
            q = build.add("group_queries", (q,), types=(grouped,), name=f"{q.name}_rows")
        k, v = build.add("relabel", (k,), keys, name=k.name), build.add("relabel", (v,), keys, name=v.name)
        scores = build.add("contract", (q, k), {"over": dim_text(width)}, name="scores")
        seen = {"scale": scale, "causal": operation.get("causal") or Const(False)}
        if operation.get("window") is not None:
            seen["window"] = operation.scalar("window")
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
        grouped_queries = q.type != made
        name = "mixed" if grouped_queries else ""
        mixed = build.add("contract", (weights, v), {"over": keys["to"]}, name=name)
        if grouped_queries:
            build.add("ungroup_queries", (mixed,), types=(made,))


def check_window(attributes: Attributes) -> None:
    """Refuse a window that shows nothing, or is seen from both sides."""
    window = attributes.get("window")
    if window in (None, Const(None)):
        return
    if isinstance(window, Const) and isinstance(window.value, int) and window.value < 1:
        raise Refusal("a window shows one key at least", at="window")
    if attributes.get("causal") != Const(True):
        raise Refusal("only a causal query has a window", at="window", hint="Say causal=true.")


class Grouping(TensorOp):
    """Shared by the two: no element moves, and the other one is the gradient."""

    operands = ("x",)
    states_types = True
    back = ""

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    @staticmethod
    def fits(heads: TensorType, grouped: TensorType) -> bool:
        """Whether ``grouped`` is ``heads`` with those of a group one behind the other."""
        if len(heads.dims) != 4 or len(grouped.dims) != 4:
            return False
        rows = grouped.dims[2]
        ends = [(type_.dims[0], type_.dims[3]) for type_ in (heads, grouped)]
        return isinstance(rows, Product) and rows.factors[1:] == (heads.dims[2],) and ends[0] == ends[1]

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        (made,) = call.results
        assert isinstance(made, TensorType)
        return (arrays[0].reshape([call.size(dim.size) for dim in made.dims]),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x = adjoint.operation.operands[0]
        assert x is not None
        return [adjoint.add(self.back, (adjoint.grad,), types=(x.type,), name=f"d{x.name}")]


@register
class GroupQueries(Grouping):
    """y [B, kv, (group S), head_dim] = x [B, heads, S, head_dim]: the heads that share keys, one behind the other.

    A score, and what it gives back to a key, is then a product of matrices for each head of keys, and the sum over the
    group is the sum over rows.
    """

    name = "group_queries"
    back = "ungroup_queries"

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        if not self.fits(floating(operands[0], "x"), floating(results[0], "y")):
            raise Refusal("the result is not made of groups of the heads", at="x", label=f"is {operands[0]}")


@register
class UngroupQueries(Grouping):
    """y [B, heads, S, head_dim] = x [B, kv, (group S), head_dim]: what group_queries is undone by."""

    name = "ungroup_queries"
    back = "group_queries"

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        if not self.fits(floating(results[0], "y"), floating(operands[0], "x")):
            raise Refusal("'x' is not made of groups of these heads", at="x", label=f"is {operands[0]}")


@register
class MaskedScores(TensorOp):
    """y = scores * scale, and far below everything where a key may not be seen.

    ``mask`` is bool[B, keys]; a causal query sees no key after its own place, and with a ``window`` so many up to
    there. Queries may stand in groups, one behind the other. What hides a key is added to its score, as a device does
    it, so that the gradient is ``scale`` everywhere: behind the softmax a hidden key has none.
    """

    name = "masked_scores"
    operands = ("scores", "mask?")
    attributes = {
        "scale": AttributeSpec(required=True),
        "causal": AttributeSpec(False, Const(False)),
        "window": AttributeSpec(),
    }

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        check_window(attributes)
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
        query, key = np.indices(hidden.shape)
        query = query % hidden.shape[-1]  # of each group
        if call.value("causal"):
            hidden |= key > query
        window = call.value("window")
        if isinstance(window, int):
            hidden |= key <= query - window
        if mask is not None:
            hidden = hidden | ~mask[:, None, None, :]
        return (np.where(hidden, np.asarray(MASKED, scores.dtype), scores),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        scaled = adjoint.add(
            "multiply", (adjoint.grad,), {"scalar": adjoint.operation.scalar("scale")}, name="dscores"
        )
        return [scaled, *(None for _ in adjoint.operation.operands[1:])]

"""Make the projections to queries, keys and values one matmul.

    %q = split heads of ttnn.linear(%x, %wq, %bq)
    %k = split heads of ttnn.linear(%x, %wk, %bk)              %y = ttnn.linear(%x, concat(%wq, %wk, %wv), ...)
    %v = split heads of ttnn.linear(%x, %wv, %bv)        =>    %q, %k, %v = ttnn.create_qkv_heads(%y)
    %a = ttnn.sdpa(%q, %k, %v, ...)                            %a = ttnn.sdpa(%q, %k, %v, ...)

The three weights become parts of one storage, joined by ``concat`` in its chain, and so do the biases.
Declines when the three read different values, differ in heads, or have other readers, or when only some have a bias.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Attribute, Form, Operation, Value
from ttmlc.ir.scalar import Apply, Const, Scalar
from ttmlc.ir.types import DeviceType
from ttmlc.passes.fusion.engine import Match, Scope
from ttmlc.passes.fusion.heads import SWAP

PARTS = 5
"""Of each projection, in order: weight storage, bias storage (or its linear again), linear, reshape, permute."""


class FuseProjections:
    """See the module."""

    name: ClassVar[str] = "fuse-projections"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        if root.op != "ttnn.sdpa":
            return None
        parts: list[Operation] = []
        for value in root.operands[:3]:
            swap = scope.maker(value, "ttnn.permute")
            split = None if swap is None else scope.maker(swap.operands[0], "ttnn.reshape")
            linear = None if split is None else scope.maker(split.operands[0], "ttnn.linear")
            if (
                swap is None
                or split is None
                or linear is None
                or swap.get("dims") != SWAP
                or linear.attributes
            ):
                return None
            weight = scope.maker(linear.operands[1], "storage")
            bias = scope.maker(linear.operands[2], "storage") if len(linear.operands) > 2 else linear
            if weight is None or bias is None:
                return None
            parts += [weight, bias, linear, split, swap]
        return Match(root, tuple(parts))

    def check(self, match: Match, scope: Scope) -> str | None:
        linears = match.parts[2::PARTS]
        splits = match.parts[3::PARTS]
        if len({linear.operands[0] for linear in linears}) > 1:
            return "the projections read different values"
        if len({len(linear.operands) for linear in linears}) > 1:
            return "only some of the projections have a bias"
        if len({split.result.type for split in splits}) > 1:
            return "queries differ from keys and values in their heads"
        shared = scope.shared(*match.parts)
        return None if shared is None else f"%{shared.name} has another reader"

    def rewrite(self, match: Match, build: Builder) -> None:
        weights, biases, linears, splits = (match.parts[place::PARTS] for place in range(4))
        first, root = linears[0], match.root
        holder = "_".join(weight.text("holder") for weight in weights)
        weight = _joined(build, weights, holder)
        bias = _joined(build, biases, holder) if len(first.operands) > 2 else None
        span = first.span
        for linear in linears[1:]:
            span = span.to(linear.span) if span is not None and linear.span is not None else span
        joint = build.add("ttnn.linear", (first.operands[0], weight, bias), name=holder, span=span)
        split = splits[0].result.type
        assert isinstance(split, DeviceType)
        heads = {"num_heads": split.shape[2], "head_dim": split.shape[3]}
        names = [value.name for value in root.operands[:3] if value is not None]
        q, k, v = build.add_all("ttnn.create_qkv_heads", (joint,), heads, names=names, span=span).results
        mask = root.operands[3:]
        build.add(root.op, (q, k, v, *mask), dict(root.attributes), name=root.result.name, span=root.span)


def _joined(build: Builder, storages: tuple[Operation, ...], holder: str) -> Value:
    chains = [storage.get("chain") for storage in storages]
    types = [storage.result.type for storage in storages]
    shapes = [type_.shape for type_ in types if isinstance(type_, DeviceType)]
    last = shapes[0][-1]
    for shape in shapes[1:]:
        last = scalar.apply("+", last, shape[-1])
    if len(set(shapes)) == 1:
        last = scalar.product((Const(len(shapes)), *_factors(shapes[0][-1])))
    attributes: dict[str, Attribute] = {
        "holder": holder,
        "slot": storages[0].text("slot"),
        "chain": Form("concat", tuple(chain for chain in chains if chain is not None)),
        "shape": (*shapes[0][:-1], last),
    }
    return build.add(
        "storage", (), attributes, name=f"{holder}_{storages[0].text('slot')}", span=storages[0].span
    )


def _factors(size: Scalar) -> tuple[Scalar, ...]:
    return size.args if isinstance(size, Apply) and size.op == "*" else (size,)

"""Make the projections to queries, keys and values one matmul.

    %q = linear(%x, %wq, %bq) as heads                   %w = join(%wq, %wk, %wv)
    %k = linear(%x, %wk, %bk) as heads                   %b = join(%bq, %bk, %bv)
    %v = linear(%x, %wv, %bv) as heads             =>    %y = linear(%x, %w, %b)
    %a = attention(%q, %k, %v, ...)                      %q, %k, %v = split_heads(%y)
                                                         %a = attention(%q, %k, %v, ...)

The three weights become parts of one storage, and so do the biases; the backward, derived after this, is one matmul
each way as well. What stands between the heads and the attention, such as a norm of the queries or the turn that their
positions give them, stays where it is. One projection that the spec takes apart by labels, as in
``q, k, v = linear(x, (qkv heads head_dim)) as [qkv, ...]``, is cut into heads the same way.

Declines when the three read different values, are stored in different orders, or have other readers, and when only
some have a bias, or not all under one flag.

Other linears of one value are left alone, such as the two of a gated feed-forward: no op takes their joint result
apart as heads are, so that one matmul less costs two slices and the activation that ``ttnn.linear`` applies at once.
In inference those are five programs instead of three, and in training as many as before with copies of the widest
tensors there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import Attribute, Function, Level, Module, Operation, Region, Value, names_in, plain
from ttmlc.ir.ops.joint import Heads
from ttmlc.ir.types import Product, TensorType, factors
from ttmlc.passes.base import Declined, Outcome, Pass


@dataclass(frozen=True)
class Projection:
    """One of the three: a linear, and the rearrangement that cuts its heads."""

    linear: Operation
    cut: Operation


@dataclass(frozen=True)
class JoinProjections(Pass):
    """See the module."""

    name = "join-projections"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        declined: list[Declined] = []
        return Outcome(module.map_functions(lambda function: _function(function, declined)), tuple(declined))


def _function(function: Function, declined: list[Declined]) -> Function:
    operations = _body(function.operations, list(function.wanted), names_in(function), declined)
    return replace(function, operations=operations)


def _body(
    operations: tuple[Operation, ...], wanted: list[Value], names: set[str], declined: list[Declined]
) -> tuple[Operation, ...]:
    operations = tuple(_inside(operation, names, declined) for operation in operations)
    operations = _by_label(operations, wanted)
    for attention in [operation for operation in operations if operation.op == "attention"]:
        found = _projections(attention, operations)
        if found is None:
            continue
        reason = _reason(found, operations, wanted)
        if reason is not None:
            declined.append(Declined(JoinProjections.name, reason, attention.span))
        else:
            operations = _joined(operations, found, names)
    return operations


def _by_label(operations: tuple[Operation, ...], wanted: list[Value]) -> tuple[Operation, ...]:
    """``operations`` with heads cut at once that were laid out by label and then taken apart."""
    reads = [value for operation in operations for value in operation.reads()] + wanted
    instead: dict[int, Operation | None] = {}
    for apart in operations:
        moved = _maker(apart.operands[0], "rearrange", operations) if apart.op == "take_apart" else None
        if moved is None or reads.count(moved.result) > 1:
            continue
        (joint,) = moved.operands
        made = [value.type for value in apart.results if isinstance(value.type, TensorType)]
        assert joint is not None and isinstance(joint.type, TensorType)
        first = factors(joint.type.dims[-1])[0] if joint.type.dims else None
        if first is None or first.name != apart.text("over") or not Heads.fits(joint.type, made):
            continue
        instead[id(moved)] = None
        instead[id(apart)] = replace(apart, op="split_heads", operands=(joint,), attributes=())
    found = (instead.get(id(operation), operation) for operation in operations)
    return tuple(operation for operation in found if operation is not None)


def _inside(operation: Operation, names: set[str], declined: list[Declined]) -> Operation:
    if operation.body is None:
        return operation
    body: Region = operation.body
    inner = _body(body.operations, list(body.yields), names, declined)
    return replace(operation, body=replace(body, operations=inner))


def _maker(value: Value | None, op: str, operations: Sequence[Operation]) -> Operation | None:
    return next((o for o in operations if o.op == op and value in o.results), None)


def _projections(attention: Operation, operations: Sequence[Operation]) -> tuple[Projection, ...] | None:
    found = []
    for value in attention.operands[:3]:
        cut = _cut(value, operations)
        linear = None if cut is None else _maker(cut.operands[0], "linear", operations)
        if cut is None or linear is None or not _heads(linear, cut):
            return None
        if any(_maker(one, "param", operations) is None for one in linear.operands[1:] if one is not None):
            return None
        found.append(Projection(linear, cut))
    return tuple(found)


def _cut(value: Value | None, operations: Sequence[Operation]) -> Operation | None:
    """What cuts the heads that ``value`` is made of, step by step and each of the same type: a norm, a rotation."""
    while value is not None:
        maker = next((o for o in operations if value in o.results), None)
        if maker is None or maker.op == "rearrange":
            return maker
        first = maker.operands[0] if maker.operands else None
        if len(maker.results) > 1 or first is None or first.type != value.type:
            return None
        value = first
    return None


def _heads(linear: Operation, cut: Operation) -> bool:
    """Whether ``cut`` makes [B, heads, S, head_dim] of [B, S, (heads head_dim)]."""
    made, heads = linear.result.type, cut.result.type
    assert isinstance(made, TensorType) and isinstance(heads, TensorType)
    if len(made.dims) != 3 or len(heads.dims) != 4 or not isinstance(made.dims[2], Product):
        return False
    batch, heads_axis, tokens, width = heads.dims
    return made.dims[:2] == (batch, tokens) and made.dims[2].factors == (heads_axis, width)


def _reason(found: Sequence[Projection], operations: Sequence[Operation], wanted: list[Value]) -> str | None:
    linears = [projection.linear for projection in found]
    if len({linear.operands[0] for linear in linears}) > 1:
        return "the projections read different values"
    if len({linear.attributes for linear in linears}) > 1:
        return "the projections are stored in different orders"
    if any(linear.attributes for linear in linears):
        return "projections that are stored [in, out] are not joined"
    if len({len(linear.operands) for linear in linears}) > 1:
        return "only some of the projections have a bias"
    if len({_condition(linear, operations) for linear in linears}) > 1:
        return "the projections have their biases under different conditions"
    if len({id(linear) for linear in linears}) < len(linears):
        return "queries, keys and values are one projection"
    reads = [value for operation in operations for value in operation.reads()] + wanted
    for projection in found:
        for value in (projection.linear.result, projection.cut.result, *projection.linear.operands[1:]):
            if value is not None and reads.count(value) > 1:
                return f"%{value.name} has another reader"
    return None


def _condition(linear: Operation, operations: Sequence[Operation]) -> Attribute | None:
    """The flag under which a linear has its bias, where one decides that."""
    param = _maker(linear.operands[2], "param", operations) if len(linear.operands) > 2 else None
    return None if param is None else param.get("only")


def _joined(
    operations: tuple[Operation, ...], found: Sequence[Projection], names: set[str]
) -> tuple[Operation, ...]:
    """``operations`` with the three projections replaced where the first of them stood."""
    first = found[0].linear
    linears = [id(projection.linear) for projection in found]
    root = next(operation for operation in operations if id(operation) in linears)
    build = Builder(Names(names))
    span = first.span
    for projection in found[1:]:
        if span is not None and projection.linear.span is not None:
            span = span.to(projection.linear.span)
    label = "_".join(plain(projection.cut.result.name) for projection in found)
    weight = build.add("join", [p.linear.operands[1] for p in found], name=f"{label}_weight", span=span)
    bias = None
    if len(first.operands) > 2:
        bias = build.add("join", [p.linear.operands[2] for p in found], name=f"{label}_bias", span=span)
    joint = build.add("linear", (first.operands[0], weight, bias), name=label, span=span)
    kept = [projection.cut.result for projection in found]
    names.update(value.name for operation in build.operations for value in operation.results)
    split = Operation("split_heads", (joint,), (), tuple(kept), None, span)
    gone = {id(part) for projection in found for part in (projection.linear, projection.cut)}
    # What the three read stands before the first of them, but for parameters, which may stand anywhere.
    params = {id(o) for o in operations if o.op == "param" and any(v in _weights(found) for v in o.results)}
    result: list[Operation] = []
    for operation in operations:
        if operation is root:
            result += [o for o in operations if id(o) in params]
            result += [replace(made, by=JoinProjections.name) for made in (*build.operations, split)]
        elif id(operation) not in gone | params:
            result.append(operation)
    return tuple(result)


def _weights(found: Sequence[Projection]) -> list[Value]:
    return [value for p in found for value in p.linear.operands[1:] if value is not None]

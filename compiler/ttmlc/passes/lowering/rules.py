"""What each op of the tensor level is on the device: a table, one rule an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ttmlc.ir.device_cache  # noqa: F401  # declares an op that these rules make
from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder
from ttmlc.ir.device import UINT32
from ttmlc.ir.device_turns import FIRST
from ttmlc.ir.module import Attribute, Operation, Region, Value, plain
from ttmlc.ir.op import TABLE
from ttmlc.ir.ops import loss
from ttmlc.ir.ops.integers import OWN
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, DeviceType, DType, MaskType, RotaryType, SavedType, TensorType, Type
from ttmlc.passes.lowering import hosted
from ttmlc.passes.lowering.heads import HEADS, of_losses, unit_of
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import resident
from ttmlc.passes.lowering.rotary import ROTARY, turning
from ttmlc.passes.lowering.training import TRAINING, heads_of, over_padding, unpadded

if TYPE_CHECKING:
    from ttmlc.passes.lower import Lowering

Lowered = Callable[["Lowering", Operation], "Sequence[Value]"]
LOSSES = frozenset(loss.LOSSES)
NUMBER = TensorType(DType.FLOAT, ())
"""The type of a loss."""


def called(operation: Operation) -> str:
    """The function that a call calls: the block, its forward where what it saves is wanted, or its backward."""
    block = operation.text("block")
    if operation.op == "call_backward":
        return f"{block}.backward"
    return f"{block}.forward" if isinstance(operation.results[-1].type, SavedType) else block


def _param(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    lowering.storages.declare(operation)
    return ()


def _linear(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    weight, turned = lowering.storages.weight(operation, operation.operands[1])
    bias = lowering.storages.vector(operation.operands[2]) if len(operation.operands) > 2 else None
    operands = (lowering.operand(operation, 0), weight, bias)
    return [lowering.add(operation, "ttnn.linear", operands, turned=Const(turned))]


def _layer_norm(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    unpadded(lowering, operation)
    _, weight, *bias = operation.operands
    operands = (
        lowering.operand(operation, 0),
        lowering.storages.vector(weight),
        *map(lowering.storages.vector, bias),
    )
    return [lowering.add(operation, "ttnn.layer_norm", operands, epsilon=operation.scalar("eps"))]


def _rms_norm(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """One call that rounds behind the weight, or where the spec asks for it two, of which each rounds."""
    x, weight = lowering.operand(operation, 0), lowering.storages.vector(operation.operands[1])
    epsilon, factor = over_padding(lowering, operation, 0)
    if operation.get("round") == "after_weight":
        normal = lowering.add(operation, "ttnn.rms_norm", (x, weight), epsilon=epsilon)
        return [
            normal if factor is None else lowering.add(operation, "ttnn.multiply", (normal,), scalar=factor)
        ]
    normal = lowering.add(operation, "ttnn.rms_norm", (x,), epsilon=epsilon)
    if factor is not None:
        normal = lowering.add(operation, "ttnn.multiply", (normal,), scalar=factor)
    return [lowering.add(operation, "ttnn.multiply", (normal, weight))]


def _embedding(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    ids, table = operation.operands
    assert ids is not None and table is not None and isinstance(table.type, TensorType)
    entered = lowering.ids(ids, operation.span)
    looked_up = lowering.add(operation, "ttnn.embedding", (entered, lowering.storages.table(table)))
    type_ = operation.result.type
    assert isinstance(type_, TensorType)
    return [_reshape(lowering, operation, looked_up, resident(type_, lowering.padding, operation.span).shape)]


def _reshape(lowering: Lowering, source: Operation, value: Value, shape: tuple[Scalar, ...]) -> Value:
    return lowering.add(source, "ttnn.reshape", (value,), shape=shape)


def _rearrange(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """Split the heads off the features, or join them again."""
    x, made = operation.operands[0], operation.result.type
    value = lowering.operand(operation, 0)
    assert (
        x is not None
        and value is not None
        and isinstance(x.type, TensorType)
        and isinstance(made, TensorType)
    )
    cut = heads_of(lowering, operation) or unit_of(lowering, operation)
    if cut is not None:
        return cut
    swap = tuple(Const(place) for place in (0, 2, 1, 3))
    names, wanted = [[axis.name for axis in type_.axes()] for type_ in (x.type, made)]
    size = lowering.padding.size
    if len(x.type.dims) == 3 and len(made.dims) == 4 and wanted == [names[0], names[2], names[1], names[3]]:
        batch, heads, tokens, features = made.dims
        split = _reshape(lowering, operation, value, (size(batch), size(tokens), size(heads), size(features)))
        return [lowering.add(operation, "ttnn.permute", (split,), dims=swap)]
    if len(x.type.dims) == 4 and len(made.dims) == 3 and wanted == [names[0], names[2], names[1], names[3]]:
        if lowering.padding.is_whole(x.type.dims[3]):
            return [lowering.add(operation, "ttnn.concat_heads", (value,))]
        swapped = lowering.add(operation, "ttnn.permute", (value,), dims=swap)
        return [
            _reshape(lowering, operation, swapped, resident(made, lowering.padding, operation.span).shape)
        ]
    raise cannot(operation.span, f"{x.type} as {made} has no form on the device yet")


def _split_heads(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    types = [value.type for value in operation.results]
    q, *rest = [type_ for type_ in types if isinstance(type_, TensorType)]
    if len(types) != 3 or not lowering.padding.is_whole(q.dims[3]):
        raise cannot(
            operation.span, "only queries, keys and values of whole tiles are cut from one projection"
        )
    heads, kv = q.dims[1].size, rest[0].dims[1].size
    given = {"num_heads": heads, "head_dim": lowering.padding.size(q.dims[3])}
    if kv != heads:
        given["num_kv_heads"] = kv
    names = [value.name for value in operation.results]
    operands = (lowering.operand(operation, 0),)
    made = lowering.build.add_all("ttnn.create_qkv_heads", operands, given, names=names, span=operation.span)
    return made.results


def _attention(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    q = operation.operands[0]
    assert q is not None and isinstance(q.type, TensorType)
    causal = operation.scalar("causal") if operation.get("causal") is not None else Const(False)
    given = operation.get("window")
    window: Scalar = operation.scalar("window") if given is not None else Const(None)
    form = MaskType(causal, window)
    mask = lowering.mask(operation.operands[3] if len(operation.operands) > 3 else None, form)
    given_mask = mask
    if mask is None and window != Const(None):
        x = lowering.operand(operation, 0)
        mask = lowering.build.add(
            "nn.causal_window", (x,), {"window": window}, name="windowed", span=operation.span
        )
    head_dim = q.type.dims[3]
    scale: Attribute | None = operation.get("scale")
    if (
        scale is None and lowering.padding.size(head_dim) != head_dim.size
    ):  # the real width scales, not the padded one
        scale = scalar.apply("/", Const(1), scalar.apply("sqrt", head_dim.size))
    heads = [lowering.operand(operation, place) for place in range(3)]
    if causal != Const(False) and given_mask is not None and not lowering.trains:
        heads[1:] = _seen(lowering, operation, heads[1:], given_mask)
    return [
        lowering.add(operation, "ttnn.sdpa", (*heads, mask), scale=scale, causal=None if mask else causal)
    ]


def _seen(
    lowering: Lowering, operation: Operation, heads: Sequence[Value | None], mask: Value
) -> Sequence[Value]:
    """Keys and values as the mask has them: where a cache is kept, with those of the tokens before."""
    names = [plain(value.name) for value in heads if value is not None]
    return lowering.build.add_all("nn.seen", (*heads, mask), {}, names=names, span=operation.span).results


def _first(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    value = lowering.operand(operation, 0)
    assert value is not None and isinstance(value.type, DeviceType)
    x = operation.operands[0]
    assert x is not None and isinstance(x.type, TensorType)
    dim = x.type.dims[-2] if len(x.type.dims) in (3, 4) else None
    if not isinstance(dim, Axis) or dim.name != operation.text("over"):
        raise cannot(operation.span, "'first' takes the first token of [B, S, features]")
    batch, between, _, features = value.type.shape
    ends = {"start": (Const(0),) * 4, "end": (batch, between, Const(1), features)}
    taken = lowering.add(operation, "ttnn.slice", (value,), **ends)
    if len(x.type.dims) == 3:
        return [taken]
    return [lowering.add(operation, "ttnn.permute", (taken,), dims=tuple(map(Const, (0, 2, 1, 3))))]


def _narrow(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    operands = (lowering.operand(operation, 0),)
    return [lowering.add(operation, FIRST, operands, condition=operation.scalar("when"))]


def _binary(op: str) -> Lowered:
    def rule(lowering: Lowering, operation: Operation) -> Sequence[Value]:
        operands = [lowering.operand(operation, place) for place in range(len(operation.operands))]
        if operation.result.type == NUMBER:
            return [of_losses(lowering, operation)]
        return [lowering.add(operation, op, operands, scalar=operation.get("scalar"))]

    return rule


def _activate(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    return [
        lowering.add(
            operation, "nn.activate", (lowering.operand(operation, 0),), kind=operation.scalar("kind")
        )
    ]


def _dropout(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    value = lowering.operand(operation, 0)
    assert value is not None
    if not lowering.trains:
        return [value]
    given = {name: operation.scalar(name) for name in ("p", "site")}
    return [lowering.add(operation, "nn.dropout", (value,), **given)]


def _call(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    block = lowering.done[called(operation)].made
    operands: list[Value | None] = []
    for value, given in zip(operation.operands, block.inputs, strict=True):
        type_ = given.value.type
        if given.parameter:
            assert value is not None
            operands.append(lowering.storages.shared(value, operation.span))
        elif isinstance(type_, MaskType):
            operands.append(lowering.mask(value, type_))
        elif isinstance(type_, RotaryType):
            assert value is not None
            operands.append(turning(lowering, value, operation.span))
        elif isinstance(type_, DeviceType) and type_.dtype == UINT32:
            assert value is not None
            operands.append(lowering.ids(value, operation.span))
        elif value is not None and isinstance(type_, DeviceType) and is_whole(value):
            operands.append(hosted.places(lowering, value, type_.shape, operation.span))
        else:
            assert value is not None
            operands.append(lowering.value(value, operation.span))
    types: list[Type] = [value.type for _, value in block.outputs]
    if isinstance(operation.results[-1].type, SavedType):
        types.append(operation.results[-1].type)
    return _called(lowering, operation, operands, types)


def _call_backward(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    backward = lowering.done[called(operation)].made
    operands = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    return _called(lowering, operation, operands, [value.type for _, value in backward.outputs])


def is_whole(value: Value) -> bool:
    """Whether ``value`` is whole numbers."""
    return isinstance(value.type, TensorType) and value.type.dtype is DType.INT


def _called(
    lowering: Lowering, operation: Operation, operands: Sequence[Value | None], types: Sequence[Type]
) -> Sequence[Value]:
    names = [value.name for value in operation.results]
    made = lowering.build.add_all(
        operation.op, operands, dict(operation.attributes), names=names, span=operation.span, types=types
    )
    return made.results


def _loss(name: str) -> Lowered:
    def rule(lowering: Lowering, operation: Operation) -> Sequence[Value]:
        logits, labels = operation.operands
        assert logits is not None and labels is not None
        operands = (lowering.output(logits), lowering.host(labels, operation.span))
        return [lowering.add(operation, name, operands, ignore=operation.get("ignore"))]

    return rule


def _choose(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    makers = {value.name: one.op for one in lowering.function.walk() for value in one.results}
    if operation.result.type == NUMBER and not {makers[v.name] for v in operation.operands if v} <= LOSSES:
        raise cannot(operation.span, "a choice among sums of losses has no form on the device yet")
    operands = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    return _called(lowering, operation, operands, [value.type for value in operands[:1] if value])


def _body(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """A repeat or a condition, and what stands in it."""
    assert operation.body is not None
    carried = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    types = [value.type for value in carried if value is not None]
    outer = lowering.build
    lowering.stack.append(outer)
    lowering.build = Builder(outer.names)
    arguments = [
        Value(outer.names.fresh(value.name), type_)
        for value, type_ in zip(operation.body.arguments, types, strict=True)
    ]
    lowering.values.update(
        {old.name: new for old, new in zip(operation.body.arguments, arguments, strict=True)}
    )
    lowering.lower(operation.body.operations)
    yields = tuple(lowering.values[value.name] for value in operation.body.yields)
    body = Region(tuple(arguments), tuple(lowering.build.operations), yields)
    lowering.stack.pop()
    lowering.build = outer
    names = [value.name for value in operation.results]
    attributes = dict(operation.attributes)
    made = outer.add_all(
        operation.op, carried, attributes, names=names, span=operation.span, types=types, body=body
    )
    return made.results


RULES: dict[str, Lowered] = {
    "param": _param,
    "join": _param,
    "linear": _linear,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "rearrange": _rearrange,
    "split_heads": _split_heads,
    "attention": _attention,
    "first": _first,
    "narrow": _narrow,
    "pick": hosted.pick,
    "place": hosted.place,
    "activate": _activate,
    "dropout": _dropout,
    "call": _call,
    "call_backward": _call_backward,
    "repeat": _body,
    "when": _body,
    "choose": _choose,
    **{name: _binary(f"ttnn.{name}") for name in ("add", "subtract", "multiply", "divide")},
    **{name: _loss(f"nn.{name}") for name in loss.LOSSES},
    **TRAINING,
    **HEADS,
    **dict.fromkeys(OWN, hosted.computed),
    **ROTARY,
}

NOT_YET = frozenset({"where", "exp", "rsqrt", "reduce", "repeat_to", "zeros"})
"""Ops that have no form on the device yet: only composites expand to them, and lowering meets the composite itself."""

assert all(name in TABLE for name in RULES), "a lowering rule for an op that is not declared"

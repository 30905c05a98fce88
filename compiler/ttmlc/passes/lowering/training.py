"""What the ops of forwards and backwards are on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttmlc.ir import scalar
from ttmlc.ir.device_training import FLOAT32
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.scalar import Const, Scalar, text
from ttmlc.ir.types import DeviceType, Product, TensorType, dim_text
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import resident

if TYPE_CHECKING:
    from ttmlc.passes.lower import Lowering


def _gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    param, _ = operation.operands
    storage = lowering.storages.read_as(param)
    lowering.build.add_all("accumulate", (storage, lowering.operand(operation, 1)), span=operation.span)
    return ()


def _input_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    weight, turned = lowering.storages.weight(operation, operation.operands[1])
    # The forward multiplied by [in, out], or by [out, in] turned: back it is the other way round.
    operands = (lowering.operand(operation, 0), weight)
    return [lowering.add(operation, "ttnn.matmul", operands, transpose_b=Const(not turned))]


def _weight_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """In the order of the storage, summed and kept in float32."""
    dy, x = (lowering.operand(operation, place) for place in (0, 1))
    assert dy is not None and x is not None
    _, turned = lowering.storages.weight(operation, operation.operands[2])
    pair = (lowering.rows(dy), lowering.rows(x)) if turned else (lowering.rows(x), lowering.rows(dy))
    return [lowering.add(operation, "ttnn.matmul", pair, transpose_a=Const(True), dtype=FLOAT32)]


def _sum_to(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    x, value, made = operation.operands[0], lowering.operand(operation, 0), operation.result.type
    assert (
        x is not None
        and value is not None
        and isinstance(x.type, TensorType)
        and isinstance(made, TensorType)
    )
    if made.dims != x.type.dims[-1:]:
        raise cannot(operation.span, f"a sum of {x.type} to {made} has no form on the device yet")
    return [lowering.add(operation, "ttnn.sum", (lowering.rows(value),))]


def unpadded(lowering: Lowering, norm: Operation) -> None:
    """Refuse a norm over features that are wider on the device: what fills them up would be counted in the mean."""
    x = norm.operands[0]
    assert x is not None and isinstance(x.type, TensorType)
    last = x.type.dims[-1]
    if lowering.padding.size(last) != last.size:
        message = f"a norm over {dim_text(last)!r}, which is padded to {text(lowering.padding.size(last))}"
        hint = f"Choose a {dim_text(last)} that is a multiple of 32, or an RMS norm, which padding does not change."
        raise cannot(norm.span, f"{message}, would take its mean over the padding too", hint)


def over_padding(lowering: Lowering, norm: Operation, place: int) -> tuple[Scalar, Scalar | None]:
    """The epsilon with which an RMS norm on the device is the one that is meant, and a factor behind it.

    Of features that zeros fill up from n to m, the mean square over m is n/m of the one that is meant. With n/m of
    epsilon the root is sqrt(n/m) of it, and so the result is sqrt(m/n) times the one that is meant.
    """
    x, epsilon = norm.operands[place], norm.scalar("eps")
    assert x is not None and isinstance(x.type, TensorType)
    last = x.type.dims[-1]
    wide = lowering.padding.size(last)
    if wide == last.size:
        return epsilon, None
    part = scalar.apply("/", last.size, wide)
    return scalar.apply("*", epsilon, part), scalar.apply("sqrt", part)


def _rms_norm_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    dy, x = (lowering.operand(operation, place) for place in range(2))
    epsilon, factor = over_padding(lowering, operation, 1)
    if factor is not None:
        assert dy is not None
        given_scale = {"scalar": factor}
        dy = lowering.build.add("ttnn.multiply", (dy,), given_scale, name=dy.name, span=operation.span)
    operands = (dy, x, lowering.storages.vector(operation.operands[2]))
    names = [value.name for value in operation.results]
    given = {"epsilon": epsilon}
    made = lowering.build.add_all("nn.rms_norm_backward", operands, given, names=names, span=operation.span)
    return made.results


def _layer_norm(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    unpadded(lowering, operation)
    _, weight, *bias = operation.operands
    operands = (
        lowering.operand(operation, 0),
        lowering.storages.vector(weight),
        *map(lowering.storages.vector, bias),
    )
    names = [value.name for value in operation.results]
    given = {"epsilon": operation.scalar("eps")}
    return lowering.build.add_all("nn.layer_norm", operands, given, names=names, span=operation.span).results


def _layer_norm_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    operands = [
        *(lowering.operand(operation, place) for place in range(4)),
        lowering.storages.vector(operation.operands[4]),
    ]
    given = {"bias": Const(operation.get("biased") == Const(True))}
    names = [value.name for value in operation.results]
    made = lowering.build.add_all("nn.layer_norm_backward", operands, given, names=names, span=operation.span)
    return made.results


def _softmax(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    return [lowering.add(operation, "ttnn.softmax", (lowering.operand(operation, 0),))]


def _softmax_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    operands = [lowering.operand(operation, place) for place in (0, 1)]
    return [lowering.add(operation, "nn.softmax_backward", operands)]


def _activate_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    operands = [lowering.operand(operation, place) for place in (0, 1)]
    return [lowering.add(operation, "nn.activate_backward", operands, kind=operation.scalar("kind"))]


def _masked_scores(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    causal = operation.get("causal") or Const(False)
    mask = operation.operands[1] if len(operation.operands) > 1 else None
    operands = (
        lowering.operand(operation, 0),
        None if mask is None else lowering.value(mask, operation.span),
    )
    x = operation.operands[0]
    assert x is not None and isinstance(x.type, TensorType)
    rows = x.type.dims[2]
    given = {
        "scale": operation.scalar("scale"),
        "causal": None if mask is not None else causal,
        "window": None if mask is not None else operation.get("window"),
        "group": rows.factors[0].size if mask is not None and isinstance(rows, Product) else None,
    }
    return [lowering.add(operation, "nn.masked_scores", operands, **given)]


def _contract(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """A contraction of batched matrices, either turned."""
    a, b = operation.operands
    made = operation.result.type
    assert a is not None and b is not None and isinstance(made, TensorType)
    assert isinstance(a.type, TensorType) and isinstance(b.type, TensorType)
    over = operation.text("over")
    left, right = (
        [dim_text(dim) for dim in one.type.dims] for one in (a, b) if isinstance(one.type, TensorType)
    )
    rows, columns = (next(name for name in side[-2:] if name != over) for side in (left, right))
    if (
        len(left) != 4
        or [*left[:2], rows, columns] != [dim_text(dim) for dim in made.dims]
        or left[:2] != right[:2]
    ):
        raise cannot(operation.span, f"{a.type} and {b.type} over {over} have no form on the device yet")
    operands = (lowering.operand(operation, 0), lowering.operand(operation, 1))
    given = {"transpose_a": Const(left[-2] == over), "transpose_b": Const(right[-1] == over)}
    return [lowering.add(operation, "ttnn.matmul", operands, **given)]


def _grouping(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """A view where tokens fill tiles; nothing where a group is known to be of one."""
    made, value = operation.result.type, lowering.operand(operation, 0)
    assert isinstance(made, TensorType) and value is not None and isinstance(value.type, DeviceType)
    shape = resident(made, lowering.padding, operation.span).shape
    return [
        value if shape == value.type.shape else lowering.add(operation, "ttnn.reshape", (value,), shape=shape)
    ]


def _relabel(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    value = lowering.operand(operation, 0)
    assert value is not None
    return [value]


def _embedding_gradient(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    _, ids, table = operation.operands
    assert ids is not None and table is not None and isinstance(table.type, TensorType)
    rows = (
        lowering.value(ids, operation.span),
        lowering.storages.table(table),
        lowering.operand(operation, 0),
    )
    return [lowering.add(operation, "nn.embedding_backward", rows, skip=operation.get("skip"))]


def _spread(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    made, value = operation.result.type, lowering.operand(operation, 0)
    assert isinstance(made, TensorType) and value is not None
    if len(made.dims) not in (3, 4) or dim_text(made.dims[-2]) != operation.text("over"):
        raise cannot(operation.span, f"zeros behind the first of {made} have no form on the device yet")
    if len(made.dims) == 4:
        value = lowering.add(operation, "ttnn.permute", (value,), dims=tuple(map(Const, (0, 2, 1, 3))))
    shape = resident(made, lowering.padding, operation.span).shape
    return [lowering.add(operation, "nn.spread", (value,), shape=shape)]


def _join_heads(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    parts = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    made = operation.result.type
    assert isinstance(made, TensorType)
    return [lowering.add(operation, "nn.join_heads", parts, width=lowering.padding.size(made.dims[-1]))]


def heads_of(lowering: Lowering, operation: Operation) -> Sequence[Value] | None:
    """In a backward, features cut into heads of whole tiles: what joining them is undone by."""
    made = operation.result.type
    assert isinstance(made, TensorType)
    x, value = operation.operands[0], lowering.operand(operation, 0)
    assert x is not None and isinstance(x.type, TensorType)
    last = x.type.dims[-1]
    if len(made.dims) != 4 or len(x.type.dims) != 3 or not isinstance(last, Product):
        return None
    if not lowering.trains or not lowering.padding.is_whole(made.dims[3]):
        return None
    if last.factors != (made.dims[1], made.dims[3]) or made.dims[2] != x.type.dims[1]:
        return None
    assert value is not None and isinstance(value.type, DeviceType)
    given = {"num_heads": made.dims[1].size, "head_dim": lowering.padding.size(made.dims[3])}
    return [lowering.add(operation, "nn.split_heads", (value,), **given)]


TRAINING = {
    "gradient": _gradient,
    "linear_input_gradient": _input_gradient,
    "linear_weight_gradient": _weight_gradient,
    "sum_to": _sum_to,
    "layer_norm_statistics": _layer_norm,
    "layer_norm_gradient": _layer_norm_gradient,
    "rms_norm_gradient": _rms_norm_gradient,
    "softmax": _softmax,
    "softmax_gradient": _softmax_gradient,
    "activate_gradient": _activate_gradient,
    "masked_scores": _masked_scores,
    "contract": _contract,
    "relabel": _relabel,
    "group_queries": _grouping,
    "ungroup_queries": _grouping,
    "embedding_gradient": _embedding_gradient,
    "spread": _spread,
    "join_heads": _join_heads,
}

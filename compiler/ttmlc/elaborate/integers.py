"""Whole numbers made of whole numbers: ``ids != pad``, ``running(real, S) * real + pad``, ``argmax(...)``.

They are computed on the host. Numbers of the config and sizes stand among them; where an operand must be a tensor a
number is the same one everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ttmlc.elaborate.arguments import axis, tensor
from ttmlc.elaborate.binding import Bound, Signature
from ttmlc.elaborate.problems import BAD_SCALAR, MISFIT, NOT_YET, problem
from ttmlc.elaborate.values import Meaning, Number, Tensor, describe
from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute
from ttmlc.ir.ops.integers import RELATIONS, WHOLE
from ttmlc.ir.scalar import Apply, Asked, Const, Field, Scalar
from ttmlc.ir.types import DType, TensorType, dim_text
from ttmlc.language import tree
from ttmlc.source import Span

if TYPE_CHECKING:
    from ttmlc.elaborate.expressions import Expressions

NUMBER = TensorType(DType.INT, ())


def is_whole(meaning: Meaning) -> bool:
    """Whether ``meaning`` is a tensor of whole numbers, or of what is true or false."""
    return (
        isinstance(meaning, Tensor)
        and not meaning.alternatives
        and isinstance(meaning.value.type, TensorType)
        and meaning.value.type.dtype in WHOLE
    )


def filled(elaborator: Expressions, number: Scalar, type_: TensorType, span: Span, name: str) -> Tensor:
    """``number`` as a tensor: the same everywhere."""
    value = elaborator.build.add("fill", (), {"value": number}, name=name, span=span, types=(type_,))
    return Tensor(value, span)


def certain(elaborator: Expressions, value: Scalar, span: Span) -> Scalar:
    """``value``, which is a number whatever the config says.

    Raises:
        DiagnosticError: a field that it reads may be none, and nobody has asked.
    """
    unasked = next(_unasked(elaborator.scope.nullable, value, elaborator.holding), None)
    if unasked is not None:
        hint = f"Ask first: 'if {unasked} is none:' and so on."
        raise problem(BAD_SCALAR, f"{unasked!r} may be none here", span, hint=hint)
    return value


def _unasked(nullable: frozenset[str], value: Scalar, holding: Sequence[Scalar]) -> Iterator[str]:
    """The fields that ``value`` reads and that may be none where ``holding`` is all that is known."""
    if isinstance(value, Field) and value.name in nullable:
        said = [part for condition in holding for part in _implied(condition)]
        if scalar.apply("not", scalar.apply("is_none", value)) not in said:
            yield value.name
    elif isinstance(value, Apply) and value.op == "select":
        condition, yes, no = value.args
        yield from _unasked(nullable, condition, holding)
        yield from _unasked(nullable, yes, (*holding, condition))
        yield from _unasked(nullable, no, (*holding, denied(condition)))
    elif isinstance(value, Apply) and value.op != "is_none":
        for part in value.args:
            yield from _unasked(nullable, part, holding)


def denied(a: Scalar) -> Scalar:
    """Whether ``a`` does not hold."""
    if isinstance(a, Apply) and a.op == "==":
        return Apply("!=", a.args)
    return a.args[0] if isinstance(a, Apply) and a.op == "not" else scalar.apply("not", a)


def known(conditions: Sequence[Scalar]) -> list[list[Scalar]]:
    """What holds in each of the cases that ``conditions`` are asked for in order, and in the one that is left."""
    failed = [denied(condition) for condition in conditions]
    return [[*failed[:place], condition] for place, condition in enumerate(conditions)] + [failed]


def _implied(condition: Scalar) -> Iterator[Scalar]:
    """``condition``, and what it says of its parts."""
    yield condition
    if not isinstance(condition, Apply):
        return
    if condition.op == "and":
        for part in condition.args:
            yield from _implied(part)
    elif condition.op == "not" and isinstance(condition.args[0], Apply) and condition.args[0].op == "or":
        for part in condition.args[0].args:
            yield from _implied(denied(part))


def whole(elaborator: Expressions, meaning: Meaning, span: Span, what: str) -> Tensor:
    """``meaning`` as a tensor of whole numbers.

    Raises:
        DiagnosticError: it is none.
    """
    if isinstance(meaning, Number) and meaning.kind == "int":
        return filled(elaborator, certain(elaborator, meaning.scalar, span), NUMBER, span, "number")
    if not isinstance(meaning, Tensor) or not is_whole(meaning):
        type_ = meaning.value.type if isinstance(meaning, Tensor) else None
        if isinstance(type_, TensorType) and type_.dtype is DType.FLOAT:
            message = f"{what} whole numbers: others are not compiled yet"
            raise problem(NOT_YET, message, span, f"is {describe(meaning)}")
        raise problem(MISFIT, f"{what} whole numbers", span, f"is {describe(meaning)}")
    return Tensor(meaning.value, span)


def arithmetic(
    elaborator: Expressions, node: tree.Operator, left: Meaning, right: Meaning, wanted: str
) -> Tensor:
    """``a + b``, ``a - b``, ``a * b`` of whole numbers, at least one of them a tensor.

    Raises:
        DiagnosticError: one of them is something else.
    """
    ops = {"+": "add", "-": "subtract", "*": "multiply"}
    for meaning, part in zip((left, right), node.args, strict=True):
        if isinstance(meaning, Number) and meaning.kind == "float":
            raise problem(NOT_YET, "whole numbers and others are not compiled together yet", part.span)
    if node.op not in ops:
        raise problem(NOT_YET, f"'{node.op}' of whole numbers is not compiled yet", node.span)
    operands = [
        whole(elaborator, meaning, part.span, f"'{node.op}' joins")
        for meaning, part in zip((left, right), node.args, strict=True)
    ]
    types = [operand.value.type for operand in operands]
    if all(isinstance(type_, TensorType) and type_.dtype is DType.BOOL for type_ in types):
        hint = "Add up what is true with running(x, S), or choose with where(x, a, b)."
        raise problem(MISFIT, f"'{node.op}' joins two conditions", node.span, hint=hint)
    return elaborator.apply(ops[node.op], operands, {}, node.span, name=wanted or ops[node.op])


def require(elaborator: Expressions, node: tree.Require, *, allowed: bool) -> None:
    """A condition of each call; of one under a condition, only where that holds.

    Raises:
        DiagnosticError: it stands where it may not, or is no condition.
    """
    if not allowed:
        raise problem(NOT_YET, "'require' in a block is not compiled yet", node.span)
    condition = elaborator.condition(node.condition)
    for held in elaborator.holding:
        condition = scalar.apply("or", denied(held), condition)
    text = "this model cannot be called so" if node.message is None else str(node.message.value)
    if condition != Const(True):
        given: dict[str, Attribute] = {"condition": condition, "message": text}
        elaborator.build.add_all("require", (), given, span=node.span)


def joins(left: Meaning, right: Meaning) -> bool:
    """Whether an operator of ``left`` and ``right`` is one of whole numbers, a tensor of them among the two."""
    sides = [is_whole(side) for side in (left, right)]
    return all(sides) or (any(sides) and any(isinstance(side, Number) for side in (left, right)))


def compares(elaborator: Expressions, node: tree.Expr) -> bool:
    """Whether ``node`` compares tensors, not numbers of the config."""
    if not isinstance(node, tree.Operator) or node.op not in RELATIONS:
        return False
    for part in tree.walk(node):
        if isinstance(part, tree.Member):
            return True
        if isinstance(part, tree.Reference) and isinstance(elaborator.values.get(part.name.text), Tensor):
            return True
        called = part.function if isinstance(part, tree.Call) else None
        if isinstance(called, tree.Reference) and called.name.text in MAKES_TENSORS:
            return True
    return False


MAKES_TENSORS = frozenset({"index", "argmax", "running", "where", "next", "clamp"})


def comparison(elaborator: Expressions, node: tree.Operator, wanted: str) -> Meaning:
    """``a != b`` and so on; of two numbers, a condition."""
    meanings = [elaborator.expression(part) for part in node.args]
    if not any(isinstance(meaning, Tensor) for meaning in meanings):
        return elaborator.scalar(node)
    operands = [
        whole(elaborator, meaning, part.span, f"'{node.op}' compares")
        for meaning, part in zip(meanings, node.args, strict=True)
    ]
    return elaborator.apply("compare", operands, {"relation": node.op}, node.span, name=wanted or "compared")


# Functions of the language


def where(elaborator: Expressions, bound: Bound) -> Meaning:
    condition = tensor(elaborator, bound, "condition")
    if not isinstance(condition.value.type, TensorType) or condition.value.type.dtype is not DType.BOOL:
        raise problem(MISFIT, "'condition' must be bool", condition.span, f"is {describe(condition)}")
    alternatives = [
        whole(elaborator, elaborator.argument(bound, name), bound.span(name), f"{name!r} must be")
        for name in ("yes", "no")
    ]
    return elaborator.apply(
        "either", [condition, *alternatives], {}, bound.call, name=bound.wanted or "either"
    )


def index(elaborator: Expressions, bound: Bound) -> Meaning:
    over = axis(elaborator, bound, "over")
    type_ = TensorType(DType.INT, (over,))
    value = elaborator.build.add(
        "index", (), {"over": over.name}, name=bound.wanted or "index", span=bound.call, types=(type_,)
    )
    return Tensor(value, bound.call)


def argmax(elaborator: Expressions, bound: Bound) -> Meaning:
    return _along("argmax", elaborator, bound)


def running(elaborator: Expressions, bound: Bound) -> Meaning:
    return _along("running", elaborator, bound)


def _along(op: str, elaborator: Expressions, bound: Bound) -> Meaning:
    x = whole(elaborator, elaborator.argument(bound, "x"), bound.span("x"), "'x' must be")
    over = axis(elaborator, bound, "over")
    return elaborator.apply(op, [x], {"over": over.name}, bound.call, name=bound.wanted or op)


def pick(elaborator: Expressions, bound: Bound) -> Meaning:
    x, over = tensor(elaborator, bound, "x"), axis(elaborator, bound, "over")
    meaning = elaborator.argument(bound, "index")
    if isinstance(meaning, Number) and meaning.kind == "int":
        number = certain(elaborator, meaning.scalar, bound.span("index"))
        at = filled(elaborator, number, _before(x, over.name), bound.span("index"), "index")
    else:
        at = whole(elaborator, meaning, bound.span("index"), "'index' must be")
    return _picked(elaborator, x, at, over.name, bound)


def last(elaborator: Expressions, bound: Bound) -> Meaning:
    x, over = tensor(elaborator, bound, "x"), axis(elaborator, bound, "over")
    end = scalar.apply("-", over.size, Const(1))
    at = filled(elaborator, end, _before(x, over.name), bound.call, "end")
    return _picked(elaborator, x, at, over.name, bound)


def _picked(elaborator: Expressions, x: Tensor, at: Tensor, over: str, bound: Bound) -> Tensor:
    return elaborator.apply("pick", [x, at], {"over": over}, bound.call, name=bound.wanted or "picked")


def _before(x: Tensor, over: str) -> TensorType:
    """The type of an index of the axis ``over`` of ``x``: one for each of what stands before it."""
    dims = x.value.type.dims if isinstance(x.value.type, TensorType) else ()
    names = [dim_text(dim) for dim in dims]
    return TensorType(DType.INT, dims[: names.index(over)] if over in names else ())


INTEGERS: dict[str, tuple[Signature, Callable[[Expressions, Bound], Meaning]]] = {
    "where": (Signature(("condition", "yes", "no"), 3), where),
    "index": (Signature(("over",), 1), index),
    "argmax": (Signature(("x", "over"), 2), argmax),
    "running": (Signature(("x", "over"), 2), running),
    "pick": (Signature(("x", "over", "index"), 3), pick),
    "last": (Signature(("x", "over"), 2), last),
}


def picked_once(
    elaborator: Expressions, conditions: Sequence[Scalar], tensors: Sequence[Tensor], span: Span, wanted: str
) -> Tensor | None:
    """A choice among elements of one axis of one tensor as the element at a choice of places; None if it is no such.

    So the host chooses, and the device does one thing.
    """
    makers = {
        operation.result: operation for operation in elaborator.build.operations if operation.op == "pick"
    }
    found = [makers.get(made.value) for made in tensors]
    first = found[0]
    places = []
    for maker in found:
        if maker is None or first is None or maker.operands[0] != first.operands[0]:
            return None
        source, place = maker.operands
        if maker.attributes != first.attributes or source is None or place is None:
            return None
        places.append(Tensor(place, maker.span or span))
    assert first is not None and first.operands[0] is not None
    at = elaborator.apply("choose", places, {"conditions": tuple(conditions)}, span, name="index")
    x = Tensor(first.operands[0], span)
    line = tensors[-1].span  # where the last of them stands
    return elaborator.apply("pick", [x, at], dict(first.attributes), line, name=wanted or "picked")


def default(elaborator: Expressions, param: tree.Param, given: Tensor) -> Tensor:
    """The input ``given``, or where it is not given what the default of ``param`` makes of others.

    Raises:
        DiagnosticError: the default has another type.
    """
    assert param.default is not None and isinstance(given.value.type, TensorType)
    name, span = param.name.text, param.default.span
    meaning = elaborator.named(param.default, name)
    if isinstance(meaning, Number) and meaning.kind == "int" and given.value.type.dtype is DType.INT:
        number = certain(elaborator, meaning.scalar, span)
        meaning = filled(elaborator, number, given.value.type, span, name)
    if not isinstance(meaning, Tensor) or meaning.value.type != given.value.type:
        related = ((param.name.span, f"is {given.value.type}"),)
        label = f"is {describe(meaning)}"
        raise problem(MISFIT, "this default has another type than its input", span, label, related=related)
    asked = Asked(given.value.name, "given")
    made = elaborator.apply("choose", [given, meaning], {"conditions": (asked,)}, span, name=name)
    return Tensor(made.value, given.span)

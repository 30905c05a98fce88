"""Ops that give a program its shape: parameters, calls of blocks, repeats, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir.module import COMPUTED, SCALARS, Attribute, Form, Function, Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import rules
from ttmlc.ir.scalar import Asked, Const, Scalar
from ttmlc.ir.types import Axis, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call as Asking

FREE = Cost(Const(0), Const(0), Const(0))


class Structure(TensorOp):
    """Shared by these: result types are stated by whoever builds them, evaluation is the evaluator's own.

    Their gradient is the autodiff pass's matter: a parameter's is handed to ``gradient``, a call's is a call of the
    block's backward.
    """

    no_gradient = "the autodiff pass knows what to do with it"

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        raise Refusal(f"{self.name} does not infer its result types: state them")

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return FREE


@register
class Param(Structure):
    """A parameter under its name in a checkpoint, relative to the block it is made in.

    Where a flag of the config decides what it is called, ``at`` is ``!select(condition, "path", "other path")``; the
    paths may be such forms themselves. Where a flag decides whether it is another parameter, that one is the operand:

        %weight = param(%word) {at = "decoder.weight", init = !normal(std), when = tie} : float[vocab, hidden]

    is ``word`` where ``when`` holds, and has no path and no initialisation of its own then; else it is a parameter at
    ``at``. ``word`` is a ``param`` of the same function, or an input of a block, which its callers give a parameter.

    Where a flag decides whether there is a parameter at all, ``only`` is that flag, and only a linear reads it, as its
    bias.
    """

    name = "param"
    operands = ("shared?",)
    attributes = {
        "at": AttributeSpec(required=True, takes="path"),
        "also": AttributeSpec(takes="names"),
        "init": AttributeSpec(required=True, takes="form"),
        "zero_row": AttributeSpec(),
        "when": AttributeSpec(),
        "only": AttributeSpec(),
        "made": AttributeSpec(
            False, "here", "string"
        ),  # "elsewhere": a block of the model makes it, and it is shared
    }


def paths(at: Attribute) -> Iterator[str]:
    """Every path that the ``at`` of a parameter may be."""
    if isinstance(at, Form):
        for part in at.args[1:]:
            yield from paths(part)
    else:
        assert isinstance(at, str)
        yield at


def path_of(at: Attribute, holds: Callable[[Scalar], bool]) -> str:
    """The path that the ``at`` of a parameter is, where ``holds`` says what conditions do."""
    while isinstance(at, Form):
        condition, yes, no = at.args
        assert isinstance(condition, SCALARS)
        at = yes if holds(condition) else no
    assert isinstance(at, str)
    return at


def map_paths(at: Attribute, change: Callable[[str], str]) -> Attribute:
    """The ``at`` of a parameter with every path changed."""
    if isinstance(at, Form):
        return Form(at.name, (at.args[0], *(map_paths(part, change) for part in at.args[1:])))
    assert isinstance(at, str)
    return change(at)


@register
class Call(Structure):
    """A block applied under a checkpoint path; ``indices`` are those of repeats around it that the block reads."""

    name = "call"
    operands = ("*",)
    attributes = {
        "block": AttributeSpec(required=True, takes="string"),
        "at": AttributeSpec(False, "", "string"),
        "indices": AttributeSpec(takes="names"),
    }


@register
class Repeat(Structure):
    """A body applied ``count`` times; its operands are carried around, ``index`` names the turn."""

    name = "repeat"
    operands = ("*",)
    attributes = {
        "index": AttributeSpec(required=True, takes="string"),
        "count": AttributeSpec(required=True),
        "at": AttributeSpec(False, "", "string"),
    }


@register
class When(Structure):
    """A body applied where ``condition`` holds; its operands are carried through it, and elsewhere past it.

        %h = when(%e) {condition = given(%types)} do (%x) ... yield %y

    is what the body makes of ``%e`` where ``%types`` are given, else ``%e``.
    """

    name = "when"
    operands = ("*",)
    attributes = {"condition": AttributeSpec(required=True)}


@register
class CallBackward(Structure):
    """The gradients of a call: what its forward saved, and the gradients of its results, to those of its operands."""

    name = "call_backward"
    operands = ("*",)
    attributes = dict(Call.attributes)


@register
class Zeros(Structure):
    """Zeros of the stated type: the gradient of a result that nothing reads."""

    name = "zeros"


@register
class Choose(TensorOp):
    """y = the operand whose condition is the first that holds, else the last one.

    ``conditions`` are one fewer than the operands, which are alternatives of one type. The others need not exist: a
    loss of labels that have another form than those given is not computed.
    """

    name = "choose"
    operands = ("*",)
    no_gradient = "it stays in the model, where the tape follows what was chosen"
    attributes = {"conditions": AttributeSpec(required=True, takes="scalars")}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        conditions = attributes["conditions"]
        if not isinstance(conditions, tuple) or len(conditions) != len(types) - 1 or not conditions:
            raise Refusal("a choice has one condition for each alternative but the last", at="conditions")
        if any(type_ != types[0] for type_ in types):
            raise Refusal(f"alternatives must be of one type, not {', '.join(map(str, types))}")
        assert types[0] is not None
        return (types[0],)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return FREE

    def reference(self, arrays: Sequence[Any], call: Asking) -> tuple[Any, ...]:
        for condition, array in zip(conditions(call.operation), arrays, strict=False):
            if call.frame.scalar(condition):
                return (array,)
        return (arrays[-1],)


def conditions(operation: Operation) -> tuple[Scalar, ...]:
    """The conditions of a choice, in order."""
    found = operation.get("conditions")
    assert isinstance(found, tuple)
    return tuple(condition for condition in found if isinstance(condition, SCALARS))


def defaults(function: Function) -> dict[str, str]:
    """Of each value that is an input where that is given, and made of others where it is not, the input's name."""
    made = {given.value.name for given in function.inputs if given.default == COMPUTED}
    found = {}
    for operation in function.operations:
        (asked,) = conditions(operation)[:1] if operation.op == "choose" else (None,)
        if isinstance(asked, Asked) and asked.question == "given" and asked.input in made:
            found[operation.result.name] = asked.input
    return found

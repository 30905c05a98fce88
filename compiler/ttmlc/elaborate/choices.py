"""What depends on a flag of the config or on what a caller gave: ``a if c else b``, questions, cases of a ``match``.

A condition that is a literal chooses while elaborating. Else scalars become a ``select``, paths a form of the
parameter, and tensors the op ``choose``, of which every alternative is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttmlc.elaborate import activations, integers, scalars
from ttmlc.elaborate.problems import BAD_SCALAR, MISFIT, UNKNOWN_NAME, nearest, problem
from ttmlc.elaborate.scope import DTYPES
from ttmlc.elaborate.values import Meaning, Number, Paths, Several, Tensor, Text, describe
from ttmlc.ir import scalar
from ttmlc.ir.scalar import Apply, Asked, Const, Field, Scalar
from ttmlc.ir.types import TensorType
from ttmlc.language import tree
from ttmlc.source import Span

if TYPE_CHECKING:
    from ttmlc.elaborate.expressions import Expressions
    from ttmlc.ir.module import Input


def ask(elaborator: Expressions, node: tree.Is | tree.Call) -> Number:
    """``labels is int`` or ``given(labels)``: a question about an input, or a literal where types answer it.

    Raises:
        DiagnosticError: it is asked of something else.
    """
    about = node.value if isinstance(node, tree.Is) else node.args[0]
    called = node.function if isinstance(node, tree.Call) else None
    if isinstance(called, tree.Reference) and called.name.text == "size":
        size = elaborator.expression(node)
        assert isinstance(size, Number)
        return size
    meaning = elaborator.expression(about)
    if not isinstance(meaning, Tensor):
        raise problem(MISFIT, "only a tensor is asked about", about.span, f"is {describe(meaning)}")
    value = meaning.value
    given: Input | None = elaborator.inputs.get(value.name)
    if given is not None and given.value != value:
        given = None
    if isinstance(node, tree.Call):
        optional = given is not None and given.optional
        return Number(Asked(value.name, "given") if optional else Const(True), "bool")
    if node.what.text not in DTYPES:
        raise problem(
            UNKNOWN_NAME,
            f"{node.what.text!r} is no dtype",
            node.what.span,
            hint=nearest(node.what.text, DTYPES),
        )
    wanted = DTYPES[node.what.text]
    assert isinstance(value.type, TensorType)
    dtypes = {type_.dtype for type_ in meaning.alternatives or (value.type,)}
    test: Scalar = Asked(value.name, f"is_{wanted.value}")
    if given is None or wanted not in dtypes or len(dtypes) == 1:
        test = Const(dtypes == {wanted})
    return Number(scalar.apply("not", test) if node.negated else test, "bool")


def choice(elaborator: Expressions, node: tree.Choice, wanted: str) -> Meaning:
    """``yes if condition else no``; ``a if c else b if d else e`` of tensors is one choice of three.

    Raises:
        DiagnosticError: the alternatives do not go together.
    """
    conditions: list[Scalar] = []
    parts: list[tree.Expr] = []
    here: tree.Expr = node
    while isinstance(here, tree.Choice):
        no = here.no
        if no is None:
            hint = "Add 'else'."
            raise problem(
                BAD_SCALAR, "this value is absent where the condition does not hold", here.span, hint=hint
            )
        condition = elaborator.condition(here.condition)
        if condition == Const(True):
            here = here.yes
            break
        if condition != Const(False):
            conditions.append(condition)
            parts.append(here.yes)
        here = no
    if not conditions:
        return elaborator.named(here, wanted)
    meanings = []
    outside = elaborator.holding
    try:
        for known, part in zip(integers.known(conditions), (*parts, here), strict=True):
            elaborator.holding = (*outside, *known)
            meanings.append(elaborator.expression(part))
    finally:
        elaborator.holding = outside
    return merge(elaborator, conditions, meanings, node, wanted)


def merge(
    elaborator: Expressions,
    conditions: Sequence[Scalar],
    meanings: Sequence[Meaning],
    node: tree.Node,
    wanted: str,
) -> Meaning:
    """The first of ``meanings`` whose condition holds, else the last.

    Raises:
        DiagnosticError: they are not alternatives of one thing.
    """
    first, last = meanings[0], meanings[-1]
    if all(meaning == first for meaning in meanings):
        return first
    if all(isinstance(meaning, Tensor) for meaning in meanings):
        tensors = [meaning for meaning in meanings if isinstance(meaning, Tensor)]
        return _choose(elaborator, conditions, tensors, node.span, wanted)
    if all(isinstance(meaning, Number) for meaning in meanings):
        made = last
        for condition, meaning in reversed(list(zip(conditions, meanings, strict=False))):
            assert isinstance(meaning, Number) and isinstance(made, Number)
            made = scalars.select(node, condition, meaning, made)
        return made
    if all(isinstance(meaning, (Text, Paths)) for meaning in meanings):
        made = last
        for condition, meaning in reversed(list(zip(conditions, meanings, strict=False))):
            assert isinstance(meaning, (Text, Paths)) and isinstance(made, (Text, Paths))
            made = Paths(condition, meaning, made)
        return made
    several = [dict(meaning.results) for meaning in meanings if isinstance(meaning, Several)]
    if len(several) == len(meanings) and all(list(results) == list(several[0]) for results in several):
        return Several(
            tuple(
                (name, _choose(elaborator, conditions, [each[name] for each in several], node.span, name))
                for name in several[0]
            )
        )
    kinds = " or ".join(dict.fromkeys(describe(meaning) for meaning in meanings))
    raise problem(MISFIT, "alternatives must be of one kind", node.span, f"is {kinds}")


def _choose(
    elaborator: Expressions, conditions: Sequence[Scalar], tensors: Sequence[Tensor], span: Span, wanted: str
) -> Tensor:
    first = tensors[0]
    for other in tensors[1:]:
        if other.value.type != first.value.type:
            raise problem(
                MISFIT,
                "alternatives must be of one type",
                other.span,
                f"is {other.value.type}",
                related=((first.span, f"is {first.value.type}"),),
            )
    for joined in (integers.picked_once, activations.applied_once):
        once = joined(elaborator, conditions, tensors, span, wanted)
        if once is not None:
            return once
    return elaborator.apply(
        "choose", tensors, {"conditions": tuple(conditions)}, span, name=wanted or "chosen"
    )


# Words


def possible_words(elaborator: Expressions, value: Scalar) -> dict[str, None] | None:
    """The words that ``value`` may be, in order; None where that cannot be told."""
    if isinstance(value, Const):
        return {value.value: None} if isinstance(value.value, str) else None
    if isinstance(value, Field):
        choices = elaborator.scope.choices.get(value.name)
        return None if choices is None else dict.fromkeys(choices)
    if isinstance(value, Apply) and value.op == "item":
        return possible_words(elaborator, value.args[0])
    if isinstance(value, Apply) and value.op == "select":
        found = [possible_words(elaborator, arg) for arg in value.args[1:]]
        if found[0] is None or found[1] is None:
            return None
        return {**found[0], **found[1]}
    return None


def is_word(value: Scalar, word: str) -> Scalar:
    """Whether ``value`` is ``word``, with choices taken apart: what a reader would have written."""
    if isinstance(value, Apply) and value.op == "select":
        condition, yes, no = value.args
        return _or(_and(condition, is_word(yes, word)), _and(integers.denied(condition), is_word(no, word)))
    return scalar.apply("==", value, Const(word))


def _and(a: Scalar, b: Scalar) -> Scalar:
    # What equals a word is not none.
    if isinstance(b, Apply) and b.op == "==" and a == integers.denied(scalar.apply("is_none", b.args[0])):
        return b
    return scalar.apply("and", a, b)


def _or(a: Scalar, b: Scalar) -> Scalar:
    return scalar.apply("or", a, b)

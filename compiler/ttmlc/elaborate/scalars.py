"""Expressions over the config: sizes, rates, flags, words.

Whole numbers divide exactly or are refused: ``hidden / heads`` becomes ``//``, and where no ``require`` says that it
is exact, evaluation does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ttmlc.elaborate.problems import BAD_SCALAR, MISFIT, NOT_YET, UNKNOWN_NAME, nearest, problem
from ttmlc.elaborate.values import Number
from ttmlc.ir import scalar
from ttmlc.ir.scalar import Const, Index, Scalar
from ttmlc.language import tree

ARITHMETIC = ("+", "-", "*", "/", "%", "**")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
FUNCTIONS = {"sqrt": "float", "log": "float", "int": "int"}
NUMERIC = ("int", "float")

Lookup = Callable[[tree.Name], "Number | None"]
Calls = Callable[[tree.Call], "Number | None"]
Ask = Callable[["tree.Is | tree.Call"], Number]


def literal(node: tree.Literal) -> Number:
    """A literal that is not a string."""
    value = node.value
    kind = {bool: "bool", int: "int", float: "float", type(None): "none", str: "word"}[type(value)]
    return Number(Const(value), kind)


def elaborate(
    node: tree.Expr,
    lookup: Lookup,
    words: tuple[str, ...] = (),
    ask: Ask | None = None,
    calls: Calls | None = None,
) -> Number:
    """The scalar that ``node`` means.

    Args:
        node: the expression.
        lookup: what a name means.
        words: enumerated choices that may stand as bare names.
        ask: answers ``labels is int``, ``given(labels)`` and ``size(S)``, where there are inputs to ask about.
        calls: what a call means, where there are more functions than those of this module; None for others.

    Raises:
        DiagnosticError: it is no scalar, or its parts do not go together.
    """
    if isinstance(node, tree.Literal) and not isinstance(node.value, str):
        return literal(node)
    if isinstance(node, tree.Reference):
        return _reference(node, lookup, words)
    if isinstance(node, tree.Member) and isinstance(node.owner, tree.Reference):
        return _member(node, node.owner.name, lookup)
    if isinstance(node, tree.Lookup) and isinstance(node.owner, tree.Reference):
        return item(node, node.owner.name, lookup)
    if isinstance(node, tree.Operator):
        return _operator(node, [elaborate(arg, lookup, words, ask, calls) for arg in node.args])
    if isinstance(node, tree.Choice):
        if node.no is None:
            raise problem(
                BAD_SCALAR,
                "this value is absent where the condition does not hold",
                node.span,
                hint="Add 'else'.",
            )
        yes, no = (
            elaborate(node.yes, lookup, words, ask, calls),
            elaborate(node.no, lookup, words, ask, calls),
        )
        condition = elaborate(node.condition, lookup, words, ask, calls)
        if condition.kind != "bool":
            raise problem(BAD_SCALAR, "a condition must be bool", node.condition.span, f"is {condition.kind}")
        return select(node, condition.scalar, yes, no)
    if isinstance(node, tree.Call) and calls is not None and (called := calls(node)) is not None:
        return called
    if isinstance(node, tree.Is) and node.what.text == "none":
        test = scalar.apply("is_none", elaborate(node.value, lookup, words, ask, calls).scalar)
        return Number(scalar.apply("not", test) if node.negated else test, "bool")
    if isinstance(node, tree.Is) and ask is not None:
        return ask(node)
    if isinstance(node, tree.Call) and isinstance(node.function, tree.Reference) and len(node.args) == 1:
        name = node.function.name.text
        if name in ("given", "size") and ask is not None:
            return ask(node)
        if name in FUNCTIONS and not node.options:
            arg = elaborate(node.args[0], lookup, words, ask, calls)
            if arg.kind not in NUMERIC:
                raise problem(BAD_SCALAR, f"'{name}' takes a number", node.args[0].span, f"is {arg.kind}")
            _check_constants(node, name, (node.args[0],), (arg,))
            return Number(scalar.apply(name, arg.scalar), FUNCTIONS[name])
    raise problem(BAD_SCALAR, "this is no expression over the config", node.span)


def select(node: tree.Node, condition: Scalar, yes: Number, no: Number) -> Number:
    """``yes`` where ``condition`` holds, else ``no``.

    Raises:
        DiagnosticError: they are of kinds that do not go together.
    """
    return Number(scalar.apply("select", condition, yes.scalar, no.scalar), _joined(node, yes, no))


def _reference(node: tree.Reference, lookup: Lookup, words: tuple[str, ...]) -> Number:
    found = lookup(node.name)
    if found is not None:
        return one(found, node.name)
    if node.name.text in words:
        return Number(Const(node.name.text), "word")
    raise problem(UNKNOWN_NAME, f"nothing is called {node.name.text!r}", node.name.span)


def one(number: Number, name: tree.Name) -> Number:
    """``number``, which ``name`` stands for.

    Raises:
        DiagnosticError: it is a value for each of something.
    """
    if number.is_several:
        hint = f"Write {name.text}[i] inside of 'repeat i in {number.each}'."
        raise problem(MISFIT, f"{name.text!r} has a value for each of {number.each!r}", name.span, hint=hint)
    return number


def item(node: tree.Lookup, name: tree.Name, lookup: Lookup) -> Number:
    """``kind[i]``: of a field that has a value for each of an axis, the one at the index of a repeat over it.

    Raises:
        DiagnosticError: it is no such field, or the index is another.
    """
    values = lookup(name)
    if values is None or not values.is_several:
        if values is None:
            raise problem(UNKNOWN_NAME, f"nothing is called {name.text!r}", name.span)
        hint = "Only a field that is declared as in kind[i in layers] has several."
        raise problem(MISFIT, f"{name.text!r} is one value", node.span, hint=hint)
    index = node.indices[0]
    hint = (
        f"The index is that of a 'repeat i in {values.each}' around this, or around the calls of this block."
    )
    if not isinstance(index, tree.Reference) or len(node.indices) > 1:
        raise problem(
            MISFIT, f"{name.text!r} is read at an index, and at nothing else", index.span, hint=hint
        )
    found = lookup(index.name)
    if found is None:
        message = f"no repeat around this has the index {index.name.text!r}"
        raise problem(UNKNOWN_NAME, message, index.span, hint=hint)
    if not isinstance(found.scalar, Index) or found.each != values.each:
        label = f"counts {found.each!r}" if isinstance(found.scalar, Index) and found.each else ""
        message = (
            f"{index.name.text!r} is no index of {values.each!r}, which {name.text!r} has its values for"
        )
        raise problem(MISFIT, message, index.span, label, hint=hint)
    return Number(scalar.apply("item", values.scalar, found.scalar), values.kind, words=values.words)


def _member(node: tree.Member, group: tree.Name, lookup: Lookup) -> Number:
    """A field of a group, which names hold as ``rope.theta``."""
    name = tree.Name(node.span, f"{group.text}.{node.name.text}")
    found = lookup(name)
    if found is None:
        raise problem(UNKNOWN_NAME, f"there is no field {name.text!r} in the config", node.span)
    return one(found, name)


def _joined(node: tree.Node, left: Number, right: Number) -> str:
    if left.kind == right.kind:
        return left.kind
    if left.kind in NUMERIC and right.kind in NUMERIC:
        return "float"
    if "none" in (left.kind, right.kind):
        return right.kind if left.kind == "none" else left.kind
    raise problem(BAD_SCALAR, f"{left.kind} and {right.kind} do not go together", node.span)


def _operator(node: tree.Operator, args: list[Number]) -> Number:
    op = node.op
    if op in ("and", "or", "not"):
        for arg, part in zip(args, node.args, strict=True):
            if arg.kind != "bool":
                raise problem(BAD_SCALAR, f"'{op}' joins conditions", part.span, f"is {arg.kind}")
        return Number(scalar.apply(op, *(arg.scalar for arg in args)), "bool")
    if op in ("==", "!="):
        _joined(node, *args)
        _check_words(node, args)
        return Number(scalar.apply(op, *(arg.scalar for arg in args)), "bool")
    for arg, part in zip(args, node.args, strict=True):
        if arg.kind not in NUMERIC:
            raise problem(BAD_SCALAR, f"'{op}' takes numbers", part.span, f"is {arg.kind}")
    if op in COMPARISONS:
        return Number(scalar.apply(op, *(arg.scalar for arg in args)), "bool")
    whole = all(arg.kind == "int" for arg in args)
    if op == "/" and whole:
        op = "//"
    if op == "**":
        power = args[1].scalar
        if isinstance(power, Const) and isinstance(power.value, (int, float)) and abs(power.value) > 64:
            raise problem(BAD_SCALAR, "this power is out of range", node.args[1].span)
        whole = whole and isinstance(power, Const) and isinstance(power.value, int) and power.value >= 0
    if op not in (*ARITHMETIC, "//", "neg"):
        raise problem(NOT_YET, f"'{op}' is not compiled yet", node.span)
    values = [arg.scalar for arg in args]
    _check_constants(node, op, node.args, args)
    return Number(scalar.apply(op, *values), "int" if whole else "float")


def _check_words(node: tree.Operator, args: list[Number]) -> None:
    """Refuse to compare a field with a word that it never is."""
    for number, other, part in zip(args, reversed(args), reversed(node.args), strict=True):
        word = other.scalar.value if isinstance(other.scalar, Const) else None
        if number.words and isinstance(word, str) and word not in number.words:
            raise problem(
                UNKNOWN_NAME, f"this is never {word!r}", part.span, hint=nearest(word, number.words)
            )


def _check_constants(node: tree.Node, op: str, parts: Sequence[tree.Expr], args: Sequence[Number]) -> None:
    """Say now what evaluation would say later, where all that ``op`` takes are literals."""
    values = [arg.scalar.value for arg in args if isinstance(arg.scalar, Const)]
    if len(values) != len(args):
        divisor = args[-1].scalar
        if op in ("/", "//", "%") and isinstance(divisor, Const) and not divisor.value:
            raise problem(BAD_SCALAR, "division by zero", parts[-1].span)
        return
    try:
        result = scalar.OPERATORS[op].evaluate(*values)
    except (ArithmeticError, ValueError, TypeError) as error:
        raise problem(BAD_SCALAR, f"this does not work out: {error}", node.span) from None
    # A root of a negative number is complex, which no scalar is.
    if not isinstance(result, (bool, int, float)) or abs(result) > 1e30:
        raise problem(BAD_SCALAR, "this is out of range", node.span)

"""Scalar expressions: the sizes, rates, flags and names that a config decides or a call brings.

    (hidden // heads) % 32 == 0

A scalar is known at one of three times. A *config field* is known when a model is constructed (or at compile time,
in a specialised build); a *dynamic* size (batch, tokens), and what is *asked* of an input, is known when the model is
called; a *loop index* is known inside its ``repeat``. Expressions are immutable and compare by structure, so a pass
may ask whether two sizes are the same expression, and :func:`fold` may replace what has become known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Union

Plain = Union[int, float, bool, str, None]
Value = Union[Plain, tuple[Plain, ...]]
"""A plain value, or one for each of what an axis counts: what a field by layer holds."""


class Unanswered(KeyError):
    """A question about an input that is absent."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: a number, a flag, ``none``, or the name of an enumerated choice."""

    value: Plain

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal in Python but print, and mean, different things.
        return (
            isinstance(other, Const) and type(self.value) is type(other.value) and self.value == other.value
        )

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the config, stored or derived."""

    name: str


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The length of a batch or tokens axis, known at each call."""

    axis: str


@dataclass(frozen=True, slots=True)
class Index:
    """The index of an enclosing ``repeat``; in a table that of its axis, or what it has computed under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about an input of the function, answered at each call: ``is_int(%labels)``, ``given(%labels)``.

    ``question`` is one of :data:`QUESTIONS`.
    """

    input: str
    question: str


QUESTIONS = ("given", "is_int", "is_float", "is_bool")


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or function applied to scalars; ``op`` is a key of :data:`OPERATORS`."""

    op: str
    args: tuple[Scalar, ...]


Scalar = Union[Const, Field, Dynamic, Index, Asked, Apply]
Answers = Mapping[tuple[str, str], bool]


@dataclass(frozen=True, slots=True)
class Operator:
    """How a scalar operator evaluates and how tightly it binds (0 for functions)."""

    evaluate: Callable[..., Plain]
    binds: int
    arity: int
    symbol: str


def _divide_exactly(a: int, b: int) -> int:
    if a % b:
        raise ValueError(f"{b} does not divide {a}")
    return a // b


# The table is the whole of scalar arithmetic: the printer, the parser, the evaluator and the emitter all read it.
OPERATORS: dict[str, Operator] = {
    "or": Operator(lambda a, b: a or b, 1, 2, "or"),
    "and": Operator(lambda a, b: a and b, 2, 2, "and"),
    "not": Operator(lambda a: not a, 3, 1, "not "),
    "==": Operator(lambda a, b: a == b, 4, 2, "=="),
    "!=": Operator(lambda a, b: a != b, 4, 2, "!="),
    "<": Operator(lambda a, b: a < b, 4, 2, "<"),
    "<=": Operator(lambda a, b: a <= b, 4, 2, "<="),
    ">": Operator(lambda a, b: a > b, 4, 2, ">"),
    ">=": Operator(lambda a, b: a >= b, 4, 2, ">="),
    "+": Operator(lambda a, b: a + b, 5, 2, "+"),
    "-": Operator(lambda a, b: a - b, 5, 2, "-"),
    "*": Operator(lambda a, b: a * b, 6, 2, "*"),
    "/": Operator(lambda a, b: a / b, 6, 2, "/"),
    "//": Operator(_divide_exactly, 6, 2, "//"),
    "%": Operator(lambda a, b: a % b, 6, 2, "%"),
    "neg": Operator(lambda a: -a, 7, 1, "-"),
    "**": Operator(lambda a, b: a**b, 8, 2, "**"),
    "sqrt": Operator(math.sqrt, 0, 1, "sqrt"),
    "log": Operator(math.log, 0, 1, "log"),
    "int": Operator(int, 0, 1, "int"),
    "select": Operator(lambda condition, yes, no: yes if condition else no, 0, 3, "select"),
    "is_none": Operator(lambda a: a is None, 0, 1, "is_none"),
    "round_up": Operator(lambda a, b: -(-a // b) * b, 0, 2, "round_up"),
    # Of a field that has a value for each of an axis, the one at an index.
    "item": Operator(lambda values, index: values[index], 0, 2, "item"),
}


def apply(op: str, *args: Scalar) -> Scalar:
    """Apply ``op``, folding it when every argument is a literal and the result exists."""
    if all(isinstance(arg, Const) for arg in args):
        try:
            return Const(OPERATORS[op].evaluate(*(arg.value for arg in args if isinstance(arg, Const))))
        except (ArithmeticError, ValueError, TypeError):
            pass  # left as it is: evaluation reports it where the values are named
    if op == "select" and isinstance(args[0], Const):
        return args[1] if args[0].value else args[2]
    for known, other in (args, args[::-1]) if op in ("and", "or") else ():
        if isinstance(known, Const) and isinstance(known.value, bool):
            return known if known.value is (op == "or") else other
    if op in ("*", "//") and args[1] == Const(1):
        return args[0]
    if op == "*" and args[0] == Const(1):
        return args[1]
    return Apply(op, args)


def product(factors: tuple[Scalar, ...]) -> Scalar:
    """The product of ``factors``; 1 for none."""
    result: Scalar = Const(1)
    for factor in factors:
        result = apply("*", result, factor)
    return result


def evaluate(
    scalar: Scalar,
    fields: Mapping[str, Value],
    dynamic: Mapping[str, int] | None = None,
    index: Mapping[str, int] | None = None,
    answers: Answers | None = None,
) -> Plain:
    """The value of ``scalar``; ``answers`` maps an input and a question to what is true of it.

    Raises:
        KeyError: a field, dynamic size or index has no value; Unanswered where it is a question.
        ArithmeticError, ValueError, TypeError: the arithmetic has no result (division by zero, inexact ``//``).
    """
    if isinstance(scalar, Const):
        return scalar.value
    if isinstance(scalar, Field):
        value = fields[scalar.name]
        if isinstance(value, tuple):
            raise TypeError(f"{scalar.name} has several values")
        return value
    if isinstance(scalar, Dynamic):
        return (dynamic or {})[scalar.axis]
    if isinstance(scalar, Index):
        return (index or {})[scalar.name]
    if isinstance(scalar, Asked):
        asked = (scalar.input, scalar.question)
        if answers is None or asked not in answers:
            raise Unanswered(f"{scalar.question}(%{scalar.input})")
        return answers[asked]

    def of(arg: Scalar) -> Plain:
        return evaluate(arg, fields, dynamic, index, answers)

    # What is not needed is not evaluated: a question about an input that is absent has no answer.
    if scalar.op == "select":
        condition, yes, no = scalar.args
        return of(yes if of(condition) else no)
    if scalar.op == "item" and isinstance(scalar.args[0], Field):
        return OPERATORS["item"].evaluate(fields[scalar.args[0].name], of(scalar.args[1]))
    if scalar.op in ("and", "or"):
        first = of(scalar.args[0])
        return first if bool(first) is (scalar.op == "or") else of(scalar.args[1])
    args = [of(arg) for arg in scalar.args]
    return OPERATORS[scalar.op].evaluate(*args)


def fold(scalar: Scalar, known: Mapping[str, Value]) -> Scalar:
    """``scalar`` with the fields in ``known`` replaced by their values and what follows computed.

    A field that has several values stays, unless they are all the same.
    """
    if isinstance(scalar, Field) and scalar.name in known:
        value = known[scalar.name]
        return scalar if isinstance(value, tuple) else Const(value)
    if isinstance(scalar, Apply):
        field = scalar.args[0] if scalar.op == "item" else None
        values = known.get(field.name) if isinstance(field, Field) else None
        if isinstance(values, tuple) and len(set(map(Const, values))) == 1:
            return Const(values[0])
        return apply(scalar.op, *(fold(arg, known) for arg in scalar.args))
    return scalar


def has_index(scalar: Scalar) -> bool:
    """Whether ``scalar`` reads the index of a repeat."""
    return any(isinstance(leaf, Index) for leaf in leaves(scalar))


def leaves(scalar: Scalar) -> Iterator[Scalar]:
    """The literals, fields, dynamic sizes, indices and questions in ``scalar``, left to right."""
    if isinstance(scalar, Apply):
        for arg in scalar.args:
            yield from leaves(arg)
    else:
        yield scalar


def is_static(scalar: Scalar) -> bool:
    """Whether ``scalar`` is known at construction: it reads no dynamic size, no index and no input."""
    return not any(isinstance(leaf, (Dynamic, Index, Asked)) for leaf in leaves(scalar))


def literal(value: Value) -> str:
    """A literal as the spec language and IR text write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def text(scalar: Scalar, around: int = 0) -> str:
    """``scalar`` as IR text: infix, parenthesised only where precedence asks for it."""
    if isinstance(scalar, Const):
        written = literal(scalar.value)
        return f"({written})" if written.startswith("-") and around else written
    if isinstance(scalar, Field):
        return scalar.name
    if isinstance(scalar, Dynamic):
        return f"@{scalar.axis}"
    if isinstance(scalar, Index):
        return f"#{scalar.name}"
    if isinstance(scalar, Asked):
        return f"{scalar.question}(%{scalar.input})"
    operator = OPERATORS[scalar.op]
    if operator.binds == 0:
        return f"{operator.symbol}({', '.join(text(arg) for arg in scalar.args)})"
    if scalar.op == "neg" and isinstance(scalar.args[0], Const):
        written = f"-({text(scalar.args[0])})"  # what is negated, not a negative literal
    elif operator.arity == 1:
        written = f"{operator.symbol}{text(scalar.args[0], operator.binds)}"
    else:
        left, right = scalar.args
        # `**` binds to the right; comparisons do not chain.
        left_binds = operator.binds + (scalar.op == "**" or operator.binds == 4)
        right_binds = operator.binds + (scalar.op != "**")
        written = f"{text(left, left_binds)} {operator.symbol} {text(right, right_binds)}"
    return f"({written})" if operator.binds < around else written

"""Python source as data: expressions that know how to break over lines the way a formatter would.

    layout("y = ", Call("ttnn.linear", (Arg(Raw("x")), Arg(Raw("w"), "bias"))), indent=8)

One line where it fits; else the arguments on a line of their own; else one argument a line with a trailing comma.
The result is what ``ruff format`` leaves alone at this width.
"""

from __future__ import annotations

import json
import keyword
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from ttmlc.ir import scalar
from ttmlc.ir.scalar import Apply, Asked, Const, Dynamic, Field, Index, Scalar

WIDTH = 110
LONGEST = 120
"""What a linter lets pass of text that is not broken."""


@dataclass(frozen=True, slots=True)
class Raw:
    """An expression that is never broken."""

    code: str


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument, by position where ``keyword`` is empty; ``**`` spreads a mapping."""

    value: Code
    keyword: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call, with what follows its closing bracket (``.T``)."""

    callee: str
    args: tuple[Arg, ...]
    suffix: str = ""


Code = Union[Raw, Call, "Choice"]


@dataclass(frozen=True, slots=True)
class Choice:
    """``yes if condition else no``."""

    condition: str
    yes: Code
    no: Code


def flat(code: Code) -> str:
    """``code`` on one line."""
    if isinstance(code, Raw):
        return code.code
    if isinstance(code, Choice):
        return f"{flat(code.yes)} if {code.condition} else {flat(code.no)}"
    return f"{code.callee}({', '.join(map(_argument, code.args))}){code.suffix}"


def _argument(arg: Arg) -> str:
    return _prefix(arg) + flat(arg.value)


def _prefix(arg: Arg) -> str:
    if arg.keyword == "**":
        return "**"
    return f"{arg.keyword}=" if arg.keyword else ""


def layout(before: str, code: Code, indent: int, after: str = "", comment: str = "") -> list[str]:
    """The lines of ``before code after``, indented, with a trailing comment where it fits."""
    pad = " " * indent
    note = f"  # {comment}" if comment else ""
    line = f"{pad}{before}{flat(code)}{after}"
    if len(line) + len(note) <= WIDTH:
        return [line + note]
    if len(line) <= WIDTH:  # the comment is what does not fit: it is left out
        return [line]
    if isinstance(code, Choice):
        inside = f"{pad}    {flat(code)}"
        parts = [inside] if len(inside) <= WIDTH else []
        if not parts:
            yes, no = layout("", code.yes, indent + 4), layout("else ", code.no, indent + 4)
            parts = [*yes, f"{pad}    if {code.condition}", *no]
        return [f"{pad}{before}(", *parts, f"{pad}){after}{note}"]
    if isinstance(code, Raw) or not code.args:
        return [line]
    head, tail = f"{pad}{before}{code.callee}(", f"{pad}){code.suffix}{after}"
    inner = " " * (indent + 4) + ", ".join(map(_argument, code.args))
    if len(inner) <= WIDTH:
        return [head, inner, tail + note]
    lines = [head]
    for arg in code.args:
        lines += layout(_prefix(arg), arg.value, indent + 4, ",")
    return [*lines, tail + note]


def string(text: str) -> str:
    """A Python string literal: double quotes, everything but printable ASCII escaped."""
    return json.dumps(text)


def literal(value: scalar.Value) -> str:
    """A Python literal."""
    if isinstance(value, tuple):
        same = len(value) > 1 and all(type(one) is type(value[0]) and one == value[0] for one in value)
        return f"({literal(value[0])},) * {len(value)}" if same else tuple_of(map(literal, value))
    return string(value) if isinstance(value, str) else repr(value)


def literal_code(value: scalar.Value) -> Code:
    """A Python literal that breaks over lines where it is long."""
    if not isinstance(value, tuple) or len(set(map(literal, value))) < 2:
        return Raw(literal(value))
    return Call("", tuple(Arg(Raw(literal(one))) for one in value))


def arrow(given: str, made: str, width: int = WIDTH) -> str:
    """The docstring of a method that makes ``made`` of what is ``given``, without its quotes: a line, or several."""
    line = f"{given} -> {made}."
    if len(line) + 14 <= width:
        return line
    first = textwrap.wrap('"""' + given, WIDTH - 8, break_on_hyphens=False)
    lines = [*first, *textwrap.wrap(f"-> {made}.", WIDTH - 8, break_on_hyphens=False), ""]
    return "\n        ".join(lines).removeprefix('"""')


def tuple_of(items: Iterable[str]) -> str:
    """A Python tuple display."""
    entries = list(items)
    return f"({entries[0]},)" if len(entries) == 1 else f"({', '.join(entries)})"


# Python's own operators by the name scalars have for them; the rest is written as functions.
SYMBOLS = {"neg": "-", "not": "not "}


ARGUMENT = -1
"""Around a scalar that is all of an argument: a choice stands there without brackets."""


def own_index(name: str) -> str:
    """The index of a repeat as a block holds it."""
    return f"self.{turn(name)}"


def expression(value: Scalar, owner: str, around: int = 0, *, index: Callable[[str], str] = own_index) -> str:
    """A scalar in Python, where fields are attributes of ``owner``.

    ``index`` says what the index of a repeat is called: the block's own, or a variable where there is a loop.
    """

    def inner(value: Scalar, around: int = 0) -> str:
        return expression(value, owner, around, index=index)

    if isinstance(value, Const):
        written = literal(value.value)
        return f"({written})" if written.startswith("-") and around else written
    if isinstance(value, Field):
        return f"{owner}.{value.name}"  # elaboration refuses field names that Python or the base class has
    if isinstance(value, Dynamic):
        return dynamic(value.axis)
    if isinstance(value, Index):
        return index(value.name)
    if isinstance(value, Asked):
        asked = identifier(value.input)
        if value.question != "given":
            return f"nn.{value.question}({asked})"
        return f"({asked} is not None)" if around > 4 else f"{asked} is not None"
    operator = scalar.OPERATORS[value.op]
    args = value.args
    if value.op == "item":
        values, place = map(inner, args)
        return f"{values}[{place}]"
    if value.op == "select":
        condition, yes, no = (inner(arg, 1) for arg in args)
        chosen = f"{yes} if {condition} else {no}"
        return chosen if around == ARGUMENT else f"({chosen})"
    if value.op == "not" and isinstance(args[0], Apply) and args[0].op == "is_none":
        written, binds = f"{inner(args[0].args[0], 5)} is not None", 4
    elif value.op == "is_none":
        written, binds = f"{inner(args[0], 5)} is None", 4
    elif value.op == "round_up":
        size, unit = (inner(arg, 6) for arg in args)
        written, binds = f"-(-{size} // {unit}) * {unit}", 6
    elif operator.binds == 0:
        name = value.op if value.op == "int" else f"math.{value.op}"
        return f"{name}({', '.join(map(inner, args))})"
    elif operator.arity == 1:
        written, binds = SYMBOLS[value.op] + inner(args[0], operator.binds), operator.binds
    else:
        binds = operator.binds
        left = inner(args[0], binds + (value.op == "**" or binds == 4))
        # A power of simple operands is written without spaces, as formatters do, and what is negated without brackets.
        simple = value.op == "**" and all(isinstance(arg, (Const, Field, Index)) for arg in args)
        right = inner(args[1], 0 if simple else binds + (value.op != "**"))
        written = f"{left}**{right}" if simple else f"{left} {operator.symbol} {right}"
    return f"({written})" if binds < around else written


TURN = "turn_"
"""What the attributes begin with that hold the turns of repeats."""

RESERVED = frozenset(
    """
    self at c given kernels layers saved seed turns B S TILE ROW_MAJOR Chain ClassVar Integers
    concat dataclass layout math nn normal np ones ttnn zeros
    abs all any bool dict enumerate filter float hash id input int iter len list map max min next object pow print
    property range round set slice sorted str sum super tuple type vars zip
    """.split()
)
"""What a method of the emitted module has under a name already."""


def turn(index: str) -> str:
    """The attribute of a block that holds which turn of a repeat it stands in."""
    return f"{TURN}{index}"


def dynamic(axis: str) -> str:
    """The Python name of a size that a call decides."""
    return axis if axis in ("B", "S") else identifier(axis)


def identifier(name: str) -> str:
    """``name`` as a Python name: an underscore follows what Python or the module itself has taken.

    Two names stay two: ``type`` is ``type_``, and ``type_`` is ``type__``.
    """
    clean = name.replace("'", "_")
    bare = clean.rstrip("_")
    has = bare in RESERVED or keyword.iskeyword(bare) or keyword.issoftkeyword(bare)
    return f"{clean}_" if has else clean

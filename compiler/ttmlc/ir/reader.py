"""Reading IR text word by word: tokens, scalars, attributes, axes and types."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute, Form, Value
from ttmlc.ir.scalar import OPERATORS, QUESTIONS, Asked, Const, Dynamic, Field, Index, Scalar
from ttmlc.ir.types import (
    Axis,
    DeviceType,
    Dim,
    DType,
    Layout,
    MaskType,
    Product,
    RotaryType,
    SavedType,
    Sum,
    TensorType,
    Type,
)

TOKEN = re.compile(
    r"""\s+|(?P<string>"(?:[^"\\]|\\.)*")|(?P<quoted>'[^']*')|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)"""
    r"""|(?P<value>%[\w.']+)|(?P<name>[A-Za-z_][\w.]*'*)|(?P<sign>\*\*|//|==|!=|<=|>=|[-+*/%<>=(){}\[\],:?!@#|])"""
)
BINARY = {
    operator.symbol: name for name, operator in OPERATORS.items() if operator.arity == 2 and operator.binds
}


class IRSyntaxError(ValueError):
    """IR text is malformed; the message says where and what was expected."""


@dataclass
class Reader:
    """A text and a place in it; what is read moves the place on."""

    text: str
    tokens: list[tuple[str, str, int]] = field(default_factory=list)
    place: int = 0
    axes: dict[str, Axis] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at, line = 0, 1
        while at < len(self.text):
            match = TOKEN.match(self.text, at)
            if match is None:
                raise IRSyntaxError(f"line {line}: stray character {self.text[at]!r}")
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match.group(), line))
            line += match.group().count("\n")
            at = match.end()
        self.tokens.append(("end", "", line))

    # Tokens

    @property
    def now(self) -> str:
        return self.tokens[self.place][1]

    @property
    def kind(self) -> str:
        return self.tokens[self.place][0]

    def take(self, kind: str = "") -> str:
        if kind and self.kind != kind:
            raise self.error(f"a {kind}")
        self.place += 1
        return self.tokens[self.place - 1][1]

    def have(self, word: str) -> bool:
        if self.now == word and self.kind in ("name", "sign"):
            self.place += 1
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.have(word):
            raise self.error(repr(word))

    def error(self, wanted: str) -> IRSyntaxError:
        return IRSyntaxError(f"line {self.tokens[self.place][2]}: expected {wanted}, found {self.now!r}")

    def string(self) -> str:
        value = json.loads(self.take("string"))
        assert isinstance(value, str)
        return value

    def strings(self) -> tuple[str, ...]:
        value = self.attribute()
        if not isinstance(value, tuple) or not all(isinstance(entry, str) for entry in value):
            raise self.error("a list of strings")
        return tuple(str(entry) for entry in value)

    # Scalars and attributes

    def scalar(self, binds: int = 1) -> Scalar:
        left = self.unary()
        while self.now in BINARY and self.kind in ("sign", "name"):
            name = BINARY[self.now]
            operator = OPERATORS[name]
            if operator.binds < binds:
                break
            self.take()
            left = scalar.Apply(name, (left, self.scalar(operator.binds + (name != "**"))))
        return left

    def unary(self) -> Scalar:
        if self.have("not"):
            return scalar.Apply("not", (self.scalar(OPERATORS["not"].binds),))
        if self.have("-"):
            power = self.tokens[self.place + 1][1] == "**" if self.kind == "number" else False
            if self.kind == "number" and not power:  # in -2 ** a the sign is of the power
                return Const(-self.number())
            return scalar.Apply("neg", (self.scalar(OPERATORS["neg"].binds),))
        if self.have("("):
            inner = self.scalar()
            self.expect(")")
            return inner
        if self.have("@"):
            return Dynamic(self.take("name"))
        if self.have("#"):
            return Index(self.take("name"))
        if self.kind == "number":
            return Const(self.number())
        if self.kind == "quoted":
            return Const(self.take()[1:-1])
        name = self.take("name")
        if name in ("none", "true", "false"):
            return Const({"none": None, "true": True, "false": False}[name])
        if name in OPERATORS and self.have("("):
            return scalar.Apply(name, self.scalars(")"))
        if name in QUESTIONS and self.have("("):
            asked = Asked(self.take("value")[1:], name)
            self.expect(")")
            return asked
        return Field(name)

    def number(self) -> int | float:
        digits = self.take("number")
        return int(digits) if digits.isdigit() else float(digits)

    def scalars(self, close: str) -> tuple[Scalar, ...]:
        found: list[Scalar] = []
        while not self.have(close):
            found.append(self.scalar())
            self.have(",")
        return tuple(found)

    def attribute(self) -> Attribute:
        if self.kind == "string":
            return self.string()
        if self.have("!"):
            name = self.take("name")
            self.expect("(")
            return Form(name, self.attributes(")"))
        if self.have("["):
            return self.attributes("]")
        return self.scalar()

    def attributes(self, close: str) -> tuple[Attribute, ...]:
        found: list[Attribute] = []
        while not self.have(close):
            found.append(self.attribute())
            self.have(",")
        return tuple(found)

    # Types

    def type(self) -> Type:
        name = self.take("name")
        if name == "mask":
            self.expect("{")
            self.expect("causal")
            self.expect("=")
            causal = self.scalar()
            window: Scalar = Const(None)
            if self.have(","):
                self.expect("window")
                self.expect("=")
                window = self.scalar()
            self.expect("}")
            return MaskType(causal, window)
        if name == "rotary":
            self.expect("{")
            self.expect("half")
            self.expect("=")
            half = self.scalar()
            self.expect("}")
            return RotaryType(half)
        if name == "saved":
            self.expect("{")
            block = self.take("name")
            self.expect("}")
            return SavedType(block)
        self.expect("[")
        if name in DType._value2member_map_:
            return TensorType(DType(name), self.dims())
        shape = self.scalars("]")
        return DeviceType(name, shape, Layout(self.take("name")))

    def dims(self) -> tuple[Dim, ...]:
        found: list[Dim] = []
        while not self.have("]"):
            found.append(self.dim())
            self.have(",")
        return tuple(found)

    def dim(self) -> Dim:
        if not self.have("{"):
            return self.term()
        parts = []
        while not self.have("}"):
            parts.append(self.term())
            self.have("+")
        return Sum(tuple(parts))

    def term(self) -> Axis | Product:
        if not self.have("("):
            return self.axis()
        factors = []
        while not self.have(")"):
            factors.append(self.axis())
        return Product(tuple(factors))

    def axis(self) -> Axis:
        name = self.take()
        if name not in self.axes:
            raise IRSyntaxError(f"line {self.tokens[self.place][2]}: no axis {name!r}")
        return self.axes[name]

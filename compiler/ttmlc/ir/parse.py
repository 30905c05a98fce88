"""IR text, parsing: what :mod:`ttmlc.ir.text` prints, read back to an equal module.

A recursive descent over a flat list of tokens; the language is the compiler's own, so an error names the line and
what was expected and stops there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ttmlc.ir.config import Config, ConfigField, Derived, Each, FieldKind, Requirement
from ttmlc.ir.module import (
    Attribute,
    Build,
    Fact,
    Form,
    Function,
    Input,
    Kind,
    Level,
    Module,
    Operation,
    Region,
    Value,
)
from ttmlc.ir.reader import Reader
from ttmlc.ir.scalar import Const, Plain
from ttmlc.ir.scalar import Value as Held
from ttmlc.ir.types import Axis, Role, TensorType, Type


@dataclass
class _Parser(Reader):
    """Modules, functions and operations."""

    def module(self) -> Module:
        self.expect("module")
        name, level = self.take("name"), Level(self.take("name"))
        self.expect("from")
        source = self.string()
        self.expect("doc")
        doc = self.string()
        self.expect("passes")
        passes = self.strings()
        build = self.build() if self.have("build") else Build()
        config = self.config()
        while self.have("axis"):
            self.declare_axis()
        facts = []
        while self.have("fact"):
            condition = self.scalar()
            self.expect(",")
            facts.append(Fact(condition, self.string()))
        functions = []
        while self.kind != "end":
            functions.append(self.function())
        return Module(name, level, source, doc, config, tuple(functions), tuple(facts), build, passes)

    def build(self) -> Build:
        label = self.string()
        self.expect("{")
        fields = []
        while not self.have("}"):
            name = self.take("name")
            self.expect("=")
            fields.append((name, self.held()))
            self.have(",")
        return Build(tuple(fields), label)

    def held(self) -> Held:
        """What a field holds: a literal, or a list of them."""
        if not self.have("["):
            return self.literal()
        found = []
        while not self.have("]"):
            found.append(self.literal())
            self.have(",")
        return tuple(found)

    def literal(self) -> Plain:
        value = self.unary()
        if not isinstance(value, Const):
            raise self.error("a literal")
        return value.value

    def declare_axis(self) -> None:
        name = self.take()
        self.expect(":")
        role = Role(self.take("name"))
        self.expect("=")
        self.axes[name] = Axis(name, self.scalar(), role)

    def config(self) -> Config:
        self.expect("config")
        name = self.take("name")
        self.expect("for")
        model_type = self.string()
        fields: list[ConfigField] = []
        derived: list[Derived] = []
        requirements: list[Requirement] = []
        fixed: list[tuple[str, Plain]] = []
        harmless: tuple[str, ...] = ()
        stale: tuple[str, ...] = ()
        while not self.have("end"):
            if self.have("field"):
                fields.append(self.config_field())
            elif self.have("derived"):
                entry = self.take("name")
                self.expect(":")
                whole = self.take("name") == "whole"
                self.expect("=")
                derived.append(Derived(entry, self.scalar(), whole))
            elif self.have("require"):
                each = self.each()
                condition = self.scalar()
                self.expect(",")
                requirements.append(Requirement(condition, self.string(), each))
            elif self.have("fixed"):
                key = self.string()
                self.expect("=")
                fixed.append((key, self.literal()))
            elif self.have("harmless"):
                harmless = self.strings()
            else:
                self.expect("stale")
                stale = self.strings()
        return Config(
            name,
            model_type,
            tuple(fields),
            tuple(derived),
            tuple(requirements),
            tuple(fixed),
            harmless,
            stale,
        )

    def each(self) -> Each | None:
        if not self.have("["):
            return None
        index = self.take("name")
        self.expect("in")
        over = self.take("name")
        self.expect("]")
        return Each(index, over)

    def config_field(self) -> ConfigField:
        name, each = self.take("name"), self.each()
        self.expect(":")
        kind = FieldKind(self.take("name"))
        nullable = self.have("?")
        choices = self.strings() if self.have("of") else ()
        default = self.scalar() if self.have("=") else None
        null_default = self.scalar() if self.have("null") else None
        keys = self.strings() if self.have("from") else ()
        gate = self.scalar() if self.have("if") else None
        inside = self.strings() if self.have("inside") else ()
        return ConfigField(name, kind, default, keys, nullable, null_default, choices, gate, inside, each)

    def function(self) -> Function:
        kind, name = Kind(self.take("name")), self.take("name")
        self.values = {}
        self.expect("(")
        inputs = []
        while not self.have(")"):
            parameter = self.have("param")
            value_name = self.take("value")[1:]
            optional = self.have("?")
            self.expect(":")
            types = [self.type()]
            while self.have("|"):
                types.append(self.type())
            value = self.make(value_name, types[0])
            default = self.attribute() if self.have("=") else None
            assert default is None or isinstance(default, (Const, Form))
            alternatives = tuple(t for t in types if isinstance(t, TensorType)) if len(types) > 1 else ()
            inputs.append(Input(value, default, optional, alternatives, parameter))
            self.have(",")
        prefixes = self.strings() if self.have("prefixes") else ()
        operations = self.operations("predicts", "saved", "return")
        ended = self.tokens[self.place - 1][1]
        predicts = self.attribute() if ended == "predicts" else None
        assert predicts is None or isinstance(predicts, Form)
        if predicts is not None:
            self.expect("return")  # a model saves nothing
        saved = self.values_until("return") if ended == "saved" else ()
        outputs = []
        while not self.have("end"):
            output = self.take("name")
            self.expect("=")
            outputs.append((output, self.value()))
            self.have(",")
        made = Function(name, kind, tuple(inputs), operations, tuple(outputs), saved=saved)
        return replace(made, prefixes=prefixes, predicts=predicts)

    def values_until(self, word: str) -> tuple[Value, ...]:
        found = []
        while not self.have(word):
            found.append(self.value())
            self.have(",")
        return tuple(found)

    def make(self, name: str, type_: Type) -> Value:
        self.values[name] = Value(name, type_)
        return self.values[name]

    def value(self) -> Value:
        name = self.take("value")[1:]
        if name not in self.values:
            raise self.error(f"a value made before %{name}")
        return self.values[name]

    def operations(self, *until: str) -> tuple[Operation, ...]:
        found: list[Operation] = []
        while not any(self.have(word) for word in until):
            found.append(self.operation())
        return tuple(found)

    def operation(self) -> Operation:
        names: list[str] = []
        while self.kind == "value":
            names.append(self.take("value")[1:])
            if not self.have(","):
                self.expect("=")
        op = self.take("name")
        self.expect("(")
        operands: list[Value | None] = []
        while not self.have(")"):
            operands.append(None if self.have("none") else self.value())
            self.have(",")
        attributes: list[tuple[str, Attribute]] = []
        if self.have("{"):
            while not self.have("}"):
                key = self.take("name")
                self.expect("=")
                attributes.append((key, self.attribute()))
                self.have(",")
        types: list[Type] = []
        if names:
            self.expect(":")
            types.append(self.type())
        while names and self.have(","):
            types.append(self.type())
        body = self.region() if self.have("do") else None
        results = tuple(self.make(name, type_) for name, type_ in zip(names, types, strict=True))
        return Operation(op, tuple(operands), tuple(attributes), results, body)

    def region(self) -> Region:
        self.expect("(")
        arguments = []
        while not self.have(")"):
            name = self.take("value")[1:]
            self.expect(":")
            arguments.append(self.make(name, self.type()))
            self.have(",")
        operations = self.operations("yield")
        yields = [self.value()]
        while self.have(","):
            yields.append(self.value())
        return Region(tuple(arguments), operations, tuple(yields))


def parse_module(text: str) -> Module:
    """Read IR text.

    Raises:
        IRSyntaxError: with the line and what was expected there.
    """
    return _Parser(text).module()

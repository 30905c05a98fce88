"""Modules, functions, operations, values: the immutable shape of a program at either level.

Equality is structural and ignores spans, so a pass that changes nothing gives back an equal module, and what
:mod:`ttmlc.ir.text` prints parses back to the same one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Union

from ttmlc.ir.config import Config
from ttmlc.ir.scalar import Apply, Asked, Const, Dynamic, Field, Index, Scalar, leaves
from ttmlc.ir.scalar import Value as Held
from ttmlc.ir.types import DeviceType, MaskType, RotaryType, TensorType, Type
from ttmlc.source import Span


@dataclass(frozen=True, slots=True)
class Form:
    """A named form with arguments, such as ``normal(std)`` or the chain of a storage."""

    name: str
    args: tuple[Attribute, ...] = ()


COMPUTED = Form("computed")
"""The default of an input that the function makes of others, where it is not given."""

Attribute = Union[Const, Field, Dynamic, Index, Asked, Apply, str, Form, tuple["Attribute", ...]]

SCALARS = (Const, Field, Dynamic, Index, Asked, Apply)


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value. Its name comes from the spec; a number breaks ties."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Region:
    """The body of a ``repeat``: what it carries around, what it does, what it carries on."""

    arguments: tuple[Value, ...]
    operations: tuple[Operation, ...]
    yields: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One op applied: what it is called, what it reads, how it is set, what it makes."""

    op: str
    operands: tuple[Value | None, ...]
    attributes: tuple[tuple[str, Attribute], ...]
    results: tuple[Value, ...]
    body: Region | None = None
    span: Span | None = field(default=None, compare=False)
    by: str = field(default="", compare=False)
    """The pass that made it, where that was a decision a reader may argue with."""

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    def get(self, name: str) -> Attribute | None:
        """The attribute called ``name``, or None where it is not given."""
        return next((value for key, value in self.attributes if key == name), None)

    def text(self, name: str) -> str:
        """A string attribute."""
        value = self.get(name)
        assert isinstance(value, str), f"{self.op} has no string {name!r}"
        return value

    def scalar(self, name: str) -> Scalar:
        """A scalar attribute."""
        value = self.get(name)
        assert isinstance(value, SCALARS), f"{self.op} has no scalar {name!r}"
        return value

    def reads(self) -> Iterator[Value]:
        """The values read, without those a body makes for itself."""
        yield from (operand for operand in self.operands if operand is not None)
        if self.body is not None:
            made = set(self.body.arguments)
            for operation in self.body.operations:
                yield from (value for value in operation.reads() if value not in made)
                made.update(operation.results)
            yield from (value for value in self.body.yields if value not in made)


@dataclass(frozen=True, slots=True)
class Input:
    """A parameter of a function. ``default`` is a literal, or a form: ``position()``, or ``computed()``, which the
    function chooses where the input is not given.

    An ``optional`` input may be absent, and then so is what is computed from it. ``alternatives`` are the types it may
    have, the value's own first; empty where that is the only one. A ``parameter`` is an input of a block for which all
    its callers give a parameter: it is taken where the block is made, not where it is called.
    """

    value: Value
    default: Const | Form | None = None
    optional: bool = False
    alternatives: tuple[TensorType, ...] = ()
    parameter: bool = False


def plain(name: str) -> str:
    """A value's name without the number that told it from others."""
    return re.sub(r"(?<=\D)(_\d+)+$", "", name)


class Kind(Enum):
    """What a function came from in the spec."""

    BLOCK = "block"
    MODEL = "model"
    FORWARD = "forward"  # of a block, in training: it also gives what its backward reads
    BACKWARD = "backward"  # from what was saved and the gradients of the results to those of the inputs


@dataclass(frozen=True, slots=True)
class Function:
    """A block or a model, or the forward or backward of a block: inputs, operations in order, named outputs.

    ``saved`` are the values that a forward keeps beside its outputs; in the backward they are the first inputs, and the
    gradients of the forward's outputs follow. ``predicts`` is what a model says of an output
    about the next token, where it has one: ``!next(...)``, which the pass that finds it explains.
    """

    name: str
    kind: Kind
    inputs: tuple[Input, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[tuple[str, Value], ...]
    span: Span | None = field(default=None, compare=False)
    saved: tuple[Value, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Of a model what may stand before the base's names in checkpoints with a head; the first is its own."""
    predicts: Form | None = None

    @property
    def block(self) -> str:
        """The block that it is of: what stands before the dot in ``Attention.backward``."""
        return self.name.partition(".")[0]

    @property
    def wanted(self) -> tuple[Value, ...]:
        """The values that must be there at the end."""
        kept = self.saved if self.kind is Kind.FORWARD else ()
        return (*(value for _, value in self.outputs), *kept)

    def walk(self) -> Iterator[Operation]:
        """All operations, those inside bodies included, in order."""
        yield from _walk(self.operations)


def names_in(function: Function) -> set[str]:
    """The names of all values of ``function``: inputs, results, and what bodies carry around."""
    names = {given.value.name for given in function.inputs}
    for operation in function.walk():
        names.update(value.name for value in operation.results)
        names.update(value.name for value in (operation.body.arguments if operation.body else ()))
    return names


def _walk(operations: tuple[Operation, ...]) -> Iterator[Operation]:
    for operation in operations:
        yield operation
        if operation.body is not None:
            yield from _walk(operation.body.operations)


@dataclass(frozen=True, slots=True)
class Fact:
    """A condition on the config that the program relies on, and what to say where it does not hold."""

    condition: Scalar
    message: str
    reason: str = field(compare=False, default="")


@dataclass(frozen=True, slots=True)
class Build:
    """What a module was built for: ``generic``, or the fields that a specialised build holds fixed."""

    fields: tuple[tuple[str, Held], ...] = ()
    label: str = ""

    @property
    def is_generic(self) -> bool:
        """Whether every size still comes from the config."""
        return not self.label


class Level(Enum):
    """What a module's operations mean: mathematics on named axes, or calls of ttnn."""

    TENSOR = "tensor"
    DEVICE = "ttnn"


@dataclass(frozen=True, slots=True)
class Module:
    """A whole program."""

    name: str
    level: Level
    source: str
    doc: str
    config: Config
    functions: tuple[Function, ...]
    facts: tuple[Fact, ...] = ()
    build: Build = Build()
    passes: tuple[str, ...] = ()

    def function(self, name: str) -> Function:
        """The function called ``name``."""
        return next(function for function in self.functions if function.name == name)

    @property
    def models(self) -> tuple[Function, ...]:
        """The functions that a user calls."""
        return tuple(function for function in self.functions if function.kind is Kind.MODEL)

    def map_functions(self, change: Callable[[Function], Function]) -> Module:
        """This module with every function changed."""
        return replace(self, functions=tuple(change(function) for function in self.functions))


def scalars_of(function: Function) -> Iterator[Scalar]:
    """Every scalar that ``function`` reads: in attributes, and as the sizes of types."""
    types = [type_ for given in function.inputs for type_ in (given.value.type, *given.alternatives)]
    if function.predicts is not None:
        yield from scalars_in(function.predicts)
    for operation in function.walk():
        for _, value in operation.attributes:
            yield from scalars_in(value)
        types += [value.type for value in operation.results]
    for type_ in types:
        if isinstance(type_, TensorType):
            yield from (axis.size for axis in type_.axes())
        elif isinstance(type_, DeviceType):
            yield from type_.shape
        elif isinstance(type_, MaskType):
            yield type_.causal
        elif isinstance(type_, RotaryType):
            yield type_.half


def scalars_in(value: Attribute) -> Iterator[Scalar]:
    """The scalars that an attribute holds."""
    if isinstance(value, SCALARS):
        yield value
    elif isinstance(value, (Form, tuple)):
        for part in value.args if isinstance(value, Form) else value:
            yield from scalars_in(part)


def fields_of(function: Function) -> Iterator[Field]:
    """The fields of the config that ``function`` reads."""
    for scalar in scalars_of(function):
        yield from (leaf for leaf in leaves(scalar) if isinstance(leaf, Field))


def indices_of(operations: tuple[Operation, ...]) -> tuple[str, ...]:
    """The indices of repeats that ``operations`` read and that enclose them, each once, in order."""
    found: dict[str, None] = {}
    for operation in operations:
        own: list[str] = []
        for name, value in operation.attributes:
            if name == "numbers":  # those of a table, which indexes its own axis
                continue
            if operation.op in ("call", "call_backward") and name == "indices" and isinstance(value, tuple):
                own += [index for index in value if isinstance(index, str)]
            for part in scalars_in(value):
                own += [leaf.name for leaf in leaves(part) if isinstance(leaf, Index)]
        if operation.body is not None:
            own += [name for name in indices_of(operation.body.operations) if name != operation.get("index")]
        found.update(dict.fromkeys(own))
    return tuple(found)


def indices_read(functions: Iterable[Function], block: str) -> tuple[str, ...]:
    """The indices of repeats that a block reads, or its forward or backward: it is made with these."""
    own = (function for function in functions if function.block == block)
    return tuple(dict.fromkeys(index for function in own for index in indices_of(function.operations)))


def rewrite(
    operations: tuple[Operation, ...], change: Callable[[Operation], Operation]
) -> tuple[Operation, ...]:
    """``operations`` with ``change`` applied to each, innermost first."""

    def one(operation: Operation) -> Operation:
        if operation.body is not None:
            body = replace(operation.body, operations=rewrite(operation.body.operations, change))
            operation = replace(operation, body=body)
        return change(operation)

    return tuple(one(operation) for operation in operations)


def with_indices_read(functions: tuple[Function, ...]) -> tuple[Function, ...]:
    """``functions`` whose calls give the indices alone that the called blocks still read."""
    known: dict[str, tuple[str, ...]] = {}

    def change(operation: Operation) -> Operation:
        if operation.op not in ("call", "call_backward"):
            return operation
        given = dict(operation.attributes)
        given.pop("indices", None)
        read = indices(operation.text("block"))
        return replace(
            operation, attributes=tuple(sorted({**given, **({"indices": read} if read else {})}.items()))
        )

    def indices(block: str) -> tuple[str, ...]:
        if block not in known:
            own = [one for one in functions if one.block == block]
            made = [replace(one, operations=rewrite(one.operations, change)) for one in own]
            known[block] = indices_read(made, block)
        return known[block]

    return tuple(replace(one, operations=rewrite(one.operations, change)) for one in functions)

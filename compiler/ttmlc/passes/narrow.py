"""Let the last turn of a repeat work on the first token alone, where nothing else of what it makes is read.

    %y = repeat(%h) {count = layers, index = "i"} do (%x)    %y = repeat(%h) {count = layers, index = "i"} do (%x)
      %a = call(%x) {block = "Attention"}                      %a = call(%x) {block = "Attention"}
      %f = call(%a) {block = "FeedForward"}                    %n = narrow(%a) {over = "S", when = #i == layers - 1}
      yield %f                                           =>    %f = call(%n) {block = "FeedForward"}
    %p = call(%y) {block = "Pooler"}                           yield %f
                                                             %p = call(%y) {block = "Pooler"}

A head that classifies a text reads one token of the last layer. What is computed token by token on the way to it, by
the ops' own rules for the axis of tokens, is computed of that token, in training forth and back: of a layer all but its
attention. A block takes as many tokens as it is given, so the same one is called, and what reads the first of S tokens
reads the first of one.

Left alone where another reader is left, such as an output, and where the token is picked by an index: that is a place
among all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ttmlc.ir import scalar
from ttmlc.ir.builder import Names
from ttmlc.ir.module import (
    Function,
    Kind,
    Level,
    Module,
    Operation,
    Region,
    Value,
    names_in,
    plain,
    scalars_in,
)
from ttmlc.ir.op import TABLE, AxisRule
from ttmlc.ir.ops.structure import Structure
from ttmlc.ir.scalar import Const, Dynamic, Index, leaves
from ttmlc.ir.types import Axis, Role, TensorType
from ttmlc.passes.base import Outcome, Pass


@dataclass(frozen=True)
class Narrow(Pass):
    """See the module."""

    name = "narrow"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        def one(function: Function) -> Function:
            return _narrowed(module, function) if function.kind is Kind.MODEL else function

        return Outcome(module.map_functions(one))


def _narrowed(module: Module, function: Function) -> Function:
    names = Names(names_in(function))

    def one(operation: Operation) -> Operation:
        if operation.op != "repeat" or len(operation.results) != 1:
            return operation
        over = _tokens(operation.result)
        if over is None or not _first_alone(module, function, operation.result, over):
            return operation
        return _in_last_turn(module, operation, over, names)

    return replace(function, operations=tuple(map(one, function.operations)))


def _tokens(value: Value) -> Axis | None:
    """The axis of tokens of [B, S, features]."""
    if not isinstance(value.type, TensorType) or len(value.type.dims) != 3:
        return None
    dim = value.type.dims[1]
    return dim if isinstance(dim, Axis) and dim.role is Role.TOKENS else None


def _first_alone(module: Module, function: Function, value: Value, over: Axis) -> bool:
    """Whether all that is read of ``value`` is its first token."""
    readers = [operation for operation in function.walk() if value in operation.reads()]
    if value in function.wanted or not readers or any(reader.op != "call" for reader in readers):
        return False
    return all(_takes_first(module.function(reader.text("block")), reader, value, over) for reader in readers)


def _takes_first(block: Function, call: Operation, value: Value, over: Axis) -> bool:
    """Whether a call reads nothing but the first token of ``value``, and does not ask how many there are.

    Blocks that it calls are not looked into: what they could ask about has no tokens any more.
    """
    pairs = zip(block.inputs, call.operands, strict=True)
    inputs = [given.value for given, operand in pairs if operand is not None and over in _axes(operand)]
    if [operand for operand in call.operands if operand is not None and over in _axes(operand)] != [value]:
        return False
    readers = [operation for operation in block.walk() if inputs[0] in operation.reads()]
    first = all(reader.op == "first" and reader.text("over") == over.name for reader in readers)
    return first and inputs[0] not in block.wanted and not _asks_size(block.walk(), over)


def _in_last_turn(module: Module, repeat: Operation, over: Axis, names: Names) -> Operation:
    """``repeat`` with one token from where its last turn goes on token by token."""
    assert repeat.body is not None
    body = repeat.body
    makers = {value.name: operation for operation in body.operations for value in operation.results}
    (value,) = body.yields
    ahead: Operation | None = None
    while _count(body, value) == 1 and (source := _source(module, makers.get(value.name), over)) is not None:
        # What stands before the repeat is every turn's: no turn may take its tokens away.
        if (source.name not in makers and source not in body.arguments) or _count(body, source) != 1:
            break
        ahead, value = makers[value.name], source
    if ahead is None:
        return repeat
    last = scalar.apply("-", repeat.scalar("count"), Const(1))
    when = scalar.apply("==", Index(repeat.text("index")), last)
    made = Value(names.fresh(plain(value.name)), value.type)
    attributes = (("over", over.name), ("when", when))
    narrow = Operation("narrow", (value,), attributes, (made,), span=ahead.span, by=Narrow.name)
    operations: list[Operation] = []
    for operation in body.operations:
        if operation is ahead:
            operands = tuple(made if one == value else one for one in operation.operands)
            operations += [narrow, replace(operation, operands=operands)]
        else:
            operations.append(operation)
    return replace(repeat, body=replace(body, operations=tuple(operations)))


def _count(body: Region, value: Value) -> int:
    """How often ``value`` is read in ``body``, yields counted."""
    read = [one for operation in body.operations for one in operation.reads()]
    return [*read, *body.yields].count(value)


def _source(module: Module, maker: Operation | None, over: Axis) -> Value | None:
    """What a call makes its only result of token by token; None where it is no such call."""
    if maker is None or maker.op != "call" or len(maker.results) != 1:
        return None
    read = [one for one in maker.operands if one is not None and over in _axes(one)]
    one = len(read) == 1 and _tokens(read[0]) == over
    return read[0] if one and _token_by_token(module, maker, over) else None


def _token_by_token(module: Module, call: Operation, over: Axis) -> bool:
    """Whether a block makes each token of that token alone, and does not ask how many there are."""
    block = module.function(call.text("block"))
    if _asks_size(block.walk(), over):
        return False
    for operation in block.walk():
        if operation.op == "call":
            if not _token_by_token(module, operation, over):
                return False
        elif operation.body is not None:
            return False
        elif not isinstance(TABLE[operation.op], Structure):
            rules = TABLE.tensor(operation.op).axes(operation)
            of_tokens = {axis: rule for axis, rule in rules.items() if axis.role is Role.TOKENS}
            if of_tokens.keys() - {over} or of_tokens.get(over, AxisRule.POINTWISE) is not AxisRule.POINTWISE:
                return False
    return True


def _asks_size(operations: Iterable[Operation], over: Axis) -> bool:
    """Whether an attribute reads the length of ``over``."""
    read = (value for operation in operations for _, value in operation.attributes)
    sizes = (leaf for value in read for part in scalars_in(value) for leaf in leaves(part))
    return any(isinstance(leaf, Dynamic) and leaf.axis == over.name for leaf in sizes)


def _axes(value: Value) -> tuple[Axis, ...]:
    return tuple(value.type.axes()) if isinstance(value.type, TensorType) else ()

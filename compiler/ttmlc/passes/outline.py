"""Give every stretch of a model's own operations a block, so that a model is a sequence of blocks and repeats.

    model M(%ids)                                  block Embeddings(%ids)
      %w = param {at = "embeddings.word.weight"}     %w = param {at = "word.weight"}
      %e = embedding(%ids, %w)                       %e = embedding(%ids, %w)
      %h = layer_norm(%e, ...)               =>      %h = layer_norm(%e, ...)
      %y = call(%h) {block = "Layer"}                return h = %h
      return y = %y                                model M(%ids)
                                                     %h = call(%ids) {block = "Embeddings", at = "embeddings"}
                                                     %y = call(%h) {block = "Layer"}
                                                     return y = %y

A block is what has a backward and what is read as one; a tape chains blocks, so one text of the model serves inference
and training. A stretch ends where a value is ready that the model returns, so that a model with a head shares the
blocks of its base and leaves out those that it does not read. A block is called after the checkpoint path that its
parameters share, else after what it makes. A repeat whose body is more than calls becomes one block a turn. Blocks
stand in the order in which they are first called.
"""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from ttmlc.ir.module import (
    Function,
    Input,
    Kind,
    Level,
    Module,
    Operation,
    Region,
    Value,
    plain,
)
from ttmlc.ir.ops.integers import on_host
from ttmlc.ir.ops.loss import LOSSES
from ttmlc.ir.ops.structure import defaults, paths
from ttmlc.ir.scalar import Asked, leaves
from ttmlc.passes.base import Outcome, Pass
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.prune import keep_live
from ttmlc.passes.stretches import (
    calls,
    camel,
    common,
    elsewhere,
    is_number,
    moved,
    params_read,
    plainly,
    reads,
    span_of,
)

MODULES = frozenset({"Chain", "ClassVar", "Integers", "POLICY", "TILE"})
"""What every emitted module has under a name that a class might have."""
STAY = frozenset({"call", "repeat", "when", "choose", "split_batch", *LOSSES})
"""Operations that stay in the model, beside those of the host."""
ENTERED = frozenset({"table", "angles"})
"""Operations of the model that are done on the host, where it is entered."""


@dataclass(frozen=True)
class Outline(Pass):
    """See the module."""

    name = "outline"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        blocks = Blocks({function.name: function for function in module.functions}, taken(module))
        models = []
        for function in module.functions:
            if function.kind is Kind.MODEL:
                base = module.models[0] if function is not module.models[0] else None
                models.append(_Model(function, base, blocks).run())
        own = [function for function in module.functions if function.kind is not Kind.MODEL]
        made = in_order_of_calls((*own, *blocks.made), models)
        return Outcome(replace(module, functions=(*parameters(made, models), *models)))


def taken(module: Module) -> frozenset[str]:
    """The names of classes that a module has besides its blocks and models."""
    outputs = {f"{model.name}Output" for model in module.models}
    return frozenset({f"{module.config.name}Config", *outputs, *MODULES, *keyword.kwlist})


def in_order_of_calls(blocks: Sequence[Function], models: Sequence[Function]) -> list[Function]:
    """``blocks`` as the models call them, each behind those that it calls; those that nobody calls come last."""
    found = {block.name: block for block in blocks}
    order: dict[str, Function] = {}

    def visit(function: Function) -> None:
        for operation in function.walk():
            if operation.op == "call":
                visit(found[operation.text("block")])
        if function.name in found:
            order.setdefault(function.name, function)

    for function in (*models, *blocks):
        visit(function)
    return list(order.values())


def parameters(blocks: Sequence[Function], models: Sequence[Function]) -> list[Function]:
    """``blocks`` with those inputs marked that every caller gives a parameter: they are taken at construction."""
    found = {block.name: block for block in blocks}
    given: dict[tuple[str, int], set[bool]] = {}
    for function in (*models, *reversed(blocks)):  # callers before callees
        function = found.get(function.name, function)
        own = {o.result.name for o in function.walk() if o.op == "param"}
        own |= {taken.value.name for taken in function.inputs if taken.parameter}
        for operation in function.walk():
            if operation.op != "call":
                continue
            for place, value in enumerate(operation.operands):
                given.setdefault((operation.text("block"), place), set()).add(
                    value is not None and value.name in own
                )
        for name, block in found.items():
            inputs = tuple(
                replace(taken, parameter=given.get((name, place)) == {True})
                for place, taken in enumerate(block.inputs)
            )
            found[name] = replace(block, inputs=inputs)
    return [found[block.name] for block in blocks]


@dataclass
class Blocks:
    """The blocks there are, by name; equal ones are made once."""

    known: dict[str, Function]
    taken: frozenset[str] = frozenset()
    made: list[Function] = field(default_factory=list)

    def add(self, wanted: Sequence[str], make: Function) -> Function:
        """The block that equals ``make`` but for names, or ``make`` under the first name of ``wanted`` that is free."""
        names = chain(wanted, (f"{wanted[0]}{count}" for count in itertools.count(2)))
        for name in names:
            if name in self.taken:
                continue
            if name not in self.known:
                break
            if self.known[name] in self.made and shape(self.known[name]) == shape(make):
                return self.known[name]
        block = replace(make, name=name)
        self.known[name] = block
        self.made.append(block)
        return block


def shape(function: Function) -> object:
    """What is left of a function when its names are taken away."""
    numbers: dict[str, int] = {}

    def number(value: Value | None) -> object:
        return None if value is None else (numbers.setdefault(value.name, len(numbers)), value.type)

    def operation(one: Operation) -> object:
        read = [number(value) for value in one.operands]
        body = None
        if one.body is not None:
            arguments = [number(value) for value in one.body.arguments]
            inner = [operation(made) for made in one.body.operations]
            body = (arguments, inner, [number(value) for value in one.body.yields])
        return (one.op, read, one.attributes, [number(value) for value in one.results], body)

    inputs = [number(given.value) for given in function.inputs]
    return (inputs, [operation(one) for one in function.operations], [number(v) for _, v in function.outputs])


@dataclass
class _Model:
    """One model on its way."""

    function: Function
    base: Function | None
    blocks: Blocks
    operations: list[Operation] = field(default_factory=list)
    stretch: list[Operation] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)
    """The parameters that a block makes."""
    asked: str = ""
    """The input that the condition at hand asks about."""

    def __post_init__(self) -> None:
        self.params = {o.result.name: o for o in self.function.operations if o.op == "param"}
        self.defaults = defaults(self.function)
        self.ends = {value.name for _, value in self.function.outputs} | self._returned_by_base()

    def _returned_by_base(self) -> set[str]:
        """The values that the base model returns: a head's function begins with the base's operations.

        Before them stands only what makes batches of batches one batch.
        """
        if self.base is None:
            return set()
        place = {v.name: (i, j) for i, o in enumerate(self.base.operations) for j, v in enumerate(o.results)}
        spots = [place[value.name] for _, value in self.base.outputs if value.name in place]
        own = [operation for operation in self.function.operations if operation.op != "merge_batch"]
        return {own[i].results[j].name for i, j in spots}

    def run(self) -> Function:
        """The model as a sequence of blocks."""
        self._sequence(self.function.operations)
        read = {value.name for operation in self.operations for value in operation.reads()}
        read |= {value.name for _, value in self.function.outputs}  # which lowering refuses, with its place
        shared = [
            elsewhere(o) if name in self.inside else o for name, o in self.params.items() if name in read
        ]
        return replace(self.function, operations=(*shared, *self.operations))

    def _sequence(self, operations: Sequence[Operation]) -> None:
        """Take ``operations`` in order, up to the end of a stretch."""
        for operation in operations:
            if operation.op == "param":
                continue
            # It reads nothing that a block makes: the stretch around it stays one.
            if operation.op in ENTERED or on_host(operation):
                self.operations.append(operation)
                continue
            if operation.op in STAY or all(is_number(value) for value in operation.results):
                self._end()
                change = {"repeat": self._repeat, "when": self._when}.get(operation.op, lambda same: same)
                self.operations.append(change(operation))
                continue
            self.stretch.append(operation)
            if any(value.name in self.ends for value in operation.results):
                self._end()
        self._end()

    def _when(self, operation: Operation) -> Operation:
        """A condition over blocks: they are called after what it asks about."""
        assert operation.body is not None
        asked = leaves(operation.scalar("condition"))
        outer, self.operations = self.operations, []
        self.asked = next((leaf.input for leaf in asked if isinstance(leaf, Asked)), "")
        self._sequence(operation.body.operations)
        inner, self.operations, self.asked = tuple(self.operations), outer, ""
        return replace(operation, body=replace(operation.body, operations=inner))

    def _end(self) -> None:
        """Make a block of the stretch, and a call of it."""
        stretch, self.stretch = self.stretch, []
        if not stretch:
            return
        made = {value.name for operation in stretch for value in operation.results}
        later = self._read_outside({id(operation) for operation in stretch})
        results = [v for operation in stretch for v in operation.results if v.name in later]
        if not results:
            return
        stretch = list(keep_live(tuple(stretch), results))
        # A parameter that a block before this has made is given to this one.
        params = [name for name in params_read(stretch, self.params) if name not in self.inside]
        given_at_construction = [v for name in params for v in self.params[name].reads()]
        given_at_construction += [v for v in reads(stretch) if v.name in self.inside]
        self._no_padding(stretch)
        self.inside.update(params)
        shared = common([path for name in params for path in paths(self.params[name].get("at") or "")])
        # The last word stays with the parameter where all have one owner: it is what they are called by.
        one = (
            len(
                {
                    ".".join(path.split(".")[:-1])
                    for name in params
                    for path in paths(self.params[name].get("at") or "")
                }
            )
            == 1
        )
        owners = shared[:-1] if one else shared
        read = [v for v in reads(stretch) if v.name not in made and v.name not in self.params]
        read += dict.fromkeys(given_at_construction)
        # In the order of the model's, those that are made of others where they are not given too.
        order = [one.value.name for one in self.function.inputs]
        of = {**{name: name for name in order}, **self.defaults}
        for operation in self.function.walk():  # one batch of several is the same input
            if operation.op == "merge_batch":
                (whole,) = operation.reads()
                of[operation.result.name] = of.get(whole.name, whole.name)
        given = sorted((v for v in read if v.name in of), key=lambda v: order.index(of[v.name]))
        inputs = [v for v in read if v not in given] + given
        block = self._block(stretch, params, owners, shared, inputs, results)
        at = ".".join(owners)
        attributes = calls(block, at)
        span = span_of(stretch)
        self.operations.append(Operation("call", tuple(inputs), attributes, tuple(results), None, span))

    def _block(
        self,
        stretch: Sequence[Operation],
        params: Sequence[str],
        owners: Sequence[str],
        words: Sequence[str],
        inputs: Sequence[Value],
        results: Sequence[Value],
    ) -> Function:
        inside = [moved(self.params[name], len(owners)) for name in params]
        outputs = tuple((value.name, value) for value in results)
        if len(results) == 1:
            outputs = (("result", results[0]),)
        operations = (*inside, *(replace(operation) for operation in stretch))
        own = [word for word in words if "{" not in word]
        if self.base is not None and own[:1] == list(self.function.prefixes[:1]):
            own = own[1:]
        name = camel(own) or camel([self._after(stretch, params, results)])
        name = name if len(name) > 1 else f"{name}Block"
        taken = tuple(Input(value) for value in inputs)
        make = Function(name, Kind.BLOCK, taken, operations, outputs, span_of(stretch))
        head = self.function.name.rpartition("For")[2]
        return self.blocks.add((name, f"{head}{name}"), plainly(make))

    def _no_padding(self, stretch: Sequence[Operation]) -> None:
        """Refuse lookups in another block's table whose row of padding learns nothing: only that one knows of it."""
        for operation in stretch:
            table = operation.operands[1] if operation.op == "embedding" else None
            made = self.params.get(table.name) if table is not None and table.name in self.inside else None
            if made is not None and made.get("zero_row") is not None:
                message = (
                    "a table with a row of padding is looked up in two blocks, which is not compiled yet"
                )
                raise cannot(operation.span, message)

    def _after(self, stretch: Sequence[Operation], params: Sequence[str], results: Sequence[Value]) -> str:
        """What a block is called after whose parameters share no path."""
        if self.asked:
            return self.asked
        return stretch[0].op if len(stretch) == 1 and not params else plain(results[-1].name)

    def _read_outside(self, inside: set[int]) -> set[str]:
        found = {value.name for _, value in self.function.outputs}
        for operation in self.function.walk():
            if id(operation) not in inside:
                found |= {value.name for value in operation.operands if value is not None}
            if operation.body is not None:
                found |= {value.name for value in operation.body.yields}
        return found

    def _repeat(self, operation: Operation) -> Operation:
        """A repeat whose body is calls alone stays; any other becomes the call of one block a turn."""
        body = operation.body
        assert body is not None
        if all(inner.op == "call" for inner in body.operations):
            return operation
        carried = {value.name for value in body.arguments}
        made = {value.name for inner in body.operations for value in inner.results}
        inside = {o.result.name: o for o in body.operations if o.op == "param"}
        rest = [inner for inner in body.operations if inner.op != "param"]
        inputs = [v for v in reads(rest) if v.name in carried or v.name not in made]
        results = [value for value in dict.fromkeys(body.yields) if value.name in made]
        outputs = tuple((value.name, value) for value in results)
        if len(results) == 1:
            outputs = (("result", results[0]),)
        words = [word for word in str(operation.get("at") or "").split(".") if word and "{" not in word]
        last = words[-1].rstrip("s") if words and len(words[-1]) > 1 else ""
        name = camel([last]) or "Layer"
        params = tuple(inside[key] for key in params_read(rest, inside))
        make = Function(
            name,
            Kind.BLOCK,
            tuple(Input(value) for value in inputs),
            (*params, *rest),
            outputs,
            operation.span,
        )
        block = self.blocks.add((name,), plainly(make))
        call = Operation("call", tuple(inputs), calls(block), tuple(results), None, span_of(rest))
        return replace(operation, body=Region(body.arguments, (call,), body.yields))

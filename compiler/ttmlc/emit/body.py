"""The body of a block or model: storages in ``__init__``, calls in ``__call__``, spec lines above what they became."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ttmlc.emit.calls import OWNER, call, chain, shape_text, size_text
from ttmlc.emit.python import (
    WIDTH,
    Arg,
    Call,
    Code,
    Raw,
    expression,
    flat,
    identifier,
    layout,
    string,
    tuple_of,
)
from ttmlc.emit.views import BodyView
from ttmlc.ir.device import shape_of
from ttmlc.ir.module import Function, Kind, Module, Operation, Value
from ttmlc.ir.scalar import Const, Field
from ttmlc.ir.types import DeviceType
from ttmlc.passes.lowering.storages import OWN, snake
from ttmlc.source import Span

NESTS = {"ttnn.add": 40, "ttnn.subtract": 40, "ttnn.multiply": 40, "ttnn.divide": 40, "input.ids": 200}
"""Ops that are nested into the call that reads them, where they are read once and are no longer than this."""


@dataclass
class Body:
    """One function on its way to Python."""

    module: Module
    function: Function
    build: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    names: dict[str, Code] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)
    spoken: Span | None = None
    instances: dict[str, int] = field(default_factory=dict)

    def view(self) -> BodyView:
        """The finished view."""
        self.last_read = _last_reads(self.function)
        self._inputs()
        self._storages(self.function.operations, "at", 8)
        self._operations(self.function.operations, 8)
        self._return()
        return BodyView(
            build=tuple(self.build),
            signature=tuple(self._signature()),
            doc=self._doc(),
            call=tuple(self._locals() + self.lines),
        )

    # Construction

    def _storages(self, operations: Sequence[Operation], scope: str, indent: int) -> None:
        """What the constructor makes: storages grouped by holder, blocks, and lists of blocks for repeats."""
        holders: dict[str, list[Operation]] = {}
        for operation in operations:
            if operation.op == "storage":
                holders.setdefault(operation.text("holder"), []).append(operation)
        seen: set[str] = set()
        for operation in operations:
            if operation.op == "storage" and operation.text("holder") not in seen:
                seen.add(operation.text("holder"))
                self._store(holders[operation.text("holder")], scope, indent)
            elif operation.op == "call":
                self._instance(operation, scope, indent)
            elif operation.op == "repeat":
                self._repeated(operation, scope, indent)

    def _store(self, group: list[Operation], scope: str, indent: int) -> None:
        holder = identifier(group[0].text("holder"))
        args = []
        for storage in group:
            slot = identifier(storage.text("slot"))
            args.append(Arg(chain(storage.get("chain") or ""), slot))
            self.names[storage.result.name] = Raw(f"self.{holder}.{slot}")
        if group[0].get("rows") == Const(True):
            args.append(Arg(Raw("ROW_MAJOR"), "layout"))
        if group[0].by:
            self.build.append(f"{' ' * indent}# {group[0].by}: one storage, one matmul")
        code = Call(f"{scope}.store", tuple(args))
        self.build += self._exploded(f"self.{holder} = ", code, indent)

    @staticmethod
    def _exploded(before: str, code: Call, indent: int) -> list[str]:
        """One argument a line where there are several, so that names in checkpoints stand in a column."""
        if len(code.args) == 1:
            return layout(before, code, indent)
        pad = " " * indent
        lines = [f"{pad}{before}{code.callee}("]
        for arg in code.args:
            lines += layout(f"{arg.keyword}=" if arg.keyword else "", arg.value, indent + 4, ",")
        return [*lines, f"{pad})"]

    def _instance(self, operation: Operation, scope: str, indent: int) -> None:
        name = self._attribute(operation)
        where = operation.get("at")
        at = f"{scope} / {_path(str(where))}" if where else scope
        self.build.append(f"{' ' * indent}self.{name} = {operation.text('block')}({at}, {OWNER})")

    def _repeated(self, operation: Operation, scope: str, indent: int) -> None:
        assert operation.body is not None
        pad, turns = " " * indent, _turns(operation)
        index, count = operation.text("index"), expression(operation.scalar("count"), OWNER)
        where = str(operation.get("at") or "")
        each = f"{scope} / {_path(where)}" if where else scope
        self.build.append(f"{pad}{turns} = [{each} for {identifier(index)} in range({count})]")
        one = turns[:-1]
        for inner in operation.body.operations:
            if inner.op != "call":
                continue
            name, path = self._attribute(inner), inner.get("at")
            at = f"{one} / {_path(str(path))}" if path else one
            self.build.append(
                f"{pad}self.{name} = [{inner.text('block')}({at}, {OWNER}) for {one} in {turns}]"
            )

    def _attribute(self, operation: Operation) -> str:
        """The attribute that holds the block of a call: its name, numbered where it is called again."""
        base = identifier(snake(operation.text("block")))
        if base in OWN or base in self.holders:
            base += "_block"
        count = self.instances.get(base, 0) + 1
        self.instances[base] = count
        name = base if count == 1 else f"{base}_{count}"
        self.names[f"call {operation.results[0].name}"] = Raw(name)
        return name

    # Calls

    def _inputs(self) -> None:
        if self.function.kind is Kind.MODEL:  # what the caller gave keeps its name and type
            self.given = {identifier(given.value.name) for given in self.function.inputs}
        for given in self.function.inputs:
            name = identifier(given.value.name)
            self.bound[name] = given.value.name
            self.names[given.value.name] = Raw(name)

    def _name(self, value: Value, place: int) -> str:
        """A Python name for ``value``: the spec's, once more where what it meant before is not read any more."""
        wanted = identifier(re.sub(r"_\d+$", "", value.name))
        while wanted in self.given or self._alive(wanted, value, place):
            wanted += "_"
        self.bound[wanted] = value.name
        self.names[value.name] = Raw(wanted)
        return wanted

    def _alive(self, name: str, value: Value, place: int) -> bool:
        """Whether ``name`` still means another value that is read later."""
        holder = self.bound.get(name)
        return holder is not None and holder != value.name and self.last_read.get(holder, -1) > place

    def _operations(self, operations: Sequence[Operation], indent: int) -> None:
        operations = [operation for operation in operations if operation.op not in ("storage", "output")]
        following = [*operations[1:], None][: len(operations)]
        for operation, after in zip(operations, following, strict=True):
            place = self.places[id(operation)]
            if operation.op == "repeat":
                self._loop(operation, indent, place)
                continue
            code = self._code(operation)
            if operation.op in NESTS and self._nests(operation, after, code):
                self.names[operation.result.name] = code
                continue
            self._speak(operation, indent)
            last = self._returned(operation)
            before = (
                "return "
                if last
                else f"{', '.join(self._name(value, place) for value in operation.results)} = "
            )
            comment = (
                "" if len(operation.results) > 1 or operation.op.startswith("input.") else _comment(operation)
            )
            self.lines += layout(before, code, indent, comment="" if last else comment)

    def _code(self, operation: Operation) -> Call:
        if operation.op == "call":
            held = self.names[f"call {operation.results[0].name}"]
            args = tuple(Arg(self.names[value.name]) for value in operation.operands if value is not None)
            inside = isinstance(held, Raw) and held.code in self.loop_names
            return Call(flat(held) if inside else f"self.{flat(held)}", args)
        return call(operation, self.names)

    loop_names: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    holders: set[str] = field(default_factory=set)
    places: dict[int, int] = field(default_factory=dict)
    last_read: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        storages = [operation for operation in self.function.walk() if operation.op == "storage"]
        self.holders = {identifier(operation.text("holder")) for operation in storages}
        self.places = {id(operation): place for place, operation in enumerate(self.function.walk())}

    def _nests(self, operation: Operation, after: Operation | None, code: Call) -> bool:
        read_once = (
            sum(value == operation.result for other in self.function.walk() for value in other.reads()) == 1
        )
        short = len(flat(code)) <= NESTS[operation.op]
        return after is not None and operation.result in after.operands and read_once and short

    def _returned(self, operation: Operation) -> bool:
        """Whether a block returns just this, so that it needs no name."""
        outputs = self.function.outputs
        is_last = operation is self.function.operations[-1]
        return (
            self.function.kind is Kind.BLOCK
            and len(outputs) == 1
            and is_last
            and outputs[0][1] == operation.results[0]
        )

    def _loop(self, operation: Operation, indent: int, place: int) -> None:
        assert operation.body is not None
        calls = [inner for inner in operation.body.operations if inner.op == "call"]
        held = [flat(self.names[f"call {inner.results[0].name}"]) for inner in calls]
        self._speak(operation, indent)
        pad = " " * indent
        for value, argument in zip(operation.operands, operation.body.arguments, strict=True):
            assert value is not None
            before, name = self.names[value.name], self._name(argument, place)
            if flat(before) != name:
                self.lines.append(f"{pad}{name} = {flat(before)}")
        if len(held) == 1:
            self.lines.append(f"{pad}for {held[0]} in self.{held[0]}:")
        else:
            lists = ", ".join(f"self.{name}" for name in held)
            self.lines.append(f"{pad}for {', '.join(held)} in zip({lists}, strict=True):")
        self.loop_names = set(held)
        self._operations(operation.body.operations, indent + 4)
        self.loop_names = set()
        for carried, argument, result in zip(
            operation.body.yields, operation.body.arguments, operation.results, strict=True
        ):
            name, target = flat(self.names[carried.name]), flat(self.names[argument.name])
            if name != target:
                self.lines.append(f"{pad}    {target} = {name}")
            self.names[result.name] = Raw(target)
            self.bound[target] = result.name

    def _speak(self, operation: Operation, indent: int) -> None:
        """The spec line above what it became, once when it changes, and the passes that decided something."""
        span = operation.span
        if operation.op.startswith("input.") or span is None or span == self.function.span:
            return
        if self.spoken is not None and (span.line, span.end_line) == (self.spoken.line, self.spoken.end_line):
            return
        self.spoken = span
        pad = " " * indent
        lines = (span.line, span.end_line)
        here = [op for op in self.function.walk() if op.by and op.span is not None and op.op != "storage"]
        decided = sorted({op.by for op in here if op.span and (op.span.line, op.span.end_line) == lines})
        last = span.line if operation.body is not None else span.end_line
        for number in range(span.line, last + 1):
            place = f"# {self.module.source}:{number}  "
            room = WIDTH - indent - len(place)
            said = _shown(span.file.line_text(number).strip(), room)
            self.lines.append(f"{pad}{place}{said}")
        if decided:
            self.lines.append(f"{pad}# decided: {', '.join(decided)}")

    def _return(self) -> None:
        outputs = self.function.outputs
        if self.function.kind is Kind.MODEL:
            makers = {
                operation.result.name: operation
                for operation in self.function.operations
                if operation.op == "output"
            }
            args = []
            for name, value in outputs:
                shape = tuple_of(
                    expression(size, OWNER) for size in shape_of(makers[value.name].get("shape") or ())
                )
                source = makers[value.name].operands[0]
                assert source is not None
                args.append(
                    Arg(
                        Call("nn.Activation", (Arg(self.names[source.name]), Arg(Raw(shape)))),
                        identifier(name),
                    )
                )
            code = Call(f"{self.function.name}Output", tuple(args))
            self.lines += self._exploded("return ", code, 8) if len(args) > 1 else layout("return ", code, 8)
        elif not (self.function.operations and self._returned(self.function.operations[-1])):
            self.lines.append(
                f"        return {', '.join(flat(self.names[value.name]) for _, value in outputs)}"
            )

    # What stands above the calls

    def _locals(self) -> list[str]:
        text = "\n".join(self.lines)
        lines, left, right = [], [], []
        if re.search(rf"\b{OWNER}\.", text):
            left.append(OWNER)
            right.append("self.config")
        if "kernels." in text:
            left.append("kernels")
            right.append("self.kernels")
        if left:
            lines.append(f"        {', '.join(left)} = {', '.join(right)}")
        if self.function.kind is Kind.MODEL:
            first = identifier(self.function.inputs[0].value.name)
            lines.append(f"        given = nn.Inputs(self.device, {first})  # B and S come from {first}")
            lines.append("        B, S = given.shape")
        return lines

    def _signature(self) -> list[str]:
        if self.function.kind is Kind.BLOCK:
            kinds = {True: "ttnn.Tensor", False: "nn.Mask"}
            taken = [
                (identifier(i.value.name), isinstance(i.value.type, DeviceType)) for i in self.function.inputs
            ]
            args = "".join(f", {name}: {kinds[tensor]}" for name, tensor in taken)
            many = len(self.function.outputs)
            made = "ttnn.Tensor" if many == 1 else f"tuple[{', '.join(['ttnn.Tensor'] * many)}]"
            return [f"    def __call__(self{args}) -> {made}:"]
        lines = ["    def __call__(", "        self,"]
        for given in self.function.inputs:
            optional = given.default is not None or given.optional
            annotation = "Integers | None = None" if optional else "Integers"
            lines.append(f"        {identifier(given.value.name)}: {annotation},")
        return [*lines, f"    ) -> {self.function.name}Output:"]

    def _doc(self) -> str:
        if self.function.kind is Kind.MODEL:
            made = {
                operation.result.name: operation
                for operation in self.function.operations
                if operation.op == "output"
            }
            shapes = [f"{name} {_plain_shape(made[value.name])}" for name, value in self.function.outputs]
            return f"Integers [B, S] -> {', '.join(shapes)}."
        inputs = ", ".join(
            f"{identifier(i.value.name)}: {shape_text(i.value.type)}" for i in self.function.inputs
        )
        return f"{inputs} -> {', '.join(shape_text(value.type) for _, value in self.function.outputs)}."


def _plain_shape(output: Operation) -> str:
    return f"[{', '.join(size_text(size) for size in shape_of(output.get('shape') or ()))}]"


def _comment(operation: Operation) -> str:
    return shape_text(operation.results[0].type) if operation.op != "call" else ""


def _shown(text: str, room: int) -> str:
    """Spec text in a comment: printable ASCII only, cut to ``room``."""
    clean = "".join(char if " " <= char <= "~" else "?" for char in text)
    return clean if len(clean) <= room else clean[: room - 4] + " ..."


def _path(template: str) -> str:
    """A checkpoint path as a Python string; ``{i}`` makes it an f-string."""
    return f"f{string(template)}" if "{" in template else string(template)


def _turns(operation: Operation) -> str:
    count = operation.scalar("count")
    return count.name if isinstance(count, Field) and count.name.endswith("s") else "layers"


def _last_reads(function: Function) -> dict[str, int]:
    last: dict[str, int] = {}
    for place, operation in enumerate(function.walk()):
        for value in operation.reads():
            last[value.name] = max(last.get(value.name, 0), place)
    for _, value in function.outputs:
        last[value.name] = 1 << 30
    return last

"""The body of a method: calls in order, spec lines above what they became, names from the spec."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ttmlc.emit.calls import OWNER, call, shape_text
from ttmlc.emit.construction import Construction, instance
from ttmlc.emit.python import WIDTH, Arg, Call, Code, Raw, dynamic, flat, identifier, layout
from ttmlc.emit.views import MethodView
from ttmlc.ir.module import Function, Input, Kind, Module, Operation, Value, plain, scalars_in
from ttmlc.ir.scalar import Dynamic, leaves
from ttmlc.ir.types import DeviceType, RotaryType
from ttmlc.source import Span

NESTS = {
    "ttnn.add": 40,
    "ttnn.subtract": 40,
    "ttnn.multiply": 40,
    "ttnn.divide": 40,
    "nn.dropout": 60,
    "nn.rows": 40,
    "input.ids": 200,
    "input.mask": 200,
    "input.places": 200,
}
"""Ops that are nested into the call that reads them, where they are read once and are no longer than this."""
UNSEEN = frozenset({"storage", "output", "parameter"})
"""Ops that the constructor or the end of a method prints."""


@dataclass
class Body:
    """One function on its way to a Python method; the kinds of functions are subclasses."""

    module: Module
    function: Function
    construction: Construction
    lines: list[str] = field(default_factory=list)
    names: dict[str, Code] = field(default_factory=dict)
    bound: dict[str, str] = field(default_factory=dict)
    spoken: Span | None = None
    loop_names: dict[str, str] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.places = {id(operation): place for place, operation in enumerate(self.function.walk())}
        self.last_read = last_reads(self.function)
        self.instances = {key: iter(names) for key, names in self.construction.instances.items()}
        for operation in self.function.walk():
            if operation.op == "storage":
                slot = self.construction.slots[operation.text("holder"), operation.text("slot")]
                self.names[operation.result.name] = Raw(slot)
            elif operation.op == "call":
                self.names[f"call {id(operation)}"] = Raw(next(self.instances[instance(operation)]))

    def view(self) -> MethodView:
        """The finished method."""
        self.enter()
        self.operations(self.function.operations, 8)
        self.leave()
        return MethodView(tuple(self.signature()), self.doc(), tuple(self.locals() + self.lines))

    # What the kinds of functions say for themselves

    def enter(self) -> None:
        """Name the inputs."""
        for given in self.function.inputs:
            if not given.parameter:
                self.take(given.value, identifier(given.value.name))

    def leave(self) -> None:
        """Print what the method returns."""
        raise NotImplementedError

    def signature(self) -> list[str]:
        """The lines of ``def``."""
        raise NotImplementedError

    def doc(self) -> str:
        """The docstring."""
        raise NotImplementedError

    def locals(self) -> list[str]:
        """What stands above the calls."""
        text = code_of("\n".join(self.lines))
        left, right = [], []
        if re.search(rf"\b{OWNER}\.", text):
            left.append(OWNER)
            right.append("self.config")
        if re.search(r"\bkernels\.", text):
            left.append("kernels")
            right.append("self.kernels")
        return [f"        {', '.join(left)} = {', '.join(right)}"] if left else []

    # Names

    def take(self, value: Value, code: str) -> None:
        """Let ``value`` be called ``code``."""
        self.bound[code] = value.name
        self.names[value.name] = Raw(code)

    def name(self, value: Value, place: int, otherwise: str = "") -> str:
        """A Python name for ``value``: the spec's, once more where what it meant before is not read any more.

        Else ``otherwise``, or one with a number.
        """
        for wanted in self._wanted(value, otherwise):
            if wanted not in self.given and not self._alive(wanted, value, place):
                break
        self.take(value, wanted)
        return wanted

    def _wanted(self, value: Value, otherwise: str) -> Iterator[str]:
        """The names that ``value`` may have, best first."""
        first = identifier(plain(value.name))
        yield first
        if otherwise:
            yield identifier(otherwise)
        yield from (f"{first.rstrip('_')}_{count}" for count in itertools.count(2))

    def _alive(self, name: str, value: Value, place: int) -> bool:
        """Whether ``name`` still means another value that is read later."""
        holder = self.bound.get(name)
        return holder is not None and holder != value.name and self.last_read.get(holder, -1) > place

    # Calls

    def operations(self, operations: Sequence[Operation], indent: int) -> None:
        """Print ``operations`` in order."""
        shown = [operation for operation in operations if operation.op not in UNSEEN]
        for place, operation in enumerate(shown):
            rest = shown[place + 1 :]
            if operation.op.startswith("input."):  # several of them are nested into one call
                rest = [other for other in rest if not other.op.startswith("input.")]
            after = rest[0] if rest else None
            if not self.special(operation, indent):
                self.ordinary(operation, after, indent)

    def special(self, operation: Operation, indent: int) -> bool:
        """Print an operation that is no plain call; whether it was one."""
        return False

    def ordinary(self, operation: Operation, after: Operation | None, indent: int) -> None:
        """Print one call, or nest it into the next."""
        code = self.code(operation)
        if operation.op in NESTS and self._nests(operation, after, code):
            self.names[operation.result.name] = code
            return
        self.speak(operation, indent)
        if self.returns(operation):
            self.lines += layout("return ", code, indent)
            return
        place = self.places[id(operation)]
        otherwise = self._otherwise(operation)
        names = self.targets(operation, [self.name(value, place, otherwise) for value in operation.results])
        comment = (
            "" if len(operation.results) > 1 or operation.op.startswith("input.") else _comment(operation)
        )
        self.lines += layout(f"{names} = ", code, indent, comment=comment)

    def code(self, operation: Operation) -> Call:
        """The call of an operation."""
        if operation.op != "call":
            return call(operation, self.names)
        args = tuple(
            Arg(self.names[v.name]) for v in operation.operands if v is not None and v.name in self.names
        )
        return Call(self.callee(operation), args)

    def callee(self, operation: Operation) -> str:
        """What a call of a block is written as."""
        held = flat(self.names[f"call {id(operation)}"])
        return self.loop_names.get(held, f"self.{held}")

    def targets(self, operation: Operation, names: Sequence[str]) -> str:
        """What stands on the left of a call's ``=``."""
        return ", ".join(names)

    def returns(self, operation: Operation) -> bool:
        """Whether the method returns just this, so that it needs no name."""
        return False

    def _otherwise(self, operation: Operation) -> str:
        """Another name for what an operation makes: the holder of its weight; of an input, that it is on the device."""
        if operation.op.startswith("input."):
            given = operation.text("input")
            return f"{given}_on_device" if plain(operation.result.name) in (given, "mask") else ""
        weight = operation.operands[1] if operation.op == "ttnn.linear" else None
        made = (o for o in self.function.operations if weight is not None and weight in o.results)
        return next((o.text("holder") for o in made if o.op == "storage"), "")

    def _nests(self, operation: Operation, after: Operation | None, code: Call) -> bool:
        reads = [value for other in self.function.walk() for value in other.reads()] + list(
            self.function.wanted
        )
        read_once = reads.count(operation.result) == 1
        short = len(flat(code)) <= NESTS[operation.op]
        return after is not None and operation.result in after.operands and read_once and short

    def speak(self, operation: Operation, indent: int) -> None:
        """The spec line above what it became, once when it changes, and the passes that decided something."""
        span = operation.span
        entered = self.function.kind is Kind.MODEL and span == self.function.span
        if operation.op.startswith("input.") or span is None or entered:
            return
        spoken = self.spoken
        if spoken is not None and _lines(spoken) == _lines(span):
            return
        self.spoken = span
        pad = " " * indent
        here = [op for op in self.function.walk() if op.by and op.span is not None and op.op != "storage"]
        decided = sorted({op.by for op in here if op.span and _lines(op.span) == _lines(span)})
        last = span.line if operation.body is not None else span.end_line
        for number in range(span.line, last + 1):
            place = f"# {span.file.name}:{number}  "
            said = _shown(span.file.line_text(number).strip(), WIDTH - indent - len(place))
            self.lines.append(f"{pad}{place}{said}")
        if decided:
            self.lines.append(f"{pad}# decided: {', '.join(decided)}")


def annotation(given: Input) -> str:
    """The annotation of a block's input."""
    if isinstance(given.value.type, RotaryType):
        return "nn.Rotary"
    return "ttnn.Tensor" if isinstance(given.value.type, DeviceType) else "nn.Mask"


def sizes(inputs: Sequence[tuple[str, Value]], wanted: Sequence[str]) -> list[str]:
    """Where a block's method reads batch and tokens: ``B, S = x.shape[0], x.shape[2]``."""
    found: dict[str, str] = {}
    for name, value in inputs:
        if isinstance(value.type, DeviceType):
            for place, size in enumerate(value.type.shape):
                if isinstance(size, Dynamic):
                    found.setdefault(dynamic(size.axis), f"{name}.shape[{place}]")
    kept = [axis for axis in wanted if axis in found]
    return [f"        {', '.join(kept)} = {', '.join(found[axis] for axis in kept)}"] if kept else []


def sizes_read(text: str) -> list[str]:
    """Which of B and S the lines of a method read."""
    return names_read(text, "BS")


def names_read(text: str, names: Iterable[str]) -> list[str]:
    """Which of ``names`` the lines of a method read."""
    code = code_of(text)
    return [name for name in names if re.search(rf"(?<![\w.]){name}\b", code)]


def code_of(text: str) -> str:
    """``text`` without its comments."""
    lines = [line.partition("  # ")[0] for line in text.splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def others(function: Function) -> list[str]:
    """The sizes besides B and S that a call decides and ``function`` reads."""
    read = (
        part
        for o in function.walk()
        if o.op not in UNSEEN
        for _, value in o.attributes
        for part in scalars_in(value)
    )
    axes = {leaf.axis for part in read for leaf in leaves(part) if isinstance(leaf, Dynamic)}
    return sorted(dynamic(axis) for axis in axes - {"B", "S"})


def _lines(span: Span) -> tuple[str, int, int]:
    return span.file.name, span.line, span.end_line


def _comment(operation: Operation) -> str:
    if operation.op in ("call", "choose") or not isinstance(operation.results[0].type, DeviceType):
        return ""
    return shape_text(operation.results[0].type) if operation.results[0].type.shape else ""


def _shown(text: str, room: int) -> str:
    """Spec text in a comment: printable ASCII only, cut to ``room``."""
    clean = "".join(char if " " <= char <= "~" else "?" for char in text)
    return clean if len(clean) <= room else clean[: room - 4] + " ..."


def last_reads(function: Function) -> dict[str, int]:
    """The place of the last operation that reads each value."""
    last: dict[str, int] = {}
    for place, operation in enumerate(function.walk()):
        for value in operation.reads():
            last[value.name] = max(last.get(value.name, 0), place)
    for value in function.wanted:
        last[value.name] = 1 << 30
    return last

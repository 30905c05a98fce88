"""What a constructor makes: storages grouped by holder, blocks, and lists of blocks for repeats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ttmlc.emit.calls import OWNER, chain, table_attribute
from ttmlc.emit.python import Arg, Call, Code, Raw, expression, flat, identifier, layout, string
from ttmlc.ir.module import Function, Operation
from ttmlc.ir.scalar import Const, Field
from ttmlc.passes.lowering.storages import OWN, snake

Instance = tuple[str, str]
"""A block and the path that it is made under: what tells one call's instance from another's."""


@dataclass
class Construction:
    """The constructor of a block, or ``build`` of a model, and what the calls find in it."""

    function: Function
    lines: list[str] = field(default_factory=list)
    slots: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of each storage's holder and slot, how a method reads it."""
    instances: dict[Instance, list[str]] = field(default_factory=dict)
    """The attributes that hold a block, one for each call of it under the path."""
    turns: dict[Instance, str] = field(default_factory=dict)
    _shared: dict[str, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        storages = [operation for operation in self.function.walk() if operation.op == "storage"]
        self.holders = {identifier(operation.text("holder")) for operation in storages}
        self.held = set(self.holders)
        for name in dict.fromkeys(o.text("table") for o in self.function.walk() if o.op == "input.rotary"):
            self.held.add(table_attribute(name))
            self.lines.append(f"        self.{table_attribute(name)} = nn.Table({identifier(name)}({OWNER}))")
        self._operations(self.function.operations, "at", 8)

    def _operations(self, operations: Sequence[Operation], scope: str, indent: int) -> None:
        holders: dict[str, list[Operation]] = {}
        for operation in operations:
            if operation.op == "storage":
                holders.setdefault(operation.text("holder"), []).append(operation)
            elif operation.op == "parameter":
                path = operation.text("at")
                self._shared[operation.result.name] = Call("at.shared", (Arg(Raw(string(path))),))
        for given in self.function.inputs:
            if given.parameter:
                self._shared[given.value.name] = Raw(identifier(given.value.name))
        seen: set[str] = set()
        for operation in operations:
            if operation.op == "storage" and operation.text("holder") not in seen:
                seen.add(operation.text("holder"))
                self._store(holders[operation.text("holder")], scope, indent)
            elif operation.op == "call":
                self._instance(operation, scope, indent)
            elif operation.op == "repeat":
                self._repeated(operation, scope, indent)
            elif operation.op == "when":  # what stands in it is made in any case
                assert operation.body is not None
                self._operations(operation.body.operations, scope, indent)

    def _store(self, group: list[Operation], scope: str, indent: int) -> None:
        holder = identifier(group[0].text("holder"))
        args = []
        for storage in group:
            slot = storage.text("slot")
            args.append(Arg(chain(storage.get("chain") or ""), slot))
            self.slots[storage.text("holder"), storage.text("slot")] = f"self.{holder}.{slot}"
        if group[0].get("rows") == Const(True):
            args.append(Arg(Raw("ROW_MAJOR"), "layout"))
        if group[0].by:
            self.lines.append(f"{' ' * indent}# {group[0].by}: one storage, one matmul")
        self.lines += exploded(f"self.{holder} = ", Call(f"{scope}.store", tuple(args)), indent)

    def _made(self, operation: Operation, scope: str) -> Call:
        where = str(operation.get("at") or "")
        args = [Arg(Raw(f"{scope} / {path(where)}" if where else scope)), Arg(Raw(OWNER))]
        args += [
            Arg(self._shared[v.name]) for v in operation.operands if v is not None and v.name in self._shared
        ]
        args += [Arg(Raw(identifier(index))) for index in _indices(operation)]
        return Call(operation.text("block"), tuple(args))

    def _instance(self, operation: Operation, scope: str, indent: int) -> None:
        name = self._attribute(operation)
        self.lines += layout(f"self.{name} = ", self._made(operation, scope), indent)

    def _repeated(self, operation: Operation, scope: str, indent: int) -> None:
        assert operation.body is not None
        pad, turns = " " * indent, _turns(operation)
        index, count = operation.text("index"), expression(operation.scalar("count"), OWNER)
        where = str(operation.get("at") or "")
        below = f"{scope} / {path(where)}" if where else scope
        self.lines.append(f"{pad}{turns} = [{below} for {identifier(index)} in range({count})]")
        one = turns[:-1] if turns[:-1] != identifier(index) else f"{turns[:-1]}_at"
        for inner in operation.body.operations:
            if inner.op == "call":
                name = self._attribute(inner)
                each, many = one, turns
                if index in _indices(inner):
                    each, many = f"{identifier(index)}, {one}", f"enumerate({turns})"
                self.lines.append(f"{pad}self.{name} = [{flat(self._made(inner, one))} for {each} in {many}]")

    def _attribute(self, operation: Operation) -> str:
        """The attribute that holds the block of a call: its name, numbered where it is called again."""
        base = identifier(snake(operation.text("block")))
        if base in OWN or base in self.holders:
            base += "_block"
        name, count = base, 1
        while name in self.held:
            count += 1
            name = f"{base}_{count}"
        self.held.add(name)
        self.instances.setdefault(instance(operation), []).append(name)
        return name


def _indices(operation: Operation) -> tuple[str, ...]:
    """The indices of repeats that a called block is made with."""
    given = operation.get("indices")
    return tuple(index for index in given if isinstance(index, str)) if isinstance(given, tuple) else ()


def instance(operation: Operation) -> Instance:
    """The instance that a call, or a call of the backward, is of."""
    return operation.text("block"), str(operation.get("at") or "")


def exploded(before: str, code: Call, indent: int) -> list[str]:
    """One argument a line where there are several, so that names in checkpoints stand in a column."""
    if len(code.args) == 1:
        return layout(before, code, indent)
    pad = " " * indent
    lines = [f"{pad}{before}{code.callee}("]
    for arg in code.args:
        lines += layout(f"{arg.keyword}=" if arg.keyword else "", arg.value, indent + 4, ",")
    return [*lines, f"{pad})"]


def path(template: str) -> str:
    """A checkpoint path as a Python string; ``{i}`` makes it an f-string."""
    if "{" not in template:
        return string(template)
    return "f" + re.sub(r"\{(\w+)\}", lambda hole: "{" + identifier(hole[1]) + "}", string(template))


def _turns(operation: Operation) -> str:
    """What the scopes of the turns are called, and without its last letter each of them: ``layers``, ``layer``."""
    count = operation.scalar("count")
    name = count.name if isinstance(count, Field) else ""
    free = all(identifier(word) == word for word in (name, name[:-1]))
    return name if name.islower() and name.endswith("s") and len(name) > 1 and free else "layers"

"""What a model does several times, or only where an input is given: loops over blocks, and conditions."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc.emit.calls import OWNER
from ttmlc.emit.host import Hosting
from ttmlc.emit.python import Choice, Raw, expression, flat, identifier
from ttmlc.ir.device_turns import FIRST, PICKED
from ttmlc.ir.module import Operation


@dataclass
class Repeating(Hosting):
    """A method with loops."""

    turned: dict[str, str] = field(default_factory=dict)
    """Of each list of blocks, what one of them is called in its loop."""

    indices: dict[str, str] = field(default_factory=dict)
    """Of each index that a loop reads, what it is called there."""

    def turns(self) -> set[str]:
        """Name what loops give: a block of each list, and where it is read the index, unless an input is called so."""
        self.turned, self.indices = {}, {}
        repeats = [operation for operation in self.function.walk() if operation.op == "repeat"]
        for index in dict.fromkeys(operation.text("index") for operation in repeats if counts(operation)):
            name = identifier(index)
            while name in self.given:
                name += "_"
            self.indices[index] = name
            self.given.add(name)
        for operation in repeats:
            assert operation.body is not None
            for inner in operation.body.operations:
                self._turned(inner)
        return {*self.turned.values(), *self.indices.values()}

    def inside(self, operation: Operation, indent: int) -> bool:
        """Print an operation with a body, or what is chosen in one; whether it was one."""
        if operation.op == "repeat":
            self._loop(operation, indent)
        elif operation.op == "when":
            self._when(operation, indent)
        elif operation.op == PICKED:
            yes, no = (self.names[value.name] for value in operation.operands if value is not None)
            yes = Raw(f"({flat(yes)})") if isinstance(yes, Choice) else yes
            condition = expression(operation.scalar("condition"), OWNER, 1, index=self.indices.__getitem__)
            self.names[operation.result.name] = Choice(condition, yes, no)
        elif operation.op == FIRST:
            self._first(operation, indent)
        else:
            return False
        return True

    def _turned(self, call: Operation) -> None:
        """Name what holds the block of one turn: as the list of them is called, unless an input is called so."""
        if call.op == "call":
            held = flat(self.names[f"call {id(call)}"])
            self.turned[held] = f"{held}_block" if held in self.given else held

    def _when(self, operation: Operation, indent: int) -> None:
        """What is done where inputs are given; what it changes keeps its name, and its value elsewhere."""
        assert operation.body is not None
        self.speak(operation, indent)
        self._carry_in(operation, indent)
        self.lines.append(f"{' ' * indent}if {expression(operation.scalar('condition'), OWNER)}:")
        self.operations(operation.body.operations, indent + 4)
        self._carry_out(operation, indent)

    def _first(self, operation: Operation, indent: int) -> None:
        """One token in the variable of all, which nothing else reads."""
        (x,) = operation.reads()
        name, pad = flat(self.names[x.name]), " " * indent
        self.speak(operation, indent)
        condition = expression(operation.scalar("condition"), OWNER, index=self.indices.__getitem__)
        self.lines.append(f"{pad}if {condition}:  # of what follows only the first token is read")
        self.lines.append(f"{pad}    {name} = {FIRST}({name})")
        self.take(operation.result, name)

    def _carry_in(self, operation: Operation, indent: int) -> None:
        """Name what a body carries: as it was called before, where that is not read any more."""
        assert operation.body is not None
        for value, argument in zip(operation.operands, operation.body.arguments, strict=True):
            assert value is not None
            before, name = self.names[value.name], self.name(argument, self.places[id(operation)])
            if flat(before) != name:
                self.lines.append(f"{' ' * indent}{name} = {flat(before)}")

    def _carry_out(self, operation: Operation, indent: int) -> None:
        """Give what a body yields the names of what it carries."""
        assert operation.body is not None
        for carried, argument, result in zip(
            operation.body.yields, operation.body.arguments, operation.results, strict=True
        ):
            name, target = flat(self.names[carried.name]), flat(self.names[argument.name])
            if name != target:
                self.lines.append(f"{' ' * indent}    {target} = {name}")
            self.take(result, target)

    def _loop(self, operation: Operation, indent: int) -> None:
        assert operation.body is not None
        pad = " " * indent
        calls = [inner for inner in operation.body.operations if inner.op == "call"]
        held = [flat(self.names[f"call {id(inner)}"]) for inner in calls]
        each = ", ".join(self.turned[name] for name in held)
        self.speak(operation, indent)
        self._carry_in(operation, indent)
        many = f"self.{held[0]}"
        if len(held) > 1:
            many = f"zip({', '.join(f'self.{name}' for name in held)}, strict=True)"
        if counts(operation):
            each = f"({each})" if len(held) > 1 else each
            each, many = f"{self.indices[operation.text('index')]}, {each}", f"enumerate({many})"
        self.lines.append(f"{pad}for {each} in {many}:")
        self.loop_names = {name: self.turned[name] for name in held}
        self.operations(operation.body.operations, indent + 4)
        self.loop_names = {}
        self._carry_out(operation, indent)


def counts(repeat: Operation) -> bool:
    """Whether the loop of a repeat reads its index."""
    return repeat.body is not None and any(inner.op in (FIRST, PICKED) for inner in repeat.body.operations)

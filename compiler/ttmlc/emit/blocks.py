"""The methods of a block's class: ``infer``, and for training ``forward`` and ``backward``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ttmlc.emit.body import Body, annotation, names_read, others, sizes, sizes_read
from ttmlc.emit.calls import OWNER, presence, shape_text
from ttmlc.emit.construction import Construction
from ttmlc.emit.python import (
    LONGEST,
    Arg,
    Call,
    Choice,
    Raw,
    arrow,
    expression,
    flat,
    identifier,
    layout,
    turn,
)
from ttmlc.emit.views import BlockView
from ttmlc.ir.module import Function, Input, Module, Operation, Value, indices_read, plain

SEED = "seed"
"""What a forward calls the seed of what it drops."""


def block_view(module: Module, function: Function) -> BlockView:
    """The class of a block."""
    construction = Construction(function)
    methods = [Infer(module, function, construction).view()]
    functions = {one.name: one for one in module.functions}
    forward, backward = (functions.get(f"{function.name}.{name}") for name in ("forward", "backward"))
    if forward is not None and backward is not None:
        keys = saved_keys(forward)
        pairs = zip(backward.saved, forward.saved, strict=True)  # one by one the same, however each is called
        read = {inner.name: keys[outer.name] for inner, outer in pairs}
        back = Backward(module, backward, construction, block=function, keys=read)
        method = back.view()
        methods += [Forward(module, forward, construction, keys=keys, kept=tuple(back.kept)).view(), method]
    line = f":{function.span.line}" if function.span is not None else ""
    where = function.span.file.name if function.span is not None else module.source
    indices = indices_read(module.functions, function.name)
    taken = "".join(f", {identifier(i.value.name)}: Chain" for i in function.inputs if i.parameter)
    taken += "".join(f", {identifier(index)}: int" for index in indices)
    kept = [f"        self.{turn(index)} = {identifier(index)}" for index in indices]
    return BlockView(
        function.name,
        f"{function.name} of {where}{line}.",
        taken,
        (*kept, *construction.lines),
        tuple(methods),
    )


def saved_keys(forward: Function) -> dict[str, str]:
    """What each saved value is called in what is saved: its plain name, where that is one value's alone."""
    names = {value.name: plain(value.name) for value in forward.saved}
    plainly = list(names.values())
    return {full: identifier(name if plainly.count(name) == 1 else full) for full, name in names.items()}


def _taken(function: Function) -> list[Input]:
    return [given for given in function.inputs if not given.parameter]


@dataclass
class Infer(Body):
    """The program of inference."""

    def returns(self, operation: Operation) -> bool:
        outputs = self.function.outputs
        last = operation is self.function.operations[-1]
        return last and len(outputs) == 1 and operation.results[:1] == (outputs[0][1],)

    def leave(self) -> None:
        operations = self.function.operations
        if not (operations and self.returns(operations[-1])):
            made = ", ".join(flat(self.names[value.name]) for _, value in self.function.outputs)
            self.lines.append(f"        return {made}")

    def locals(self) -> list[str]:
        inputs = [(flat(self.names[given.value.name]), given.value) for given in _taken(self.function)]
        text = "\n".join(self.lines)
        return super().locals() + sizes(inputs, sizes_read(text) + self.others())

    def others(self) -> list[str]:
        """The sizes besides B and S that the method reads."""
        return others(self.function)

    def arguments(self) -> str:
        """The parameters of the method, after ``self``."""
        taken = _taken(self.function)
        return "".join(f", {identifier(given.value.name)}: {annotation(given)}" for given in taken)

    def made(self) -> str:
        """The annotation of what is returned."""
        many = len(self.function.outputs)
        return "ttnn.Tensor" if many == 1 else f"tuple[{', '.join(['ttnn.Tensor'] * many)}]"

    def signature(self) -> list[str]:
        return signature("infer", self.arguments(), self.made())

    def doc(self) -> str:
        taken = _taken(self.function)
        inputs = ", ".join(f"{identifier(i.value.name)}: {shape_text(i.value.type)}" for i in taken)
        return arrow(inputs, ", ".join(shape_text(value.type) for _, value in self.function.outputs), LONGEST)


@dataclass
class Forward(Infer):
    """The program of training, which also gives what its backward reads."""

    keys: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    """What the backward asks for besides tensors: sizes, the seed."""

    def returns(self, operation: Operation) -> bool:
        return False

    def leave(self) -> None:
        made = [Arg(self.names[value.name]) for _, value in self.function.outputs]
        saved = [Arg(self.names[name], key) for name, key in self.keys.items()]
        saved += [Arg(Raw(name), name) for name in self.kept]
        kept = Call("nn.Saved", tuple(saved))
        self.lines += layout(f"return {together([flat(arg.value) for arg in made])}, ", kept, 8)

    def locals(self) -> list[str]:
        lines = super().locals()
        if drops(self.function):
            lines.append(f"        {SEED} = self.seed()")
        return lines

    def others(self) -> list[str]:
        return sorted({*others(self.function), *self.kept} - {"B", "S", SEED})

    def made(self) -> str:
        return f"tuple[{super().made()}, nn.Saved]"

    def signature(self) -> list[str]:
        return signature("forward", self.arguments(), self.made())

    def doc(self) -> str:
        return "As ``infer``, in the form that has a backward; and what that reads."

    def callee(self, operation: Operation) -> str:
        return f"{super().callee(operation)}.forward"

    def targets(self, operation: Operation, names: Sequence[str]) -> str:
        if operation.op != "call":
            return super().targets(operation, names)
        *results, saved = names
        return f"{together(results)}, {saved}"


@dataclass
class Backward(Body):
    """From what was saved and the gradients of the results to those of the inputs; weights take theirs on the way."""

    block: Function | None = None
    keys: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.groups = {id(part): group for group in grouped(self.function) for part in group.parts}
        ordered = reordered(self.function)
        self.function = ordered
        storages = {o.result.name: presence(o) for o in ordered.operations if o.op == "storage"}
        self.conditions = {
            name: expression(condition, OWNER)
            for name, condition in storages.items()
            if condition is not None
        }
        super().__post_init__()

    def enter(self) -> None:
        for value in self.function.saved:
            self.names[value.name] = Raw(f"saved.{self.keys[value.name]}")
        for given in self.cotangents():
            plainly = identifier(plain(given.name))
            self.take(given, identifier(given.name) if plainly in self.bound else plainly)

    def cotangents(self) -> list[Value]:
        """The gradients that come in."""
        return [given.value for given in _taken(self.function)][len(self.function.saved) :]

    def special(self, operation: Operation, indent: int) -> bool:
        if operation.op == "call_backward":
            self._call(operation, indent)
            return True
        group = self.groups.get(id(operation))
        if group is None:
            return False
        if operation is group.parts[0]:
            self._group(group, indent)
        return True

    def _call(self, operation: Operation, indent: int) -> None:
        self.speak(operation, indent)
        names = self.construction.instances[operation.text("block"), str(operation.get("at") or "")]
        block = next(one for one in self.module.functions if one.name == operation.text("block"))
        backward = next(one for one in self.module.functions if one.name == f"{block.name}.backward")
        made = dict(zip((name for name, _ in backward.outputs), operation.results, strict=True))
        place = self.places[id(operation)]
        targets = [
            self.name(made[given.value.name], place) if given.value.name in made else "_"
            for given in _taken(block)
        ]
        left = ", ".join(targets) if len(targets) > 1 else f"({targets[0]},)"
        args = tuple(Arg(self.names[value.name]) for value in operation.operands if value is not None)
        self.lines += layout(f"{left} = ", Call(f"self.{names[0]}.backward", args), indent)

    def _group(self, group: Group, indent: int) -> None:
        """The gradients of one holder, behind the question whether it learns where they cost anything."""
        self.speak(group.parts[0], indent)
        pad = " " * indent
        holder = identifier(group.holder)
        inner = indent
        work = [part for part in group.parts if part.op != "accumulate"]
        if work:
            self.lines.append(f"{pad}if self.{holder}.trainable:")
            inner += 4
        reads = [value for part in group.parts for value in part.reads()]
        for read in reads:  # what is nested is read where the gradients are handed over
            self.last_read[read.name] = max(self.last_read[read.name], self.places[id(group.parts[-1])])
        for part in work:
            code = self.code(part)
            if reads.count(part.result) == 1 and (part.op != "nn.rows" or len(flat(code)) < 40):
                self.names[part.result.name] = code
            else:
                name = self.name(part.result, self.places[id(part)])
                self.lines += layout(f"{name} = ", code, inner)
        args = []
        for part in group.parts:
            if part.op == "accumulate":
                storage, value = part.operands
                assert storage is not None and value is not None
                slot = flat(self.names[storage.name]).rpartition(".")[2]
                made = self.names[value.name]
                if storage.name in self.conditions:
                    made = Choice(self.conditions[storage.name], made, Raw("None"))
                args.append(Arg(made, slot))
        self.lines += layout("", Call(f"self.{holder}.accumulate", tuple(args)), inner)

    def taken(self) -> list[Input]:
        """What the block is called with."""
        assert self.block is not None
        return _taken(self.block)

    def leave(self) -> None:
        made = dict(self.function.outputs)
        names = []
        for given in self.taken():
            value = made.get(given.value.name)
            names.append("None" if value is None else flat(self.names[value.name]))
        returned = ", ".join(names)
        self.lines.append(
            f"        return ({returned},)" if len(names) == 1 else f"        return {returned}"
        )
        self.kept = names_read("\n".join(self.lines), ["B", "S", *others(self.function)])
        if drops(self.function):
            self.kept.append(SEED)

    def locals(self) -> list[str]:
        lines = super().locals()
        if self.kept:
            lines.append(
                f"        {', '.join(self.kept)} = {', '.join(f'saved.{name}' for name in self.kept)}"
            )
        return lines

    def signature(self) -> list[str]:
        grads = "".join(f", {flat(self.names[value.name])}: ttnn.Tensor" for value in self.cotangents())
        return signature("backward", f", saved: nn.Saved{grads}", "nn.Gradients")

    def doc(self) -> str:
        given = ", ".join(f"{flat(self.names[v.name])}: {shape_text(v.type)}" for v in self.cotangents())
        made = dict(self.function.outputs)
        names = [identifier(i.value.name) for i in self.taken() if i.value.name in made]
        what = f"gradients of {', '.join(names)}" if names else "no gradient: the inputs are no floats"
        what = what.replace("gradients", "gradient") if len(names) == 1 else what
        return arrow(given, what, LONGEST)


def together(names: Sequence[str]) -> str:
    """One value as it is, several as a tuple in brackets."""
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def signature(method: str, arguments: str, made: str) -> list[str]:
    """The lines of ``def``, an argument a line where one line is too short."""
    line = f"    def {method}(self{arguments}) -> {made}:"
    if len(line) <= 110:
        return [line]
    names = ", ".join(["self", *arguments.removeprefix(", ").split(", ")])
    if len(names) + 8 <= 110:
        return [f"    def {method}(", f"        {names}", f"    ) -> {made}:"]
    parts = ["self", *arguments.removeprefix(", ").split(", ")]
    return [f"    def {method}(", *(f"        {part}," for part in parts), f"    ) -> {made}:"]


def drops(function: Function) -> bool:
    """Whether it drops anything out."""
    return any(operation.op == "nn.dropout" for operation in function.walk())


@dataclass(frozen=True)
class Group:
    """The gradients of one holder: what only they need, and the handing over, in order."""

    holder: str
    parts: tuple[Operation, ...]


def grouped(function: Function) -> list[Group]:
    """The operations of a backward that only serve the gradients of one holder's storages."""
    storages = {o.result.name: o.text("holder") for o in function.operations if o.op == "storage"}
    found: dict[str, list[Operation]] = {}
    readers: dict[str, set[str]] = {}
    for operation in reversed(function.operations):
        if operation.op == "storage":
            continue
        if operation.op == "accumulate":
            storage = operation.operands[0]
            assert storage is not None
            owner = storages[storage.name]
        else:
            owners = set().union(*(readers.get(value.name, set()) for value in operation.results)) or {""}
            returned = any(value in operation.results for _, value in function.outputs)
            owner = next(iter(owners)) if len(owners) == 1 and not returned else ""
        for value in operation.reads():
            readers.setdefault(value.name, set()).add(owner)
        if owner:
            found.setdefault(owner, []).append(operation)
    return [Group(holder, tuple(reversed(parts))) for holder, parts in found.items()]


def reordered(function: Function) -> Function:
    """``function`` with each group in one piece, where the last of it stood."""
    groups = grouped(function)
    inside = {id(part) for group in groups for part in group.parts}
    last = {id(group.parts[-1]): group for group in groups}
    made: list[Operation] = []
    for operation in function.operations:
        if id(operation) in last:
            made += last[id(operation)].parts
        elif id(operation) not in inside:
            made.append(operation)
    return replace(function, operations=tuple(made))

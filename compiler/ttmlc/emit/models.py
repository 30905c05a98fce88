"""The call of a model: its inputs brought to the device, blocks and repeats, losses, outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc.emit.body import sizes_read
from ttmlc.emit.calls import OWNER, call, size_text
from ttmlc.emit.construction import Construction, exploded
from ttmlc.emit.predictions import next_token
from ttmlc.emit.python import (
    WIDTH,
    Arg,
    Call,
    Code,
    Raw,
    arrow,
    dynamic,
    expression,
    flat,
    identifier,
    layout,
    string,
    tuple_of,
)
from ttmlc.emit.repeats import Repeating
from ttmlc.emit.views import ModelView, OutputView
from ttmlc.ir.device import shape_of
from ttmlc.ir.device_labels import HostOp
from ttmlc.ir.device_training import LossOp
from ttmlc.ir.module import Function, Input, Module, Operation
from ttmlc.ir.op import TABLE
from ttmlc.ir.ops.integers import on_host
from ttmlc.ir.ops.structure import conditions
from ttmlc.ir.scalar import Apply, Dynamic, Scalar
from ttmlc.ir.types import TensorType
from ttmlc.passes.lowering.refusal import cannot


def model_view(module: Module, function: Function) -> ModelView:
    """The class of a model and that of what it returns."""
    construction = Construction(function)
    where = function.span.file.name if function.span is not None else module.source
    line = f":{function.span.line}" if function.span is not None else ""
    made = {operation.result.name: operation for operation in function.operations if operation.op == "output"}
    fields = []
    for name, value in function.outputs:
        if value.name in made:
            fields.append(f"{identifier(name)}: nn.Activation  # {_shape(made[value.name])}")
        else:
            fields.append(
                f"{identifier(name)}: nn.Activation | None  # a number; None where there are no labels"
            )
    output = OutputView(
        f"{function.name}Output",
        f"What `{function.name}` returns; `.numpy()` of a field brings it to the host.",
        tuple(fields),
    )
    kind = "model" if function is module.models[0] else "head"
    return ModelView(
        name=function.name,
        base="nn.Model" if function.predicts is None else "generation.Model",
        doc=f"{kind} {function.name} of {where}{line}.",
        prefix=_prefix(function.prefixes),
        stale=tuple(string(pattern) for pattern in module.config.stale),
        labels=(
            *_over(function),
            *_said("beside", [one for one in _beside(function) if one not in labels_of(function)]),
            *_said("labels", labels_of(function)),
        ),
        predicts=() if function.predicts is None else tuple(next_token(function.predicts)),
        output=output,
        build=tuple(construction.lines),
        call=Calling(module, function, construction).view(),
    )


def _shape(output: Operation) -> str:
    return f"[{', '.join(size_text(size) for size in shape_of(output.get('shape') or ()))}]"


def _prefix(prefixes: tuple[str, ...]) -> str:
    """One prefix as a string, several as a tuple."""
    written = [string(prefix) for prefix in prefixes]
    return tuple_of(written) if len(written) > 1 else "".join(written) or string("")


def _over(function: Function) -> list[str]:
    """What the rows of the inputs are, where they are more than a batch."""
    axes = outer_axes(function)
    return [f"    over = {tuple_of(map(string, axes))}"] if axes else []


def _said(name: str, inputs: list[Input]) -> list[str]:
    """Inputs by name, with what each may be: on one line where that is not too long."""
    entries = [f"{string(one.value.name)}: {string(_kinds(one))}" for one in inputs]
    line = f"    {name} = {{{', '.join(entries)}}}"
    if len(line) <= WIDTH or not entries:
        return [line] if entries else []
    return [f"    {name} = {{", *(f"        {entry}," for entry in entries), "    }"]


def _kinds(given: Input) -> str:
    """What an optional input may be, in words that the runtime reads: ``int[B] | float[B, num_labels]``."""
    kinds = (kind for kind in given.alternatives or (given.value.type,) if isinstance(kind, TensorType))
    return " | ".join(
        f"{kind.dtype.value}[{', '.join(size_text(dim.size) for dim in kind.dims)}]" for kind in kinds
    )


@dataclass
class Calling(Repeating):
    """``__call__`` of a model."""

    losses: dict[str, Operation] = field(default_factory=dict)
    """Of each loss that a choice chooses among."""
    outer: tuple[str, ...] = ()

    def enter(self) -> None:
        self.given = {identifier(given.value.name) for given in self.function.inputs}
        self.outer = outer_axes(self.function)
        self.given |= {f"{self.function.name}Output", *map(dynamic, self.outer)}
        self.given |= self.turns()
        taken = {flat(name) for key, name in self.names.items() if key.startswith("call ")} & self.given
        if taken & set(map(dynamic, self.outer)):
            raise cannot(self.function.span, f"an axis cannot be called as a block is: {', '.join(taken)}")
        super().enter()
        makers = {value.name: o for o in self.function.operations for value in o.results}
        self.makers = makers
        for operation in self.function.operations:
            if operation.op == "choose" and not on_host(operation):
                self.losses.update({v.name: makers[v.name] for v in operation.operands if v is not None})
        read = {v.name for o in self.function.operations if is_loss(o) for v in o.operands if v is not None}
        self.early = [o for o in self.function.operations if o.op == "output" and o.result.name in read]

    def special(self, operation: Operation, indent: int) -> bool:
        if self.host(operation, indent) or self.inside(operation, indent):
            return True
        if operation.op == "choose":
            self._choose(operation, indent)
        elif isinstance(
            TABLE[operation.op], HostOp
        ):  # nested into the loss, which asks whether there are labels
            self.names[operation.result.name] = self.code(operation)
        elif is_loss(operation):
            self._early(operation)
            if operation.result.name not in self.losses:
                labels = self._labels(operation)
                self.speak(operation, indent)
                name = self.name(operation.result, self.places[id(operation)])
                loss = self._loss(operation)
                self.lines += (
                    _guarded(name, labels, loss, indent) if labels else layout(f"{name} = ", loss, indent)
                )
        else:
            return False
        return True

    def _early(self, loss: Operation) -> None:
        """Outputs that a loss reads get their names before it."""
        for output in self.early:
            if output.result in loss.operands and output.result.name not in self.names:
                self.speak(output, 8)
                activation, place = self._activation(output), self.places[id(output)]
                returned = (n for n, value in self.function.outputs if value == output.result)
                name = next(map(identifier, returned), "") or self.name(output.result, place)
                self.take(output.result, name)
                self.lines += layout(f"{name} = ", activation, 8)

    def _loss(self, operation: Operation) -> Call:
        declaration = TABLE[operation.op]
        assert isinstance(declaration, LossOp)
        logits = operation.operands[0]
        assert logits is not None
        labels = operation.operands[1]
        assert labels is not None
        args = [Arg(self.names[logits.name]), Arg(self.names[labels.name])]
        for name, keyword in declaration.written.items():
            if operation.get(name) is not None:
                args.append(Arg(Raw(expression(operation.scalar(name), OWNER)), keyword))
        return Call(declaration.callee, tuple(args))

    def _labels(self, loss: Operation) -> str:
        """The optional input that the labels of a loss are, or are made of; nothing where there is none."""
        optional = {given.value.name for given in self.function.inputs if given.optional}
        value = loss.operands[1]
        while value is not None and value.name in self.makers:
            value = next(iter(self.makers[value.name].operands), None)
        return identifier(value.name) if value is not None and value.name in optional else ""

    def _choose(self, operation: Operation, indent: int) -> None:
        """The first whose condition holds; nothing where what all of them read is not given."""
        alternatives = [self.losses[value.name] for value in operation.operands if value is not None]
        if not all(map(is_loss, alternatives)):
            message = "a condition chooses among activations of one tensor, tokens of one, losses, and nothing else yet"
            raise cannot(operation.span, message)
        labels = self._labels(alternatives[0])
        self.speak(operation, indent)
        pad = " " * indent
        name = self.name(operation.result, self.places[id(operation)])
        if not labels:
            raise cannot(operation.span, "a choice among losses is of labels that the caller may give")
        self.lines.append(f"{pad}if {labels} is None:")
        self.lines.append(f"{pad}    {name} = None")
        asked = [*conditions(operation), None]
        for condition, loss in zip(asked, alternatives, strict=True):
            self.lines += _test(condition, pad)
            self.lines += layout(f"{name} = ", self._loss(loss), indent + 4)

    def code(self, operation: Operation) -> Call:
        if operation.op.startswith("input."):
            return call(operation, self.names)
        return super().code(operation)

    def _activation(self, output: Operation) -> Code:
        source = output.operands[0]
        assert source is not None
        shape = tuple_of(expression(size, OWNER) for size in shape_of(output.get("shape") or ()))
        return Call("nn.Activation", (Arg(self.names[source.name]), Arg(Raw(shape))))

    def leave(self) -> None:
        args = []
        for name, value in self.function.outputs:
            code = self.names.get(value.name) or self._activation(self.makers[value.name])
            args.append(Arg(code, identifier(name)))
        made = Call(f"{self.function.name}Output", tuple(args))
        plain = all(isinstance(arg.value, Raw) for arg in args)
        self.lines += layout("return ", made, 8) if plain or len(args) == 1 else exploded("return ", made, 8)

    def locals(self) -> list[str]:
        lines = super().locals()
        first = identifier(self.function.inputs[0].value.name)
        if self.outer:
            rows, each = map(dynamic, self.outer)
            kind = Call(
                "nn.Inputs", (Arg(Raw("self.device")), Arg(Raw(first)), Arg(Raw(string(each)), "over"))
            )
            lines += layout("given = ", kind, 8, comment=f"{rows} * {each} rows on the device")
            lines.append(f"        {rows}, {each} = given.outer")
        else:
            lines.append(f"        given = nn.Inputs(self.device, {first})  # B and S come from {first}")
        used = [axis for axis in sizes_read("\n".join(self.lines)) if axis not in map(dynamic, self.outer)]
        if used:
            places = {"B": "given.shape[0]", "S": "given.shape[1]"}
            whole = f"        {', '.join(used)} = "
            lines.append(
                whole + ("given.shape" if len(used) == 2 else ", ".join(places[axis] for axis in used))
            )
        return lines

    def signature(self) -> list[str]:
        lines, labels = ["    def __call__(", "        self,"], labels_of(self.function)
        optional = [given for given in self.function.inputs if given.default is not None or given.optional]
        # Python takes those that must be given before those that need not.
        for given in sorted(self.function.inputs, key=optional.__contains__):
            kind = "nn.Labels" if given in labels else "Integers"
            absent = " | None = None" if given in optional else ""
            lines.append(f"        {identifier(given.value.name)}: {kind}{absent},")
        return [*lines, f"    ) -> {self.function.name}Output:"]

    def doc(self) -> str:
        made = {o.result.name: o for o in self.function.operations if o.op == "output"}
        shapes = [
            f"{name} {_shape(made[value.name])}" if value.name in made else name
            for name, value in self.function.outputs
        ]
        types = [f"{one.value.name} {_kinds(one)}" for one in _beside(self.function)]
        shape = str(self.function.inputs[0].value.type).removeprefix("int")
        given = f"Integers {shape}{''.join(f', {one}' for one in types)}"
        return arrow(given, ", ".join(shapes))


def labels_of(function: Function) -> list[Input]:
    """The inputs that losses read: those that may be absent and are not brought to the device."""
    entered = {o.text("input") for o in function.walk() if o.op.startswith("input.")}
    return [one for one in function.inputs if one.optional and one.value.name not in entered]


def _beside(function: Function) -> list[Input]:
    """The inputs that are not as the first: labels, and integers of another shape."""
    dims, labels = getattr(function.inputs[0].value.type, "dims", ()), labels_of(function)
    return [one for one in function.inputs if one in labels or getattr(one.value.type, "dims", ()) != dims]


def outer_axes(function: Function) -> tuple[str, ...]:
    """The batch and the axis over which the base runs, where the inputs have both; else nothing."""
    type_ = function.inputs[0].value.type
    assert isinstance(type_, TensorType)
    sizes = [dim.size for dim in type_.dims[:-1]]
    return tuple(size.axis for size in sizes if isinstance(size, Dynamic)) if len(sizes) == 2 else ()


def _guarded(name: str, labels: str, loss: Call, indent: int) -> list[str]:
    """A loss where its labels are given: on one line, or behind a question where that is too long."""
    lines = layout(f"{name} = None if {labels} is None else ", loss, indent)
    if len(lines) == 1:
        return lines
    pad = " " * indent
    question = [f"{pad}{name} = None", f"{pad}if {labels} is not None:"]
    return [*question, *layout(f"{name} = ", loss, indent + 4)]


def _test(condition: Scalar | None, pad: str) -> list[str]:
    """``elif condition:``, an alternative a line where one line is too short; ``else:`` without one."""
    if condition is None:
        return [f"{pad}else:"]
    parts = alternatives(condition)
    written = [_alternative(part, len(parts) > 1) for part in parts]
    line = f"{pad}elif {' or '.join(written)}:"
    if len(line) <= WIDTH:
        return [line]
    *first, last = written
    head = " or ".join(
        part.removeprefix("(").removesuffix(")") if len(first) == 1 else part for part in first
    )
    return [f"{pad}elif (", f"{pad}    {head}", f"{pad}) or {last}:"]


def alternatives(condition: Scalar) -> list[Scalar]:
    """What a condition is an "or" of."""
    if isinstance(condition, Apply) and condition.op == "or":
        return [part for arg in condition.args for part in alternatives(arg)]
    return [condition]


def _alternative(part: Scalar, several: bool) -> str:
    written = expression(part, OWNER)
    return f"({written})" if several and isinstance(part, Apply) and part.op == "and" else written


def is_loss(operation: Operation) -> bool:
    """Whether it is a loss."""
    return isinstance(TABLE[operation.op], LossOp)

"""Lower what the spec means to what the device is asked to do.

    %y = linear(%x, %w, %b)                      =>   %y = ttnn.linear(%x, storage{!transpose(w)}, storage{b})
    %q = rearrange(%y) [B, heads, S, head_dim]   =>   reshape, permute
    %a = attention(%q, %k, %v, %mask)            =>   %a = ttnn.sdpa(%q, %k, %v, %mask)

Activations live as [B, 1, S, features] in bfloat16 tiles; tables of embeddings in rows; a validity mask in the
additive form of attention, made once where the model is entered. A fact that a call relies on (``head_dim`` a
multiple of 32) is written into the module; in a specialised build that breaks it, the axis is padded in the storages.
Dropout is the identity here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import (
    Attribute,
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
from ttmlc.ir.op import TABLE
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, DeviceType, DType, Layout, MaskType, TensorType, Type
from ttmlc.passes.base import Outcome, Pass
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import Padding, attention_padding, resident
from ttmlc.passes.lowering.storages import Storages
from ttmlc.source import Span

Lowered = Callable[["Lowering", Operation], "Sequence[Value]"]


@dataclass(frozen=True)
class Lower(Pass):
    """See the module."""

    name = "lower"
    takes = Level.TENSOR
    gives = Level.DEVICE

    def run(self, module: Module) -> Outcome:
        done: dict[str, Function] = {}
        facts: list[Fact] = list(module.facts)
        # Callees first: a block's mask form is known before its callers make the mask.
        for function in _callees_first(module):
            lowering = Lowering(module, function, done)
            done[function.name] = lowering.run()
            facts += [fact for fact in lowering.facts if fact not in facts]
        functions = tuple(done[function.name] for function in module.functions)
        return Outcome(replace(module, level=Level.DEVICE, functions=functions, facts=tuple(facts)))


def _callees_first(module: Module) -> list[Function]:
    order: list[Function] = []

    def visit(function: Function) -> None:
        for operation in function.walk():
            if operation.op == "call":
                visit(module.function(operation.text("block")))
        if function not in order:
            order.append(function)

    for function in module.functions:
        visit(function)
    return order


@dataclass
class Lowering:
    """One function on its way down."""

    module: Module
    function: Function
    done: dict[str, Function]
    facts: list[Fact] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    entered: dict[tuple[str, str], Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = {given.value.name: given for given in self.function.inputs}
        self.padding: Padding = attention_padding(self.function, self.module.build, self.facts)
        self.build = Builder(Names(self.inputs))
        self.storages = Storages(self.function, self.padding, lambda: self.build)

    def run(self) -> Function:
        """The lowered function."""
        inputs = tuple(self._input(given) for given in self.function.inputs)
        self.lower(self.function.operations)
        outputs = tuple((name, self._output(value)) for name, value in self.function.outputs)
        return replace(self.function, inputs=inputs, operations=tuple(self.build.operations), outputs=outputs)

    def lower(self, operations: Sequence[Operation]) -> None:
        """Lower ``operations`` in order into the current body."""
        for operation in operations:
            rule = RULES.get(operation.op)
            if rule is None:
                raise cannot(operation.span, f"'{operation.op}' has no form on the device yet")
            for old, new in zip(operation.results, rule(self, operation), strict=False):
                self.values[old.name] = new

    def operand(self, operation: Operation, place: int) -> Value | None:
        """The device value of an operand; None where it is absent."""
        value = operation.operands[place] if place < len(operation.operands) else None
        return None if value is None else self.value(value, operation.span)

    def value(self, value: Value, span: Span | None) -> Value:
        """The device value that stands for ``value``.

        Raises:
            DiagnosticError: it is a parameter, or an input of integers, which live there only as what reads them.
        """
        if value.name not in self.values:
            raise cannot(
                span, f"{value.name!r}, {value.type}, cannot be read as an activation on the device yet"
            )
        return self.values[value.name]

    def add(
        self, source: Operation, op: str, operands: Sequence[Value | None], **attributes: Attribute | None
    ) -> Value:
        """Add one device op that stands for ``source``, named after its result."""
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.build.add(op, operands, given, name=source.results[0].name, span=source.span)

    def enter(self, value: Value, op: str, key: str, wanted: str, **attributes: Attribute | None) -> Value:
        """Bring a model's input to the device, once for each form it is needed in."""
        made = self.entered.get((value.name, key))
        if made is None:
            all_attributes = {name: entry for name, entry in attributes.items() if entry is not None}
            outer, self.build = self.build, self.outermost()
            made = self.build.add(
                op, (), {"input": value.name, **all_attributes}, name=wanted, span=self.function.span
            )
            self.build = outer
            self.entered[value.name, key] = made
        return made

    def outermost(self) -> Builder:
        """The builder of the function's own body."""
        return self.stack[0] if self.stack else self.build

    stack: list[Builder] = field(default_factory=list)

    def _input(self, given: Input) -> Input:
        if self.function.kind is Kind.MODEL:
            return given
        type_ = given.value.type
        assert isinstance(type_, TensorType)
        lowered: Type
        if type_.dtype is DType.BOOL:
            lowered = MaskType(self._causality(given))
        elif type_.dtype is DType.FLOAT:
            lowered = resident(type_, self.padding, self.function.span)
        else:
            raise cannot(
                self.function.span, f"a block cannot take {given.value.name!r}, which is {type_}, yet"
            )
        value = Value(given.value.name, lowered)
        self.values[given.value.name] = value
        return Input(value, None, given.optional)

    def _causality(self, given: Input) -> Scalar:
        forms: set[Scalar] = set()
        for operation in self.function.walk():
            for place, value in enumerate(operation.operands):
                if value is None or value.name != given.value.name:
                    continue
                if operation.op == "attention":
                    causal = operation.get("causal")
                    forms.add(operation.scalar("causal") if causal is not None else Const(False))
                elif operation.op == "call":
                    passed = self.done[operation.text("block")].inputs[place].value.type
                    assert isinstance(passed, MaskType)
                    forms.add(passed.causal)
        if len(forms) > 1:
            raise cannot(self.function.span, f"mask {given.value.name!r} is read both causally and not")
        return forms.pop() if forms else Const(False)

    def _output(self, value: Value) -> Value:
        made = self.value(value, self.function.span)
        if self.function.kind is Kind.BLOCK:
            return made
        type_ = value.type
        assert isinstance(type_, TensorType)
        shape = tuple(dim.size for dim in type_.dims)
        return self.build.add(
            "output", (made,), {"shape": shape}, name=f"{made.name}_out", span=self.function.span
        )

    def mask(self, value: Value | None, causal: Scalar) -> Value | None:
        """The mask form of a bool value: a block's own, or entered from the model's input."""
        if value is None:
            return None
        if value.name in self.values:
            return self.values[value.name]
        if value.name not in self.inputs:
            raise cannot(self.function.span, f"mask {value.name!r} must be an input")
        return self.enter(value, "input.mask", scalar.text(causal), "mask", causal=causal)


def _param(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    lowering.storages.declare(operation)
    return ()


def _linear(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    weight = lowering.storages.weight(operation, operation.operands[1])
    bias = lowering.storages.vector(operation.operands[2]) if len(operation.operands) > 2 else None
    return [lowering.add(operation, "ttnn.linear", (lowering.operand(operation, 0), weight, bias))]


def _layer_norm(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    _, weight, *bias = operation.operands
    operands = (
        lowering.operand(operation, 0),
        lowering.storages.vector(weight),
        *map(lowering.storages.vector, bias),
    )
    return [lowering.add(operation, "ttnn.layer_norm", operands, epsilon=operation.scalar("eps"))]


def _embedding(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    ids, table = operation.operands
    assert ids is not None and table is not None and isinstance(table.type, TensorType)
    rows = table.type.dims[0].size
    default = lowering.inputs[ids.name].default if ids.name in lowering.inputs else None
    if ids.name not in lowering.inputs:
        raise cannot(operation.span, "an embedding reads integers that the caller gives")
    entered = lowering.enter(
        ids,
        "input.ids",
        scalar.text(rows),
        ids.name,
        below=rows,
        default=Form("full", (default,)) if isinstance(default, Const) else default,
    )
    looked_up = lowering.add(operation, "ttnn.embedding", (entered, lowering.storages.table(table)))
    type_ = operation.result.type
    assert isinstance(type_, TensorType)
    return [_reshape(lowering, operation, looked_up, resident(type_, lowering.padding, operation.span).shape)]


def _reshape(lowering: Lowering, source: Operation, value: Value, shape: tuple[Scalar, ...]) -> Value:
    return lowering.add(source, "ttnn.reshape", (value,), shape=shape)


def _rearrange(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    """Split the heads off the features, or join them again."""
    x, made = operation.operands[0], operation.result.type
    value = lowering.operand(operation, 0)
    assert (
        x is not None
        and value is not None
        and isinstance(x.type, TensorType)
        and isinstance(made, TensorType)
    )
    swap = tuple(Const(place) for place in (0, 2, 1, 3))
    names, wanted = [[axis.name for axis in type_.axes()] for type_ in (x.type, made)]
    size = lowering.padding.size
    if len(x.type.dims) == 3 and len(made.dims) == 4 and wanted == [names[0], names[2], names[1], names[3]]:
        batch, heads, tokens, features = made.dims
        split = _reshape(lowering, operation, value, (size(batch), size(tokens), size(heads), size(features)))
        return [lowering.add(operation, "ttnn.permute", (split,), dims=swap)]
    if len(x.type.dims) == 4 and len(made.dims) == 3 and wanted == [names[0], names[2], names[1], names[3]]:
        swapped = lowering.add(operation, "ttnn.permute", (value,), dims=swap)
        return [
            _reshape(lowering, operation, swapped, resident(made, lowering.padding, operation.span).shape)
        ]
    raise cannot(operation.span, f"{x.type} as {made} has no form on the device yet")


def _attention(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    q = operation.operands[0]
    assert q is not None and isinstance(q.type, TensorType)
    causal = operation.scalar("causal") if operation.get("causal") is not None else Const(False)
    mask = lowering.mask(operation.operands[3] if len(operation.operands) > 3 else None, causal)
    head_dim = q.type.dims[3]
    scale: Attribute | None = operation.get("scale")
    if (
        scale is None and lowering.padding.size(head_dim) != head_dim.size
    ):  # the real width scales, not the padded one
        scale = scalar.apply("/", Const(1), scalar.apply("sqrt", head_dim.size))
    heads = [lowering.operand(operation, place) for place in range(3)]
    return [
        lowering.add(operation, "ttnn.sdpa", (*heads, mask), scale=scale, causal=None if mask else causal)
    ]


def _first(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    value = lowering.operand(operation, 0)
    assert value is not None and isinstance(value.type, DeviceType)
    x = operation.operands[0]
    assert x is not None and isinstance(x.type, TensorType)
    dim = x.type.dims[1] if len(x.type.dims) == 3 else None
    if not isinstance(dim, Axis) or dim.name != operation.text("over"):
        raise cannot(operation.span, "'first' takes the first token of [B, S, features]")
    batch, one, _, features = value.type.shape
    zeros = (Const(0),) * 4
    return [
        lowering.add(operation, "ttnn.slice", (value,), start=zeros, end=(batch, one, Const(1), features))
    ]


def _binary(op: str) -> Lowered:
    def rule(lowering: Lowering, operation: Operation) -> Sequence[Value]:
        if operation.get("scalar") is not None:
            raise cannot(operation.span, f"'{operation.op}' with a number has no form on the device yet")
        return [lowering.add(operation, op, [lowering.operand(operation, 0), lowering.operand(operation, 1)])]

    return rule


def _activate(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    return [
        lowering.add(
            operation, "nn.activate", (lowering.operand(operation, 0),), kind=operation.scalar("kind")
        )
    ]


def _dropout(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    value = lowering.operand(operation, 0)
    assert value is not None
    return [value]


def _call(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    block = lowering.done[operation.text("block")]
    operands = []
    for place, given in enumerate(block.inputs):
        value = operation.operands[place]
        if isinstance(given.value.type, MaskType):
            operands.append(lowering.mask(value, given.value.type.causal))
        else:
            operands.append(lowering.operand(operation, place))
    types = [value.type for _, value in block.outputs]
    names = [value.name for value in operation.results]
    made = lowering.build.add_all(
        "call", operands, dict(operation.attributes), names=names, span=operation.span, types=types
    )
    return made.results


def _repeat(lowering: Lowering, operation: Operation) -> Sequence[Value]:
    assert operation.body is not None
    carried = [lowering.operand(operation, place) for place in range(len(operation.operands))]
    types = [value.type for value in carried if value is not None]
    outer = lowering.build
    lowering.stack.append(outer)
    lowering.build = Builder(outer.names)
    arguments = [
        Value(outer.names.fresh(value.name), type_)
        for value, type_ in zip(operation.body.arguments, types, strict=True)
    ]
    lowering.values.update(
        {old.name: new for old, new in zip(operation.body.arguments, arguments, strict=True)}
    )
    lowering.lower(operation.body.operations)
    yields = tuple(lowering.values[value.name] for value in operation.body.yields)
    body = Region(tuple(arguments), tuple(lowering.build.operations), yields)
    lowering.stack.pop()
    lowering.build = outer
    names = [value.name for value in operation.results]
    attributes = dict(operation.attributes)
    made = outer.add_all(
        "repeat", carried, attributes, names=names, span=operation.span, types=types, body=body
    )
    return made.results


RULES: dict[str, Lowered] = {
    "param": _param,
    "linear": _linear,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "rearrange": _rearrange,
    "attention": _attention,
    "first": _first,
    "activate": _activate,
    "dropout": _dropout,
    "call": _call,
    "repeat": _repeat,
    **{name: _binary(f"ttnn.{name}") for name in ("add", "subtract", "multiply", "divide")},
}

# Ops that only composites expand to: lowering meets the composite itself.
EXPANSIONS = frozenset({"reduce", "contract", "relabel", "visible", "where", "exp", "rsqrt", "softmax"})

assert all(name in TABLE for name in RULES), "a lowering rule for an op that is not declared"
__all__ = ["EXPANSIONS", "RULES", "Layout", "Lower"]

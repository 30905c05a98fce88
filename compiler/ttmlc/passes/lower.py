"""Lower what the spec means to what the device is asked to do.

    %y = linear(%x, %w, %b)                      =>   %y = ttnn.linear(%x, storage{!transpose(w)}, storage{b})
    %q = rearrange(%y) [B, heads, S, head_dim]   =>   reshape, permute
    %a = attention(%q, %k, %v, %mask)            =>   %a = ttnn.sdpa(%q, %k, %v, %mask)

Activations live as [B, 1, S, features] in bfloat16 tiles; tables of embeddings in rows; a validity mask in the
additive form of attention, made once where the model is entered. A fact that a call relies on (``head_dim`` a
multiple of 32) is written into the module; in a specialised build that breaks it, the axis is padded in the storages.
A block's forward and backward are lowered with the storages, the padding and the names of the block itself. Dropout is
the identity but there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.device import BFLOAT16, UINT32
from ttmlc.ir.device_turns import PICKED
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
    Value,
    plain,
    with_indices_read,
)
from ttmlc.ir.ops.integers import HOST, on_host
from ttmlc.ir.scalar import Apply, Const, Dynamic, Index, Scalar, has_index, leaves
from ttmlc.ir.types import DeviceType, DType, Layout, MaskType, RotaryType, SavedType, TensorType, Type
from ttmlc.passes.base import Outcome, Pass
from ttmlc.passes.lowering import hosted
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import Padding, attention_padding, resident
from ttmlc.passes.lowering.rotary import TURNED_BY, TURNED_ONLY, turned_by
from ttmlc.passes.lowering.rules import NUMBER, RULES, called
from ttmlc.passes.lowering.storages import Storages
from ttmlc.source import Span


@dataclass(frozen=True)
class Lower(Pass):
    """See the module."""

    name = "lower"
    takes = Level.TENSOR
    gives = Level.DEVICE

    def run(self, module: Module) -> Outcome:
        done: dict[str, Lowering] = {}
        facts: list[Fact] = list(module.facts)
        # Callees first: a block's mask form is known before its callers make the mask.
        for function in _callees_first(module):
            lowering = done[function.name] = Lowering(module, function, done)
            lowering.run()
            facts += [fact for fact in lowering.facts if fact not in facts]
        functions = tuple(done[function.name].made for function in module.functions)
        functions = with_indices_read(functions)
        return Outcome(replace(module, level=Level.DEVICE, functions=functions, facts=tuple(facts)))


def _callees_first(module: Module) -> list[Function]:
    """Every function behind those that it calls, a forward behind its block, a backward behind its forward."""
    order: list[Function] = []
    before = {Kind.FORWARD: "", Kind.BACKWARD: ".forward"}

    def visit(function: Function) -> None:
        if function.kind in before:
            visit(module.function(function.block + before[function.kind]))
        for operation in function.walk():
            if operation.op in ("call", "call_backward"):
                visit(module.function(called(operation)))
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
    done: dict[str, Lowering]
    facts: list[Fact] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    entered: dict[tuple[str, str, int], Value] = field(default_factory=dict)
    builders: list[Builder] = field(default_factory=list)
    """Those that ``entered`` tells apart, kept so that no other takes their place."""

    flat: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    merged: dict[str, Value] = field(default_factory=dict)
    """Of each value that is an input with its batch of batches as one, the input."""
    defaulted: dict[str, str] = field(default_factory=dict)
    """Of each value that is an input, or made of others where that is not given, the input."""

    def __post_init__(self) -> None:
        self.inputs = {given.value.name: given for given in self.function.inputs}
        self.trains = self.function.kind in (Kind.FORWARD, Kind.BACKWARD)
        block = self.module.function(self.function.block)
        self.padding: Padding = attention_padding(block, self.module.build, self.facts)
        self.build = Builder(Names(self.inputs))
        self.storages = Storages(block, self.padding, lambda: self.build, self.outermost)

    def run(self) -> None:
        """Make the lowered function."""
        inputs = tuple(self._input(given) for given in self.function.inputs)
        self.lower(self.function.operations)
        outputs = tuple((name, self._output(value)) for name, value in self.function.outputs)
        self.made = replace(
            self.function,
            inputs=inputs,
            operations=tuple(self.build.operations),
            outputs=outputs,
            saved=tuple(self.values[value.name] for value in self.function.saved),
        )

    def lower(self, operations: Sequence[Operation]) -> None:
        """Lower ``operations`` in order into the current body."""
        for operation in operations:
            self.span = operation.span
            computed = operation.op in HOST and on_host(operation)
            rule = hosted.computed if computed else RULES.get(operation.op)
            if rule is None:
                raise cannot(operation.span, f"'{operation.op}' has no form on the device yet")
            before = len(self.build.operations)
            for old, new in zip(operation.results, rule(self, operation), strict=False):
                self.values[old.name] = new
            if operation.by:
                made = self.build.operations
                made[before:] = [replace(one, by=one.by or operation.by) for one in made[before:]]

    def rows(self, value: Value) -> Value:
        """``value`` as [1, 1, N, features]: a row for each token, once for each value."""
        assert isinstance(value.type, DeviceType)
        if value.name not in self.flat:
            self.flat[value.name] = self.build.add(
                "nn.rows", (value,), name=f"{plain(value.name)}_rows", span=self.span
            )
        return self.flat[value.name]

    span: Span | None = None

    def operand(self, operation: Operation, place: int) -> Value | None:
        """The device value of an operand; None where it is absent."""
        value = operation.operands[place] if place < len(operation.operands) else None
        made = None if value is None else self.value(value, operation.span)
        turns = operation.op == "rotary" and place == 1
        if made is not None and isinstance(made.type, RotaryType) != turns:
            raise cannot(operation.span, TURNED_BY if turns else TURNED_ONLY)
        return made

    def value(self, value: Value, span: Span | None) -> Value:
        """The device value that stands for ``value``.

        Raises:
            DiagnosticError: it is a parameter, or an input of integers, which live there only as what reads them.
        """
        if value.name not in self.values or isinstance(self.values[value.name].type, TensorType):
            raise cannot(
                span, f"{value.name!r}, {value.type}, cannot be read as an activation on the device yet"
            )
        return self.values[value.name]

    def host(self, value: Value | None, span: Span | None) -> Value:
        """Labels on the host: an input of the model, or what was made of one.

        Raises:
            DiagnosticError: they are neither.
        """
        assert value is not None
        made = self.values.get(value.name)
        if made is None and self.function.kind is Kind.MODEL and value.name in self.inputs:
            return value
        if made is None or not isinstance(made.type, TensorType):
            raise cannot(span, "the labels of a loss are an input of the model, or made of one")
        return made

    def add(
        self, source: Operation, op: str, operands: Sequence[Value | None], **attributes: Attribute | None
    ) -> Value:
        """Add one device op that stands for ``source``, named after its result."""
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.build.add(op, operands, given, name=source.results[0].name, span=source.span)

    def enter(self, value: Value, op: str, key: str, wanted: str, **attributes: Attribute | None) -> Value:
        """Bring a model's input, or what the host made, to the device, once for each form it is needed in.

        That is done first of all; of an input that may be absent, where it is known to be given.
        """
        build, operands = self.builder_for(value), () if value.name in self.inputs else (value,)
        made = self.entered.get((value.name, key, id(build)))
        if made is None:
            given = {"input": value.name, **attributes}
            kept = {name: entry for name, entry in given.items() if entry is not None}
            made = build.add(op, operands, kept, name=wanted, span=self.function.span)
            self.entered[value.name, key, id(build)] = made
            self.builders.append(build)
        return made

    def builder_for(self, value: Value) -> Builder:
        """Where the device form of ``value`` is made: first of all, or where it may be absent or is made."""
        given, outermost = self.inputs.get(value.name), self.outermost()
        made = any(value in operation.results for operation in outermost.operations)
        absent = given.optional if given is not None else not made
        return self.build if absent else outermost

    def outermost(self) -> Builder:
        """The builder of the function's own body."""
        return self.stack[0] if self.stack else self.build

    stack: list[Builder] = field(default_factory=list)

    def _input(self, given: Input) -> Input:
        if self.function.kind is Kind.MODEL:
            return given
        type_ = given.value.type
        lowered: Type
        kept = self._kept(given.value) if self.function.kind is Kind.BACKWARD else None
        if kept is not None:  # what the forward saved is as the forward made it
            lowered = kept.type
        elif isinstance(type_, SavedType):
            lowered = type_
        elif given.parameter:
            assert isinstance(type_, TensorType)
            self.storages.argument(given.value)
            lowered = DeviceType(BFLOAT16, tuple(dim.size for dim in type_.dims), Layout.TILE)
        elif isinstance(type_, TensorType) and type_.dtype is DType.BOOL:
            lowered = self._mask_form(given)
        elif (half := turned_by(self.function, given.value, self.done)) is not None:
            lowered = RotaryType(half)
        elif isinstance(type_, TensorType) and type_.dtype is DType.FLOAT:
            lowered = resident(type_, self.padding, self.function.span)
        elif (rows := self.picks(given.value.name)) is not None:
            lowered = DeviceType(BFLOAT16, rows, Layout.TILE)
        else:
            lowered = DeviceType(UINT32, (Dynamic("B"), Dynamic("S")), Layout.ROW_MAJOR)
        value = Value(given.value.name, lowered)
        if not given.parameter:
            self.values[given.value.name] = value
        return replace(given, value=value)

    def _kept(self, value: Value) -> Value | None:
        """What the forward saved under the name of ``value``."""
        forward = self.done[f"{self.function.block}.forward"]
        saved = [one.name for one in self.function.saved]
        return forward.made.saved[saved.index(value.name)] if value.name in saved else None

    def bound(self, name: str) -> Scalar | None:
        """What the ids of an input have to be below: the rows of the table that they look up."""
        found: set[Scalar] = set()
        for operation in self.function.walk():
            for place, value in enumerate(operation.operands):
                if value is None or value.name != name:
                    continue
                if operation.op == "embedding":
                    table = operation.operands[1]
                    assert table is not None and isinstance(table.type, TensorType)
                    found.add(table.type.dims[0].size)
                elif operation.op == "call":
                    block = self.done[called(operation)]
                    inner = block.bound(block.function.inputs[place].value.name)
                    found |= set() if inner is None else {inner}
        if len(found) > 1:
            raise cannot(self.function.span, f"{name!r} looks up tables of different sizes")
        return found.pop() if found else None

    def picks(self, name: str) -> tuple[Scalar, ...] | None:
        """The shape on the device of an input that is an index of an axis; None where it is none."""
        for operation in self.function.walk():
            for place, value in enumerate(operation.operands):
                if value is None or value.name != name:
                    continue
                x = operation.operands[0]
                if operation.op == "pick" and x is not None and isinstance(x.type, TensorType):
                    return hosted.row_shape(x.type, operation.text("over"), self, operation.span)
                if operation.op == "call":
                    block = self.done[called(operation)]
                    return block.picks(block.function.inputs[place].value.name)
        return None

    def _mask_form(self, given: Input) -> MaskType:
        forms = self._mask_forms(given.value)
        if len({form.causal for form in forms}) > 1:
            raise cannot(self.function.span, f"mask {given.value.name!r} is read both causally and not")
        if len(forms) > 1:
            raise cannot(self.function.span, f"mask {given.value.name!r} is read through several windows")
        form = forms.pop() if forms else MaskType(Const(False))
        read = {leaf.name for leaf in leaves(form.window) if isinstance(leaf, Index)}
        if read & {o.get("index") for o in self.function.walk() if o.op == "repeat"}:
            raise cannot(self.function.span, "a window by layer takes a repeat that stands in a model")
        return form

    def _mask_forms(self, mask: Value) -> set[MaskType]:
        forms: set[MaskType] = set()
        for operation in self.function.walk():
            for place, value in enumerate(operation.operands):
                if value is None or value.name != mask.name:
                    continue
                if operation.op == "relabel":  # the same mask, over the keys
                    forms |= self._mask_forms(operation.result)
                elif operation.op in ("attention", "masked_scores"):
                    given = {
                        name: operation.scalar(name)
                        for name in ("causal", "window")
                        if operation.get(name) is not None
                    }
                    forms.add(MaskType(**{"causal": Const(False), **given}))
                elif operation.op == "call":
                    passed = self.done[called(operation)].made.inputs[place].value.type
                    assert isinstance(passed, MaskType)
                    forms.add(passed)
        return forms

    def _output(self, value: Value) -> Value:
        if self.function.kind is not Kind.MODEL or value.type == NUMBER:
            return self.value(value, self.function.span)
        return self.output(value)

    def output(self, value: Value) -> Value:
        """A value as the caller of a model gets it."""
        if value.name not in self.outputs:
            made, type_ = self.value(value, self.function.span), value.type
            assert isinstance(type_, TensorType)
            if isinstance(made.type, RotaryType):
                raise cannot(self.function.span, TURNED_ONLY)
            shape = tuple(dim.size for dim in type_.dims)
            self.outputs[value.name] = self.build.add(
                "output", (made,), {"shape": shape}, name=f"{made.name}_out", span=self.function.span
            )
        return self.outputs[value.name]

    def ids(self, value: Value, span: Span | None) -> Value:
        """Integers on the device: a block's own, or entered from the model's input."""
        made, bound = hosted.on_host(self, value, span), self.bound(value.name)
        if value.name in self.values and made is None:
            return self.value(value, span)
        if len(getattr(value.type, "dims", ())) != 2:
            raise cannot(span, f"{value.type} is looked up nowhere yet: rows are looked up by int[B, S]")
        assert bound is not None
        if made is not None:
            name = hosted.called(self, value)
            return self.enter(made, "input.ids", "", name, input=name, below=bound)
        given = self.merged.get(value.name, value)
        if given.name not in self.inputs:
            raise cannot(span, "an embedding reads integers that the caller gives")
        default = self.inputs[given.name].default
        filled = Form("full", (default,)) if isinstance(default, Const) else default
        return self.enter(given, "input.ids", "", given.name, below=bound, default=filled)

    def mask(self, value: Value | None, form: MaskType) -> Value | None:
        """The mask form of a bool value: a block's own, or entered from the model's input."""
        if value is None:
            return None
        made = hosted.on_host(self, value, self.function.span)
        if made is None and value.name in self.values:
            return self.values[value.name]
        given = self.merged.get(value.name, value) if made is None else made
        name = given.name if made is None else hosted.called(self, value)
        if made is None and given.name not in self.inputs:
            raise cannot(self.function.span, f"mask {value.name!r} must be an input")
        if not has_index(form.window):
            return self._entered_mask(given, name, form, "mask")
        return self._picked_mask(given, name, form)

    def _entered_mask(self, given: Value, name: str, form: MaskType, wanted: str) -> Value:
        window = None if form.window == Const(None) else form.window
        return self.enter(
            given, "input.mask", str(form), wanted, input=name, causal=form.causal, window=window
        )

    def _picked_mask(self, given: Value, name: str, form: MaskType) -> Value:
        """One of the masks that are made where the model is entered: what chooses the window reads the index."""
        window = form.window
        if not has_index(window):
            wanted = "mask" if window == Const(None) else "windowed"
            return self._entered_mask(given, name, form, wanted)
        if not isinstance(window, Apply) or window.op != "select" or not has_index(window.args[0]):
            message = "a window by layer is one of some among which conditions choose, as in a if c[i] else b"
            raise cannot(self.span, message)
        condition, *windows = window.args
        yes, no = (self._picked_mask(given, name, replace(form, window=one)) for one in windows)
        attributes: dict[str, Attribute] = {"condition": condition}
        return self.build.add(PICKED, (yes, no), attributes, name="picked", span=self.span)

"""Evaluation of a tensor-level function in numpy: the reference that needs no mapping by hand.

The spec alone says what is computed: parameters are looked up by their checkpoint names, composites are evaluated
through their expansions, and everything is float64 unless asked otherwise. Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import COMPUTED, Form, Input, Module, Operation, Region, Value
from ttmlc.ir.op import TABLE, Unfit
from ttmlc.ir.ops.structure import conditions, path_of
from ttmlc.ir.scalar import Scalar
from ttmlc.ir.types import DType, SavedType, TensorType, Type

if TYPE_CHECKING:
    import numpy as np

Array = Any


@dataclass(frozen=True)
class Missing:
    """Stands for a value that there is not: an optional input that is left out, labels that do not fit a loss.

    What reads it is missing too, but for a choice of something else. ``reason`` is what was wrong, if anything was.
    """

    reason: Unfit | None = None


@dataclass
class Call:
    """What an op's reference may ask: its types, and the values of its attributes and sizes."""

    operation: Operation
    types: Sequence[Type | None]
    results: Sequence[Type]
    frame: Frame

    def value(self, name: str) -> scalar.Plain:
        """A scalar attribute's value, its default where it is not given."""
        given = self.operation.get(name)
        if given is None:
            given = TABLE[self.operation.op].attributes[name].default
        return None if given is None else self.frame.scalar(given)  # type: ignore[arg-type]  # a scalar by declaration

    def text(self, name: str) -> str:
        """A string attribute."""
        return self.operation.text(name)

    def size(self, size: Scalar) -> int:
        """A size's value."""
        value = self.frame.scalar(size)
        assert isinstance(value, int)
        return value


@dataclass
class Frame:
    """Everything known while a function runs."""

    module: Module
    parameters: Mapping[str, Array]
    dtype: np.dtype[Any]
    fields: Mapping[str, scalar.Value]
    dynamic: dict[str, int] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    path: str = ""
    answers: dict[tuple[str, str], bool] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    """Of parameters by their checkpoint names, as a backward hands them over; shared by all frames."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The checkpoint names of what a value holds: of a parameter, or of several that are joined."""

    def collect(self, operation: Operation, value: Array) -> None:
        """Add ``value`` to the gradient of the parameter, or of the joined ones, that ``operation`` names."""
        import numpy as np

        param = operation.operands[0]
        assert param is not None
        names = self.names[param.name]
        if not names:  # a bias that there is none of
            return
        ends = np.cumsum([self.parameters[name].shape[0] for name in names])[:-1]
        for name, part in zip(names, np.split(value, ends), strict=True):
            self.gradients[name] = self.gradients.get(name, 0) + part

    def scalar(self, expression: Scalar) -> scalar.Plain:
        """The value of ``expression`` here."""
        return scalar.evaluate(expression, self.fields, self.dynamic, self.index, self.answers)

    def inner(self, path: str) -> Frame:
        """A frame for what is evaluated under ``path``: it knows all of this one but its values."""
        return Frame(
            self.module,
            self.parameters,
            self.dtype,
            self.fields,
            self.dynamic,
            self.index,
            path,
            self.answers,
            gradients=self.gradients,
        )

    def at(self, path: str) -> str:
        """The checkpoint name of ``path`` in this block, with the indices of enclosing repeats filled in."""
        for name, number in self.index.items():
            path = path.replace("{" + name + "}", str(number))
        return f"{self.path}.{path}" if self.path and path else self.path or path


def evaluate(
    module: Module,
    model: str,
    config: Mapping[str, scalar.Value],
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dtype: str = "float64",
) -> dict[str, Array]:
    """Run ``model`` of a tensor-level module.

    Args:
        module: what :mod:`ttmlc.elaborate` made, or any pass of this level.
        model: the function's name.
        config: fields that differ from their defaults.
        parameters: arrays under their checkpoint names: those of a base model without its prefix, those of a head
            with it.
        inputs: arrays by name, most of them whole numbers [B, S]; those with a default may be left out.
        dtype: what is computed in.

    Returns:
        The outputs by name, without those that need an optional input that is left out.

    Raises:
        KeyError: a parameter is missing; the message is its name.
        ValueError: a required input is missing, one has a type that it may not have, or labels fit no loss.
    """
    import numpy as np

    frame = Frame(module, parameters, np.dtype(dtype), module.config.values(config))
    function = module.function(model)
    for given in function.inputs:
        frame.answers[given.value.name, "given"] = given.value.name in inputs
        if given.value.name in inputs:
            _bind(frame, given, np.asarray(inputs[given.value.name]))
    for given in function.inputs:
        if given.value.name not in inputs:
            absent = given.optional or given.default == COMPUTED
            frame.values[given.value.name] = Missing() if absent else _default(frame, given)
    _run(frame, function.operations)
    outputs = {name: frame.values[value.name] for name, value in function.outputs}
    for value in outputs.values():
        if isinstance(value, Missing) and value.reason is not None:
            raise value.reason
    return {name: value for name, value in outputs.items() if not isinstance(value, Missing)}


def _bind(frame: Frame, given: Input, array: Array) -> None:
    name, own = given.value.name, given.value.type
    assert isinstance(own, TensorType)
    kinds = {DType.INT: "iu", DType.FLOAT: "f", DType.BOOL: "biuf"}
    types = given.alternatives or (own,)
    type_ = next((t for t in types if len(t.dims) == array.ndim and array.dtype.kind in kinds[t.dtype]), None)
    if type_ is None:
        wanted = " or ".join(map(str, types))
        raise ValueError(f"{name!r} is {array.dtype} {list(array.shape)} and must be {wanted}")
    for dim, size in zip(type_.dims, array.shape, strict=True):
        if isinstance(dim.size, scalar.Dynamic):
            frame.dynamic.setdefault(dim.size.axis, size)
        if _size(frame, dim.size) != size:
            raise ValueError(
                f"{name!r} is {list(array.shape)} and must be {type_} with {_size(frame, dim.size)}"
            )
    frame.values[name] = array.astype(bool) if type_.dtype is DType.BOOL else array
    frame.answers.update({(name, f"is_{dtype.value}"): dtype is type_.dtype for dtype in DType})


def _default(frame: Frame, given: Input) -> Array:
    import numpy as np

    type_ = given.value.type
    assert isinstance(type_, TensorType)
    shape = [_size(frame, dim.size) for dim in type_.dims]
    if given.default is None:
        raise ValueError(f"{given.value.name!r} is required")
    if isinstance(given.default, Form):
        return np.broadcast_to(np.arange(shape[-1]), shape)
    value = given.default.value
    assert isinstance(value, (bool, int))
    return np.full(shape, value, bool if type_.dtype is DType.BOOL else np.int64)


def _size(frame: Frame, size: Scalar) -> int:
    value = frame.scalar(size)
    assert isinstance(value, int)
    return value


def _run(frame: Frame, operations: Sequence[Operation]) -> None:
    for operation in operations:
        arrays = [None if value is None else frame.values[value.name] for value in operation.operands]
        arrays += [None] * (len(TABLE[operation.op].operands) - len(arrays))
        for value, array in zip(operation.results, _tolerant(frame, operation, arrays), strict=True):
            frame.values[value.name] = array


def _tolerant(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    """The results, missing where an operand is or where a loss cannot take the labels."""
    missing = next((array for array in arrays if isinstance(array, Missing)), None)
    if missing is not None and operation.op != "choose":
        return [missing] * len(operation.results)
    try:
        if operation.op == "choose":
            return (_choose(frame, operation, arrays),)
        return _apply(frame, operation, arrays)
    except Unfit as reason:
        return [Missing(reason)] * len(operation.results)
    except scalar.Unanswered:
        return [Missing()] * len(operation.results)


def _choose(frame: Frame, operation: Operation, arrays: list[Array]) -> Array:
    for condition, array in zip(conditions(operation), arrays, strict=False):
        if frame.scalar(condition):
            return array
    return arrays[-1]


def _apply(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    if operation.op == "param":
        shared = operation.operands[0] if operation.operands else None
        if shared is not None and frame.scalar(operation.scalar("when")):
            frame.names[operation.result.name] = frame.names.get(shared.name, ())
            return (arrays[0],)
        if operation.get("only") is not None and not frame.scalar(operation.scalar("only")):
            frame.names[operation.result.name] = ()
            return (None,)
        path = path_of(operation.get("at") or "", lambda condition: bool(frame.scalar(condition)))
        frame.names[operation.result.name] = (frame.at(path),)
        return (frame.parameters[frame.at(path)].astype(frame.dtype),)
    if operation.op == "join":
        parts = (value for value in operation.operands if value is not None)
        frame.names[operation.result.name] = tuple(name for part in parts for name in frame.names[part.name])
    if operation.op == "call":
        return _call(frame, operation, arrays)
    if operation.op == "call_backward":
        return _call_backward(frame, operation, arrays)
    if operation.op == "zeros":
        type_ = operation.result.type
        assert isinstance(type_, TensorType)
        return (_zeros(frame, type_),)
    if operation.op == "repeat":
        return _repeat(frame, operation, arrays)
    if operation.op == "when":
        assert operation.body is not None
        holds = frame.scalar(operation.scalar("condition"))
        return _body(frame, operation.body, arrays) if holds else arrays
    declaration = TABLE.tensor(operation.op)
    if declaration.composite:
        return _expanded(frame, operation, arrays)
    types = [None if value is None else value.type for value in operation.operands]
    types += [None] * (len(declaration.operands) - len(types))
    return declaration.reference(
        arrays, Call(operation, types, [value.type for value in operation.results], frame)
    )


def _call(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    block = operation.text("block")
    saves = isinstance(operation.results[-1].type, SavedType)
    function = frame.module.function(f"{block}.forward" if saves else block)
    inner = frame.inner(frame.at(str(operation.get("at") or "")))
    values = {given.value.name: array for given, array in zip(function.inputs, arrays, strict=False)}
    for given, value in zip(function.inputs, operation.operands, strict=False):
        if given.parameter and value is not None:
            inner.names[given.value.name] = frame.names[value.name]
    inner.values.update(values)
    _run(inner, function.operations)
    found = [inner.values[value.name] for _, value in function.outputs]
    kept = {value.name: inner.values[value.name] for value in function.saved}
    return [*found, (inner, kept)] if saves else found


def _call_backward(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    (forward, kept), *cotangents = arrays
    function = frame.module.function(f"{operation.text('block')}.backward")
    inner = forward.inner(forward.path)
    inner.gradients = frame.gradients
    inner.values.update(kept)
    inner.values.update({name: forward.values[name] for name in forward.names})
    inner.names.update(forward.names)
    taken = [given.value.name for given in function.inputs if not given.parameter][len(function.saved) :]
    inner.values.update(zip(taken, cotangents, strict=True))
    _run(inner, function.operations)
    return [inner.values[value.name] for _, value in function.outputs]


def _zeros(frame: Frame, type_: TensorType) -> Array:
    import numpy as np

    return np.zeros([_size(frame, dim.size) for dim in type_.dims], frame.dtype)


@dataclass(frozen=True)
class Gradients:
    """What a block makes, and the gradients of what it read."""

    outputs: list[Array]
    inputs: dict[str, Array]
    parameters: dict[str, Array]


def gradients(
    module: Module,
    block: str,
    config: Mapping[str, scalar.Value],
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    cotangents: Sequence[Array],
    dtype: str = "float64",
) -> Gradients:
    """Run the forward and the backward that were derived for ``block``.

    Args:
        module: what :mod:`ttmlc.passes.autodiff` made.
        block: the block's name.
        config: fields that differ from their defaults.
        parameters: arrays under their names in the block.
        inputs: arrays by name; masks as bool [B, S].
        cotangents: the gradient of each output, in order.
        dtype: what is computed in.
    """
    import numpy as np

    frame = Frame(module, parameters, np.dtype(dtype), module.config.values(config))
    forward = module.function(f"{block}.forward")
    for given in forward.inputs:
        _bind(frame, given, np.asarray(inputs[given.value.name]))
    results = tuple(Value(f"result{i}", value.type) for i, (_, value) in enumerate(forward.outputs))
    saved = Value("saved", SavedType(block))
    operands = tuple(given.value for given in forward.inputs)
    call = Operation("call", operands, (("block", block),), (*results, saved))
    _run(frame, (call,))
    outputs = [frame.values[value.name] for value in results]
    frame.values.update({value.name: array for value, array in zip(results, cotangents, strict=True)})
    backward = module.function(f"{block}.backward")
    made = tuple(Value(name, value.type) for name, value in backward.outputs)
    back = Operation(
        "call_backward",
        (saved, *results),
        (("block", block),),
        tuple(replace(v, name=f"d{v.name}") for v in made),
    )
    _run(frame, (back,))
    found = {value.name: frame.values[f"d{value.name}"] for value in made}
    return Gradients(outputs, found, frame.gradients)


def _repeat(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    count = frame.scalar(operation.scalar("count"))
    assert isinstance(count, int) and operation.body is not None
    name, outer = operation.text("index"), frame.path
    for turn in range(count):
        frame.index[name] = turn
        frame.path = outer
        frame.path = frame.at(str(operation.get("at") or ""))
        arrays = _body(frame, operation.body, arrays)
    frame.index.pop(name, None)
    frame.path = outer
    return arrays


def _body(frame: Frame, body: Region, arrays: list[Array]) -> list[Array]:
    frame.values.update({value.name: array for value, array in zip(body.arguments, arrays, strict=True)})
    _run(frame, body.operations)
    return [frame.values[value.name] for value in body.yields]


def _expanded(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    build = Builder(Names(value.name for value in operation.operands if value is not None))
    TABLE.tensor(operation.op).expand(operation, build)
    inner = frame.inner(frame.path)
    operands: list[Value | None] = list(operation.operands)
    inner.values = {
        value.name: array
        for value, array in zip(operands, arrays, strict=False)
        if value is not None and array is not None
    }
    _run(inner, build.operations)
    return [inner.values[value.name] for value in build.operations[-1].results]

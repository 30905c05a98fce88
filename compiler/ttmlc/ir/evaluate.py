"""Evaluation of a tensor-level function in numpy: the reference that needs no mapping by hand.

The spec alone says what is computed: parameters are looked up by their checkpoint names, composites are evaluated
through their expansions, and everything is float64 unless asked otherwise. Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import Form, Input, Module, Operation, Region, Value
from ttmlc.ir.op import TABLE
from ttmlc.ir.scalar import Scalar
from ttmlc.ir.types import DType, TensorType, Type

if TYPE_CHECKING:
    import numpy as np

Array = Any


@dataclass
class Call:
    """What an op's reference may ask: its types, and the values of its attributes and sizes."""

    operation: Operation
    types: Sequence[Type | None]
    results: Sequence[Type]
    frame: Frame

    def value(self, name: str) -> scalar.Value:
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
    values: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)

    def collect(self, operation: Operation, value: Array) -> None:
        """Add ``value`` to the gradient of the parameter, or of the joined ones, that ``operation`` names."""
        param = operation.operands[0]
        assert param is not None
        self.gradients[param.name] = self.gradients.get(param.name, 0) + value

    def scalar(self, expression: Scalar) -> scalar.Value:
        """The value of ``expression`` here."""
        return scalar.evaluate(expression, self.fields, self.dynamic, self.index)

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
        parameters: arrays under their checkpoint names, without the base prefix.
        inputs: integer arrays [B, S] by name; those with a default may be left out.
        dtype: what is computed in.

    Returns:
        The outputs by name.

    Raises:
        KeyError: a parameter is missing; the message is its name.
        ValueError: a required input is missing.
    """
    import numpy as np

    frame = Frame(module, parameters, np.dtype(dtype), module.config.values(config))
    function = module.function(model)
    for given in function.inputs:
        if given.value.name in inputs:
            _bind(frame, given, np.asarray(inputs[given.value.name]))
    for given in function.inputs:
        if given.value.name not in inputs:
            frame.values[given.value.name] = _default(frame, given)
    _run(frame, function.operations)
    return {name: frame.values[value.name] for name, value in function.outputs}


def _bind(frame: Frame, given: Input, array: Array) -> None:
    type_ = given.value.type
    assert isinstance(type_, TensorType)
    for dim, size in zip(type_.dims, array.shape, strict=True):
        if isinstance(dim.size, scalar.Dynamic):
            frame.dynamic[dim.size.axis] = size
    frame.values[given.value.name] = array.astype(bool) if type_.dtype is DType.BOOL else array


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
        for value, array in zip(operation.results, _apply(frame, operation, arrays), strict=True):
            frame.values[value.name] = array


def _apply(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    if operation.op == "param":
        return (frame.parameters[frame.at(operation.text("at"))].astype(frame.dtype),)
    if operation.op == "call":
        return _call(frame, operation, arrays)
    if operation.op == "repeat":
        return _repeat(frame, operation, arrays)
    declaration = TABLE.tensor(operation.op)
    if declaration.composite:
        return _expanded(frame, operation, arrays)
    types = [None if value is None else value.type for value in operation.operands]
    types += [None] * (len(declaration.operands) - len(types))
    return declaration.reference(
        arrays, Call(operation, types, [value.type for value in operation.results], frame)
    )


def _call(frame: Frame, operation: Operation, arrays: list[Array]) -> Sequence[Array]:
    block = frame.module.function(operation.text("block"))
    at = operation.get("at")
    inner = Frame(
        frame.module,
        frame.parameters,
        frame.dtype,
        frame.fields,
        frame.dynamic,
        frame.index,
        frame.at(str(at or "")),
    )
    inner.values.update({given.value.name: array for given, array in zip(block.inputs, arrays, strict=False)})
    _run(inner, block.operations)
    return [inner.values[value.name] for _, value in block.outputs]


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
    inner = Frame(
        frame.module, frame.parameters, frame.dtype, frame.fields, frame.dynamic, frame.index, frame.path
    )
    operands: list[Value | None] = list(operation.operands)
    inner.values = {
        value.name: array
        for value, array in zip(operands, arrays, strict=False)
        if value is not None and array is not None
    }
    _run(inner, build.operations)
    return [inner.values[value.name] for value in build.operations[-1].results]

"""The verifier that runs after elaboration and between passes.

It holds what every module promises: a value is made once, before it is read; each operation is declared, carries only
attributes it declares, and its results have the types the op infers; calls fit the blocks they name.
"""

from __future__ import annotations

from collections.abc import Iterable

from ttmlc.ir.module import (
    Attribute,
    Form,
    Function,
    Kind,
    Level,
    Module,
    Operation,
    Value,
    indices_of,
    indices_read,
    scalars_in,
)
from ttmlc.ir.op import TABLE, Refusal, TensorOp
from ttmlc.ir.ops.integers import HOST, on_host
from ttmlc.ir.ops.loss import Loss
from ttmlc.ir.ops.structure import Structure
from ttmlc.ir.scalar import Asked, leaves
from ttmlc.ir.types import SavedType, TensorType


class VerificationError(Exception):
    """A pass broke a promise: a defect of the compiler, not of the spec."""


def verify(module: Module) -> None:
    """Check ``module``.

    Raises:
        VerificationError: naming the function, the operation and the promise.
    """
    names = [function.name for function in module.functions]
    if len(set(names)) != len(names):
        raise VerificationError(f"functions share a name: {names}")
    for function in module.functions:
        scope: dict[str, Value] = {}
        if function.kind is Kind.MODEL and indices_of(function.operations):
            raise VerificationError(f"{function.name} reads an index outside of its repeat")
        for given in function.inputs:
            _define(scope, (given.value,), function.name)
            if given.alternatives and (
                given.alternatives[0] != given.value.type or len(given.alternatives) < 2
            ):
                raise VerificationError(f"{function.name}: %{given.value.name} is not the first of its types")
        _operations(module, function, function.operations, scope)
        for name, value in function.outputs:
            _use(scope, value, f"{function.name}: output {name}")
        for value in function.saved:
            _use(scope, value, f"{function.name}: saved")
        if function.kind is Kind.BLOCK and len(function.outputs) == 0:
            raise VerificationError(f"{function.name} returns nothing")


def _operations(
    module: Module, function: Function, operations: Iterable[Operation], scope: dict[str, Value]
) -> None:
    for operation in operations:
        where = (
            f"{function.name}: {', '.join('%' + value.name for value in operation.results)} = {operation.op}"
        )
        if operation.op not in TABLE:
            raise VerificationError(f"{where}: no such op")
        for value in operation.operands:
            if value is not None:
                _use(scope, value, where)
        _declared(module, operation, where)
        _asks(function, operation, where)
        _labels(function, operation, where)
        if operation.body is not None:
            inner = dict(scope)
            _define(inner, operation.body.arguments, where)
            _operations(module, function, operation.body.operations, inner)
            for value in operation.body.yields:
                _use(inner, value, where)
            carried = [value.type for value in operation.body.arguments]
            if [value.type for value in operation.body.yields] != carried or [
                v.type for v in operation.results
            ] != carried:
                raise VerificationError(f"{where}: what is carried around changes its type")
        _define(scope, operation.results, where)


def _declared(module: Module, operation: Operation, where: str) -> None:
    declaration = TABLE[operation.op]
    shared = operation.op in ("call", "call_backward", "choose", "repeat", "when", "zeros") or (
        operation.op in HOST and on_host(operation)
    )
    if not shared and isinstance(declaration, TensorOp) != (module.level is Level.TENSOR):
        raise VerificationError(f"{where}: not an op of the {module.level.value} level")
    for name, _ in operation.attributes:
        if name not in declaration.attributes:
            raise VerificationError(f"{where}: no attribute {name!r}")
    for name, spec in declaration.attributes.items():
        if spec.required and operation.get(name) is None:
            raise VerificationError(f"{where}: attribute {name!r} is missing")
    if operation.op == "call":
        _call(module, operation, where)
    elif operation.op == "call_backward":
        _call_backward(module, operation, where)
    if isinstance(declaration, Structure):
        return
    types = [None if value is None else value.type for value in operation.operands]
    types += [None] * (len(declaration.operands) - len(types))
    full = {k: s.default for k, s in declaration.attributes.items() if s.default is not None} | dict(
        operation.attributes
    )
    try:
        if isinstance(declaration, TensorOp) and declaration.states_types:
            declaration.check_types(types, [value.type for value in operation.results])
            return
        inferred = declaration.infer(types, full)
    except Refusal as refusal:
        raise VerificationError(f"{where}: {refusal.message} (at {refusal.at})") from refusal
    if tuple(value.type for value in operation.results) != inferred:
        raise VerificationError(
            f"{where}: makes {[str(v.type) for v in operation.results]}, not {list(map(str, inferred))}"
        )


def _asks(function: Function, operation: Operation, where: str) -> None:
    inputs = {given.value.name for given in function.inputs}
    for _, value in operation.attributes:
        for part in scalars_in(value):
            for leaf in leaves(part):
                if isinstance(leaf, Asked) and leaf.input not in inputs:
                    raise VerificationError(f"{where}: asks about %{leaf.input}, which is no input")
    if operation.op == "param" and not _is_path(operation.get("at")):
        raise VerificationError(f"{where}: 'at' is a path, or !select(condition, path, path)")
    if operation.op == "param" and operation.operands:
        types = {value.type for value in operation.operands if value is not None}
        if types != {operation.result.type} or operation.get("when") is None:
            raise VerificationError(f"{where}: a shared parameter has one type, and a condition")


def _is_path(at: Attribute | None) -> bool:
    if isinstance(at, Form):
        return at.name == "select" and len(at.args) == 3 and all(map(_is_path, at.args[1:]))
    return isinstance(at, str)


def _labels(function: Function, operation: Operation, where: str) -> None:
    """One of the types that the labels of a loss may have must fit."""
    declaration = TABLE[operation.op]
    if not isinstance(declaration, Loss):
        return
    logits, labels = operation.operands
    assert logits is not None and labels is not None
    given = next((given for given in function.inputs if given.value == labels), None)
    types = (given.alternatives if given is not None else ()) or (labels.type,)
    full = {name: spec.default for name, spec in declaration.attributes.items() if spec.default is not None}
    assert isinstance(logits.type, TensorType)
    try:
        tensors = [type_ for type_ in types if isinstance(type_, TensorType)]
        declaration.check(logits.type, tensors, full | dict(operation.attributes))
    except Refusal as refusal:
        raise VerificationError(f"{where}: {refusal.message}") from refusal


def _call(module: Module, operation: Operation, where: str) -> None:
    name = operation.text("block")
    block = next((function for function in module.functions if function.name == name), None)
    if block is None:
        raise VerificationError(f"{where}: no block {name!r}")
    wanted = [given.value.type for given in block.inputs]
    if [value.type for value in operation.operands if value is not None] != wanted:
        raise VerificationError(f"{where}: arguments do not fit {name}")
    given = operation.get("indices")
    if set(given if isinstance(given, tuple) else ()) != set(indices_read(module.functions, name)):
        raise VerificationError(f"{where}: {name} reads other indices of repeats")
    made = [value.type for value in operation.results]
    if made and made[-1] == SavedType(name):
        made.pop()
    if made != [value.type for _, value in block.outputs]:
        raise VerificationError(f"{where}: results do not fit {name}")


def _call_backward(module: Module, operation: Operation, where: str) -> None:
    name = operation.text("block")
    backward = next((function for function in module.functions if function.name == f"{name}.backward"), None)
    if backward is None:
        raise VerificationError(f"{where}: no backward of {name!r}")
    taken = [given.value.type for given in backward.inputs if not given.parameter][len(backward.saved) :]
    if [value.type for value in operation.operands if value is not None] != [SavedType(name), *taken]:
        raise VerificationError(f"{where}: gradients do not fit {name}")
    if [value.type for value in operation.results] != [value.type for _, value in backward.outputs]:
        raise VerificationError(f"{where}: results do not fit the backward of {name}")


def _define(scope: dict[str, Value], values: Iterable[Value], where: str) -> None:
    for value in values:
        if value.name in scope:
            raise VerificationError(f"{where}: %{value.name} is made twice")
        scope[value.name] = value


def _use(scope: dict[str, Value], value: Value, where: str) -> None:
    if scope.get(value.name) != value:
        raise VerificationError(f"{where}: reads %{value.name}, which is not made before it")

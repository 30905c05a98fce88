"""Stretches of operations on their way to be blocks: what they read, the paths that they share, how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ttmlc.ir.module import Attribute, Function, Operation, Value, indices_of, plain, rewrite
from ttmlc.ir.ops.structure import map_paths
from ttmlc.ir.types import TensorType
from ttmlc.source import Span


def calls(block: Function, at: str = "") -> tuple[tuple[str, Attribute], ...]:
    """The attributes of a call of ``block``."""
    indices = indices_of(block.operations)
    given: dict[str, Attribute] = {"block": block.name}
    given |= ({"at": at} if at else {}) | ({"indices": indices} if indices else {})
    return tuple(sorted(given.items()))


def is_number(value: Value) -> bool:
    """Whether it is a loss, which the model's caller gets as it is."""
    return isinstance(value.type, TensorType) and not value.type.dims


def plainly(block: Function) -> Function:
    """``block`` with its inputs called as the spec calls them: the numbers told them from others in the model."""
    taken = {value.name for operation in block.operations for value in operation.results}
    names: dict[str, Value] = {}
    for given in block.inputs:
        name = plain(given.value.name)
        if name not in taken:
            taken.add(name)
            names[given.value.name] = Value(name, given.value.type)

    def renamed(value: Value) -> Value:
        return names.get(value.name, value)

    def change(operation: Operation) -> Operation:
        return replace(
            operation, operands=tuple(None if v is None else renamed(v) for v in operation.operands)
        )

    inputs = tuple(replace(given, value=renamed(given.value)) for given in block.inputs)
    return replace(block, inputs=inputs, operations=rewrite(block.operations, change))


def reads(operations: Sequence[Operation]) -> list[Value]:
    """What ``operations`` read, each once, in order."""
    return list(dict.fromkeys(value for operation in operations for value in operation.reads()))


def params_read(operations: Sequence[Operation], params: Iterable[str]) -> list[str]:
    """The parameters that ``operations`` read, in the order in which they are declared."""
    read = {value.name for value in reads(operations)}
    return [name for name in params if name in read]


def common(paths: Sequence[str]) -> list[str]:
    """The words that the owners of ``paths`` share: embeddings, of embeddings.word.weight and embeddings.norm.bias."""
    owners = [path.split(".")[:-1] for path in paths]
    shared: list[str] = []
    for words in zip(*owners, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return shared


def moved(param: Operation, depth: int) -> Operation:
    """A parameter with its paths as seen from ``depth`` words down."""

    def cut(path: str) -> str:
        return ".".join(path.split(".")[depth:])

    attributes = dict(param.attributes)
    attributes["at"] = map_paths(attributes["at"], cut)
    also = attributes.get("also")
    if isinstance(also, tuple):
        attributes["also"] = tuple(cut(str(name)) for name in also)
    return replace(param, attributes=tuple(sorted(attributes.items())))


def elsewhere(param: Operation) -> Operation:
    """The same parameter as the model passes it on: a block makes it."""
    return replace(param, attributes=tuple(sorted({**dict(param.attributes), "made": "elsewhere"}.items())))


APART = 5
"""Lines between two operations of which a reader would not say that they stand together."""


def span_of(operations: Sequence[Operation]) -> Span | None:
    """The lines of ``operations``; where they stand apart, those of the last."""
    spans = [operation.span for operation in operations if operation.span is not None]
    files = {id(span.file) for span in spans}
    if not spans or len(files) > 1:
        return spans[0] if spans else None
    found = spans[-1]
    for span in sorted(spans, key=lambda span: span.start, reverse=True):
        if span.end_line + APART >= found.line:
            found = span.to(found)
    return found


def camel(words: Sequence[str]) -> str:
    """Words of a path as a class's name: ``pooler.dense`` is PoolerDense, ``word_norm`` WordNorm."""
    parts = [part for word in words for part in word.replace("-", "_").split("_") if part]
    name = "".join(part[:1].upper() + part[1:] for part in parts if part.isidentifier() or part.isdigit())
    return f"Block{name}" if name[:1].isdigit() else name

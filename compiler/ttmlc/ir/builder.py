"""Building operations one after another, typed as they are added and named without clashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ttmlc.ir.module import Attribute, Operation, Region, Value
from ttmlc.ir.op import TABLE, Refusal
from ttmlc.ir.types import Type
from ttmlc.source import Span


class Names:
    """Hands out names: the one asked for, with a number where it is taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def fresh(self, wanted: str) -> str:
        """``wanted``, or ``wanted_2`` and so on where it is taken."""
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def release(self, name: str) -> None:
        """Let ``name`` be handed out again."""
        self._taken.discard(name)


class Builder:
    """Collects operations in order.

    Attributes that equal their default are dropped, so that two ways of saying one thing are equal and text is short.
    """

    def __init__(self, names: Names | None = None) -> None:
        self.operations: list[Operation] = []
        self.names = names or Names()

    def add(
        self,
        op: str,
        operands: Sequence[Value | None] = (),
        attributes: Mapping[str, Attribute] | None = None,
        *,
        name: str = "",
        span: Span | None = None,
        types: Sequence[Type] | None = None,
        body: Region | None = None,
    ) -> Value:
        """Add one operation with one result and give that result back; see :meth:`add_all`."""
        names = (name,) if name else ()
        (value,) = self.add_all(
            op, operands, attributes, names=names, span=span, types=types, body=body
        ).results
        return value

    def add_all(
        self,
        op: str,
        operands: Sequence[Value | None] = (),
        attributes: Mapping[str, Attribute] | None = None,
        *,
        names: Sequence[str] = (),
        span: Span | None = None,
        types: Sequence[Type] | None = None,
        body: Region | None = None,
    ) -> Operation:
        """Add one operation.

        Args:
            op: its name in the table.
            operands: values in the order of the declaration; None for an optional one that is absent.
            attributes: those that differ from their defaults.
            names: wished names of the results.
            span: where in the spec it came from.
            types: result types that the op does not infer (what ``rearrange`` or ``call`` makes).
            body: the region of a ``repeat``.

        Raises:
            Refusal: the op cannot take these.
        """
        declaration = TABLE[op]
        given = dict(attributes or {})
        for key, spec in declaration.attributes.items():
            if spec.required and key not in given:
                raise Refusal(f"{op} needs {key!r}", at=key)
        inferred = tuple(types) if types is not None else None
        kept = {
            k: v
            for k, v in given.items()
            if v != declaration.attributes[k].default or k not in declaration.attributes
        }
        full = {
            k: spec.default for k, spec in declaration.attributes.items() if spec.default is not None
        } | given
        padded = tuple(operands) + (None,) * (len(declaration.operands) - len(operands))
        operand_types = [None if operand is None else operand.type for operand in padded]
        if inferred is None:
            inferred = declaration.infer(operand_types, full)
        wished = [*names, *("v" for _ in range(len(inferred) - len(names)))]
        results = tuple(Value(self.names.fresh(w), t) for w, t in zip(wished, inferred, strict=True))
        while padded and padded[-1] is None:
            padded = padded[:-1]
        operation = Operation(op, padded, tuple(sorted(kept.items())), results, body, span)
        self.operations.append(operation)
        return operation

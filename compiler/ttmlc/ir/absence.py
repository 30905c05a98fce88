"""Which optional inputs an output needs: it is there where all of them are given, and may be absent where one is not.

%loss = cross_entropy(%logits, %labels)                            needs labels
%h = choose(%with_types, %plain) {conditions = [given(%types)]}    needs nothing, though %with_types reads types
%h = when(%plain) {condition = given(%types)} do ...               nor does this, whose body reads types
"""

from __future__ import annotations

from collections.abc import Iterator

from ttmlc.ir.module import Function, Operation, Region, scalars_in
from ttmlc.ir.ops.structure import conditions
from ttmlc.ir.scalar import Apply, Asked, Scalar

Names = frozenset[str]


def needs(function: Function) -> dict[str, Names]:
    """The optional inputs that each output of ``function`` needs, by the output's name."""
    optional = frozenset(given.value.name for given in function.inputs if given.optional)
    needed: dict[str, Names] = {name: frozenset({name}) for name in optional}

    def of(operation: Operation) -> Names:
        operands = [
            frozenset() if value is None else needed.get(value.name, frozenset())
            for value in operation.operands
        ]
        if operation.op == "choose":
            return _chosen(conditions(operation), operands) & optional
        found = frozenset().union(*operands)
        for _, value in operation.attributes:
            for scalar in scalars_in(value):
                found |= _asks(scalar, frozenset())
        if operation.op == "when" and operation.body is not None:
            inside = carried(operation.body, operands)
            return (found | (inside - _given(operation.scalar("condition"), True))) & optional
        if operation.body is not None:
            found |= carried(operation.body, operands)
        return found & optional

    def carried(body: Region, operands: list[Names]) -> Names:
        for argument, names in zip(body.arguments, operands, strict=True):
            needed[argument.name] = names
        visit(body.operations)
        return frozenset().union(*(needed.get(value.name, frozenset()) for value in body.yields))

    def visit(operations: tuple[Operation, ...]) -> None:
        for operation in operations:
            names = of(operation)
            needed.update({value.name: names for value in operation.results if names})

    visit(function.operations)
    return {name: needed.get(value.name, frozenset()) for name, value in function.outputs}


def _chosen(asked: tuple[Scalar, ...], operands: list[Names]) -> Names:
    """What a choice needs: each alternative where it is reached, without what is known to be given there."""
    known: Names = frozenset()
    found: Names = frozenset()
    for condition, names in zip(asked, operands, strict=False):
        found |= _asks(condition, known) | (names - known - _given(condition, True))
        known |= _given(condition, False)
    return found | (operands[-1] - known)


def _asks(scalar: Scalar, known: Names) -> Names:
    """The inputs of which ``scalar`` asks something that only a given one answers."""
    if isinstance(scalar, Asked):
        return frozenset() if scalar.question == "given" else frozenset({scalar.input}) - known
    found: Names = frozenset()
    if isinstance(scalar, Apply):
        for place, arg in enumerate(scalar.args):
            found |= _asks(arg, known)
            if place == 0 and scalar.op in ("and", "or"):
                known |= _given(arg, scalar.op == "and")
    return found


def _given(scalar: Scalar, holds: bool) -> Names:
    """The inputs that are given where ``scalar`` holds, or where it does not."""
    return frozenset(_givens(scalar, holds))


def _givens(scalar: Scalar, holds: bool) -> Iterator[str]:
    if isinstance(scalar, Asked) and scalar.question == "given" and holds:
        yield scalar.input
    elif isinstance(scalar, Apply):
        if scalar.op == "not":
            yield from _givens(scalar.args[0], not holds)
        elif scalar.op == ("and" if holds else "or"):
            for arg in scalar.args:
                yield from _givens(arg, holds)

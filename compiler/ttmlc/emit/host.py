"""What the host computes in the call of a model: numpy as a person would write it, each line where it is needed.

    if position_ids is None:
        position_ids = np.cumsum(input_ids != c.pad, axis=-1) * (input_ids != c.pad) + c.pad

What only one alternative reads is computed in that alternative, and nowhere else: there it may be that a field is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ttmlc.emit.body import Body
from ttmlc.emit.calls import OWNER, default_of
from ttmlc.emit.python import Arg, Call, Choice, Raw, expression, flat, identifier, layout, string
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.ops.integers import HOST, on_host
from ttmlc.ir.ops.structure import conditions
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Dim, TensorType, dim_text
from ttmlc.passes.lowering.refusal import cannot

SYMBOLS = {"add": ("+", 5), "subtract": ("-", 5), "multiply": ("*", 6)}
COMPARES = 4
ATOM = 9
LONGEST = 80
"""Of what is longer the operands get names."""
LINTED = 120
"""Up to here linters ask for a choice on one line; longer than ``WIDTH`` it is broken in brackets."""
MADE = frozenset({"fill", "index"})
"""What is written again wherever it is read."""

Written = Callable[[int], str]
"""An expression by how tightly what stands around it binds."""


class Hosting(Body):
    """A method in which the host computes whole numbers."""

    def enter(self) -> None:
        super().enter()
        self.hosted: dict[str, Written] = {}
        self.made: set[str] = set()
        self.within = self._within()

    def _within(self) -> dict[int, tuple[int, int]]:
        """Of each operation that only one alternative of a choice reads, the choice and the alternative's place."""
        readers: dict[str, list[tuple[Operation, int]]] = {}
        for operation in self.function.operations:
            for place, value in enumerate(operation.operands):
                if value is not None:
                    readers.setdefault(value.name, []).append((operation, place))
        returned = {value.name for _, value in self.function.outputs}
        found: dict[int, tuple[int, int]] = {}
        for operation in reversed(self.function.operations):
            if not _computed(operation) or not operation.results or operation.result.name in returned:
                continue
            inside = set()
            for reader, place in readers.get(operation.result.name, []):
                if reader.op == "input.default" or (reader.op == "choose" and _computed(reader)):
                    inside.add((id(reader), place))
                else:
                    inside.add(found.get(id(reader), (0, 0)))
            if len(inside) == 1 and inside != {(0, 0)}:
                (found[id(operation)],) = inside
        return found

    def host(self, operation: Operation, indent: int, among: tuple[int, int] = (0, 0)) -> bool:
        """Print what the host computes; whether ``operation`` is such."""
        if operation.op not in ("input.integers", "input.default") and not _computed(operation):
            return False
        if self.within.get(id(operation), (0, 0)) != among:
            return True  # printed where the alternative is
        if operation.op == "input.integers":
            self._integers(operation, indent)
        elif operation.op == "input.default":
            self._default(operation, indent)
        elif operation.op == "choose":
            self._alternatives(operation, indent)
        elif operation.op == "require":
            self.speak(operation, indent)
            condition = Raw(expression(operation.scalar("condition"), OWNER))
            words = Raw(string(operation.text("message")))
            self.lines += layout("", Call("given.require", (Arg(condition), Arg(words))), indent)
        else:
            self._expression(operation, indent)
        return True

    def _integers(self, operation: Operation, indent: int) -> None:
        """``input_ids = given.integers("input_ids", input_ids)``: an array from here on."""
        (x,) = operation.operands
        assert x is not None and isinstance(x.type, TensorType)
        name, code = operation.text("input"), self.names[x.name]
        wanted = "" if self._of_tokens(x) else ", ".join(map(self._size, x.type.dims))
        args = [Arg(Raw(string(name))), Arg(code)]
        if wanted:
            args.append(Arg(Raw(f"({wanted},)" if len(x.type.dims) == 1 else f"({wanted})")))
        args += default_of(operation)
        callee = "given.flags" if x.type.dtype.value == "bool" else "given.integers"
        self.lines += layout(f"{flat(code)} = ", Call(callee, tuple(args)), indent)
        self.take(operation.result, flat(code))

    def _of_tokens(self, x: Value) -> bool:
        """Whether ``x`` is as the first input is."""
        first = self.function.inputs[0].value.type
        return (
            isinstance(x.type, TensorType)
            and isinstance(first, TensorType)
            and x.type.dims in (first.dims, (first.dims[0], first.dims[-1]))
        )

    @staticmethod
    def _size(dim: Dim) -> str:
        return expression(dim.size, OWNER)

    def _default(self, operation: Operation, indent: int) -> None:
        """What an input is where it is not given."""
        (x,) = operation.operands
        assert x is not None
        name = identifier(operation.text("input"))
        self.speak(operation, indent)
        self.lines.append(f"{' ' * indent}if {name} is None:")
        self._assigned(name, operation, 0, indent + 4)
        self.take(operation.result, name)

    def _alternatives(self, operation: Operation, indent: int) -> None:
        """The first whose condition holds."""
        self.speak(operation, indent)
        pad, name = " " * indent, self.name(operation.result, self.places[id(operation)])
        start = len(self.lines)
        for place, condition in enumerate((*conditions(operation), None)):
            word = "else" if condition is None else "if" if place == 0 else "elif"
            asked = "" if condition is None else f" {expression(condition, OWNER)}"
            self.lines.append(f"{pad}{word}{asked}:")
            self._assigned(name, operation, place, indent + 4)
        self.lines[start:] = _short(self.lines[start:], name, indent)
        self.take(operation.result, name)

    def _assigned(self, name: str, choice: Operation, place: int, indent: int) -> None:
        """``name = ...`` in one alternative, below what it alone reads."""
        spoken = self.spoken
        for operation in self.function.operations:
            if self.within.get(id(operation)) == (id(choice), place):
                self.host(operation, indent, (id(choice), place))
        value = choice.operands[place]
        assert value is not None
        written = self.written(value)(0)
        if written != name:
            self.lines += layout(f"{name} = ", Raw(written), indent)
        else:
            self.lines.append(f"{' ' * indent}pass")
        self.spoken = spoken

    def _expression(self, operation: Operation, indent: int) -> None:
        """An operator or a function of numpy: nested into the one that reads it, or named."""
        if len(self._numpy(operation)[0]) > LONGEST:
            for value in operation.operands:
                if value is not None and value.name in self.hosted and value.name not in self.made:
                    self._named(value, self.written(value)(0), operation, indent)
        code, binds = self._numpy(operation)
        value = operation.result
        reads = [read for other in self.function.walk() for read in other.reads()]
        if operation.op in MADE or (reads.count(value) == 1 and value not in self.function.wanted):
            if operation.op in MADE:
                self.made.add(value.name)
            self.hosted[value.name] = lambda around: f"({code})" if binds < around else code
            self.names[value.name] = Raw(code)
        else:
            self._named(value, code, operation, indent)

    def _named(self, value: Value, code: str, operation: Operation, indent: int) -> None:
        """``value = code``, above ``operation`` or in its place."""
        self.speak(operation, indent)
        self.hosted.pop(value.name, None)
        self.lines += layout(f"{self.name(value, self.places[id(operation)])} = ", Raw(code), indent)

    def written(self, value: Value) -> Written:
        """What ``value`` is written as."""
        code = flat(self.names[value.name])
        return self.hosted.get(value.name, lambda around: code)

    def _numpy(self, operation: Operation) -> tuple[str, int]:
        """The code of an operation, and how tightly it binds."""
        if operation.op == "fill":
            number = operation.scalar("value")
            code = expression(number, OWNER)
            return code, next(
                bound for bound in range(ATOM, -1, -1) if expression(number, OWNER, bound) == code
            )
        if operation.op == "index":
            (dim,) = _dims(operation.result)
            return f"np.arange({self._size(dim)})", ATOM
        target = _dims(operation.result)
        if operation.op in ("argmax", "running"):
            (x,) = operation.operands
            assert x is not None
            names = list(map(dim_text, _dims(x)))
            axis = names.index(operation.text("over")) - len(names)
            if axis == -1 and operation.op == "running" and (mask := self._goes_on()):
                return f"given.running({self.written(x)(0)}, {mask})", ATOM
            function = "np.argmax" if operation.op == "argmax" else "np.cumsum"
            return f"{function}({self.written(x)(0)}, axis={axis})", ATOM
        operands = [value for value in operation.operands if value is not None]
        if operation.op == "either":
            parts = ", ".join(self._fitted(value, target, operation, 0) for value in operands)
            return f"np.where({parts})", ATOM
        if operation.op == "compare":
            symbol, binds, around = operation.text("relation"), COMPARES, (5, 5)
        else:
            symbol, binds = SYMBOLS[operation.op]
            around = (binds, binds + 1)
        left, right = (
            self._fitted(value, target, operation, bound)
            for value, bound in zip(operands, around, strict=True)
        )
        return f"{left} {symbol} {right}", binds

    def _goes_on(self) -> str:
        """The input that may be a cache, from which counts go on; nothing where none may be."""
        predicts = self.function.predicts
        if predicts is None or predicts.args[-1] != Const(True):
            return ""
        return identifier(str(predicts.args[2]))

    def _fitted(self, value: Value, target: Sequence[Dim], operation: Operation, around: int) -> str:
        """``value`` so that numpy broadcasts it to ``target``; batches of batches are one dimension or two."""
        dims = _dims(value)
        places = [list(target).index(dim) for dim in dims]
        if places != sorted(places):
            raise cannot(operation.span, "whole numbers of axes in another order are not compiled yet")
        behind = [":" if dim in dims else "None" for dim in target[places[0] + 1 :]] if places else []
        if "None" not in behind:
            return self.written(value)(around)
        return f"{self.written(value)(ATOM)}[..., {', '.join(behind)}]"


def _dims(value: Value) -> tuple[Dim, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.dims


def _computed(operation: Operation) -> bool:
    """Whether the host computes it."""
    return operation.op in HOST and on_host(operation)


def _short(lines: list[str], name: str, indent: int) -> list[str]:
    """A choice of two values as one expression, where a linter would ask for it."""
    pad, begin = " " * indent, f"{name} = "
    if len(lines) != 4 or lines[2] != f"{pad}else:" or not all(f"    {begin}" in one for one in lines[1::2]):
        return lines
    yes, no = (Raw(one.removeprefix(f"{pad}    {begin}")) for one in lines[1::2])
    choice = Choice(lines[0].removeprefix(f"{pad}if ").removesuffix(":"), yes, no)
    return layout(begin, choice, indent) if len(f"{pad}{begin}{flat(choice)}") <= LINTED else lines

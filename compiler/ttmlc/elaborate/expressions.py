"""Expressions of the spec, inside out: every value typed, every op added where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttmlc.elaborate import activations, integers, scalars
from ttmlc.elaborate.binding import Bound, Signature, bind
from ttmlc.elaborate.builtins import BUILTINS, LATER
from ttmlc.elaborate.choices import ask, choice
from ttmlc.elaborate.hints import hinted
from ttmlc.elaborate.making import Making
from ttmlc.elaborate.problems import (
    BAD_SCALAR,
    MISFIT,
    NOT_YET,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import Callee, TableValue
from ttmlc.elaborate.values import (
    Base,
    Definition,
    Init,
    Meaning,
    Number,
    Poison,
    Several,
    Tensor,
    Text,
    Words,
    Written,
    describe,
)
from ttmlc.ir.module import Attribute, Value, indices_of
from ttmlc.ir.op import Refusal
from ttmlc.ir.ops.shape import Rearrange
from ttmlc.ir.scalar import Const, Index, Scalar
from ttmlc.ir.scalar import text as scalar_text
from ttmlc.ir.types import Axis, Dim, DType, Role, TensorType
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


def _dims(value: Value) -> tuple[Dim, ...]:
    return value.type.dims if isinstance(value.type, TensorType) else ()


def _kind(value: Value) -> DType | None:
    return value.type.dtype if isinstance(value.type, TensorType) else None


class Expressions(Making):
    """What an expression of one function means."""

    def tensor(self, node: tree.Expr, wanted: str) -> Tensor:
        """A tensor, which the statement around it calls ``wanted``."""
        meaning = self.named(node, wanted)
        if not isinstance(meaning, Tensor):
            raise problem(MISFIT, "a tensor is needed here", node.span, f"is {describe(meaning)}")
        return meaning

    def named(self, node: tree.Expr, wanted: str) -> Meaning:
        """What ``node`` means, where the statement around it calls it ``wanted``."""
        self.wanted = wanted
        return self.expression(node)

    def expression(self, node: tree.Expr) -> Meaning:
        """What ``node`` means.

        Raises:
            DiagnosticError: it means nothing. An empty one where what it reads was wrong already.
        """
        wanted, self.wanted = self.wanted, ""
        meaning = self._expression(node, wanted)
        if isinstance(meaning, Poison):
            raise DiagnosticError([])
        return meaning

    def argument(self, bound: Bound, name: str) -> Meaning:
        """What an argument means; a default of the file sees no value of the function at hand."""
        if name not in bound.defaulted:
            return self.expression(bound.given[name])
        here, self.values = self.values, {}
        try:
            return self.expression(bound.given[name])
        finally:
            self.values = here

    def _expression(self, node: tree.Expr, wanted: str) -> Meaning:
        if isinstance(node, tree.Literal):
            return Text(node.value, node) if isinstance(node.value, str) else scalars.literal(node)
        if isinstance(node, tree.Reference):
            return self._reference(node)
        if isinstance(node, tree.Call):
            return self._call(node, wanted)
        if isinstance(node, tree.As):
            return self._as(node, wanted)
        if isinstance(node, tree.Lookup):
            return self._lookup(node, wanted)
        if isinstance(node, tree.ProductExpr):
            return Written(self.scope.dim(node))
        if isinstance(node, tree.ListExpr):
            return Words(
                tuple(item.name.text if isinstance(item, tree.Reference) else "" for item in node.items)
            )
        if isinstance(node, tree.Operator) and node.op in OPERATORS:
            return self._arithmetic(node, wanted)
        if isinstance(node, tree.Operator) and integers.compares(self, node):
            return integers.comparison(self, node, wanted)
        if isinstance(node, tree.Member):
            return self._member(node)
        if isinstance(node, tree.Choice):
            return choice(self, node, wanted)
        if isinstance(node, tree.Alternatives):
            raise problem(NOT_YET, "paths that are only read are not compiled yet", node.span)
        return self.scalar(node)

    def scalar(self, node: tree.Expr) -> Number:
        """A scalar expression."""
        words = self.scope.words
        with hinted([*self.values, *self.scope.numbers, *words], self.scope.used):
            return scalars.elaborate(node, self.number, words, lambda asked: ask(self, asked))

    def condition(self, node: tree.Expr) -> Scalar:
        """A condition.

        Raises:
            DiagnosticError: it is none.
        """
        meaning = self.expression(node)
        if not isinstance(meaning, Number) or meaning.kind != "bool":
            raise problem(BAD_SCALAR, "a condition must be bool", node.span, f"is {describe(meaning)}")
        return meaning.scalar

    def number(self, name: tree.Name) -> Number | None:
        """A name inside a scalar expression."""
        meaning = self.values.get(name.text) or self.scope.number(name.text) or self._index(name.text)
        if isinstance(meaning, Poison):
            raise DiagnosticError([])
        if meaning is not None and not isinstance(meaning, Number):
            raise problem(MISFIT, f"{name.text!r} is no scalar", name.span, f"is {describe(meaning)}")
        return meaning

    def _reference(self, node: tree.Reference) -> Meaning:
        name = node.name.text
        found = self.values.get(name) or self.scope.meaning(name)
        if found is not None:
            return scalars.one(found, node.name) if isinstance(found, Number) else found
        if name in self.scope.tables:
            return self._table(self.scope.tables[name], node.span)
        if name in ("zeros", "ones"):
            return Init(name)
        if name in self.scope.words:
            return Number(Const(name), "word")
        index = self._index(name)
        if index is not None:
            return index
        known = [*self.values, *self.scope.known(), *BUILTINS]
        raise problem(UNKNOWN_NAME, f"nothing is called {name!r}", node.span, hint=nearest(name, known))

    def _index(self, name: str) -> Number | None:
        """The index of a repeat around this, or around the calls of this block."""
        known = name in self.indices or (self.of_block and name in self.scope.indices)
        over = self.counted.get(name, self.scope.indices.get(name, ""))
        return Number(Index(name), "int", each=over) if known else None

    def _table(self, table: TableValue, span: Span) -> Tensor:
        given: dict[str, Attribute] = {"name": table.name, "numbers": table.numbers}
        return Tensor(
            self.build.add("table", (), given, name=table.name, span=span, types=(table.type,)), span
        )

    def _member(self, node: tree.Member) -> Meaning:
        if isinstance(node.owner, tree.Reference) and node.owner.name.text in self.scope.groups():
            return self.scalar(node)
        owner = self.expression(node.owner)
        if isinstance(owner, Base):
            members = dict(owner.members)
            if node.name.text not in members:
                message = f"{owner.name!r} has no output, parameter or input {node.name.text!r}"
                raise problem(UNKNOWN_NAME, message, node.name.span, hint=nearest(node.name.text, members))
            return replace(members[node.name.text], span=node.span)
        if not isinstance(owner, Several):
            raise problem(
                MISFIT,
                "only a block with named results has members",
                node.owner.span,
                f"is {describe(owner)}",
            )
        results = dict(owner.results)
        if node.name.text not in results:
            hint = nearest(node.name.text, results)
            raise problem(UNKNOWN_NAME, f"there is no result {node.name.text!r}", node.name.span, hint=hint)
        return results[node.name.text]

    def _lookup(self, node: tree.Lookup, wanted: str) -> Meaning:
        if isinstance(node.owner, tree.Reference) and node.owner.name.text not in self.values:
            field = self.scope.number(node.owner.name.text)
            if field is not None and field.is_several:
                return self.scalar(node)
        table = self.expression(node.owner)
        if not isinstance(table, Tensor) or len(node.indices) != 1:
            raise problem(MISFIT, "only a table can be looked up", node.owner.span, f"is {describe(table)}")
        ids = self.expression(node.indices[0])
        if not isinstance(ids, Tensor):
            raise problem(
                MISFIT, "rows are looked up by integers", node.indices[0].span, f"is {describe(ids)}"
            )
        operands: list[Tensor | None] = [
            Tensor(ids.value, node.indices[0].span),
            Tensor(table.value, node.owner.span),
        ]
        return self.apply("embedding", operands, {}, node.span, name=wanted or table.value.name)

    def _as(self, node: tree.As, wanted: str) -> Meaning:
        x = self.expression(node.value)
        if not isinstance(x, Tensor) or not isinstance(x.value.type, TensorType):
            raise problem(MISFIT, "only a tensor can be rearranged", node.value.span, f"is {describe(x)}")
        made = TensorType(x.value.type.dtype, tuple(self.scope.dim(dim) for dim in node.dims))
        if made == x.value.type:
            return x
        try:
            Rearrange.check(x.value.type, made)
        except Refusal as refusal:
            span = Span(node.span.file, node.dims[0].span.start - 1, node.span.end)
            related = ((node.value.span, f"is {x.value.type}"),)
            raise problem(MISFIT, refusal.message, span, related=related, hint=refusal.hint) from None
        value = self.build.add(
            "rearrange", (x.value,), name=wanted or x.value.name, span=node.span, types=(made,)
        )
        return Tensor(value, node.span)

    def apart(self, node: tree.Expr, names: Sequence[str]) -> list[Meaning]:
        """What ``names`` stand for, one each: the results of a block, or the labels of a tensor's first axis.

        Raises:
            DiagnosticError: there are more or fewer, or it is neither.
        """
        meaning = self.expression(node)
        if isinstance(meaning, Several):
            if len(meaning.results) != len(names):
                label = f"has {', '.join(name for name, _ in meaning.results)}"
                raise problem(
                    WRONG_SHAPE, f"{len(names)} names for {len(meaning.results)} results", node.span, label
                )
            return [result for _, result in meaning.results]
        if not isinstance(meaning, Tensor) or not isinstance(meaning.value.type, TensorType):
            raise problem(
                MISFIT,
                "only a tensor or a block's results are taken apart",
                node.span,
                f"is {describe(meaning)}",
            )
        dims = meaning.value.type.dims
        if not dims or not isinstance(dims[0], Axis) or dims[0].role is not Role.LABELS:
            hint = "Put an axis of labels first, as in 'as [span, B, S]' with axis span: start | end."
            raise problem(
                MISFIT,
                "the first axis has no labels to take apart",
                node.span,
                f"is {meaning.value.type}",
                hint=hint,
            )
        over = dims[0]
        if over.size != Const(len(names)):
            raise problem(
                WRONG_SHAPE,
                f"{len(names)} names for {scalar_text(over.size)} labels of {over.name!r}",
                node.span,
            )
        x = self._unmoved(meaning, over)
        values = self.build.add_all(
            "take_apart", (x.value,), {"over": over.name}, names=names, span=node.span
        )
        return [Tensor(value, node.span) for value in values.results]

    def _unmoved(self, x: Tensor, over: Axis) -> Tensor:
        """``x`` before an ``as`` that only brought ``over`` to the front, which taking apart does not need."""
        last, rest = self.build.operations[-1], [dim for dim in _dims(x.value) if dim != over]
        (source,) = last.operands if last.op == "rearrange" and last.results == (x.value,) else (None,)
        if source is None or over not in _dims(source) or [d for d in _dims(source) if d != over] != rest:
            return x
        self.build.operations.pop()
        self.build.names.release(x.value.name)
        return Tensor(source, x.span)

    def _arithmetic(self, node: tree.Operator, wanted: str) -> Meaning:
        left, right = (self.expression(arg) for arg in node.args)
        if isinstance(left, Number) and isinstance(right, Number):
            return self.scalar(node)
        if integers.joins(left, right):
            return integers.arithmetic(self, node, left, right, wanted)
        if isinstance(left, Number) and isinstance(right, Tensor) and node.op in ("+", "*"):
            left, right = right, left
        if not isinstance(left, Tensor):
            raise problem(
                MISFIT, f"'{node.op}' joins tensors and numbers", node.args[0].span, f"is {describe(left)}"
            )
        op = OPERATORS[node.op]
        if isinstance(right, Number) and right.kind in ("int", "float"):
            if node.op == "/" and isinstance(right.scalar, Const) and not right.scalar.value:
                raise problem(BAD_SCALAR, "division by zero", node.args[1].span)
            return self.apply(
                op,
                [Tensor(left.value, node.args[0].span)],
                {"scalar": right.scalar},
                node.span,
                name=wanted or op,
            )
        if not isinstance(right, Tensor):
            raise problem(
                MISFIT, f"'{node.op}' joins tensors and numbers", node.args[1].span, f"is {describe(right)}"
            )
        operands: list[Tensor | None] = [
            Tensor(left.value, node.args[0].span),
            Tensor(right.value, node.args[1].span),
        ]
        if node.op == "*" and {_kind(left.value), _kind(right.value)} == {DType.INT, DType.FLOAT}:
            operands.sort(key=lambda one: one is not None and _kind(one.value) is DType.FLOAT)
            return self.apply("angles", operands, {}, node.span, name=wanted or "angles")
        return self.apply(op, operands, {}, node.span, name=wanted or "total")

    def _call(self, node: tree.Call, wanted: str) -> Meaning:
        if not isinstance(node.function, tree.Reference):
            raise problem(MISFIT, "only a name can be called", node.function.span)
        name = node.function.name.text
        meaning = self.values.get(name) or self.scope.meaning(name)
        if isinstance(meaning, Number) and meaning.kind == "activation":
            return activations.applied(self, node, name, meaning, wanted)
        if isinstance(meaning, Definition):
            return self._block_call(node, meaning.function, wanted)
        if name in scalars.FUNCTIONS or name == "given":
            return self.scalar(node)
        if name in self.scope.functions:
            return self.inline(node, self.scope.functions[name], wanted)
        if meaning is not None:
            raise problem(MISFIT, f"{name!r} cannot be called", node.function.span, f"is {describe(meaning)}")
        if name in BUILTINS:
            signature, build = BUILTINS[name]
            return build(self, bind(node, name, signature, self.scope.defaults.get(name, {}), wanted))
        if name in LATER:
            raise problem(NOT_YET, f"'{name}' is not compiled yet", node.function.span)
        known = [*BUILTINS, *self.scope.blocks, *LATER]
        raise problem(
            UNKNOWN_NAME, f"nothing is called {name!r}", node.function.span, hint=nearest(name, known)
        )

    def inline(self, node: tree.Call, callee: Callee, wanted: str) -> Meaning:
        """What a ``fn`` makes of the arguments of ``node``."""
        raise NotImplementedError

    def _block_call(self, node: tree.Call, block: tree.Function, wanted: str) -> Meaning:
        function = self.done.get(block.name.text)
        if function is None:
            raise DiagnosticError(
                self.failed.get(block.name.text, [])
            )  # it is wrong itself, and says so once
        names = tuple(given.value.name for given in function.inputs)
        bound = bind(node, block.name.text, Signature((*names, "at"), len(names)), {})
        operands = []
        for given in function.inputs:
            x = self.tensor(bound.given[given.value.name], "")
            if x.value.type != given.value.type:
                raise problem(
                    MISFIT,
                    f"{block.name.text!r} takes another {given.value.name!r}",
                    bound.span(given.value.name),
                    f"is {x.value.type}",
                    related=((block.name.span, f"takes {given.value.type}"),),
                )
            operands.append(x.value)
        at = self.path(bound.given["at"]) if "at" in bound.given else ""
        self.claim_block(function, at, bound.span("at"))
        types = [value.type for _, value in function.outputs]
        wishes = (
            [wanted or function.name.lower()] if len(types) == 1 else [name for name, _ in function.outputs]
        )
        attributes: dict[str, Attribute] = {"block": function.name, "at": at}
        indices = indices_of(function.operations)
        if indices:
            attributes["indices"] = indices
        for index in indices:
            if self._index(index) is None:
                related = ((block.name.span, f"reads {index!r}"),)
                message = f"{block.name.text!r} reads the index of a repeat {index!r}, and is called in none"
                raise problem(UNKNOWN_NAME, message, node.span, related=related)
        made = self.build.add_all("call", operands, attributes, names=wishes, span=node.span, types=types)
        if len(types) == 1:
            return Tensor(made.results[0], node.span)
        named = zip((name for name, _ in function.outputs), made.results, strict=True)
        return Several(tuple((name, Tensor(value, node.span)) for name, value in named))

    # What statements ask for

    def path(self, node: tree.Expr) -> str:
        """A checkpoint path given as an argument."""
        meaning = self.expression(node)
        if not isinstance(meaning, Text):
            raise problem(MISFIT, "a checkpoint path stands in quotes", node.span, f"is {describe(meaning)}")
        return self.path_of(meaning)

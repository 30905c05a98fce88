"""Blocks and models become functions of the IR: statements in order, expressions inside out, every value typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ttmlc.elaborate import scalars
from ttmlc.elaborate.binding import Signature, bind
from ttmlc.elaborate.builtins import BUILTINS, LATER
from ttmlc.elaborate.names import INPUTS, OUTPUT_MEMBERS, class_name, path, plain
from ttmlc.elaborate.problems import (
    BAD_PATH,
    DECLARED_TWICE,
    MISFIT,
    MISSING_ARGUMENT,
    NOT_YET,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    Problems,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import Scope, tensor_type
from ttmlc.elaborate.values import (
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
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Attribute, Form, Function, Input, Kind, Region, Value
from ttmlc.ir.op import TABLE, Refusal
from ttmlc.ir.ops.shape import Rearrange
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import DType, TensorType
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


@dataclass
class Elaborator:
    """One function on its way into the IR."""

    scope: Scope
    problems: Problems
    done: dict[str, Function]
    build: Builder = field(default_factory=Builder)
    values: dict[str, Meaning] = field(default_factory=dict)
    indices: tuple[str, ...] = ()
    wanted: str = ""
    paths: dict[str, Span] = field(default_factory=dict)

    def block(self, node: tree.Function) -> Function:
        """A block as a function."""
        inputs = tuple(given for given in (self._param(param) for param in node.params) if given is not None)
        outputs = self._body(node.body, node.name)
        return Function(
            class_name(node.name), Kind.BLOCK, inputs, tuple(self.build.operations), outputs, node.span
        )

    def model(self, node: tree.Model) -> Function:
        """A model as a function."""
        inputs = tuple(
            given for given in (self._param(param) for param in node.params or ()) if given is not None
        )
        if not inputs or not any(
            i.value.type.dtype is DType.INT for i in inputs if isinstance(i.value.type, TensorType)
        ):
            hint = "As in input_ids: int[B, S]."
            raise problem(
                WRONG_SHAPE, "a model takes at least one input of integers", node.name.span, hint=hint
            )
        first = inputs[0]
        if first.default is not None or str(first.value.type) != "int[B, S]":
            span = node.params[0].span if node.params else node.span
            raise problem(
                WRONG_SHAPE, "the first input must be int[B, S] without a default: it gives B and S", span
            )
        outputs = self._body(node.body, node.name)
        return Function(
            class_name(node.name), Kind.MODEL, inputs, tuple(self.build.operations), outputs, node.span
        )

    # Parameters of functions

    def _param(self, param: tree.Param) -> Input | None:
        with self.problems.kept():
            name = plain(param.name, INPUTS)
            if name in self.values:
                raise problem(DECLARED_TWICE, f"{name!r} is declared twice", param.name.span)
            self.values[name] = Poison()
            if param.optional:
                raise problem(NOT_YET, "optional inputs are not compiled yet", param.span)
            if len(param.types) != 1 or not isinstance(param.types[0], tree.TensorExpr):
                raise problem(
                    NOT_YET,
                    "an input of this type is not compiled yet",
                    param.span,
                    hint="Give it a tensor type.",
                )
            type_ = tensor_type(self.scope, param.types[0])
            value = Value(self.build.names.fresh(name), type_)
            self.values[name] = Tensor(value, param.name.span)
            return Input(value, self._default(param, type_))
        return None

    def _default(self, param: tree.Param, type_: TensorType) -> Const | Form | None:
        node = param.default
        if node is None:
            return None
        if (
            isinstance(node, tree.Call)
            and isinstance(node.function, tree.Reference)
            and node.function.name.text == "position"
        ):
            return Form("position")
        if isinstance(node, tree.Literal) and type(node.value) is int and 0 <= node.value < 1 << 31:
            if type_.dtype is DType.BOOL:
                if node.value not in (0, 1):
                    raise problem(MISFIT, "a mask is 0 or 1", node.span)
                return Const(bool(node.value))
            return Const(node.value)
        if isinstance(node, tree.Literal) and isinstance(node.value, bool) and type_.dtype is DType.BOOL:
            return Const(node.value)
        raise problem(
            NOT_YET, "this default is not compiled yet", node.span, hint="Whole numbers and position(S) are."
        )

    # Statements

    def _body(self, statements: Sequence[tree.Statement], name: tree.Name) -> tuple[tuple[str, Value], ...]:
        returned: tree.Return | None = None
        for statement in statements:
            if returned is not None and not isinstance(statement, tree.Doc):
                related = ((returned.span, "returns here"),)
                raise problem(WRONG_SHAPE, "nothing comes after 'return'", statement.span, related=related)
            if isinstance(statement, tree.Return):
                returned = statement
            else:
                with self.problems.kept():
                    self._statement(statement)
        if returned is None:
            raise problem(
                WRONG_SHAPE, f"{name.text!r} returns nothing", name.span, hint="End it with 'return'."
            )
        return self._return(returned)

    def _return(self, node: tree.Return) -> tuple[tuple[str, Value], ...]:
        if node.value is not None:
            return (("result", self._tensor(node.value, "y").value),)
        outputs: dict[str, Value] = {}
        for option in node.values:
            with self.problems.kept():
                name = plain(option.name, OUTPUT_MEMBERS)
                if name in outputs:
                    raise problem(DECLARED_TWICE, f"{name!r} is returned twice", option.name.span)
                outputs[name] = self._tensor(option.value, name).value
        return tuple(outputs.items())

    def _tensor(self, node: tree.Expr, wanted: str) -> Tensor:
        meaning = self._named(node, wanted)
        if not isinstance(meaning, Tensor):
            raise problem(MISFIT, "a tensor is needed here", node.span, f"is {describe(meaning)}")
        return meaning

    def _named(self, node: tree.Expr, wanted: str) -> Meaning:
        self.wanted = wanted
        return self.expression(node)

    def _statement(self, node: tree.Statement) -> None:
        if isinstance(node, tree.Assign):
            self._assign(node)
        elif isinstance(node, tree.ParamStatement):
            self._param_statement(node)
        elif isinstance(node, tree.Repeat):
            self._repeat(node)
        elif not isinstance(node, tree.Doc):
            raise problem(NOT_YET, "this statement is not compiled yet", node.span)

    def _assign(self, node: tree.Assign) -> None:
        names = []
        for target in node.targets:
            if len(target.path) != 1:
                raise problem(NOT_YET, "amending a block is not compiled yet", target.span)
            names.append(plain(target.path[0]))
        try:
            if len(names) > 1:
                raise problem(
                    NOT_YET, "taking several results apart is not compiled yet", node.targets[1].span
                )
            self.values[names[0]] = self._named(node.value, names[0])
        except DiagnosticError:
            self.values.update({name: Poison() for name in names})
            raise

    def _param_statement(self, node: tree.ParamStatement) -> None:
        name = plain(node.name)
        self.values[name] = Poison()
        type_ = tensor_type(self.scope, node.type)
        options = {option.name.text: option.value for option in node.options}
        for option in node.options:
            if option.name.text not in ("init", "pad"):
                hint = nearest(option.name.text, ("init", "pad"))
                raise problem(
                    MISSING_ARGUMENT, f"'param' has no option {option.name.text!r}", option.span, hint=hint
                )
        options = {**self.scope.defaults.get("param", {}), **options}
        init = self.expression(options["init"]) if "init" in options else None
        if not isinstance(init, Init):
            hint = "Say init=normal(std) here or in 'defaults'."
            raise problem(MISFIT, "a parameter needs an initialisation", node.span, hint=hint)
        zero_row: Scalar | None = None
        if "pad" in options:
            pad = self.expression(options["pad"])
            if not isinstance(pad, Number) or pad.kind not in ("int", "none"):
                raise problem(MISFIT, "'pad' must be a token", options["pad"].span, f"is {describe(pad)}")
            zero_row = pad.scalar
        at, *also = (path(literal, self.indices) for literal in node.at)
        made = self.parameter(
            at, type_, Form(init.name, init.args), node.at[0].span, zero_row, tuple(also), name
        )
        self.values[name] = Tensor(made.value, node.name.span)

    def _repeat(self, node: tree.Repeat) -> None:
        if node.shared is not None:
            raise problem(NOT_YET, "shared layers are not compiled yet", node.shared[0].span)
        index = plain(node.index)
        if index in self.indices or index in self.values:
            raise problem(DECLARED_TWICE, f"{index!r} is declared already", node.index.span)
        count = self.expression(node.count)
        if not isinstance(count, Number) or count.kind != "int":
            raise problem(
                MISFIT,
                "a repeat counts by a whole number of the config",
                node.count.span,
                f"is {describe(count)}",
            )
        at = path(node.at, (*self.indices, index)) if node.at is not None else ""
        if node.at is not None and f"{{{index}}}" not in at:
            hint = f"Put {{{index}}} into the path."
            raise problem(
                BAD_PATH,
                f"the path does not move with {index!r}: layers would share it",
                node.at.span,
                hint=hint,
            )
        carried = self._carried(node)
        outer, before, paths = self.build, dict(self.values), self.paths
        self.build, self.paths = Builder(outer.names), {}
        self.indices = (*self.indices, index)
        arguments = []
        for name in carried:
            was = before[name]
            assert isinstance(was, Tensor)
            argument = Value(outer.names.fresh(name), was.value.type)
            arguments.append(argument)
            self.values[name] = Tensor(argument, was.span)
        for statement in node.body:
            with self.problems.kept():
                self._statement(statement)
        yields = self._yields(node, carried, arguments)
        body = Region(tuple(arguments), tuple(self.build.operations), tuple(yields))
        if any(operation.op == "param" for operation in body.operations):
            raise problem(
                NOT_YET,
                "a repeat that makes parameters itself is not compiled yet",
                node.span,
                hint="Make them in a block.",
            )
        self.build, self.indices, self.paths = outer, self.indices[:-1], paths
        initial = [before[name] for name in carried]
        attributes: dict[str, Attribute] = {"index": index, "count": count.scalar, "at": at}
        operands = [meaning.value for meaning in initial if isinstance(meaning, Tensor)]
        types = [argument.type for argument in arguments]
        made = self.build.add_all(
            "repeat", operands, attributes, names=carried, span=node.span, types=types, body=body
        )
        self.values = before
        for name, value in zip(carried, made.results, strict=True):
            self.values[name] = Tensor(value, node.span)

    def _carried(self, node: tree.Repeat) -> list[str]:
        """The names from outside that the body assigns: what each turn hands to the next."""
        assigned = [
            t.path[0].text
            for s in node.body
            if isinstance(s, tree.Assign)
            for t in s.targets
            if len(t.path) == 1
        ]
        names = list(dict.fromkeys(name for name in assigned if name in self.values))
        if any(isinstance(self.values[name], Poison) for name in names):
            raise DiagnosticError([])
        if not names:
            hint = "Assign a value from outside, as in h = Layer(h)."
            raise problem(WRONG_SHAPE, "this repeat changes nothing outside it", node.index.span, hint=hint)
        for name in names:
            if not isinstance(self.values[name], Tensor):
                raise problem(
                    MISFIT,
                    f"{name!r} is {describe(self.values[name])} outside and cannot be carried",
                    node.span,
                )
        return names

    def _yields(self, node: tree.Repeat, carried: list[str], arguments: list[Value]) -> list[Value]:
        yields = []
        for name, argument in zip(carried, arguments, strict=True):
            last = self.values[name]
            if isinstance(last, Poison):
                raise DiagnosticError([])
            if not isinstance(last, Tensor) or last.value.type != argument.type:
                raise problem(
                    MISFIT,
                    f"{name!r} changes its type from turn to turn",
                    node.index.span,
                    f"{argument.type} becomes {describe(last)}",
                )
            yields.append(last.value)
        return yields

    # Expressions

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

    def _expression(self, node: tree.Expr, wanted: str) -> Meaning:
        if isinstance(node, tree.Literal):
            return Text(node.value) if isinstance(node.value, str) else scalars.literal(node)
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
        if isinstance(node, tree.Member):
            return self._member(node)
        return scalars.elaborate(node, self.number, self.scope.words)

    def number(self, name: tree.Name) -> Number | None:
        """A name inside a scalar expression."""
        meaning = self.values.get(name.text) or self.scope.number(name.text)
        if isinstance(meaning, Poison):
            raise DiagnosticError([])
        if meaning is not None and not isinstance(meaning, Number):
            raise problem(MISFIT, f"{name.text!r} is no scalar", name.span, f"is {describe(meaning)}")
        return meaning

    def _reference(self, node: tree.Reference) -> Meaning:
        name = node.name.text
        found = self.values.get(name) or self.scope.meaning(name)
        if found is not None:
            return found
        if name in ("zeros", "ones"):
            return Init(name)
        if name in self.indices:
            raise problem(NOT_YET, "a repeat's index in an expression is not compiled yet", node.span)
        known = [*self.values, *self.scope.known(), *BUILTINS]
        raise problem(UNKNOWN_NAME, f"nothing is called {name!r}", node.span, hint=nearest(name, known))

    def _member(self, node: tree.Member) -> Meaning:
        owner = self.expression(node.owner)
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

    def _arithmetic(self, node: tree.Operator, wanted: str) -> Meaning:
        left, right = (self.expression(arg) for arg in node.args)
        if isinstance(left, Number) and isinstance(right, Number):
            return scalars.elaborate(node, self.number, self.scope.words)
        if isinstance(left, Number) and isinstance(right, Tensor) and node.op in ("+", "*"):
            left, right = right, left
        if not isinstance(left, Tensor):
            raise problem(
                MISFIT, f"'{node.op}' joins tensors and numbers", node.args[0].span, f"is {describe(left)}"
            )
        op = OPERATORS[node.op]
        if isinstance(right, Number) and right.kind in ("int", "float"):
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
        return self.apply(op, operands, {}, node.span, name=wanted or "total")

    def _call(self, node: tree.Call, wanted: str) -> Meaning:
        if not isinstance(node.function, tree.Reference):
            raise problem(MISFIT, "only a name can be called", node.function.span)
        name = node.function.name.text
        meaning = self.values.get(name) or self.scope.meaning(name)
        if isinstance(meaning, Number) and meaning.kind == "activation":
            bound = bind(node, name, Signature(("x",), 1), {})
            x = self._tensor(bound.given["x"], "")
            return self.apply(
                "activate",
                [Tensor(x.value, bound.span("x"))],
                {"kind": meaning.scalar},
                node.span,
                name=wanted or name,
            )
        if isinstance(meaning, Definition):
            return self._block_call(node, meaning.function, wanted)
        if name in scalars.FUNCTIONS:
            return scalars.elaborate(node, self.number, self.scope.words)
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

    def _block_call(self, node: tree.Call, block: tree.Function, wanted: str) -> Meaning:
        function = self.done.get(block.name.text)
        if function is None:
            raise DiagnosticError([])  # the block itself is wrong, and says so
        names = tuple(given.value.name for given in function.inputs)
        bound = bind(node, block.name.text, Signature((*names, "at"), len(names)), {})
        operands = []
        for given in function.inputs:
            x = self._tensor(bound.given[given.value.name], "")
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
        self._claim_block(function, at, bound.span("at"))
        types = [value.type for _, value in function.outputs]
        wishes = (
            [wanted or function.name.lower()] if len(types) == 1 else [name for name, _ in function.outputs]
        )
        attributes: dict[str, Attribute] = {"block": function.name, "at": at}
        made = self.build.add_all("call", operands, attributes, names=wishes, span=node.span, types=types)
        if len(types) == 1:
            return Tensor(made.results[0], node.span)
        named = zip((name for name, _ in function.outputs), made.results, strict=True)
        return Several(tuple((name, Tensor(value, node.span)) for name, value in named))

    # What builtins ask for

    def path(self, node: tree.Expr) -> str:
        """A checkpoint path given as an argument."""
        if not isinstance(node, tree.Literal) or not isinstance(node.value, str):
            raise problem(MISFIT, "a checkpoint path stands in quotes", node.span)
        return path(node, self.indices)

    def parameter(
        self,
        at: str,
        type_: TensorType,
        init: Form,
        span: Span,
        zero_row: Scalar | None = None,
        also: Sequence[str] = (),
        name: str = "",
    ) -> Tensor:
        """Make a parameter at a checkpoint path of this block."""
        self._claim(at, span)
        attributes: dict[str, Attribute] = {"at": at, "init": init}
        if zero_row is not None:
            attributes["zero_row"] = zero_row
        if also:
            attributes["also"] = tuple(also)
        wished = name or "_".join(at.split(".")[-2:])
        value = self.build.add("param", (), attributes, name=wished, span=span, types=(type_,))
        return Tensor(value, span)

    def _claim_block(self, function: Function, at: str, span: Span) -> None:
        for operation in function.walk():
            if operation.op == "param":
                self._claim(f"{at}.{operation.text('at')}" if at else operation.text("at"), span)
            elif operation.op == "call":
                inner = self.done[operation.text("block")]
                below = str(operation.get("at") or "")
                self._claim_block(inner, ".".join(part for part in (at, below) if part), span)

    def _claim(self, at: str, span: Span) -> None:
        if at in self.paths:
            related = ((self.paths[at], "made here already"),)
            raise problem(BAD_PATH, f"two parameters would lie at {at!r}", span, related=related)
        self.paths[at] = span

    def apply(
        self,
        op: str,
        operands: Sequence[Tensor | None],
        attributes: Mapping[str, Attribute],
        span: Span,
        *,
        name: str,
    ) -> Tensor:
        """Add an op; what it refuses is told where the operand at fault stands."""
        values = [None if operand is None else operand.value for operand in operands]
        try:
            return Tensor(self.build.add(op, values, attributes, name=name, span=span), span)
        except Refusal as refusal:
            raise self._told(op, refusal, operands, span) from None

    def _told(
        self, op: str, refusal: Refusal, operands: Sequence[Tensor | None], span: Span
    ) -> DiagnosticError:
        names = TABLE[op].operand_names()
        spans = {
            name: operand.span for name, operand in zip(names, operands, strict=False) if operand is not None
        }
        related = tuple((spans[name], label) for name, label in refusal.related if name in spans)
        at = spans.get(refusal.at, span)
        return problem(
            MISFIT, f"'{op}': {refusal.message}", at, refusal.label, related=related, hint=refusal.hint
        )

"""Blocks and models become functions of the IR: statements in order, expressions inside out, every value typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ttmlc.elaborate import integers
from ttmlc.elaborate.binding import Bound, Signature
from ttmlc.elaborate.branches import Branches
from ttmlc.elaborate.names import INPUTS, OUTPUT_MEMBERS, class_name, path, plain
from ttmlc.elaborate.problems import (
    BAD_PATH,
    BAD_SCALAR,
    DECLARED_TWICE,
    MISFIT,
    NOT_YET,
    UNKNOWN_OPTION,
    WRONG_SHAPE,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import tensor_type
from ttmlc.elaborate.values import Init, Meaning, Number, Poison, Tensor, describe
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import COMPUTED, Attribute, Form, Function, Input, Kind, Region, Value
from ttmlc.ir.scalar import Asked, Const, Scalar, leaves
from ttmlc.ir.types import Axis, DType, TensorType
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

MAX_LEAVES = 200
"""Names and numbers in one scalar: what reads another twice, line after line, would double at each."""

PARAM = Signature(("init", "pad"), 0)


@dataclass
class Elaborator(Branches):
    """One function on its way into the IR.

    A head is one ``of_head``: its inputs may have several types. A model or a head is one ``of_model``: its inputs may
    be absent, and the host takes part in it.
    """

    of_head: bool = False
    of_model: bool = False

    def block(self, node: tree.Function) -> Function:
        """A block as a function."""
        self.of_block = True
        inputs = tuple(given for given in (self._param(param) for param in node.params) if given is not None)
        outputs = self._body(node.body, node.name)
        return Function(
            class_name(node.name), Kind.BLOCK, inputs, tuple(self.build.operations), outputs, node.span
        )

    def model(self, node: tree.Model) -> Function:
        """A model as a function."""
        self.of_model = True
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
        if first.default is not None or first.optional or str(first.value.type) != "int[B, S]":
            span = node.params[0].span if node.params else node.span
            raise problem(
                WRONG_SHAPE, "the first input must be int[B, S] without a default: it gives B and S", span
            )
        self.defaults(node.params or ())
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
            if param.optional and not (self.of_head or self.of_model):
                raise problem(NOT_YET, "optional inputs of blocks are not compiled yet", param.span)
            written = [type_ for type_ in param.types if isinstance(type_, tree.TensorExpr)]
            if not written or len(written) < len(param.types) or (len(written) > 1 and not self.of_head):
                raise problem(
                    NOT_YET,
                    "an input of this type is not compiled yet",
                    param.span,
                    hint="Give it a tensor type.",
                )
            types = tuple(tensor_type(self.scope, type_) for type_ in written)
            alternatives = types if len(types) > 1 else ()
            value = Value(self.build.names.fresh(name), types[0])
            self.values[name] = Tensor(value, param.name.span, alternatives)
            self.inputs[name] = Input(value, self._default(param, types[0]), param.optional, alternatives)
            return self.inputs[name]
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
        if self.of_model and not isinstance(node, tree.Literal):
            return COMPUTED
        raise problem(
            NOT_YET, "this default is not compiled yet", node.span, hint="Whole numbers and position(S) are."
        )

    def defaults(self, params: Sequence[tree.Param]) -> None:
        """Choose what inputs are where they are not given, in order: each is made of those before it."""
        names = [param.name.text for param in params]
        for place, param in enumerate(params):
            given, name = self.inputs.get(param.name.text), param.name.text
            raw = self.values.get(name)
            if given is None or given.default != COMPUTED or not isinstance(raw, Tensor):
                continue
            all_values = self.values
            self.values = {key: value for key, value in all_values.items() if key not in names[place:]}
            all_values[name] = Poison()
            try:
                with self.problems.kept():
                    all_values[name] = made = integers.default(self, param, raw)
                    self.owned[name] = made.value
            finally:
                self.values = all_values

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
                    self.statement(statement)
        if returned is None:
            raise problem(
                WRONG_SHAPE, f"{name.text!r} returns nothing", name.span, hint="End it with 'return'."
            )
        return self._return(returned)

    def _return(self, node: tree.Return) -> tuple[tuple[str, Value], ...]:
        if node.value is not None:
            return (("result", self.tensor(node.value, "y").value),)
        outputs: dict[str, Value] = {}
        for option in node.values:
            with self.problems.kept():
                name = plain(option.name, OUTPUT_MEMBERS)
                if name in outputs:
                    raise problem(DECLARED_TWICE, f"{name!r} is returned twice", option.name.span)
                outputs[name] = self.tensor(option.value, name).value
        return tuple(outputs.items())

    def statement(self, node: tree.Statement) -> None:
        """Take a statement.

        Raises:
            DiagnosticError: it is wrong.
        """
        if isinstance(node, tree.Assign):
            self._assign(node)
        elif isinstance(node, tree.ParamStatement):
            self._param_statement(node)
        elif isinstance(node, tree.Repeat):
            self._repeat(node)
        elif isinstance(node, tree.Require):
            integers.require(self, node, allowed=self.of_model)
        elif isinstance(node, (tree.If, tree.Match)) and (self.of_head or self.calling):
            if any(isinstance(part, tree.Return) for part in tree.walk(node)):
                raise problem(NOT_YET, "returning from here is not compiled yet", node.span)
            self.run((node,), "")
        elif isinstance(node, tree.If) and self.of_model:
            self._when(node)
        elif not isinstance(node, (tree.Doc, tree.HeadConfig)):  # which is read before the head
            raise problem(NOT_YET, "this statement is not compiled yet", node.span)

    def _assign(self, node: tree.Assign) -> None:
        names = []
        for target in node.targets:
            if len(target.path) != 1:
                raise problem(NOT_YET, "amending a block is not compiled yet", target.span)
            names.append(plain(target.path[0]))
        try:
            if len(set(names)) < len(names):
                raise problem(DECLARED_TWICE, "a name is given twice here", node.targets[0].span)
            if len(names) > 1:
                self.values.update(zip(names, self.apart(node.value, names), strict=True))
                return
            meaning = self.named(node.value, names[0])
            if (
                isinstance(meaning, Number)
                and len(list(islice(leaves(meaning.scalar), MAX_LEAVES + 1))) > MAX_LEAVES
            ):
                raise problem(BAD_SCALAR, "this grows too large: scalars are written out", node.value.span)
            self.values[names[0]] = meaning
        except DiagnosticError:
            self.values.update({name: Poison() for name in names})
            raise

    def _param_statement(self, node: tree.ParamStatement) -> None:
        name = plain(node.name)
        self.values[name] = Poison()
        type_ = tensor_type(self.scope, node.type)
        for option in node.options:
            if option.name.text not in PARAM.names:
                hint = nearest(option.name.text, PARAM.names)
                message = f"'param' has no option {option.name.text!r}"
                raise problem(UNKNOWN_OPTION, message, option.name.span, hint=hint)
        given = {option.name.text: option.value for option in node.options}
        defaults = {word: v for word, v in self.scope.defaults.get("param", {}).items() if word not in given}
        bound = Bound(node.span, {**defaults, **given}, name, frozenset(defaults))
        init = self.argument(bound, "init") if "init" in bound.given else None
        if not isinstance(init, Init):
            hint = "Say init=normal(std) here or in 'defaults'."
            raise problem(MISFIT, "a parameter needs an initialisation", bound.span("init"), hint=hint)
        zero_row: Scalar | None = None
        if "pad" in bound.given:
            pad = self.argument(bound, "pad")
            if not isinstance(pad, Number) or pad.kind not in ("int", "none"):
                raise problem(MISFIT, "'pad' must be a token", bound.span("pad"), f"is {describe(pad)}")
            zero_row = pad.scalar
        at, *also = (path(literal, self.indices) for literal in node.at)
        made = self.parameter(
            at, type_, Form(init.name, init.args), node.at[0].span, zero_row, tuple(also), name
        )
        self.values[name] = Tensor(made.value, node.name.span)
        self.owned[name] = made.value

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
        if node.at is not None:
            self._moves(at, index, node.at.span, f"Put {{{index}}} into the path.")
        carried, before, paths = self._carried(node, node.body), dict(self.values), self.paths
        self.paths, self.indices = {}, (*self.indices, index)
        self.counted[index] = count.dim.name if isinstance(count.dim, Axis) else ""
        try:
            body = self._region(node, node.body, carried)
            if node.at is None:
                for own, span in self.paths.items():
                    self._moves(own, index, span, f'Say where: repeat ... at "layers.{{{index}}}":')
        finally:
            self.indices, self.paths = self.indices[:-1], paths
        attributes: dict[str, Attribute] = {"index": index, "count": count.scalar, "at": at}
        self._inside("repeat", node, carried, before, attributes, body)

    def _moves(self, at: str, index: str, span: Span, hint: str) -> None:
        """Refuse a path that is the same in every turn of a repeat."""
        if f"{{{index}}}" not in at:
            message = f"the path does not move with {index!r}: layers would share it"
            raise problem(BAD_PATH, message, span, hint=hint)

    def _when(self, node: tree.If) -> None:
        """Statements that are taken where optional inputs are given; parameters are made in any case."""
        condition = self.condition(node.condition)
        asked = [leaf for leaf in leaves(condition) if isinstance(leaf, Asked)]
        if node.otherwise:
            raise problem(NOT_YET, "'else' is not compiled yet in a model", node.span)
        if len(asked) < len(list(leaves(condition))):
            hint = "Ask whether an input is there: if given(token_type_ids):"
            raise problem(NOT_YET, "this condition is not compiled yet here", node.condition.span, hint=hint)
        carried, before = self._carried(node, node.then), dict(self.values)
        body = self._region(node, node.then, carried)
        params = [operation for operation in body.operations if operation.op == "param"]
        self.build.operations += params
        rest = tuple(operation for operation in body.operations if operation.op != "param")
        self._inside("when", node, carried, before, {"condition": condition}, replace(body, operations=rest))

    def _region(
        self, node: tree.Node, statements: Sequence[tree.Statement], carried: Sequence[str]
    ) -> Region:
        """``statements`` as a body that takes what ``carried`` are and yields what they become."""
        outer, before = self.build, dict(self.values)
        self.build = Builder(outer.names)
        arguments = []
        for name in carried:
            was = before[name]
            assert isinstance(was, Tensor)
            argument = Value(outer.names.fresh(name), was.value.type)
            arguments.append(argument)
            self.values[name] = Tensor(argument, was.span)
        try:
            for statement in statements:
                with self.problems.kept():
                    self.statement(statement)
            yields = self._yields(node, carried, arguments)
            return Region(tuple(arguments), tuple(self.build.operations), tuple(yields))
        except DiagnosticError:
            self.values = {**before, **{name: Poison() for name in carried}}
            raise
        finally:
            self.build = outer

    def _inside(
        self,
        op: str,
        node: tree.Node,
        carried: Sequence[str],
        before: dict[str, Meaning],
        attributes: dict[str, Attribute],
        body: Region,
    ) -> None:
        """Add an op with a body; behind it only what is carried has changed."""
        operands = [meaning.value for name in carried if isinstance(meaning := before[name], Tensor)]
        types = [argument.type for argument in body.arguments]
        made = self.build.add_all(
            op, operands, attributes, names=carried, span=node.span, types=types, body=body
        )
        self.values = before
        for name, value in zip(carried, made.results, strict=True):
            self.values[name] = Tensor(value, node.span)

    def _carried(self, node: tree.Repeat | tree.If, statements: Sequence[tree.Statement]) -> list[str]:
        """The names from outside that ``statements`` assign: what each turn of a repeat hands to the next."""
        place = node.index.span if isinstance(node, tree.Repeat) else node.condition.span
        assigned = [
            t.path[0].text
            for s in statements
            if isinstance(s, tree.Assign)
            for t in s.targets
            if len(t.path) == 1
        ]
        names = list(dict.fromkeys(name for name in assigned if name in self.values))
        if any(isinstance(self.values[name], Poison) for name in names):
            raise DiagnosticError([])
        if not names:
            hint = "Assign a value from outside, as in h = Layer(h)."
            what = "repeat" if isinstance(node, tree.Repeat) else "'if'"
            raise problem(WRONG_SHAPE, f"this {what} changes nothing outside it", place, hint=hint)
        for name in names:
            if not isinstance(self.values[name], Tensor):
                raise problem(
                    MISFIT,
                    f"{name!r} is {describe(self.values[name])} outside and cannot be carried",
                    node.span,
                )
        return names

    def _yields(self, node: tree.Node, carried: Sequence[str], arguments: Sequence[Value]) -> list[Value]:
        yields = []
        for name, argument in zip(carried, arguments, strict=True):
            last = self.values[name]
            if isinstance(last, Poison):
                raise DiagnosticError([])
            if not isinstance(last, Tensor) or last.value.type != argument.type:
                turns = isinstance(node, tree.Repeat)
                raise problem(
                    MISFIT,
                    f"{name!r} changes its type {'from turn to turn' if turns else 'here'}",
                    node.index.span if isinstance(node, tree.Repeat) else node.span,
                    f"{argument.type} becomes {describe(last)}",
                )
            yields.append(last.value)
        return yields

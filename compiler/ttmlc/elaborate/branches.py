"""Functions written into their callers, and statements that depend on a condition: ``if`` and ``match``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttmlc.elaborate import integers
from ttmlc.elaborate.binding import Signature, bind
from ttmlc.elaborate.choices import is_word, merge, possible_words
from ttmlc.elaborate.expressions import Expressions
from ttmlc.elaborate.problems import (
    MISFIT,
    MISSING_ARGUMENT,
    NOT_YET,
    UNKNOWN_NAME,
    WRONG_SHAPE,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import Callee, Scope, tensor_type
from ttmlc.elaborate.values import Meaning, Number, Poison, Several, Tensor, describe
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

MAX_INLINED = 200
"""Calls of ``fn`` in one function, those in each other included: text that grows like a tree is refused."""

Body = tuple[tree.Statement, ...]
Case = tuple[Scalar, Body]


@dataclass
class Branches(Expressions):
    """Expressions and statements that write functions out and choose between alternatives.

    ``calling`` are the functions that are being written out, ``inlined`` is how many were.
    """

    calling: tuple[str, ...] = ()
    inlined: int = 0

    def statement(self, node: tree.Statement) -> None:
        """Take a statement that returns nothing."""
        raise NotImplementedError

    # Functions

    def inline(self, node: tree.Call, callee: Callee, wanted: str) -> Meaning:
        """What ``callee`` makes of the arguments of ``node``, its statements written out here.

        Raises:
            DiagnosticError: arguments do not fit, or the function is wrong.
        """
        name, params = callee.function.name.text, callee.function.params
        if name in self.calling:
            raise problem(WRONG_SHAPE, f"{name!r} would contain itself", node.function.span)
        self.inlined += 1
        if self.inlined > MAX_INLINED:
            raise problem(WRONG_SHAPE, f"more than {MAX_INLINED} calls of functions in one", node.span)
        bound = bind(node, name, Signature(tuple(param.name.text for param in params), 0), {})
        values: dict[str, Meaning] = {}
        for param in params:
            if param.name.text in bound.given:
                span = bound.span(param.name.text)
                argument = self.expression(bound.given[param.name.text])
                values[param.name.text] = self.fitting(param, argument, span, callee.scope)
            elif param.optional:
                raise problem(NOT_YET, "optional parameters of functions are not compiled yet", param.span)
            elif param.default is None:
                hint = f"Write {param.name.text}=... here."
                raise problem(
                    MISSING_ARGUMENT, f"'{name}' needs {param.name.text!r}", node.function.span, hint=hint
                )
        outer = self.scope, self.values, self.indices
        self.scope, self.values, self.indices = callee.scope, values, ()
        self.calling = (*self.calling, name)
        try:
            for param in params:
                if param.default is not None and param.name.text not in values:
                    default = self.expression(param.default)
                    values[param.name.text] = self.fitting(param, default, param.default.span)
            result = self.run(callee.function.body, wanted)
        finally:
            self.scope, self.values, self.indices = outer
            self.calling = self.calling[:-1]
        if result is None:
            raise problem(
                WRONG_SHAPE,
                f"{name!r} returns nothing",
                callee.function.name.span,
                hint="End it with 'return'.",
            )
        return replace(result, span=node.span) if isinstance(result, Tensor) else result

    def fitting(self, param: tree.Param, meaning: Meaning, span: Span, home: Scope | None = None) -> Meaning:
        """``meaning`` as the argument for ``param``, which stands in a file whose names are ``home``'s, or at hand.

        Raises:
            DiagnosticError: it has another type.
        """
        scope = self.scope if home is None else home
        wanted = []
        for written in param.types:
            if isinstance(written, tree.TensorExpr):
                wanted.append(str(tensor_type(scope, written)))
            else:
                wanted.append(written.name.text)
        found = [describe(meaning)]
        if isinstance(meaning, Tensor):
            found = [str(type_) for type_ in meaning.alternatives or (meaning.value.type,)]
        elif isinstance(meaning, Number):
            found = [meaning.kind]
            if meaning.kind == "int" and "float" in wanted:
                found = ["float"]
        if wanted and not set(found) <= set(wanted):
            related = ((param.span, f"takes {' | '.join(wanted)}"),) if param.span != span else ()
            label = f"is {' | '.join(found)}"
            raise problem(MISFIT, f"{param.name.text!r} has another type", span, label, related=related)
        return replace(meaning, span=span) if isinstance(meaning, Tensor) else meaning

    # Statements

    def run(self, statements: Body, wanted: str) -> Meaning | None:
        """Take ``statements`` in order; what they return, which the caller calls ``wanted``, or None.

        Raises:
            DiagnosticError: one of them is wrong.
        """
        for place, node in enumerate(statements):
            if isinstance(node, tree.Return):
                behind = [other for other in statements[place + 1 :] if not isinstance(other, tree.Doc)]
                if behind:
                    related = ((node.span, "returns here"),)
                    raise problem(
                        WRONG_SHAPE, "nothing comes after 'return'", behind[0].span, related=related
                    )
                return self.returned(node, wanted)
            if isinstance(node, (tree.If, tree.Match)):
                cases, otherwise = self._cases(node)
                rest = statements[place + 1 :]
                if not cases:
                    return self.run((*otherwise, *rest), wanted)
                if any(isinstance(part, tree.Return) for part in tree.walk(node)):
                    return self._returning(node, cases, otherwise, rest, wanted)
                self._assigning(node, cases, otherwise)
            else:
                self.statement(node)
        return None

    def returned(self, node: tree.Return, wanted: str) -> Meaning:
        """What a ``return`` of a function gives."""
        if node.value is not None:
            return self.named(node.value, wanted)
        results = [(option.name.text, self.tensor(option.value, option.name.text)) for option in node.values]
        return Several(tuple(results))

    def _cases(self, node: tree.If | tree.Match) -> tuple[list[Case], Body]:
        """The cases that need asking, and what is done in the others."""
        if isinstance(node, tree.If):
            written = [(self.condition(node.condition), node.then)]
            otherwise = node.otherwise
        else:
            written, otherwise = self._match(node)
        cases: list[Case] = []
        for condition, body in written:
            if condition == Const(True):
                return cases, body
            if condition != Const(False):
                cases.append((condition, body))
        return cases, otherwise

    def _match(self, node: tree.Match) -> tuple[list[Case], Body]:
        value = self.expression(node.value)
        words = possible_words(self, value.scalar) if isinstance(value, Number) else None
        if not isinstance(value, Number) or words is None:
            label = f"is {describe(value)}"
            raise problem(MISFIT, "'match' takes an enumerated value", node.value.span, label)
        for case in node.cases:
            if case.name.text not in words:
                raise problem(
                    UNKNOWN_NAME,
                    f"the value is never {case.name.text!r}",
                    case.name.span,
                    hint=nearest(case.name.text, words),
                )
        missing = [word for word in words if word not in {case.name.text for case in node.cases}]
        if missing:
            hint = f"Add {', '.join(missing)}."
            raise problem(WRONG_SHAPE, "this 'match' leaves values out", node.value.span, hint=hint)
        written = [(is_word(value.scalar, case.name.text), case.body) for case in node.cases]
        *asked, (_, last) = written  # all words have a case, so the last needs no question
        return asked, last

    def _returning(
        self,
        node: tree.Statement,
        cases: Sequence[Case],
        otherwise: Body,
        rest: Body,
        wanted: str,
    ) -> Meaning:
        """Alternatives of which at least one returns; one of the others may go on with ``rest``."""
        before, results, goes_on = self.values, [], False
        start = len(self.build.operations)
        for known, body in self._bodies(cases, otherwise):
            self.values = dict(before)
            result = self._run_where(known, body)
            if result is None:
                if goes_on:  # written out twice, it would double at every such statement
                    raise problem(NOT_YET, "that two cases go on behind this is not compiled yet", node.span)
                goes_on = True
                result = self._run_where(known, rest)
            if result is None:
                raise problem(WRONG_SHAPE, "this does not return in every case", node.span)
            results.append(result)
        self.values = before
        self._no_parameters(start, node.span)
        return merge(self, [condition for condition, _ in cases], results, node, wanted)

    def _assigning(self, node: tree.Statement, cases: Sequence[Case], otherwise: Body) -> None:
        """Alternatives that give names other values; a name that only some of them give is unknown behind."""
        before, ends = self.values, []
        start = len(self.build.operations)
        for known, body in self._bodies(cases, otherwise):
            self.values = dict(before)
            self._run_where(known, body)
            ends.append(self.values)
        self.values = dict(before)
        self._no_parameters(start, node.span)
        for name in ends[0]:
            meanings = [end[name] for end in ends if name in end]
            if len(meanings) < len(ends) or all(meaning is before.get(name) for meaning in meanings):
                continue
            if any(isinstance(meaning, Poison) for meaning in meanings):
                raise DiagnosticError([])
            self.values[name] = merge(self, [condition for condition, _ in cases], meanings, node, name)

    def _bodies(self, cases: Sequence[Case], otherwise: Body) -> list[tuple[list[Scalar], Body]]:
        """The bodies in order, each with what holds there."""
        known = integers.known([condition for condition, _ in cases])
        return list(zip(known, (*(body for _, body in cases), otherwise), strict=True))

    def _run_where(self, known: Sequence[Scalar], body: Body) -> Meaning | None:
        """Take ``body``, where ``known`` holds."""
        outside, self.holding = self.holding, (*self.holding, *known)
        try:
            return self.run(body, "")
        finally:
            self.holding = outside

    def _no_parameters(self, start: int, span: Span) -> None:
        if any(operation.op == "param" for operation in self.build.operations[start:]):
            raise problem(NOT_YET, "parameters under a condition are not compiled yet", span)

"""Heads and offers, checked for names, holes and arguments. Compiling heads comes with training."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.elaborate.builtins import BUILTINS, LATER
from ttmlc.elaborate.problems import (
    DECLARED_TWICE,
    MISSING_ARGUMENT,
    UNKNOWN_NAME,
    UNKNOWN_OPTION,
    Problems,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import DYNAMIC, Scope
from ttmlc.language import tree

WORDS = frozenset({"zeros", "ones", "position", "in", "out"})


def check_heads(
    file: tree.File, used: Sequence[tree.File], scope: Scope, models: Sequence[tree.Model], problems: Problems
) -> None:
    """Check every function that elaboration does not reach, and every offer, by name."""
    everything = [item for tree_ in (*used, file) for item in tree_.items]
    heads = {item.name.text: item for item in everything if isinstance(item, tree.Head)}
    functions = {item.name.text: item for item in everything if isinstance(item, tree.Function)}
    fields = {
        entry.name.text
        for item in everything
        if isinstance(item, tree.Config)
        for entry in item.entries
        if isinstance(entry, (tree.ConfigField, tree.DerivedField))
    }
    words = {
        word.text
        for item in everything
        if isinstance(item, tree.Config)
        for entry in item.entries
        if isinstance(entry, tree.ConfigField)
        for word in entry.kinds
    }
    known = {*fields, *words, *scope.known(), *functions, *BUILTINS, *LATER, *WORDS, *DYNAMIC}
    for item in file.items:
        if isinstance(item, tree.Function):
            _Names(known, problems).function(item.params, item.body)
        elif isinstance(item, tree.Head):
            _Names({*known, item.base.text}, problems).function((*item.params, *item.holes), item.body)
        elif isinstance(item, tree.Offers):
            _offers(item, heads, models, known, problems)


def _offers(
    node: tree.Offers,
    heads: dict[str, tree.Head],
    models: Sequence[tree.Model],
    known: set[str],
    problems: Problems,
) -> None:
    with problems.kept():
        names = [model.name.text for model in models]
        if node.model.text not in names:
            hint = nearest(node.model.text, names)
            raise problem(UNKNOWN_NAME, f"there is no model {node.model.text!r}", node.model.span, hint=hint)
    seen: set[str] = set()
    for offer in node.offers:
        with problems.kept():
            head = heads.get(offer.head.text)
            if head is None:
                hint = nearest(offer.head.text, heads) or "Heads come from a spec that is used: 'use heads'."
                raise problem(
                    UNKNOWN_NAME, f"there is no head {offer.head.text!r}", offer.head.span, hint=hint
                )
            if offer.head.text in seen:
                raise problem(DECLARED_TWICE, f"head {offer.head.text!r} is offered twice", offer.head.span)
            seen.add(offer.head.text)
            _offer(offer, head, known, problems)


def _offer(offer: tree.Offer, head: tree.Head, known: set[str], problems: Problems) -> None:
    holes = {hole.name.text: hole for hole in head.holes}
    filled = {option.name.text for option in offer.options}
    for option in offer.options:
        if option.name.text not in holes:
            hint = nearest(option.name.text, holes)
            raise problem(
                UNKNOWN_OPTION,
                f"head {head.name.text!r} has no hole {option.name.text!r}",
                option.name.span,
                hint=hint,
            )
        _Names({*known, "base", "super"}, problems).expression(option.value)
    for name, hole in holes.items():
        if hole.default is None and name not in filled:
            related = ((hole.span, "the hole"),) if hole.span.file is offer.span.file else ()
            message = f"head {head.name.text!r} needs {name!r} filled in"
            raise problem(
                MISSING_ARGUMENT,
                message,
                offer.head.span,
                related=related,
                hint=f"Write {head.name.text}({name}=...).",
            )


class _Names:
    """Looks every name of a function up, without asking what it means."""

    def __init__(self, known: set[str], problems: Problems) -> None:
        self.known = set(known)
        self.problems = problems

    def function(self, params: Sequence[tree.Param], body: Sequence[tree.Statement]) -> None:
        """Check a function whose parameters are ``params``."""
        for param in params:
            self.known.add(param.name.text)
        for param in params:
            if param.default is not None:
                self.expression(param.default)
        self.statements(body)

    def statements(self, body: Sequence[tree.Statement]) -> None:
        """Check statements in order; what one assigns, the next may read."""
        for node in body:
            if isinstance(node, tree.Repeat):
                self.known.add(node.index.text)
                self.expression(node.count)
                self.statements(node.body)
            elif isinstance(node, tree.If):
                self.expression(node.condition)
                self.statements((*node.then, *node.otherwise))
            elif isinstance(node, tree.Match):
                self.expression(node.value)
                for case in node.cases:
                    self.statements(case.body)
            elif isinstance(node, tree.HeadConfig):
                for entry in node.entries:
                    if isinstance(entry, (tree.ConfigField, tree.DerivedField)):
                        self.known.add(entry.name.text)
            else:
                self.leaf(node)

    def leaf(self, node: tree.Statement) -> None:
        """Check a statement that holds no others."""
        if isinstance(node, tree.Assign):
            self.expression(node.value)
            self.known.update(target.path[0].text for target in node.targets)
        elif isinstance(node, tree.ParamStatement):
            self.known.add(node.name.text)
            for option in node.options:
                self.expression(option.value)
        elif isinstance(node, tree.Return):
            for option in node.values:
                self.expression(option.value)
            if node.value is not None:
                self.expression(node.value)
        elif isinstance(node, tree.Require):
            self.expression(node.condition)

    def expression(self, node: tree.Expr) -> None:
        """Check every name that ``node`` reads."""
        for part in tree.walk(node):
            if isinstance(part, tree.Reference) and part.name.text not in self.known:
                with self.problems.kept():
                    hint = nearest(part.name.text, self.known)
                    raise problem(UNKNOWN_NAME, f"nothing is called {part.name.text!r}", part.span, hint=hint)

"""Functions and offers that elaboration does not reach, checked for names and holes only."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc.elaborate.builtins import BUILTINS, LATER
from ttmlc.elaborate.offers import check_holes
from ttmlc.elaborate.problems import DECLARED_TWICE, UNKNOWN_NAME, Problems, nearest, problem
from ttmlc.elaborate.scalars import FUNCTIONS
from ttmlc.elaborate.scope import DYNAMIC, Scope
from ttmlc.ir.ops.rms_norm import ROUNDS
from ttmlc.language import tree

WORDS = frozenset({"zeros", "ones", "position", "in", "out", "given", *FUNCTIONS, *ROUNDS})


def check_heads(
    file: tree.File,
    used: Sequence[tree.File],
    scope: Scope,
    models: Sequence[tree.Model],
    problems: Problems,
    compiled: Sequence[tree.Offer] = (),
) -> None:
    """Check every function that elaboration does not reach, and every offer but those ``compiled``, by name."""
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
    axes = {head.over.text for head in heads.values() if head.over is not None}
    known = {
        *axes,
        *fields,
        *words,
        *scope.known(),
        *functions,
        *BUILTINS,
        *LATER,
        *WORDS,
        *DYNAMIC,
        *scope.indices,
    }
    for item in file.items:
        if isinstance(item, tree.Function):
            _Names(known, problems).function(item.params, item.body)
        elif isinstance(item, tree.Head):
            _Names({*known, item.base.text}, problems).function((*item.params, *item.holes), item.body)
        elif isinstance(item, tree.Offers):
            _offers(item, heads, models, known, problems, compiled)


def _offers(
    node: tree.Offers,
    heads: dict[str, tree.Head],
    models: Sequence[tree.Model],
    known: set[str],
    problems: Problems,
    compiled: Sequence[tree.Offer],
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
            if not any(offer is other for other in compiled):
                check_holes(offer, head)
                for option in offer.options:
                    _Names({*known, "base", "super"}, problems).expression(option.value)


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

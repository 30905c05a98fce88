"""The blocks of a spec, made when something calls them: callees before callers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ttmlc.elaborate.functions import Elaborator
from ttmlc.elaborate.offers import BaseModel
from ttmlc.elaborate.problems import WRONG_SHAPE, Problems, problem
from ttmlc.elaborate.scope import Scope
from ttmlc.ir.module import Function
from ttmlc.language import tree
from ttmlc.source import Diagnostic, Span


@dataclass
class Blocks:
    """Which blocks are made: ``done`` are, ``failed`` could not be and say why to each head that calls them."""

    scope: Scope
    problems: Problems
    done: dict[str, Function] = field(default_factory=dict)
    failed: dict[str, list[Diagnostic]] = field(default_factory=dict)
    bases: dict[str, BaseModel] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def models(self, nodes: Sequence[tree.Model]) -> list[Function]:
        """The models, after the blocks that they reach; those that nothing is wrong with are bases of heads."""
        made = []
        for node in nodes:
            own = Problems()
            with own.kept():
                self.reach(node.body, self.problems)
                model = Elaborator(self.scope, own, self.done)
                made.append(model.model(node))
                if not own.found and not own.silent:
                    self.bases[node.name.text] = BaseModel(made[-1], model.owned)
            self.problems.add(own)
        return made

    def reach(self, nodes: object, problems: Problems | None = None) -> None:
        """Make the blocks that ``nodes`` call, with what is wrong in ``problems``, or else in ``failed``."""
        for node in tree.walk(nodes):
            if isinstance(node, tree.Call) and isinstance(node.function, tree.Reference):
                self._visit(node.function.name.text, node.function.span, problems)

    def _visit(self, name: str, span: Span, problems: Problems | None) -> None:
        if name in self.done or name in self.failed or name not in self.scope.blocks:
            return
        if name in self._open:
            raise problem(WRONG_SHAPE, f"{name!r} would contain itself", span)
        self._open.append(name)
        block = self.scope.blocks[name]
        own = problems if problems is not None else Problems()
        with own.kept():
            self.reach(block.body, problems)
            self.done[name] = Elaborator(self.scope, own, self.done, failed=self.failed).block(block)
        self._open.pop()
        if problems is None and (own.found or own.silent):
            self.failed[name] = own.found
            self.done.pop(name, None)

    def called_by(self, functions: Iterable[Function]) -> list[Function]:
        """The blocks that ``functions`` call, in the order of the spec."""
        waiting, names = list(functions), set()
        while waiting:
            for operation in waiting.pop().walk():
                if operation.op == "call" and operation.text("block") not in names:
                    names.add(operation.text("block"))
                    waiting.append(self.done[operation.text("block")])
        return [self.done[name] for name in self.scope.blocks if name in names]

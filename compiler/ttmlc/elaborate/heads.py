"""Offered heads: those that can be compiled become models, the others are checked for names and holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ttmlc.elaborate.blocks import Blocks
from ttmlc.elaborate.configs import ConfigBuilder
from ttmlc.elaborate.names import INPUTS, plain
from ttmlc.elaborate.offers import BaseModel, DeclinedHead, HeadElaborator, head_class, prefixes_of
from ttmlc.elaborate.problems import DECLARED_TWICE, NOT_YET, Problems, problem
from ttmlc.elaborate.scope import DYNAMIC, Callee, Scope, defaults_of
from ttmlc.ir.config import Config
from ttmlc.ir.module import Function, fields_of
from ttmlc.ir.ops.batches import OUTER, over
from ttmlc.ir.scalar import Const, Field, leaves
from ttmlc.language import tree
from ttmlc.source import Diagnostic


@dataclass
class Heads:
    """The heads that a file offers, on their way to models.

    ``compiled`` are the offers that need no check by name any more, for they are compiled or wrong already; ``later``
    is what cannot be compiled yet in the config of the heads.
    """

    file: tree.File
    used: Sequence[tree.File]
    blocks: Blocks
    problems: Problems
    builder: ConfigBuilder
    functions: list[Function] = field(default_factory=list)
    declined: list[DeclinedHead] = field(default_factory=list)
    compiled: list[tree.Offer] = field(default_factory=list)
    later: list[Diagnostic] = field(default_factory=list)

    def compile(self, config: Config) -> Config:
        """Make the models; the config with the fields of the heads' files that they read."""
        heads = {
            item.name.text: (item, other)
            for other in (*self.used, self.file)
            for item in other.items
            if isinstance(item, tree.Head)
        }
        joined = self.builder.copy(Problems())
        own = len(joined.fields), len(joined.derived), len(joined.requirements)
        for other in self.used:
            if any(isinstance(item, tree.Head) for item in other.items):
                _entries(joined, [item for item in other.items if isinstance(item, tree.Config)])
        sections = [item for item in self.file.items if isinstance(item, tree.Offers)]
        offered = {offer.head.text for offers in sections for offer in offers.offers}
        for name in heads:
            if name in offered:
                _entries(joined, _configs(heads[name][0]))
        self.later = [found for found in joined.problems.found if found.code == NOT_YET]
        self.problems.add(joined.problems.without(NOT_YET))
        seen = {
            item.name.text: item.name.span
            for item in self.file.items
            if isinstance(item, (tree.Model, tree.Function))
        }
        for offers in sections:
            for offer in offers.offers:
                base, found = self.blocks.bases.get(offers.model.text), heads.get(offer.head.text)
                if base is None or found is None:
                    continue  # the check by name says which of them there is not
                with self.problems.kept():
                    name = head_class(offers.model.text, offer)
                    if name in seen:
                        related = ((seen[name], "first here"),)
                        message = f"{name!r} is declared twice"
                        raise problem(DECLARED_TWICE, message, offer.span, related=related)
                    seen[name] = offer.span
                    self._head(name, *found, offer, offers, base, joined)
        made = [heads[offer.head.text][0] for offer in self.compiled]
        return _strict(_read(config, joined, own, self.functions), made)

    def _head(
        self,
        name: str,
        node: tree.Head,
        home: tree.File,
        offer: tree.Offer,
        offers: tree.Offers,
        base: BaseModel,
        joined: ConfigBuilder,
    ) -> None:
        """Make one model, or note why it is not made."""
        trouble = Problems()
        with trouble.kept():
            self.blocks.reach(offer)
            names = self.blocks.scope if node.over is None else _over(node.over, self.blocks.scope, joined)
            family = _scope_of(self.file, self.used, names, joined)
            family.blocks = self.blocks.scope.blocks
            family.defaults = self.blocks.scope.defaults
            scope = _scope_of(home, self.used, names, joined)
            making = HeadElaborator(scope, trouble, self.blocks.done, failed=self.blocks.failed, of_head=True)
            prefixes = prefixes_of(self.file, offers.model.text, offer)
            function = making.head(name, node, offer, prefixes, base, family)
        if not trouble.found and not trouble.silent:
            self.functions.append(function)
            self.compiled.append(offer)
        elif all(found.code == NOT_YET for found in trouble.found) and (trouble.found or self.later):
            first = (*trouble.found, *self.later)[0]
            self.declined.append(DeclinedHead(name, node.name.text, first.message, first.span))
        else:
            self._tell([found for found in trouble.found if found.code != NOT_YET], offer)
            self.compiled.append(offer)

    def _tell(self, wrong: Sequence[Diagnostic], offer: tree.Offer) -> None:
        """Note what is wrong; in a head's own file, with the first offer that meets it."""
        self.problems.silent = self.problems.silent or not wrong
        told = {(found.code, found.message, found.span) for found in self.problems.found}
        for found in wrong:
            if (found.code, found.message, found.span) in told:
                continue
            if found.span.file is not offer.span.file:
                found = replace(found, related=(*found.related, (offer.head.span, "offered here")))
            self.problems.found.append(found)


def _configs(head: tree.Head) -> list[tree.HeadConfig]:
    """The fields that ``head`` declares for itself."""
    return [part for part in head.body if isinstance(part, tree.HeadConfig)]


def _strict(config: Config, heads: Sequence[tree.Head]) -> Config:
    """``config`` with what the ``heads`` say of keys that are no fields."""
    said = ConfigBuilder(Problems())
    entries = [entry for head in heads for section in _configs(head) for entry in section.entries]
    for entry in entries:
        if isinstance(entry, (tree.Fixed, tree.Harmless, tree.Stale)):
            said.entry(entry)
    return replace(
        config,
        fixed=(*config.fixed, *(pair for pair in dict.fromkeys(said.fixed) if pair not in config.fixed)),
        harmless=tuple(dict.fromkeys((*config.harmless, *said.harmless))),
        stale=tuple(dict.fromkeys((*config.stale, *said.stale))),
    )


def _entries(builder: ConfigBuilder, sections: Sequence[tree.Config | tree.HeadConfig]) -> None:
    for section in sections:
        for entry in section.entries:
            with builder.problems.kept():
                builder.entry(entry)


def _over(axis: tree.Name, names: Scope, joined: ConfigBuilder) -> Scope:
    """``names`` with the axis for each of which a base runs once, and B as the batch of the head around it."""
    name = plain(axis, INPUTS | {OUTER, *DYNAMIC})
    if name in names.axes or name in names.functions or name in joined.numbers:
        raise problem(DECLARED_TWICE, f"{name!r} is declared already", axis.span)
    outer, each = over(name)
    return replace(names, axes={**names.axes, "B": outer, name: each})


def _scope_of(
    file: tree.File, used: Sequence[tree.File], family: Scope, joined: ConfigBuilder, depth: int = 0
) -> Scope:
    """What names mean in ``file``: the config of the family and of the heads, its own defaults and functions."""
    scope = replace(
        family,
        numbers=joined.numbers,
        words=joined.words(),
        choices={entry.name: entry.choices for entry in joined.fields if entry.choices},
        nullable=frozenset(entry.name for entry in joined.fields if entry.nullable),
        poisoned=frozenset(joined.poisoned),
        blocks={},
        defaults=defaults_of(file),
        functions={},
    )
    for item in file.items:
        if isinstance(item, tree.Function) and item.kind == "fn":
            scope.functions[item.name.text] = Callee(item, scope)
    for other in used if depth == 0 else ():
        theirs = _scope_of(other, used, family, joined, 1)
        scope.functions.update({n: c for n, c in theirs.functions.items() if n not in scope.functions})
    return scope


def _read(
    config: Config, joined: ConfigBuilder, own: tuple[int, int, int], functions: Sequence[Function]
) -> Config:
    """``config`` with what ``joined`` has behind its ``own`` and ``functions`` read."""
    names = {leaf.name for function in functions for leaf in fields_of(function)}
    for derived in reversed(joined.derived[own[1] :]):
        if derived.name in names:
            names |= {leaf.name for leaf in leaves(derived.value) if isinstance(leaf, Field)}
    for entry in reversed(joined.fields[own[0] :]):
        if entry.name in names:
            names |= {entry.each.over} if entry.each is not None else set()
            for default in (entry.default, entry.null_default):
                names |= {leaf.name for leaf in leaves(default or Const(None)) if isinstance(leaf, Field)}
    known = {*config.names(), *names}
    requirements = [
        entry
        for entry in joined.requirements[own[2] :]
        if {leaf.name for leaf in leaves(entry.condition) if isinstance(leaf, Field)} <= known
    ]
    return replace(
        config,
        fields=(*config.fields, *(entry for entry in joined.fields[own[0] :] if entry.name in names)),
        derived=(*config.derived, *(entry for entry in joined.derived[own[1] :] if entry.name in names)),
        requirements=(*config.requirements, *requirements),
    )

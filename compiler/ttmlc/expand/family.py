"""A spec and the one that it extends become one spec.

    config Wide extends Tiny for "wide":           config Wide for "wide":
        hidden: size = 64 from hidden_size    =>       vocab: size = 19 from vocab_size
                                                       hidden: size = 64 from hidden_size
    model WideModel extends TinyModel:             block ...
        embed = super * 2                          model WideModel(...): ...

What is made has no ``extends``, ``rename``, ``with`` or ``Block.name`` left, and every node of it still knows where in
which file it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar, Union

from ttmlc.expand.codes import CYCLE, NO_BASE, NOTHING_TO_REPLACE, Told
from ttmlc.expand.configs import merged_config
from ttmlc.expand.models import merged_model, no_super
from ttmlc.expand.paths import renamed
from ttmlc.expand.rewriting import statements
from ttmlc.expand.unread import without_unread
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, nearest, problem

Extending = Union[tree.Config, tree.Model]
Named = TypeVar("Named", bound=Union[tree.AxisSize, tree.AxisLabels, tree.Table, tree.Function, tree.Head])


class Sources(Protocol):
    """Where other specs come from."""

    def __call__(self, name: tree.Name) -> tree.File:
        """The spec that a ``use`` names.

        Raises:
            DiagnosticError: there is none.
        """

    def declaring(self, kind: str, name: tree.Name) -> tree.File | None:
        """The spec beside this one, or among those that ship, that declares a config or model; else None.

        Raises:
            DiagnosticError: several do, or it is wrong itself.
        """


def expand(file: tree.File, find: Sources) -> tree.File:
    """``file`` with what it extends written out; itself where it extends nothing.

    Args:
        file: a syntax tree.
        find: gives other specs. The base is looked for among those that ``file`` uses, then with ``find.declaring``.

    Raises:
        DiagnosticError: a base is not to be found or extends what extends it, or something is replaced that it has not.
    """
    return _expand(file, find, ())


def _expand(file: tree.File, find: Sources, above: tuple[Extending, ...]) -> tree.File:
    extending = [
        item
        for item in file.items
        if isinstance(item, (tree.Config, tree.Model)) and item.extends is not None
    ]
    told = Told()
    _refuse_changes(file, told, extending)
    if not extending:
        told.raise_any()
        return file
    base = _base(file, extending, find, (*above, *extending))
    flat = _expand(base, find, (*above, *extending))
    flat = renamed(flat, _renames(file), told)
    made, models = _joined(file, base, flat, find, told)
    for item in made.items:
        for node in () if isinstance(item, tree.Offers) else tree.walk(item):
            if isinstance(node, tree.Reference) and node.name.text == "super":
                with told.kept():
                    raise no_super(node)
    told.raise_any()
    return without_unread(made, flat, models, _used(made, find))


def _refuse_changes(file: tree.File, told: Told, extending: Sequence[Extending]) -> None:
    """Tell every statement that changes another spec's and stands where nothing is extended."""
    for item in file.items:
        nodes: Iterable[tree.Node] = ()
        if isinstance(item, tree.Rename):
            nodes = () if extending else (item,)
        elif isinstance(item, (tree.Function, tree.Table, tree.Head, tree.Model)):
            nodes = () if item in extending else statements(item.body)
        for node in nodes:
            dotted = isinstance(node, tree.Assign) and any(len(target.path) > 1 for target in node.targets)
            if dotted or isinstance(node, (tree.Amend, tree.Rename)):
                hint = "Only a model that extends another changes what is written there."
                with told.kept():
                    raise problem(NOTHING_TO_REPLACE, "nothing is extended here", node.span, hint=hint)


def _base(
    file: tree.File, extending: Sequence[Extending], find: Sources, open_: Sequence[Extending]
) -> tree.File:
    """The one spec that declares all that ``file`` extends."""
    found: tree.File | None = None
    for node in extending:
        kind, name = _kind(node), node.extends
        assert name is not None
        for other in open_:
            if _kind(other) == kind and other.name.text == name.text:
                related = ((other.name.span, "which is what extends it"),)
                raise problem(CYCLE, f"{name.text!r} would extend itself", name.span, related=related)
        used = [other for other in _used(file, find) if name.text in _declared(other, kind)]
        base = used[0] if used else find.declaring(kind, name)
        if base is None:
            known = [word for other in _used(file, find) for word in _declared(other, kind)]
            hint = (
                nearest(name.text, known) or "It stands in a spec that is used, beside this one, or shipped."
            )
            raise problem(NO_BASE, f"no spec declares {kind} {name.text!r}", name.span, hint=hint)
        if found is not None and found.span.file != base.span.file:
            first = extending[0].extends
            assert first is not None
            related = ((first.span, f"stands in {found.span.file.name}"),)
            message = f"{kind} {name.text!r} stands in another spec, {base.span.file.name}"
            hint = "One spec is extended at a time."
            raise problem(NO_BASE, message, name.span, related=related, hint=hint)
        found = base
    assert found is not None
    return found


def _kind(node: Extending) -> str:
    return "config" if isinstance(node, tree.Config) else "model"


def _declared(file: tree.File, kind: str) -> list[str]:
    """The names of the configs, or of the models, of a file."""
    return [
        item.name.text
        for item in file.items
        if isinstance(item, (tree.Config, tree.Model)) and _kind(item) == kind
    ]


def _used(file: tree.File, find: Sources) -> list[tree.File]:
    """The specs that ``file`` uses; what cannot be found is told by who needs it."""
    found = []
    for item in file.items:
        for name in item.names if isinstance(item, tree.Use) else ():
            with suppress(DiagnosticError):
                found.append(find(name))
    return found


def _renames(file: tree.File) -> list[tree.Rename]:
    """The renames of a file, at its top and in the models that extend."""
    found = [item for item in file.items if isinstance(item, tree.Rename)]
    for item in file.items:
        if isinstance(item, tree.Model) and item.extends is not None:
            found += [node for node in item.body if isinstance(node, tree.Rename)]
    return found


def _joined(
    file: tree.File, base: tree.File, flat: tree.File, find: Sources, told: Told
) -> tuple[tree.File, dict[str, str]]:
    """``file`` over ``flat``, which is ``base`` written out; and which models took over which."""
    theirs, ours = flat.items, file.items
    functions = {item.name.text: item for item in _over(theirs, ours, tree.Function)}
    bases = {item.name.text: item for item in theirs if isinstance(item, tree.Model)}
    models: list[tree.Model] = []
    extended: dict[str, str] = {}
    for item in ours:
        if isinstance(item, tree.Model):
            if item.extends is not None:
                extended[item.name.text] = item.extends.text
                item = merged_model(item, bases[item.extends.text], functions, told)
            models.append(item)
    items: list[tree.Item] = [
        *(item for item in ours if isinstance(item, tree.Doc)),
        *_uses(file, base, flat, find),
        *_configs(theirs, ours),
        *_over(theirs, ours, tree.AxisSize),
        *_over(theirs, ours, tree.AxisLabels),
        *_defaults(theirs, ours),
        *_over(theirs, ours, tree.Table),
        *functions.values(),
        *models,
        *_over(theirs, ours, tree.Head),
        *_offers(theirs, ours, extended),
        *(item for item in (*theirs, *ours) if isinstance(item, tree.Stale)),
    ]
    return replace(file, items=tuple(items)), extended


def _over(theirs: Iterable[tree.Item], ours: Iterable[tree.Item], kind: type[Named]) -> list[Named]:
    """The sections of a kind, ours in the places of theirs that have the name, then the new ones."""
    again: dict[str, list[Named]] = {}
    for item in ours:
        if isinstance(item, kind):
            again.setdefault(item.name.text, []).append(item)
    made: list[Named] = []
    for item in theirs:
        if isinstance(item, kind):
            made += again.pop(item.name.text, [item])
    return [*made, *(item for items in again.values() for item in items)]


def _uses(file: tree.File, base: tree.File, flat: tree.File, find: Sources) -> list[tree.Use]:
    """One ``use`` of all that either needs, without the base."""
    names: dict[str, tree.Name] = {}
    for item in (*flat.items, *file.items):
        for name in item.names if isinstance(item, tree.Use) else ():
            names.setdefault(name.text, name)
    for name in list(names.values()):
        with suppress(DiagnosticError):
            if find(name).span.file == base.span.file:
                del names[name.text]
    return [tree.Use(next(iter(names.values())).span, tuple(names.values()))] if names else []


def _configs(theirs: Sequence[tree.Item], ours: Sequence[tree.Item]) -> list[tree.Config]:
    """The configs: merged where ours extend theirs; theirs of a model type goes where ours has its own."""
    mine = [item for item in ours if isinstance(item, tree.Config)]
    names = {item.name.text for item in mine}
    extended = {item.extends.text: item for item in mine if item.extends is not None}
    own = any(item.extends is None and item.model_type is not None for item in mine)
    made: list[tree.Config] = []
    for item in theirs:
        if not isinstance(item, tree.Config):
            continue
        if item.name.text in extended:
            made.append(merged_config(extended[item.name.text], item))
        elif item.name.text not in names and not (own and item.model_type is not None):
            made.append(item)
    return [*made, *(item for item in mine if item.extends is None)]


def _defaults(theirs: Sequence[tree.Item], ours: Sequence[tree.Item]) -> list[tree.Defaults]:
    """One section: their rules, then ours, of which the last one counts."""
    sections = [item for item in (*theirs, *ours) if isinstance(item, tree.Defaults)]
    rules = tuple(rule for section in sections for rule in section.rules)
    return [replace(sections[0], rules=rules)] if sections else []


def _offers(
    theirs: Sequence[tree.Item], ours: Sequence[tree.Item], extended: dict[str, str]
) -> list[tree.Offers]:
    """Our offers; and theirs, for our models that have none."""
    written = [item for item in ours if isinstance(item, tree.Offers)]
    made: list[tree.Offers] = []
    for name, base in extended.items():
        if any(item.model.text == name for item in written):
            continue
        for item in theirs:
            if isinstance(item, tree.Offers) and item.model.text == base:
                model = replace(item.model, text=name)
                offers = tuple(_called_after(offer, base, name) for offer in item.offers)
                made.append(replace(item, model=model, offers=offers))
    return [*made, *written]


def _called_after(offer: tree.Offer, base: str, name: str) -> tree.Offer:
    """``offer`` with a class name that begins as our model's does where it began as theirs."""
    stem = base.removesuffix("Model")
    if offer.alias is None or not offer.alias.text.startswith(stem):
        return offer
    text = name.removesuffix("Model") + offer.alias.text[len(stem) :]
    return replace(offer, alias=replace(offer.alias, text=text))

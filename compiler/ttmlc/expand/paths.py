"""``rename "old" -> "new"``: checkpoint paths that a family spells otherwise than the one it extends.

A path is a row of words between dots, and a rename exchanges whole words: ``"self.query" -> "q_lin"`` changes
``"self.query"`` and ``"block.self.query"``, and leaves ``"self.query_norm"``. Every string that is a path is looked at:
``at`` of calls, parameters, repeats, offers and holes, paths of biases, ``stale``. An old path may begin in the ``at``
of a block's call and go on inside the block, as ``"attention.output"`` does in

    block Attention(...): ... at="output"         call: Attention(h, at="attention")

Then the block takes its ``at`` inside, ``"attention.output"``, and is called without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ttmlc.expand.codes import NO_PATH, Told
from ttmlc.expand.rewriting import mapped
from ttmlc.language import tree
from ttmlc.source import Span, nearest, problem


def renamed(base: tree.File, renames: Iterable[tree.Rename], told: Told) -> tree.File:
    """``base`` with its paths changed, by one pair after the other; what a pair changed the next one sees."""
    for node in renames:
        for old, new in node.pairs:
            with told.kept():
                base = _renamed(base, old, new)
    return base


def _renamed(base: tree.File, old: tree.Literal, new: tree.Literal) -> tree.File:
    words, others = _words(old), _words(new)
    for block in _spanned(base, words):
        base = _taken_inside(base, block, old)
    paths = list(_paths(base))
    wanted = {id(path) for path in paths if _exchanged(_words(path), words, others) != _words(path)}
    if not wanted:
        shown = nearest(str(old.value), {".".join(_words(path)[:2]) for path in paths})
        message = f"no path of {base.span.file.name} has {old.value!r} in it"
        raise problem(NO_PATH, message, old.span, hint=shown)

    def change(node: tree.Node) -> tree.Node:
        if isinstance(node, tree.Literal) and id(node) in wanted:
            return replace(node, value=".".join(_exchanged(_words(node), words, others)))
        return node

    return mapped(base, change)


def _words(path: tree.Literal) -> list[str]:
    return str(path.value).split(".")


def _exchanged(path: list[str], old: list[str], new: list[str]) -> list[str]:
    """``path`` with ``new`` for each ``old`` in it, from the left."""
    made, place = [], 0
    while place < len(path):
        if path[place : place + len(old)] == old:
            made += new
            place += len(old)
        else:
            made.append(path[place])
            place += 1
    return made


def _strings(node: object) -> Iterator[tree.Literal]:
    """The strings in ``node``."""
    for here in tree.walk(node):
        if isinstance(here, tree.Literal) and isinstance(here.value, str):
            yield here


def _paths(node: object) -> Iterator[tree.Literal]:
    """The strings in ``node`` that are paths of checkpoints."""
    for here in tree.walk(node):
        if isinstance(here, tree.Option):
            yield from _strings(here.value)
        elif isinstance(here, tree.Param):
            yield from _strings(here.default)
        elif isinstance(here, (tree.Offers, tree.Offer)):
            yield from _strings((here.at, here.also))
        elif isinstance(here, (tree.Repeat, tree.ParamStatement)):
            yield from _strings(here.at)
        elif isinstance(here, tree.Stale):
            yield from here.patterns


# An old path that begins in the `at` of a call


def _blocks(base: tree.File) -> dict[str, tree.Function]:
    return {
        item.name.text: item
        for item in base.items
        if isinstance(item, tree.Function) and item.kind == "block"
    }


def _calls(base: tree.File, block: str) -> list[tree.Call]:
    """The calls of a block."""
    return [
        node
        for node in tree.walk(base)
        if isinstance(node, tree.Call)
        and isinstance(node.function, tree.Reference)
        and node.function.name.text == block
    ]


def _at(call: tree.Call) -> tree.Literal | None:
    """Where a call says that the parameters stand, in one string."""
    for option in call.options:
        if option.name.text == "at" and isinstance(option.value, tree.Literal):
            return option.value
    return None


def _spanned(base: tree.File, old: list[str]) -> list[str]:
    """The blocks with a path that ``old`` is in only together with the ``at`` of a call."""
    found = []
    for name, block in _blocks(base).items():
        inner = [_words(path) for path in _exposed(block.body)[0]]
        for call in _calls(base, name):
            at = _at(call)
            outer = [] if at is None else _words(at)
            cuts = range(1, min(len(outer) + 1, len(old)))
            if any(
                outer[-cut:] == old[:cut] and path[: len(old) - cut] == old[cut:]
                for cut in cuts
                for path in inner
            ):
                found.append(name)
                break
    return found


def _taken_inside(base: tree.File, block: str, old: tree.Literal) -> tree.File:
    """``base`` with the ``at`` of a block's calls in the paths of the block.

    Raises:
        DiagnosticError: the calls stand under different paths.
    """
    calls = _calls(base, block)
    places: dict[str, Span] = {}
    for call in calls:
        at = _at(call)
        places.setdefault("" if at is None else str(at.value), call.span if at is None else at.span)
    if len(places) > 1:
        related = tuple((span, "called here") for span in places.values())[:2]
        message = f"{old.value!r} goes into block {block!r}, which stands under several paths"
        raise problem(NO_PATH, message, old.span, related=related, hint="Write the block anew.")
    [prefix] = places
    inner, bare = _exposed(_blocks(base)[block].body, _blocks(base))
    under, within = {id(path) for path in inner}, {id(call) for call in bare}
    outside = {id(call) for call in calls}

    def change(node: tree.Node) -> tree.Node:
        if isinstance(node, tree.Literal) and id(node) in under:
            return replace(node, value=f"{prefix}.{node.value}")
        return node

    def calling(node: tree.Node) -> tree.Node:
        if isinstance(node, tree.Call) and id(node) in outside:
            return replace(node, options=tuple(one for one in node.options if one.name.text != "at"))
        if isinstance(node, tree.Call) and id(node) in within:
            path = tree.Option(node.span, tree.Name(node.span, "at"), tree.Literal(node.span, prefix))
            return replace(node, options=(*node.options, path))
        return node

    return mapped(mapped(base, calling), change)


def _exposed(
    body: Sequence[tree.Statement], blocks: dict[str, tree.Function] | None = None
) -> tuple[list[tree.Literal], list[tree.Call]]:
    """The paths of a body that stand directly under its own, and its calls of blocks that have none of their own."""
    paths: list[tree.Literal] = []
    bare: list[tree.Call] = []
    for node in body:
        if isinstance(node, tree.Repeat) and node.at is not None:
            paths.append(node.at)
            continue
        if isinstance(node, tree.Repeat):
            more, others = _exposed(node.body, blocks)
            paths += more
            bare += others
            continue
        paths += [path for path in _paths(node) if not any(path is other for other in paths)]
        bare += [
            call
            for call in tree.walk(node)
            if isinstance(call, tree.Call)
            and isinstance(call.function, tree.Reference)
            and call.function.name.text in (blocks or {})
            and not any(option.name.text == "at" for option in call.options)
        ]
    return paths, bare

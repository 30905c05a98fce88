"""The config of a family that extends another's: fields in their places, keys that one of the two reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Union

from ttmlc.expand.rewriting import names_read
from ttmlc.language import tree

Named = Union[tree.ConfigField, tree.DerivedField, tree.AxisSize, tree.AxisLabels]
NAMED = (tree.ConfigField, tree.DerivedField, tree.AxisSize, tree.AxisLabels)


def merged_config(child: tree.Config, base: tree.Config) -> tree.Config:
    """``child`` with what it takes over: no ``extends`` is left.

    A field keeps its place where it is written again. One that is new stands at the end, or before the first entry
    that reads it. A key that the child reads, fixes or calls harmless is no longer fixed or harmless by the base.
    """
    again = {_called(entry): entry for entry in child.entries if isinstance(entry, NAMED)}
    claimed = _keys(child.entries)
    taken: list[tree.ConfigEntry] = []
    for entry in base.entries:
        if isinstance(entry, NAMED):
            taken.append(again.pop(_called(entry), entry))
        else:
            taken += _without_keys(entry, claimed)
    kept = {id(entry) for entry in taken}
    added = [entry for entry in child.entries if id(entry) not in kept]
    new = {entry.name.text: entry for entry in again.values()}
    return replace(child, extends=None, entries=_ordered([*taken, *added], new))


def _called(entry: Named) -> tuple[bool, str]:
    """What an entry declares: a value and an axis may have one name."""
    return isinstance(entry, (tree.AxisSize, tree.AxisLabels)), entry.name.text


def _ordered(entries: Sequence[tree.ConfigEntry], new: dict[str, Named]) -> tuple[tree.ConfigEntry, ...]:
    """``entries``, with each of the ``new`` ones before whatever reads it."""
    waiting = dict(new)
    placed: list[tree.ConfigEntry] = []

    def place(entry: tree.ConfigEntry) -> None:
        name = entry.name.text if isinstance(entry, NAMED) else ""
        if new.get(name) is entry and waiting.pop(name, None) is None:
            return
        for read in sorted(names_read(entry) & waiting.keys(), key=list(new).index):
            if read in waiting:
                place(waiting[read])
        placed.append(entry)

    for entry in entries:
        place(entry)
    return tuple(placed)


def _keys(entries: Iterable[tree.ConfigEntry]) -> set[str]:
    """The keys of config.json that ``entries`` have something to say about."""
    found: set[str] = set()
    for entry in entries:
        if isinstance(entry, tree.ConfigField):
            found |= {key.words[0].text for key in entry.keys if not key.relative}
        elif isinstance(entry, tree.Fixed):
            found |= {name.text for name, _ in entry.entries}
        elif isinstance(entry, tree.Harmless):
            found |= {glob.name.text for glob in entry.patterns}
    return found


def _without_keys(entry: tree.ConfigEntry, keys: set[str]) -> list[tree.ConfigEntry]:
    """``entry`` without the ``keys`` that it fixes or calls harmless; nothing where none is left."""
    if isinstance(entry, tree.Fixed):
        fixed = tuple((name, value) for name, value in entry.entries if name.text not in keys)
        return [replace(entry, entries=fixed)] if fixed else []
    if isinstance(entry, tree.Harmless):
        patterns = tuple(glob for glob in entry.patterns if glob.open_ended or glob.name.text not in keys)
        return [replace(entry, patterns=patterns)] if patterns else []
    return [entry]

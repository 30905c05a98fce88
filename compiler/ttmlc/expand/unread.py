"""What the base read and the family that extends it reads no more is not taken over.

There is no statement that takes something away. A family without token types writes the sum that read them anew, and
what only that sum read goes with it: the lookup, the input, the size of the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Union

from ttmlc.expand.configs import NAMED
from ttmlc.expand.rewriting import names_read, statements, without
from ttmlc.language import tree

Body = Union[tree.Function, tree.Model]
DROPPED = (tree.Function, tree.Table, tree.AxisSize, tree.AxisLabels)


def without_unread(
    file: tree.File, base: tree.File, models: dict[str, str], used: Iterable[tree.File]
) -> tree.File:
    """``file``, which was made of ``base``, without what only ``base`` read.

    Args:
        file: a spec written out.
        base: the one that it extends, written out and with its paths renamed.
        models: for each model of ``file`` that extends another the name of that one.
        used: the specs that either uses; what they read stays.
    """
    elsewhere = names_read(tuple(used))
    before = names_read(base)
    bodies = {item.name.text: item for item in base.items if isinstance(item, (tree.Function, tree.Model))}
    old = {id(node) for node in tree.walk(base)}
    while True:
        items = tuple(
            _statements_read(item, bodies.get(models.get(item.name.text, item.name.text)), old)
            if isinstance(item, (tree.Function, tree.Model))
            else item
            for item in file.items
        )
        gone = before - names_read(items) - elsewhere
        kept = []
        for item in items:
            if isinstance(item, DROPPED) and id(item) in old and item.name.text in gone:
                continue
            if isinstance(item, tree.Config):
                entries = tuple(
                    entry
                    for entry in item.entries
                    if not (isinstance(entry, NAMED) and id(entry) in old and entry.name.text in gone)
                )
                item = replace(item, entries=entries)
            kept.append(item)
        made = replace(file, items=tuple(kept))
        if made == file:
            return made
        file = made


def _statements_read(node: Body, base: Body | None, old: set[int]) -> Body:
    """``node`` without statements, and a model without inputs, that only ``base`` read."""
    if base is None or base.body is node.body:
        return node
    gone = names_read((base.params, base.body)) - names_read((node.params, node.body))
    unread = [
        here
        for here in statements(node.body)
        if isinstance(here, tree.Assign)
        and id(here) in old
        and all(target.path[-1].text in gone for target in here.targets)
    ]
    node = replace(node, body=without(node.body, unread))
    if isinstance(node, tree.Model) and node.params is not None:
        params = tuple(
            param
            for place, param in enumerate(node.params)
            if not (
                place > 0
                and id(param) in old
                and param.name.text in gone
                and (param.optional or param.default is not None)
            )
        )
        node = replace(node, params=params)
    return node

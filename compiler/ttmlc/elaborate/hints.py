"""What to do about a name of the config that nothing declares: a hint beside the message."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ttmlc.elaborate.problems import UNKNOWN_NAME, nearest
from ttmlc.language import tree
from ttmlc.source import Diagnostic, DiagnosticError

CLOSE = 0.8
"""How near a name of another spec's must be to one of the config to be the same one, misspelt."""


@contextmanager
def hinted(known: Sequence[str], used: Sequence[tree.File]) -> Iterator[None]:
    """Say of each unknown name that the body raises what may have been meant of ``known``, or where to declare it.

    ``used`` are the specs that the config's spec uses: what they read of the config, that spec declares.
    """
    try:
        yield
    except DiagnosticError as error:
        raise DiagnosticError([_with_hint(found, known, used) for found in error.diagnostics]) from None


def _with_hint(found: Diagnostic, known: Sequence[str], used: Sequence[tree.File]) -> Diagnostic:
    if found.code != UNKNOWN_NAME or found.hint:
        return found
    other = next((file for file in used if file.span.file == found.span.file), None)
    group, dot, field = found.span.text.partition(".")
    if dot:
        hint = _of_group(group, field, known, other, used)
    elif other is not None and not difflib.get_close_matches(group, known, 1, CLOSE):
        hint = f"It is read of the config of the spec that uses this one: declare {group!r} there."
    else:
        hint = nearest(group, known)
    return replace(found, hint=hint)


def _of_group(
    group: str, field: str, known: Sequence[str], other: tree.File | None, used: Sequence[tree.File]
) -> str:
    fields = [name for name in known if name.startswith(f"{group}.")]
    if not fields:
        return f"The config has no group {group!r}: declare '{group}: {_kind(group, used, other)} from {group}_key'."
    close = difflib.get_close_matches(field, [name.partition(".")[2] for name in fields], 1)
    return f"Did you mean '{group}.{close[0]}'?" if close else nearest("", fields)


def _kind(group: str, used: Sequence[tree.File], other: tree.File | None) -> str:
    """The config that a group is most likely of: one of the spec that reads it, or one that is called like it."""
    files = used if other is None else (other,)
    names = sections(files)
    return next((name for name in names if name.lower() == group.lower()), names[0] if names else "Group")


def sections(files: Sequence[tree.File]) -> list[str]:
    """The configs that specs declare, of which a field may be."""
    return [item.name.text for file in files for item in file.items if isinstance(item, tree.Config)]

"""The parser that Lark makes of ``ttml.lark``, kept as JSON in the user's cache.

Making it takes 0.2 s, reading it back 0.02 s. Lark's own cache is a pickle, and loading one runs what is in it. A
parse table is plain data, so it is kept as JSON: the worst that a file somebody else wrote can do is to be refused, or
to parse something else. It names no function (see ``METHODS`` in ``build.py``), and its file is keyed by the grammar
and by the versions of Lark and Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import lark
from lark.indenter import Indenter
from lark.lexer import TerminalDef

LAYOUT = frozenset({"_NEWLINE", "_INDENT", "_DEDENT"})
FORMAT = 1
"""Counts the changes to how the file is laid out."""


class Indentation(Indenter):
    """Python's rule: a block is what is indented further; inside brackets line ends mean nothing."""

    NL_type = "_NEWLINE"
    OPEN_PAREN_types = ["LPAR", "LSQB"]
    CLOSE_PAREN_types = ["RPAR", "RSQB"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 4

    # Line ends, which stand in brackets too and are dropped there; and whole words, so that no word is read as two.
    always_accept = ("_NEWLINE", "NAME")


def _takes_place(node: Any) -> bool:
    """Whether a node counts for where its parent stands: what only arranges the text, comments included, does not."""
    return not (isinstance(node, lark.Token) and node.type in LAYOUT)


@lru_cache(maxsize=1)
def parser() -> lark.Lark:
    """The parser: from the cache where there is one, else built and cached."""
    text = grammar_text()
    path = cache_path(text)
    cached = None if path is None else _load(path)
    if cached is not None:
        return cached
    built = build(text)
    if path is not None:
        _save(path, built)
    return built


def grammar_text() -> str:
    """The text of ``ttml.lark``."""
    return resources.files("ttmlc.language").joinpath("ttml.lark").read_text("utf-8")


def build(text: str, **options: Any) -> lark.Lark:
    """The parser of a grammar, made anew."""
    return lark.Lark(
        text,
        parser="lalr",
        maybe_placeholders=True,
        postlex=Indentation(),
        propagate_positions=_takes_place,
        **options,
    )


def cache_path(text: str) -> Path | None:
    """Where the parser of a grammar is kept; None where there is no such place."""
    key = hashlib.sha256(f"{FORMAT} {lark.__version__} {sys.version_info[:2]} {text}".encode()).hexdigest()[
        :16
    ]
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "ttmlc" / f"grammar-{key}.json" if os.path.isabs(base) else None


def _load(path: Path) -> lark.Lark | None:
    try:
        digest, text = path.read_text("utf-8").split("\n", 1)
        if digest != _digest(text):
            return None
        stored = json.loads(text, object_hook=_numbered)
        if stored["data"]["options"]["parser"] != "lalr":
            return None
        kept = {"postlex": Indentation(), "propagate_positions": _takes_place}
        return lark.Lark._load_from_dict(stored["data"], stored["memo"], **kept)  # type: ignore[no-untyped-call]  # Lark leaves it untyped
    except Exception:  # whatever is wrong with a cache, the answer is to build anew
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _numbered(table: dict[str, Any]) -> dict[Any, Any]:
    """JSON has only strings for keys; tables of states and tokens are numbered."""
    return {int(key): value for key, value in table.items()} if all(map(str.isdigit, table)) else table


def _save(path: Path, built: lark.Lark) -> None:
    """Write the parser's tables to ``path`` in one step; a cache that cannot be written is only slower."""
    temporary = ""
    try:
        data, memo = built.memo_serialize([TerminalDef, lark.grammar.Rule])
        data["options"] = {
            k: v for k, v in data["options"].items() if isinstance(v, (str, int, bool, list, type(None)))
        }
        text = json.dumps({"data": data, "memo": memo}, separators=(",", ":"))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".grammar-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{_digest(text)}\n{text}")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, TypeError, ValueError):
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

"""The parser that Lark makes of ``ttml.lark``, kept as JSON in the user's cache.

Lark's own cache is a pickle, and loading one runs what is in it. A parse table is plain data, so it is kept as JSON:
the worst that a file somebody else wrote can do is not to fit, and then the table is built anew.
"""

from __future__ import annotations

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

OPTIONS: dict[str, Any] = {"parser": "lalr", "propagate_positions": True, "maybe_placeholders": True}


class Indentation(Indenter):
    """Python's rule: a block is what is indented further; inside brackets line ends mean nothing."""

    NL_type = "_NEWLINE"
    OPEN_PAREN_types = ["LPAR", "LSQB"]
    CLOSE_PAREN_types = ["RPAR", "RSQB"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 4


@lru_cache(maxsize=1)
def parser() -> lark.Lark:
    """The parser: from the cache where there is one, else built and cached."""
    text = resources.files("ttmlc.language").joinpath("ttml.lark").read_text("utf-8")
    path = _cache_path(text)
    cached = _load(path)
    if cached is not None:
        return cached
    built = lark.Lark(text, postlex=Indentation(), **OPTIONS)
    _save(path, built)
    return built


def _cache_path(text: str) -> Path:
    key = hashlib.sha256(f"{lark.__version__} {sys.version_info[:2]} {text}".encode()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "ttmlc" / f"grammar-{key}.json"


def _load(path: Path) -> lark.Lark | None:
    try:
        stored = json.loads(path.read_text("utf-8"), object_hook=_numbered)
        if stored["data"]["options"]["parser"] != "lalr":
            return None
        return lark.Lark._load_from_dict(stored["data"], stored["memo"], postlex=Indentation())  # type: ignore[no-untyped-call]  # Lark leaves it untyped
    except Exception:  # whatever is wrong with a cache, the answer is to build anew
        return None


def _numbered(table: dict[str, Any]) -> dict[Any, Any]:
    """JSON has only strings for keys; tables of states and tokens are numbered."""
    return {int(key): value for key, value in table.items()} if all(map(str.isdigit, table)) else table


def _save(path: Path, built: lark.Lark) -> None:
    try:
        data, memo = built.memo_serialize([TerminalDef, lark.grammar.Rule])
        data["options"] = {
            k: v for k, v in data["options"].items() if isinstance(v, (str, int, bool, list, type(None)))
        }
        text = json.dumps({"data": data, "memo": memo})
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
        os.replace(file.name, path)
    except (OSError, TypeError, ValueError):
        pass  # a cache that cannot be written is only slower

"""The words of the language, by what they begin, and what its signs are called."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SECTIONS = frozenset(
    [
        "use",
        "config",
        "axis",
        "defaults",
        "table",
        "fn",
        "block",
        "model",
        "head",
        "offers",
        "rename",
        "stale",
    ]
)
"""What may begin a line in the first column."""
STATEMENTS = frozenset(
    ["param", "repeat", "if", "else", "match", "return", "require", "collect", "config", "rename"]
)
"""What may begin a line in the body of a function; names may too."""
ENTRIES = frozenset(["require", "fixed", "harmless", "stale", "axis"])
"""What may begin a line in a config; names may too."""
BODIES = frozenset(["table", "fn", "block", "model", "head"])
"""The sections whose lines are statements."""
OPENERS = BODIES | frozenset(["config", "defaults", "offers", "repeat", "if", "else", "match"])
"""What begins a line that ends in a colon and has a block."""
RESERVED = frozenset(["if", "else", "and", "or", "not", "is", "as", "true", "false", "none", "return"])
"""Words that are never names; the NAME of the grammar leaves out the same."""
INNER = frozenset(
    [
        "extends",
        "for",
        "from",
        "over",
        "in",
        "at",
        "shared",
        "with",
        "as",
        "if",
        "else",
        "is",
        "and",
        "or",
        "null",
        "not",
    ]
)
"""Words inside of a line."""

FOREIGN = {
    "def": "A function is a 'fn', or a 'block' where it has parameters of its own.",
    "class": "A model is a 'model', its configuration a 'config'.",
    "import": "Other specs are read with 'use'.",
    "from": "Other specs are read with 'use'.",
    "for": "The only loop is 'repeat i in layers:'.",
    "while": "The only loop is 'repeat i in layers:'.",
    "elif": "Write 'else:' and an 'if' in it, or a 'match'.",
    "case": "A case of a 'match' is a line 'name:'.",
    "let": "A value is named by 'name = ...'.",
    "var": "A value is named by 'name = ...'.",
    "assert": "A condition that must hold is a 'require'.",
    "raise": "A condition that must hold is a 'require'.",
    "pass": "A block holds at least one statement.",
}
"""Words of other languages, and what stands for them here."""

# What a terminal of the grammar is called in a message; what is not here is called by its name in small letters.
TERMINALS = {
    "_NEWLINE": "the end of the line",
    "$END": "the end of the line",
    "NAME": "a name",
    "STRING": "a string",
    "INTEGER": "a number",
    "FLOAT": "a number",
    "DOC": "prose",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COLON": "':'",
    "COMMA": "','",
    "SEMICOLON": "';'",
    "ASSIGN": "'='",
    "BAR": "'|'",
    "ARROW": "'->'",
    "DOT": "'.'",
    "STAR": "'*'",
    "MAYBE": "'?'",
}
OPERATORS = frozenset(
    [
        "STAR",
        "SLASH",
        "PERCENT",
        "PLUS",
        "MINUS",
        "POWER",
        "EQUAL",
        "UNEQUAL",
        "LESS",
        "LESS_EQUAL",
        "MORE",
        "MORE_EQUAL",
        "AND",
        "OR",
        "IS",
        "AS",
        "IF",
    ]
)
"""What may follow nearly any value, and is not worth naming where something else is expected."""


def nearest(word: str, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The one of ``known`` that ``word`` may have been meant to be."""
    close = difflib.get_close_matches(word, sorted(known), 1, cutoff)
    return close[0] if close else None

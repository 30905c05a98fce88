"""A syntax error by its cause.

The parser knows which terminals could have come; the scan knows the words of the statement. The rules below look at
both, the most telling first, and the first that knows the cause answers. The last one only says what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ttmlc.language.codes import (
    BAD_NAME,
    EQUALS,
    MISPLACED,
    MISSPELT,
    NO_COLON,
    NO_COMMA,
    TOO_EARLY,
    UNEXPECTED,
)
from ttmlc.language.scan import PAIRS, Word
from ttmlc.language.trouble import Trouble
from ttmlc.language.words import (
    ENTRIES,
    FOREIGN,
    INNER,
    OPENERS,
    OPERATORS,
    RESERVED,
    SECTIONS,
    STATEMENTS,
    TERMINALS,
    nearest,
)
from ttmlc.source import Diagnostic

STARTERS = frozenset(
    ["NAME", "STRING", "INTEGER", "FLOAT", "LPAR", "LSQB", "MINUS", "NOT", "TRUE", "FALSE", "NONE"]
)
"""The terminals that a value may begin with."""
COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">="])
JOINTS = frozenset(["if", "else", "and", "or", "is", "as"])


def explain(trouble: Trouble) -> Diagnostic:
    """What is wrong, at the smallest place, and what to do."""
    for rule in RULES:
        diagnostic = rule(trouble)
        if diagnostic is not None:
            return diagnostic
    return _unexpected(trouble)


def _first_column(t: Trouble) -> Diagnostic | None:
    """A line in the first column that begins no section."""
    word = t.line.words[0]
    if t.line.level or t.index:
        return None
    known = ", ".join(sorted(SECTIONS))
    if word.kind != "name":
        return t.say(MISPLACED, "a section begins with a word", f"One of {known}.")
    if word.text in STATEMENTS | ENTRIES | RESERVED:
        where = (
            "a config"
            if word.text in ENTRIES and word.text not in STATEMENTS
            else "a fn, block, model or head"
        )
        return t.say(
            MISPLACED,
            f"'{word.text}' cannot stand in the first column",
            f"It belongs into {where}: indent it.",
        )
    if t.after is not None and t.after.text in ("=", ","):
        hint = "It belongs into a config, fn, block, model or head: indent it."
        return t.say(MISPLACED, "this assignment stands in the first column", hint)
    return _misspelt(t, word, SECTIONS, f"One of {known}.")


def _misspelt(t: Trouble, word: Word, known: Iterable[str], otherwise: str) -> Diagnostic:
    close = nearest(word.text.lower(), known, 0.6)
    hint = FOREIGN.get(word.text) or (f"Did you mean '{close}'?" if close else otherwise)
    return t.say(MISSPELT, f"'{word.text}' begins nothing here", hint, word)


def _first_word(t: Trouble) -> Diagnostic | None:
    """An indented line that begins with a word that may not begin one there."""
    word = t.line.words[0]
    if not t.line.level or t.index > 1 or word.kind != "name":
        return None
    place = t.context if t.context in ("config", "defaults", "offers", "match") else t.section
    if word.text == "else" and t.index == 0 and t.body:
        return t.say(
            MISPLACED, "this 'else' follows no 'if'", "It stands right below the block of an 'if', as deep."
        )
    allowed = _allowed(t)
    if word.text in (SECTIONS | STATEMENTS | ENTRIES | RESERVED) - allowed:
        if t.index == 1 and t.word is not None and t.word.text in ("=", ":", ",", "."):
            return None
        home = (
            "the first column"
            if word.text in SECTIONS
            else "a config"
            if word.text in ENTRIES
            else "a function's body"
        )
        hint = f"It belongs into {home}."
        return t.say(MISPLACED, f"'{word.text}' cannot stand in a '{place}'", hint, word)
    alone = t.index == 1 and word.text not in allowed and (t.word is None or t.word.kind != "sign")
    if alone and (word.text in FOREIGN or nearest(word.text.lower(), allowed, 0.75)):
        return _misspelt(t, word, allowed, "")
    return None


def _allowed(t: Trouble) -> frozenset[str]:
    """The words that may begin a line where this one stands."""
    if t.context == "config":
        return ENTRIES
    return STATEMENTS if t.body else frozenset()


def _equals(t: Trouble) -> Diagnostic | None:
    """``=`` for ``==``, or the other way round."""
    if t.word is None:
        return None
    if t.word.text == "==" and ("ASSIGN" in t.accepts or t.index == 1):
        return t.say(EQUALS, "'==' compares, and nothing is compared here", "To give a value, write '='.")
    if t.word.text == "=" and "EQUAL" in t.accepts:
        hint = "To compare, write '=='."
        if t.line.first not in ("if", "require", "match"):
            hint = "An option is 'name=value', and a statement 'name = value'; to compare, write '=='."
        return t.say(EQUALS, "'=' gives a value, and nothing takes one here", hint)
    return None


def _reserved(t: Trouble) -> Diagnostic | None:
    """A word of the language where a value or name should stand."""
    if t.word is None or t.word.text not in RESERVED or "NAME" not in t.accepts:
        return None
    if t.word.text in JOINTS and "INTEGER" in t.accepts:
        return t.say(UNEXPECTED, f"a value is missing before '{t.word.text}'")
    return t.say(BAD_NAME, f"'{t.word.text}' is a word of the language and no name", "Choose another name.")


def _no_colon(t: Trouble) -> Diagnostic | None:
    """A colon that is missing at the end of a line, or between a name and its type."""
    if "COLON" not in t.accepts:
        return None
    if t.word is None and t.line.first in OPENERS | {"config"}:
        hint = f"A line that opens a block ends in ':'; this one begins with '{t.line.first}'."
        return t.say(NO_COLON, "':' is missing", hint)
    if t.word is None or t.before is None:
        return None
    if t.accepts == {"COLON"}:
        return t.say(NO_COLON, f"':' is missing before '{_short(t.word)}'")
    name = t.before.text if t.before.text != "?" else t.line.words[t.index - 2].text + "?"
    typed = t.word.text == "[" or (t.word.kind == "name" and t.after is not None and t.after.text == "[")
    field = t.index == 1 and t.context == "config" and t.word.kind == "name"
    if (typed or field) and (t.before.kind == "name" or t.before.text == "?"):
        what = "kind" if field else "type"
        hint = f"Write '{name}: {t.word.text}{'...]' if t.word.text == '[' else ''}'."
        return t.say(NO_COLON, f"':' is missing between a name and its {what}", hint)
    return None


def _inner_word(t: Trouble) -> Diagnostic | None:
    """A misspelt word inside of a line: ``form`` for ``from``."""
    if t.word is None or t.word.kind != "name":
        return None
    known = {name.lower() for name in t.accepts} & INNER
    close = nearest(t.word.text.lower(), known, 0.6)
    if close is None or len(t.word.text) < 3 or "NAME" in t.accepts:
        return None
    return t.say(MISSPELT, f"'{t.word.text}' means nothing here", f"Did you mean '{close}'?")


def _no_comma(t: Trouble) -> Diagnostic | None:
    """A comma that is missing between two values in brackets, or one with nothing behind or before it."""
    word, before = t.word, t.before
    if word is None or before is None:
        return None
    if word.text in PAIRS.values() and before.text == ",":
        return t.say(NO_COMMA, f"nothing stands between ',' and '{word.text}'", "Remove the ','.", before)
    if word.text == "," and before.text in (*PAIRS, ","):
        return t.say(NO_COMMA, f"nothing stands between '{before.text}' and ','", "Remove the ','.")
    ends = before.kind in ("name", "number", "string") or before.text in PAIRS.values()
    begins = word.kind in ("name", "number", "string") or word.text in PAIRS
    if t.bracketed and "COMMA" in t.accepts and ends and begins:
        return t.say(NO_COMMA, f"',' is missing before '{word.text}'")
    return None


def _too_early(t: Trouble) -> Diagnostic | None:
    """A line that ends where something has to follow."""
    if t.word is not None or t.before is None:
        return None
    if t.index == 1 and t.body and t.before.kind == "name" and t.before.text not in STATEMENTS:
        return t.say(TOO_EARLY, "a name alone says nothing", "Give it a value: 'name = ...'.", t.before)
    return t.say(TOO_EARLY, f"the line ends after '{_short(t.before)}'", _expected(t.accepts))


def _unused(t: Trouble) -> Diagnostic | None:
    """A value that is neither named nor returned."""
    if t.index == 1 and t.body and t.word is not None and t.word.text in ("(", "[", "+", "-", "*", "/", "**"):
        hint = "Name it by 'name = ...', or 'return' it."
        return t.say(UNEXPECTED, "this value is used for nothing", hint, t.line.words[0])
    return None


def _no_equals(t: Trouble) -> Diagnostic | None:
    """A value that follows the name that it should be given to."""
    if t.index != 1 or not t.body or t.word is None or t.word.kind == "sign" or "ASSIGN" not in t.accepts:
        return None
    hint = f"Write '{_short(t.line.words[0])} = {_short(t.word)}'."
    return t.say(EQUALS, f"'=' is missing before '{_short(t.word)}'", hint)


def _block_on_the_line(t: Trouble) -> Diagnostic | None:
    """What belongs to a section on the line of its head."""
    if t.word is None or t.before is None or t.before.text != ":" or t.accepts != {"_NEWLINE"}:
        return None
    hint = "Begin it on a line of its own, indented by four spaces."
    return t.say(UNEXPECTED, "a block stands on the line of its head", hint)


def _product(t: Trouble) -> Diagnostic | None:
    """Commas in a product of axes."""
    if t.word is None or t.word.text != ",":
        return None
    opened = [-1]
    for place, word in enumerate(t.line.words[: t.index]):
        if word.kind == "sign" and word.text in PAIRS:
            opened.append(place)
        elif word.kind == "sign" and word.text in PAIRS.values():
            opened.pop()
    place = opened[-1]
    if place < 1 or t.line.words[place].text != "(":
        return None
    called = t.line.words[place - 1]
    if (called.kind == "name" and called.text not in RESERVED) or called.text in PAIRS.values():
        return None
    return t.say(
        UNEXPECTED, "a comma stands in a product of axes", "Its factors stand side by side: (heads head_dim)."
    )


def _results(t: Trouble) -> Diagnostic | None:
    """Several results without names."""
    if t.word is None or t.word.text != "," or t.bracketed or t.line.first != "return":
        return None
    return t.say(UNEXPECTED, "only results that have names can be several", "Write 'return a=..., b=...'.")


def _chain(t: Trouble) -> Diagnostic | None:
    """``a < b < c``."""
    if t.word is None or t.word.text not in COMPARISONS or "AND" not in t.accepts:
        return None
    return t.say(UNEXPECTED, "comparisons do not chain", "Join two of them by 'and'.")


def _option(t: Trouble) -> Diagnostic | None:
    """A name where ``name=value`` must stand."""
    if t.accepts != {"ASSIGN"} or t.before is None or t.before.kind != "name":
        return None
    return t.say(UNEXPECTED, f"'{t.before.text}' has no value", "An option is 'name=value'.", t.before)


def _string(t: Trouble) -> Diagnostic | None:
    """A word that should stand in quotes."""
    if t.accepts != {"STRING"} or t.word is None or t.word.kind != "name":
        return None
    return t.say(UNEXPECTED, "a string is expected here", f'Strings stand in double quotes: "{t.word.text}".')


def _two_values(t: Trouble) -> Diagnostic | None:
    """Two values in a row."""
    if t.word is None or t.before is None or t.bracketed or "_NEWLINE" not in t.accepts:
        return None
    if t.word.kind == "sign" and t.word.text not in PAIRS:
        return None
    hint = "One statement stands on a line, and operators join values."
    return t.say(UNEXPECTED, f"'{_short(t.word)}' cannot follow '{_short(t.before)}'", hint)


def _missing(t: Trouble) -> Diagnostic | None:
    """A value or name that is missing before a sign."""
    if t.word is None or t.word.kind != "sign" or t.word.text in PAIRS:
        return None
    wanted = t.accepts & STARTERS
    if wanted >= {"NAME", "INTEGER", "LPAR"}:
        return t.say(UNEXPECTED, f"a value is missing before '{t.word.text}'")
    if wanted == {"NAME"}:
        return t.say(UNEXPECTED, f"a name is missing before '{t.word.text}'")
    return None


def _unexpected(t: Trouble) -> Diagnostic:
    """Nothing better is known than what could have stood here."""
    shown = "the end of the line" if t.word is None else f"'{_short(t.word)}'"
    wanted = _wanted(t.accepts)
    if len(wanted) == 1 and wanted[0].startswith("'"):
        return t.say(UNEXPECTED, f"{wanted[0]} is missing before {shown}")
    return t.say(UNEXPECTED, f"{shown} cannot stand here", _expected(t.accepts))


def _expected(accepts: frozenset[str]) -> str:
    wanted = _wanted(accepts)
    if not wanted or len(wanted) > 6:
        return ""
    return f"Expected {', '.join(wanted[:-1])}{' or ' if len(wanted) > 1 else ''}{wanted[-1]}."


def _wanted(accepts: frozenset[str]) -> list[str]:
    """What could have stood there, in words; operators only where nothing else could."""
    left = set(accepts)
    wanted = []
    if {"NAME", "INTEGER", "LPAR"} <= left:
        wanted.append("a value")
        left -= STARTERS | OPERATORS
    elif len(left - OPERATORS) > 0:
        left -= OPERATORS
    named = [
        TERMINALS.get(name, f"'{name.lower()}'")
        for name in sorted(left)
        if name not in ("_INDENT", "_DEDENT")
    ]
    return [*wanted, *dict.fromkeys(named)]


def _short(word: Word) -> str:
    return word.text if len(word.text) <= 24 else word.text[:21] + "..."


RULES: tuple[Callable[[Trouble], Diagnostic | None], ...] = (
    _first_column,
    _first_word,
    _equals,
    _reserved,
    _no_colon,
    _inner_word,
    _no_comma,
    _too_early,
    _unused,
    _no_equals,
    _block_on_the_line,
    _product,
    _results,
    _chain,
    _option,
    _string,
    _missing,
    _two_values,
)

"""What strings, numbers and names may be."""

from __future__ import annotations

import math
import re

from ttmlc.language.codes import BAD_NAME, BAD_NUMBER, BAD_STRING
from ttmlc.language.limits import MAX_NAME
from ttmlc.source import Diagnostic, Span

INTEGER = re.compile(r"[0-9]+")
REAL = re.compile(r"[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+")
LARGEST = 2**63 - 1


def check(kind: str, text: str, span: Span) -> Diagnostic | None:
    """What is wrong with a ``string``, ``number`` or ``name``, if anything is."""
    if kind == "string":
        return _string(text, span)
    if kind == "number":
        return _number(text, span)
    if kind == "name":
        return _name(text, span)
    return None


def _string(text: str, span: Span) -> Diagnostic | None:
    if len(text) < 2 or text[-1] != '"' or (len(text) - len(text[:-1].rstrip("\\")) - 1) % 2 == 1:
        hint = "End it with '\"' on the same line."
        opening = Span(span.file, span.start, span.start + 1)
        return Diagnostic(BAD_STRING, "this string is not closed", opening, hint=hint)
    pairs = re.sub(r"\\[\"\\]", "..", text)
    if "\\" in pairs:
        place = span.start + pairs.index("\\")
        message = f"'{text[place - span.start : place - span.start + 2]}' is no escape"
        hint = "In a string '\\\"' is a quote and '\\\\' a backslash; there is nothing else."
        return Diagnostic(BAD_STRING, message, Span(span.file, place, place + 2), hint=hint)
    if "\t" in text:
        place = span.start + text.index("\t")
        return Diagnostic(
            BAD_STRING, "a tab stands in a string", Span(span.file, place, place + 1), hint="Write a space."
        )
    return None


def _number(text: str, span: Span) -> Diagnostic | None:
    if INTEGER.fullmatch(text):
        if len(text) > 64 or int(text) > LARGEST:
            return Diagnostic(BAD_NUMBER, "this number is out of range", span, "more than 2 ** 63 - 1")
        return None
    if REAL.fullmatch(text) and len(text) <= 64:
        value = float(text)
        if math.isinf(value):
            return Diagnostic(BAD_NUMBER, "this number is out of range", span, "larger than any float")
        if value == 0 and re.search(r"[1-9]", re.split("[eE]", text)[0]):
            return Diagnostic(BAD_NUMBER, "this number is out of range", span, "so small that it would be 0")
        return None
    return Diagnostic(BAD_NUMBER, f"'{text}' is no number", span, hint=_number_hint(text))


def _number_hint(text: str) -> str:
    if text.startswith(".") and REAL.fullmatch("0" + text):
        return f"Write 0{text}."
    if text.endswith(".") and INTEGER.fullmatch(text[:-1]):
        return f"Write {text}0, or {text[:-1]} for a whole number."
    plain = text.replace("_", "")
    if plain != text and (INTEGER.fullmatch(plain) or REAL.fullmatch(plain)):
        return f"Write {plain}."
    if re.fullmatch(r"[0-9]+(?![eE]$)[A-Za-z_][A-Za-z0-9_]*", text) and not text.lower().startswith(
        ("0x", "0b", "0o")
    ):
        return "A name does not begin with a digit."
    return "Numbers are written like 12, 0.5 and 1e-12."


def _name(text: str, span: Span) -> Diagnostic | None:
    if len(text) > MAX_NAME:
        return Diagnostic(BAD_NAME, f"this name has more than {MAX_NAME} letters", span)
    if text.startswith("__"):
        hint = "Names that begin so belong to Python."
        return Diagnostic(BAD_NAME, f"'{text}' begins with two underscores", span, hint=hint)
    return None

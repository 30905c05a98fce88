"""The reference is true: its examples parse and are canonical, its drawing is what is drawn, its codes are all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ttmlc.language import limits, parse
from ttmlc.language.format import format_text
from ttmlc.language.words import ENTRIES, RESERVED, SECTIONS, STATEMENTS
from ttmlc.source import CATALOGUE, DiagnosticError, SourceFile, render

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```ttml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("\n")[0][:30])
def test_an_example_is_canonical(example: str) -> None:
    assert format_text(example) == example


def test_every_section_and_statement_is_shown() -> None:
    shown = {
        line.split()[0].rstrip(":") for example in EXAMPLES for line in example.split("\n") if line.strip()
    }
    inner = {word for example in EXAMPLES for word in re.findall(r"\w+", example)}
    # what stands in a table of the page and in no example
    assert (SECTIONS | ENTRIES) - shown <= {"rename", "stale"} & inner
    assert STATEMENTS - inner <= {"match"}
    assert "match value:" in TEXT


def test_the_reserved_words_are_all() -> None:
    listed = re.search(r"Never a name: `([^`]*)`", TEXT)
    assert listed is not None
    assert set(listed.group(1).split()) == RESERVED


def test_the_codes_are_all() -> None:
    rows = dict(re.findall(r"^\| (E01\d\d) \| (.*?) \|$", TEXT, re.MULTILINE))
    assert rows == {code: meaning for code, meaning in CATALOGUE.items() if code.startswith("E01")}


def test_the_drawing_is_what_is_drawn() -> None:
    (drawing,) = re.findall(r"^```\n(tiny\.spec:.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    text = "config Tiny:\n    words: size = 2\n    hidden: size = 3 form hidden_size\n"
    with pytest.raises(DiagnosticError) as caught:
        parse(SourceFile("tiny.spec", text))
    assert "\n".join(map(render, caught.value.diagnostics)) + "\n" == drawing


def test_the_limits_are_the_limits() -> None:
    (row,) = re.findall(r"^- A file has at most .*$", TEXT, re.MULTILINE)
    numbers = [int(number.replace(" ", "")) for number in re.findall(r"\d+(?: \d{3})*", row)]
    assert numbers == [
        limits.MAX_BYTES // 1024,
        limits.MAX_FILE_WORDS,
        limits.MAX_LINE,
        limits.MAX_WORDS,
        limits.MAX_NESTING,
    ]
    assert f"up to {limits.MAX_NAME} letters" in TEXT
    assert limits.MAX_ERRORS == 20
    assert "up to twenty of them" in TEXT

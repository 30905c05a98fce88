"""The language reference is true: its examples parse, and every builtin is in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ttmlc.elaborate.builtins import BUILTINS
from ttmlc.ir.config import FieldKind
from ttmlc.language import parse
from ttmlc.source import SourceFile

TEXT = (Path(__file__).resolve().parents[2] / "docs/language.md").read_text()
EXAMPLES = re.findall(r"```ttml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_parse(number: int) -> None:
    assert parse(SourceFile("docs.spec", EXAMPLES[number])).items


def test_every_builtin_is_documented() -> None:
    assert [name for name in BUILTINS if not re.search(rf"`(?:{name}`|{name}\()", TEXT)] == []


def test_every_kind_of_field_is_documented() -> None:
    assert [
        kind.value for kind in FieldKind if kind is not FieldKind.CHOICE and f"`{kind.value}`" not in TEXT
    ] == []

"""A catalogue of wrong specs, each with its pinned rendering; every code has at least one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.api import check
from ttmlc.source import CATALOGUE, Diagnostic, SourceFile, Span, declare, render

from tests.golden import Golden, bad_specs

HERE = Path(__file__).parent / "diagnostics"
CASES = sorted(HERE.glob("*.spec"))
# What no text can show: an unreadable file is tested in test_cli.
ELSEWHERE = {"E0109"}


@pytest.mark.parametrize("spec", bad_specs(HERE))
def test_a_wrong_spec_is_told_as_pinned(spec: Path, golden: Golden) -> None:
    error = golden.refusal(spec, check)
    if spec.stem.startswith("e0"):
        assert spec.stem.split("_")[0].upper() in {diagnostic.code for diagnostic in error.diagnostics}


def test_every_code_has_a_case() -> None:
    covered = {path.stem.split("_")[0].upper() for path in CASES} | ELSEWHERE
    assert set(CATALOGUE) <= covered


def test_a_code_is_declared_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        declare("E0201", "again")


def shown(text: str, start: int, end: int, label: str = "") -> str:
    file = SourceFile("x.spec", text)
    return render(Diagnostic("E0000", "something", Span(file, start, end), label))


def test_carets_stand_under_wide_and_combining_characters() -> None:
    lines = shown("日本 = e\u0301x", 5, 8, "here").splitlines()
    assert lines[2].index("^") - lines[2].index("|") - 2 == len("日本") * 2 + len(" = ")
    assert lines[2].count("^") == 2


def test_characters_that_could_deceive_are_shown_as_numbers() -> None:
    assert "<U+202E>" in shown("a = \u202eb", 4, 6)
    assert "\u202e" not in shown("a = \u202eb", 4, 6)


def test_a_long_line_is_cut_around_what_is_marked() -> None:
    rendered = shown("x" * 5000 + " wrong " + "y" * 5000, 5001, 5006, "this")
    assert max(map(len, rendered.splitlines())) < 160
    assert "wrong" in rendered


def test_a_span_over_several_lines_marks_its_first() -> None:
    assert shown("abc\ndef\n", 1, 6).splitlines()[2].endswith("^^ (to line 2)")

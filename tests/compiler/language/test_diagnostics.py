"""Each way to get a spec's text wrong, and what is said: one bad spec a cause, its drawing beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ttmlc.language import load, parse
from ttmlc.language.limits import MAX_ERRORS
from ttmlc.source import CATALOGUE, DiagnosticError, SourceFile

from tests.golden import Golden, bad_specs

HERE = Path(__file__).parent / "diagnostics"
SPECS = bad_specs(HERE)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_wrong_is_said(spec: Path, golden: Golden) -> None:
    golden.refusal(spec, lambda path: parse(load(path)))


@pytest.mark.parametrize("spec", SPECS)
def test_diagnostics_stand_in_the_order_of_the_text_and_none_twice(spec: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        parse(load(spec))
    places = [diagnostic.span.start for diagnostic in caught.value.diagnostics]
    assert places == sorted(set(places))
    assert len(places) <= MAX_ERRORS


def test_every_code_of_the_parser_has_a_bad_spec() -> None:
    drawn = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("*.txt"))
    seen = set(re.findall(r"error\[(E01\d\d)\]", drawn))
    # that a file cannot be read at all is tested in test_hostile_text.py
    assert seen == {code for code in CATALOGUE if code.startswith("E01")} - {"E0109"}


def test_no_drawing_is_left_behind_by_a_spec_that_is_gone() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == {path.stem for path in HERE.glob("*.spec")}


@pytest.mark.parametrize(
    "spec", sorted(Path(__file__).parent.glob("fixtures/*.spec")), ids=lambda path: path.stem
)
def test_one_wrong_word_anywhere_is_one_diagnostic_on_its_line(spec: Path) -> None:
    """A statement that is made wrong is told once, and nothing is told of its neighbours."""
    lines = spec.read_text(encoding="utf-8").splitlines()
    changed = 0
    for number, line in enumerate(lines):
        if not re.match(r" +(q|k|v|a|h|y|u) = ", line):
            continue
        wrong = [*lines[:number], line + " )", *lines[number + 1 :]]
        with pytest.raises(DiagnosticError) as caught:
            parse(SourceFile(spec.name, "\n".join(wrong) + "\n"))
        assert [diagnostic.span.line for diagnostic in caught.value.diagnostics] == [number + 1]
        changed += 1
    if spec.stem in ("decoder", "fused", "variants"):
        assert changed > 3

"""Extensions that fit nothing, and where a base is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.api import expand_file, expanded
from ttmlc.source import DiagnosticError

from tests.compiler.extending import BASE, child, flat


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (child("h = n"), "several times"),
        (child("Mix.h = x"), "has nothing called 'h'"),
        (child("Mix.u.v = x"), "names nothing"),
        (child('param words: [vocab, hidden] at "x"'), "has nothing called 'words'"),
        (child("return h=super"), "no 'super'"),
        (child("if given(type_ids):\n        h = n"), "replaces nothing"),
        (child().replace("extends BaseModel", "extends BasicModel"), "no spec declares model 'BasicModel'"),
        (child("Mix with p=1"), "has nothing called 'Mix'"),
        (child('rename "{i}" -> "x", "a.b.c" -> "d"'), "'a.b.c'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(text: str, says: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        flat(text)
    assert says in str(caught.value)


def test_one_spec_is_extended_at_a_time() -> None:
    other = BASE.replace("Base", "Basis")
    with pytest.raises(DiagnosticError, match="stands in another spec"):
        flat(child().replace("extends BaseModel", "extends BasisModel"), BASE, other=other)


def test_a_cycle_is_refused_wherever_it_closes() -> None:
    one = 'config One extends Two for "one":\n    p = 1\n'
    two = 'config Two extends Three for "two":\n    p = 1\n'
    three = 'config Three extends One for "three":\n    p = 1\n'
    with pytest.raises(DiagnosticError, match="'One' would extend itself"):
        flat(one, two, three=three)
    with pytest.raises(DiagnosticError, match="'One' would extend itself"):
        flat(one.replace("Two", "One"))


def test_two_specs_beside_each_other_that_declare_one_base_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.spec").write_text(BASE)
    path = tmp_path / "child.spec"
    path.write_text(child())
    with pytest.raises(DiagnosticError, match="several specs declare config 'Base': one.spec and two.spec"):
        expand_file(path)
    path.write_text("use two\n\n" + child())
    assert "wide = 2 * hidden" in expanded(path)

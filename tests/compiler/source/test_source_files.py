"""Where things stand in a text, and the catalogue of codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ttmlc.source import CATALOGUE, Diagnostic, DiagnosticError, SourceFile, Span, declare

FILE = SourceFile("tiny.spec", "first\n\n  third é\nlast")


@pytest.mark.parametrize(
    ("offset", "place"),
    [(0, (1, 1)), (5, (1, 6)), (6, (2, 1)), (7, (3, 1)), (9, (3, 3)), (17, (4, 1)), (21, (4, 5))],
)
def test_lines_and_columns_count_from_one(offset: int, place: tuple[int, int]) -> None:
    assert FILE.place(offset) == place


@given(st.text("ab\n\ré\t"), st.data())
def test_a_place_is_its_lines_start_and_column(text: str, data: st.DataObject) -> None:
    file = SourceFile("any", text)
    offset = data.draw(st.integers(0, len(text)))
    line, column = file.place(offset)
    assert line == text[:offset].count("\n") + 1
    assert file.starts[line - 1] + column - 1 == offset
    assert "\n" not in file.line_text(line)


def test_a_span_knows_its_lines_and_text() -> None:
    span = Span(FILE, 9, 21)
    assert (span.line, span.column, span.end_line, span.text) == (3, 3, 4, "third é\nlast")
    assert str(span) == "tiny.spec:3:3"
    assert Span(FILE, 2, 2).end_line == 1
    assert FILE.end() == Span(FILE, 21, 21)


def test_spans_join_in_either_order() -> None:
    one, other = Span(FILE, 2, 5), Span(FILE, 9, 14)
    assert one.to(other) == other.to(one) == Span(FILE, 2, 14)


def test_spans_of_the_same_text_are_equal_and_have_an_order() -> None:
    again = SourceFile(FILE.name, FILE.text)
    assert Span(FILE, 1, 2) == Span(again, 1, 2)
    assert hash(Span(FILE, 1, 2)) == hash(Span(again, 1, 2))
    assert Span(FILE, 1, 2) != Span(SourceFile("other.spec", FILE.text), 1, 2)
    assert sorted([Span(FILE, 3, 4), Span(FILE, 1, 5), Span(FILE, 1, 2)]) == [
        Span(FILE, 1, 2),
        Span(FILE, 1, 5),
        Span(FILE, 3, 4),
    ]


def test_a_file_is_short_to_show() -> None:
    assert repr(FILE) == "SourceFile('tiny.spec', 21 characters)"


def test_a_code_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttmlc.source.catalogue.CATALOGUE", {})
    assert declare("E9901", "something") == "E9901"
    with pytest.raises(ValueError, match="E9901 is declared twice: 'something' and 'another thing'"):
        declare("E9901", "another thing")


@pytest.mark.parametrize("code", ["", "E1", "W0101", "E01012", "e0101"])
def test_a_code_is_an_e_and_four_digits(code: str) -> None:
    with pytest.raises(ValueError, match="is no code"):
        declare(code, "something")


def test_meanings_are_short_and_differ() -> None:
    import ttmlc.language  # noqa: F401  # its import declares the codes

    assert len(CATALOGUE) > 15
    assert len(set(CATALOGUE.values())) == len(CATALOGUE)
    assert all(meaning and len(meaning) <= 100 and meaning[-1] != "." for meaning in CATALOGUE.values())


def test_an_error_carries_all_its_diagnostics_and_draws_them() -> None:
    diagnostics = [
        Diagnostic("E9902", "one thing", Span(FILE, 0, 5)),
        Diagnostic("E9902", "another", Span(FILE, 17, 21)),
    ]
    error = DiagnosticError(iter(diagnostics))
    assert error.diagnostics == tuple(diagnostics)
    assert [line for line in str(error).split("\n") if "error" in line] == [
        "tiny.spec:1:1: error[E9902]: one thing",
        "tiny.spec:4:1: error[E9902]: another",
    ]

"""Reading and formatting specs: our own, and whatever can be thrown at the parser."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ttmlc.language import grammar, parse, tree
from ttmlc.language.format import format_text
from ttmlc.source import DiagnosticError, SourceFile

ROOT = Path(__file__).resolve().parents[2]
SPECS = sorted((ROOT / "specs").rglob("*.spec")) + sorted((Path(__file__).parent / "fixtures").glob("*.spec"))


def read(text: str) -> tree.File:
    return parse(SourceFile("test.spec", text))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_formatting_keeps_the_meaning_and_is_idempotent(path: Path) -> None:
    text = path.read_text()
    once = format_text(text)
    assert format_text(once) == once
    assert read(once) == read(text)


@pytest.mark.parametrize("path", sorted((ROOT / "specs").rglob("*.spec")), ids=lambda path: path.stem)
def test_our_own_specs_are_in_canonical_form(path: Path) -> None:
    assert format_text(path.read_text()) == path.read_text()


def code_lines(path: Path) -> int:
    text = re.sub(r'"""[^"]*"""', "", path.read_text())
    return sum(bool(line.split("#")[0].strip()) for line in text.splitlines())


def test_specs_stay_short() -> None:
    assert code_lines(ROOT / "specs/models/bert.spec") <= 60
    assert code_lines(ROOT / "specs/heads/heads.spec") <= 60


def test_comments_are_kept_where_they_are() -> None:
    text = "# above\nuse   heads  # beside\n\n\n\n# below\n"
    assert format_text(text) == "# above\nuse heads  # beside\n\n# below\n"


def test_spacing_is_made_canonical() -> None:
    text = 'block A( x:[B,S],y : int[B] ):\n  q=linear( x,( heads   head_dim ),at = "q" )as[B,S]\n'
    text += "  return a = q ,b=-q\n"
    assert format_text(text) == (
        'block A(x: [B, S], y: int[B]):\n    q = linear(x, (heads head_dim), at="q") as [B, S]\n    return a=q, b=-q\n'
    )


def test_every_node_has_a_span_that_holds_its_text() -> None:
    file = SourceFile("bert.spec", (ROOT / "specs/models/bert.spec").read_text())
    names = [node for node in tree.walk(parse(file)) if isinstance(node, tree.Name)]
    assert len(names) > 250
    assert all(node.span.text == node.text for node in names)
    assert all(node.span.start <= node.span.end for node in tree.walk(parse(file)))


def test_equality_ignores_where_things_stand() -> None:
    assert read("use heads\n") == read("\n\nuse   heads\n")


def test_precedence() -> None:
    def value(expression: str) -> tree.Expr:
        (block,) = read(f"block A(x: [B]):\n    return {expression}\n").items
        assert isinstance(block, tree.Function)
        (statement,) = block.body
        assert isinstance(statement, tree.Return)
        assert statement.value is not None
        return statement.value

    assert value("a + b * c") == value("a + (b * c)")
    assert value("a - b - c") == value("(a - b) - c")
    assert value("-a ** b") == value("-(a ** b)")
    assert value("a ** b ** c") == value("a ** (b ** c)")
    assert value("not a == b and c or d") == value("((not (a == b)) and c) or d")
    assert value("a if b or c else d if e else f") == value("a if (b or c) else (d if e else f)")
    assert value("a + b") != value("b + a")


WORDS = st.sampled_from(["a", "b", "head_dim", "x1", "type", "at", "over", "first"])
NUMBERS = st.sampled_from(["0", "7", "1e-12", "0.5", "true", "none"])


def expressions() -> st.SearchStrategy[str]:
    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", "**"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        )
        return st.one_of(
            binary,
            st.tuples(WORDS, inner, inner).map(lambda parts: f"{parts[0]}({parts[1]}, p={parts[2]})"),
            st.tuples(inner, inner, inner).map(
                lambda parts: f"({parts[0]} if {parts[1]} is none else {parts[2]})"
            ),
            inner.map(lambda part: f"(-{part})"),
            inner.map(lambda part: f"({part}) as [B, (heads head_dim), 1]"),
            st.tuples(WORDS, inner).map(lambda parts: f"{parts[0]}[{parts[1]}].y"),
        )

    return st.recursive(WORDS | NUMBERS, grow, max_leaves=12)


@given(expressions(), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_any_expression_survives_formatting(expression: str, spaces: int) -> None:
    gap = " " * spaces
    text = f"block A(x: [B]):\n   y ={gap}{expression}{gap}# why\n   return y\n"
    once = format_text(text)
    assert read(once) == read(text)
    assert format_text(once) == once
    assert "# why" in once


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_tree_or_diagnostics(text: str) -> None:
    try:
        read(text)
    except DiagnosticError as error:
        assert error.diagnostics
        assert str(error)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "block A(x: [B]):\n    return " + "-" * 50_000 + "x\n",
        "block A(x: [B]):\n    return " + " + ".join("x" * 20_000) + "\n",
        "block A(x: [B]):\n    return x" + ".y" * 20_000 + "\n",
        "a\n" * 100_000,
        "\n" * 200_000,
        '"' * 10_000,
        "#" * 500_000,
        "block A(x: [B]):\n" + "".join(" " * n + "if x:\n" for n in range(4, 400, 4)),
        "use " + "a, " * 50_000 + "a\n",
    ],
    ids=range(10),
)
def test_text_made_to_be_slow_is_refused_quickly(text: str) -> None:
    start = time.process_time()
    try:
        read(text)
    except DiagnosticError as error:
        assert error.diagnostics
    assert time.process_time() - start < 30  # a guard: what blows up takes minutes


def test_the_cached_parser_is_the_built_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(text: str) -> tree.File:
        """By a parser that is made or read again, and not from what a process has parsed."""
        grammar.parser.cache_clear()
        parse.cache_clear()
        return read(text)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = (ROOT / "specs/models/bert.spec").read_text()
    built = anew(text)
    (cache,) = tmp_path.rglob("*.json")
    assert anew(text) == built
    for broken in ("", "{}", "[1, 2]", cache.read_text()[:1000], cache.read_text().replace("Rule", "Ruler")):
        cache.write_text(broken)
        assert anew(text) == built
    grammar.parser.cache_clear()

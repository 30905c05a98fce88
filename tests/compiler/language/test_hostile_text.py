"""Whatever is read, the answer is a tree or diagnostics, soon: never a traceback, never a long wait."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ttmlc.language import load, parse, tree
from ttmlc.language.format import format_text
from ttmlc.language.limits import MAX_BYTES, MAX_DEPTH, decode
from ttmlc.language.words import INNER, RESERVED, SECTIONS, STATEMENTS
from ttmlc.source import Diagnostic, DiagnosticError, SourceFile, render

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.spec"))
SECONDS = 30
"""Of processor time, as a guard: a text that blows up takes minutes; the slowest below takes one second alone."""


def told(text: str) -> list[str]:
    """What is said of ``text``; nothing where it parses."""
    diagnostics = refused(SourceFile("hostile.spec", text))
    for diagnostic in diagnostics:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text) + 1
        assert max(map(len, render(diagnostic).split("\n"))) < 1000
    return [diagnostic.code for diagnostic in diagnostics]


def refused(file: SourceFile) -> tuple[Diagnostic, ...]:
    """The diagnostics of a file; none where it parses."""
    try:
        parse(file)
    except DiagnosticError as error:
        return error.diagnostics
    return ()


BODY = "fn f(x: [B]):\n"
HOSTILE = {
    "100 000 brackets": BODY + "    return " + "(" * 100_000,
    "100 000 closed brackets": BODY + "    return " + "(" * 100_000 + "x" + ")" * 100_000,
    "100 000 lists": BODY + "    return " + "[" * 100_000 + "]" * 100_000,
    "100 000 signs": BODY + "    return " + "-" * 100_000 + "x",
    "100 000 nots": BODY + "    return " + "not " * 50_000 + "x",
    "a long sum": BODY + "    return " + "x + " * 60_000 + "x",
    "a long sum over lines": BODY + "    return f(\n" + "        x +\n" * 20_000 + "        x)\n",
    "calls of calls": BODY + "    return f" + "(x)" * 60_000,
    "members of members": BODY + "    return f" + ".x" * 100_000,
    "a deep staircase": "".join(" " * i + "if x:\n" for i in range(600)),
    "many sections": "use a\n" * 9_900,
    "too many sections": "use a\n" * 40_000,
    "many assignments": BODY + "    x = y\n" * 6_600,
    "too many assignments": BODY + "    x = y\n" * 24_000,
    "many wrong assignments": BODY + "    x = = y\n" * 20_000,
    "many wrong sections": "modle x\n" * 30_000,
    "many wrong blocks": "block A(x):\n    y = = z\n" * 10_000,
    "many heads": "block A(x: [B, S], y):\n" * 10_000,
    "many elses": BODY + "    else:\n" * 20_000,
    "one wrong word at the end": BODY + "    x = y\n" * 6_600 + "    x y\n",
    "wrong words from end to end": (BODY + "    x = y\n" * 400 + "    x y\n") * 20,
    "wrong words in one section": BODY + ("    x = y\n" * 400 + "    x y\n") * 20,
    "many quotes": '"' * 200_000,
    "many closed strings": 'stale ""' + ', ""' * 60_000,
    "many backslashes": 'stale "' + "\\" * 200_000 + '"',
    "many docs": '""""""\n' * 19_900,
    "an open doc": '"""' + "a" * 250_000,
    "a long name": "axis " + "a" * 250_000 + " = 2",
    "a long number": "axis a = " + "9" * 250_000,
    "a long exponent": "axis a = 1e" + "9" * 250_000,
    "a long comment": "#" * 250_000,
    "many comments": "# a\n" * 60_000,
    "only blanks": " " * 250_000,
    "only line ends": "\n" * 250_000,
    "only tabs": "\t\n" * 100_000,
    "only dots": "." * 250_000,
    "digits and dots": "1." * 100_000,
    "unseen": "\x00" * 250_000,
    "surrogates": "axis a = \ud800\udfff",
    "combining": "axis a" + "\u0301" * 100_000 + " = 2",
    "too large": "a" * (MAX_BYTES + 1),
    "far too large": "a" * (MAX_BYTES * 40),
    "carriage returns": "use a\r" * 1000,
}
FINE = {"many sections", "many assignments", "many docs", "only line ends", "many comments", "only tabs"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_quickly(name: str) -> None:
    start = time.process_time()
    codes = told(HOSTILE[name])
    assert time.process_time() - start < SECONDS
    assert (codes == []) == (name in FINE)


def test_expressions_below_the_limit_are_read_and_formatted() -> None:
    deep = BODY + "    return " + "f(" * 60 + "x" + ")" * 60 + "\n"
    assert told(deep) == []
    assert format_text(deep) == deep
    signs = BODY + "    return " + "-" * (MAX_DEPTH - 10) + "x\n"
    assert told(signs) == []
    assert len(list(tree.walk(parse(SourceFile("deep.spec", signs))))) > MAX_DEPTH - 10


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    try:
        text = decode("random.spec", data).text
    except DiagnosticError:
        return
    told(text)


SIGNS = [
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    ";",
    "=",
    "==",
    ".",
    "|",
    "*",
    "**",
    "?",
    "+",
    "-",
    "->",
    "#",
    "'",
    "\\",
]
OTHERS = ["x", "y", "1", "0.5", '"a"', '"""', "é"]
WORDS = st.sampled_from([*sorted(SECTIONS | STATEMENTS | RESERVED | INNER), *SIGNS, *OTHERS])
LINES = st.lists(
    st.tuples(st.integers(0, 3), st.lists(WORDS, max_size=8)).map(
        lambda line: "    " * line[0] + " ".join(line[1])
    ),
    max_size=8,
).map("\n".join)


@FUZZ
@given(LINES)
def test_random_words(text: str) -> None:
    told(text)


@FUZZ
@given(st.data())
def test_specs_with_a_random_hole_or_splinter(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(FIXTURES)).read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    told(text[:start] + data.draw(st.one_of(st.just(""), WORDS, st.text(max_size=3))) + text[end:])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        DiagnosticError, match=r"none\.spec:1:1: error\[E0109\]: cannot read .*: there is no such file"
    ):
        load(tmp_path / "none.spec")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="it is no file"):
        load(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device to read from is needed")
def test_a_device_is_not_read() -> None:
    with pytest.raises(DiagnosticError, match="it is no file"):
        load(Path("/dev/zero"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.spec")
    with pytest.raises(DiagnosticError, match="it is no file"):
        load(tmp_path / "pipe.spec")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(DiagnosticError, match="E0109"):
        load(Path("a\0b"))


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "huge.spec"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(DiagnosticError, match="larger than 256 KiB"):
        load(path)


def test_bytes_that_are_not_utf_8_are_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "latin.spec").write_bytes(b"# gr\xc3\xbc\xc3\x9fe\naxis a = 2  # gr\xfc\xdfe\n")
    with pytest.raises(
        DiagnosticError, match=r"latin\.spec:2:17: error\[E0101\]: this is not UTF-8"
    ) as caught:
        load(tmp_path / "latin.spec")
    assert caught.value.diagnostics[0].label == "byte 0xfc"


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    (tmp_path / "windows.spec").write_bytes(b"\xef\xbb\xbfuse a\r\naxis b = 2\r\n")
    file = load(tmp_path / "windows.spec")
    assert file.text == "use a\naxis b = 2\n"
    assert len(parse(file).items) == 2

"""How a diagnostic is drawn: what stands where, and that no text of a spec gets at the terminal."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ttmlc.source import Diagnostic, SourceFile, Span, render, visible

SPEC = SourceFile(
    "llama.spec",
    "\n" * 39 + "  up = linear(x, w_up)\n  gate = linear(x, w_gate)\n  y = silu(gate)\n",
)


def at(file: SourceFile, text: str, occurrence: int = 0) -> Span:
    """Where ``text`` stands in ``file``."""
    start = -1
    for _ in range(occurrence + 1):
        start = file.text.index(text, start + 1)
    return Span(file, start, start + len(text))


def drawn(diagnostic: Diagnostic) -> str:
    return "\n" + render(diagnostic) + "\n"


def test_label_related_and_hint() -> None:
    call = at(SPEC, "x, w_gate")
    diagnostic = Diagnostic(
        "E0312",
        "'linear' cannot contract 'x' with 'w_gate'",
        at(SPEC, "w_gate"),
        "has 4096 rows",
        ((Span(SPEC, call.start, call.start + 1), "has 2048 columns"),),
        hint="Transpose 'w_gate', or declare it as [hidden, ffn].",
    )
    assert (
        drawn(diagnostic)
        == """
llama.spec:41:20: error[E0312]: 'linear' cannot contract 'x' with 'w_gate'
   41 |   gate = linear(x, w_gate)
      |                    ^^^^^^ has 4096 rows
      |                 - has 2048 columns
   hint: Transpose 'w_gate', or declare it as [hidden, ffn].
"""
    )


def test_lines_stand_in_their_order_and_notes_below() -> None:
    diagnostic = Diagnostic(
        "E0001",
        "these differ",
        at(SPEC, "y"),
        "is here",
        ((at(SPEC, "up"), "is there"),),
        ("they must not", "really"),
    )
    assert (
        drawn(diagnostic)
        == """
llama.spec:42:3: error[E0001]: these differ
   40 |   up = linear(x, w_up)
      |   -- is there
   42 |   y = silu(gate)
      |   ^ is here
   note: they must not
   note: really
"""
    )


def test_another_file_is_named() -> None:
    heads = SourceFile("heads.spec", "head MaskedLM(base):\n")
    diagnostic = Diagnostic(
        "E0001", "no such hole", at(SPEC, "gate"), "", ((at(heads, "MaskedLM"), "has none"),)
    )
    assert (
        drawn(diagnostic)
        == """
llama.spec:41:3: error[E0001]: no such hole
   41 |   gate = linear(x, w_gate)
      |   ^^^^
   in heads.spec:1:6
    1 | head MaskedLM(base):
      |      -------- has none
"""
    )


def test_a_span_of_several_lines_is_marked_on_its_first() -> None:
    file = SourceFile("a.spec", "use a\nq = linear(\n    x,\n)\n")
    diagnostic = Diagnostic("E0001", "too much", Span(file, 10, len(file.text) - 1), "all of it")
    assert (
        drawn(diagnostic)
        == """
a.spec:2:5: error[E0001]: too much
   2 | q = linear(
     |     ^^^^^^^ all of it (to line 4)
"""
    )


def test_the_end_of_a_file_and_of_a_line() -> None:
    file = SourceFile("a.spec", "use a\nuse")
    assert drawn(Diagnostic("E0001", "more", file.end())).endswith("   2 | use\n     |    ^\n")
    assert drawn(Diagnostic("E0001", "more", Span(file, 5, 5))).endswith("   1 | use a\n     |      ^\n")
    assert drawn(Diagnostic("E0001", "nothing", SourceFile("b.spec", "").end())).endswith(
        "   1 |\n     | ^\n"
    )


@pytest.mark.parametrize(
    ("text", "marked", "line", "marks"),
    [
        ("\tq = x", "q", "    q = x", "    ^"),
        ("a = '漢字' + b", "b", "a = '漢字' + b", "             ^"),
        ("a = 漢字", "漢字", "a = 漢字", "    ^^^^"),
        ("cafe\u0301 = b", "b", "cafe\u0301 = b", "       ^"),
        ("a\u202eb = c", "c", "a<U+202E>b = c", "             ^"),
        ("a\x1b[31mb", "\x1b", "a<U+001B>[31mb", " ^^^^^^^^"),
        ("a\x00b", "b", "a<U+0000>b", "         ^"),
        ("a\ufeffb", "b", "a<U+FEFF>b", "         ^"),
        ("a\u200bb", "b", "a<U+200B>b", "         ^"),
        ("a\ud800b", "b", "a<U+D800>b", "         ^"),
        ("a\u2028b", "b", "a<U+2028>b", "         ^"),
        ("e\u0301\u0301\u0301\u0301b", "b", "e\u0301\u0301<U+0301><U+0301>b", "                 ^"),
    ],
)
def test_marks_stand_below_what_they_mark(text: str, marked: str, line: str, marks: str) -> None:
    file = SourceFile("a.spec", text)
    head, shown, below = render(Diagnostic("E0001", "here", at(file, marked))).split("\n")
    assert head == f"a.spec:1:{text.index(marked) + 1}: error[E0001]: here"
    assert shown == f"   1 | {line}"
    assert below == f"     | {marks}"


def long_file() -> SourceFile:
    return SourceFile("a.spec", "axis a = " + " + ".join(f"b{number}" for number in range(200)))


@pytest.mark.parametrize("marked", ["axis", "b7 ", "b100", "b199"])
def test_a_long_line_is_cut_around_the_mark(marked: str) -> None:
    file = long_file()
    _, shown, below = render(Diagnostic("E0001", "here", at(file, marked), "this")).split("\n")
    assert len(shown) <= 7 + 120 + 6
    start = below.index("^")
    assert shown[start : start + len(marked)].strip() == marked.strip()
    assert below.endswith("^ this")


def test_marks_far_apart_on_a_long_line_are_drawn_apart() -> None:
    file = long_file()
    text = render(Diagnostic("E0001", "here", at(file, "b1 "), "one", ((at(file, "b190"), "other"),)))
    lines = text.split("\n")
    assert len(lines) == 5
    for shown, below, marked in ((lines[1], lines[2], "b1 "), (lines[3], lines[4], "b190")):
        start = re.search(r"[-^]", below[6:])
        assert start is not None
        assert shown[6 + start.start() :].startswith(marked)


def test_names_messages_labels_and_hints_are_made_visible_and_cut() -> None:
    file = SourceFile("a\x1b[2J.spec", "x")
    text = render(Diagnostic("E0001", "m" * 9999, file.end(), "l\nl", (), ("n\x07",), "h\u202e"))
    assert "\x1b" not in text
    assert text.startswith("a<U+001B>[2J.spec:1:2: error[E0001]: mmm")
    assert "l<U+000A>l" in text
    assert "n<U+0007>" in text
    assert "h<U+202E>" in text
    assert len(text) < 1000
    assert visible("a\tb") == "a    b"


def test_colours_change_nothing_but_colours() -> None:
    diagnostic = Diagnostic(
        "E0001", "here", at(SPEC, "gate"), "this", ((at(SPEC, "up"), "that"),), ("note",), "hint"
    )
    assert re.sub(r"\x1b\[[0-9]+m", "", render(diagnostic, color=True)) == render(diagnostic)
    assert "\x1b[31m^^^^ this\x1b[0m" in render(diagnostic, color=True)
    assert "\x1b" not in render(diagnostic)


@given(st.text(), st.data())
def test_no_text_gets_at_the_terminal(text: str, data: st.DataObject) -> None:
    file = SourceFile(text[:20], text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    related = ((Span(file, end, end), text),)
    shown = render(Diagnostic("E0001", text, Span(file, start, end), text, related, (text,), text))
    assert {unicodedata.category(char) for char in shown.replace("\n", "")} <= {
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm", "Sc", "Sk", "So", "Zs",
    }  # fmt: skip
    assert shown.count("\n") <= 8

"""What is printed parses back, what is formatted stays so, and no comment is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ttmlc.language import parse, tree
from ttmlc.language.format import format_text, print_tree
from ttmlc.language.scan import scan
from ttmlc.source import DiagnosticError, SourceFile

from tests.compiler.language import strategies

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
SPECS = [*sorted((ROOT / "specs").rglob("*.spec")), *sorted((HERE / "fixtures").glob("*.spec"))]
ROUND = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(text: str) -> tree.File:
    return parse(SourceFile("test.spec", text))


def comments(text: str) -> list[str]:
    return [comment.text.strip("# ") for comment in scan(SourceFile("test.spec", text)).comments]


@pytest.mark.filterwarnings(
    "ignore:Generating overly large repr"
)  # strategies of a whole language have long names
@ROUND
@given(strategies.files)
def test_parsing_what_was_printed_gives_the_tree_back(file: tree.File) -> None:
    text = print_tree(file)
    assert read(text) == file
    assert format_text(text) == text


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_our_specs_are_canonical(spec: Path) -> None:
    text = spec.read_text(encoding="utf-8")
    assert format_text(text) == text


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_printing_the_tree_alone_leaves_out_comments_and_free_blank_lines_and_nothing_else(
    spec: Path,
) -> None:
    file = read(spec.read_text(encoding="utf-8"))
    assert read(print_tree(file)) == file


def code_lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", '"""')))


@pytest.mark.parametrize("name", ["models/bert.spec", "heads/heads.spec"])
def test_the_shipped_specs_stay_compact(name: str) -> None:
    assert code_lines((ROOT / "specs" / name).read_text(encoding="utf-8")) <= 60


def roughened(text: str, draw: st.DrawFn) -> str:
    """``text`` with other spaces, comments, blank lines and line breaks in brackets, meaning the same."""
    rough = []
    for line in scan(SourceFile("test.spec", text)).lines:
        pieces = []
        depth = 0
        for word, after in zip(line.words, [*line.words[1:], None], strict=True):
            pieces.append(word.text)
            depth += (word.text in ("(", "[")) - (word.text in (")", "]")) if word.kind == "sign" else 0
            gap = text[word.end : after.start] if after else ""
            if depth and draw(st.integers(0, 9)) == 0:
                pieces.append("  # inside\n" + " " * (4 * line.indent + 9))
            elif gap or (after and draw(st.booleans()) and not _glued(word.text, after.text)):
                pieces.append(" " * draw(st.integers(1, 3)))
        margin = " " * (line.indent // 4 * 3)
        rough += draw(st.sampled_from([[], [], [""], ["", ""], [margin + "#own line"], ["# far left"]]))
        rough.append(margin + "".join(pieces) + draw(st.sampled_from(["", "", "  ", "#behind", " # behind"])))
    return "\n".join(rough) + draw(st.sampled_from(["", "\n", "\n\n# end\n"]))


def _glued(left: str, right: str) -> bool:
    return (left[-1:].isalnum() or left[-1:] in "_.") and (right[:1].isalnum() or right[:1] in "_.")


@ROUND
@given(st.data())
def test_other_layouts_become_the_canonical_one_with_their_comments(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(SPECS))
    text = spec.read_text(encoding="utf-8")
    rough = data.draw(st.composite(lambda draw: roughened(text, draw))())
    done = format_text(rough)
    assert read(done) == read(text)
    assert format_text(done) == done
    assert sorted(comments(done)) == sorted(comments(rough))
    assert not re.search(r"[ \t]$|\n\n\n|\n\n\Z|\A\n", done, re.MULTILINE) or '"""' in done


def test_what_does_not_parse_is_refused() -> None:
    with pytest.raises(DiagnosticError) as caught:
        format_text("block A(:\n", "wrong.spec")
    assert caught.value.diagnostics[0].span.file.name == "wrong.spec"


EXAMPLES = {
    "spaces": ("use  a,b\naxis s:x|y", "use a, b\naxis s: x | y\n"),
    "a trailing comment": ("use a#why", "use a  # why\n"),
    "rows of signs": ("##  title  ##\n#---\n#\nuse a", "## title  ##\n# ---\n#\nuse a\n"),
    "two blank lines": ("use a\n\n\n\nuse b", "use a\n\nuse b\n"),
    "no blank line below a head": ("defaults:\n\n    a: b=1", "defaults:\n    a: b=1\n"),
    "a section's own comment": (
        "use a\n# about\ndefaults:\n  a: b=1\n# apart\n\nuse c",
        "use a\n\n# about\ndefaults:\n    a: b=1\n\n# apart\n\nuse c\n",
    ),
    "comments as deep as their block": (
        "fn f():\n  if a:\n    b = 1\n    # in if\n  # in fn\n# in file",
        "fn f():\n    if a:\n        b = 1\n        # in if\n    # in fn\n\n# in file\n",
    ),
    "before an else": (
        "fn f():\n  if a:\n    b = 1\n  # before\n  else:\n    # after\n    b = 2",
        "fn f():\n    if a:\n        b = 1\n    # before\n    else:\n        # after\n        b = 2\n",
    ),
    "one statement a line": (
        "fn f():\n  b = g( # first\n    c,\n    # second\n    d) # third",
        "fn f():\n    # first\n    # second\n    b = g(c, d)  # third\n",
    ),
    "cases": (
        "fn f():\n  match a:\n    b:\n      return 1\n    c: return 2\n    d:\n      e = 1\n      return e",
        """\
fn f():
    match a:
        b: return 1
        c: return 2
        d:
            e = 1
            return e
""",
    ),
    "parentheses that say nothing": ("axis a = ((b) + (c * d)) ** (2)", "axis a = (b + c * d) ** 2\n"),
    "numbers as they are spelt": ("axis a = 1E-5 + 1.50", "axis a = 1E-5 + 1.50\n"),
    "prose of several lines": (
        '"""First.\n\n      Deeper\n        still.   """',
        '"""First.\n\nDeeper\n  still.\n"""\n',
    ),
    "prose that begins below": ('"""\n   A\n     B\n"""', '"""\nA\n  B\n"""\n'),
    "windows": ("use a\r\n\r\n\r\nuse b\r\n", "use a\n\nuse b\n"),
    "nothing": ("\n\n", ""),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_canonical_form_of(name: str) -> None:
    before, after = EXAMPLES[name]
    assert format_text(before) == after
    assert format_text(after) == after

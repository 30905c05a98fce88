"""A spec over another is one spec like any other: the families that ship, and any changes together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ttmlc.api import compile_spec, compile_text, expand_file, expanded
from ttmlc.elaborate import elaborate
from ttmlc.expand.rewriting import names_read
from ttmlc.language import parse
from ttmlc.language.format import print_tree
from ttmlc.source import SourceFile
from ttmlc.specs import finder, models

from tests.compiler.extending import Shelf, child, flat, lines, sound
from tests.golden import Golden

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "families"
OVER = re.compile(r"^(config|model) \w+ extends ", re.MULTILINE)
FAMILIES = [path for path in models() if OVER.search(path.read_text())]
LIMITS = {"mistral": 15, "qwen2": 15, "qwen3": 18, "roberta": 25, "distilbert": 30}
"""Lines of code that a family may take over the one it extends."""


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda path: path.stem)
def test_a_family_written_out_is_as_pinned(spec: Path, golden: Golden) -> None:
    golden.check(expanded(spec), HERE / "expanded" / f"{spec.stem}.spec")


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda path: path.stem)
def test_a_family_is_short(spec: Path) -> None:
    code = [line for line in lines(spec.read_text()) if not line.startswith(("#", '"""'))]
    assert len(code) <= LIMITS[spec.stem]


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda path: path.stem)
def test_a_family_written_out_is_a_spec(spec: Path) -> None:
    sound(expand_file(spec))


def commentless(text: str) -> list[str]:
    """The lines of a module but those that say where in a spec they come from."""
    found = [re.sub(r" of \w+\.spec:\d+\.", "", line) for line in text.splitlines()]
    return [line for line in found if not re.match(r" *# (\w+\.spec:\d+  |decided)", line)]


@pytest.mark.parametrize("path", [path for path in FAMILIES if path in models()], ids=lambda path: path.stem)
def test_what_is_printed_compiles_to_the_same_module(path: Path) -> None:
    file = expand_file(path)
    text = print_tree(file)
    again = parse(SourceFile(path.name, text))
    find = finder(path)
    assert elaborate(file, path.stem, find, heads=True) == elaborate(again, path.stem, find, heads=True)
    anew = compile_text(SourceFile(path.name, text), path).text
    assert commentless(anew) == commentless(compile_spec(path).text)


def test_comments_name_the_file_that_a_line_was_written_in() -> None:
    text = compile_spec(ROOT / "specs/models/distilbert.spec").text
    files = {name: (ROOT / f"specs/{folder}/{name}.spec").read_text().splitlines() for name, folder in (
        ("bert", "models"), ("distilbert", "models"), ("heads", "heads"))}  # fmt: skip
    said = re.findall(r"# (\w+)\.spec:(\d+)  (.*)", text)
    assert {name for name, _, _ in said} == set(files)
    for name, number, line in said:
        assert files[name][int(number) - 1].strip().startswith(line.removesuffix(" ...").strip())


# Any changes together

CHANGES = {
    "embed": "embed = super * 2",
    "kind": "kind = super * 2",
    "n": 'n = layer_norm(word[input_ids] + kind, at="e")',
    "mix": "mix = h + super",
    "u": 'Mix.u = linear(x, wide, at="w", bias=false)',
    "y": "Mix.y = silu(super)",
    "type_ids": "type_ids = 1",
    "u with": "Mix.u with init=zeros",
    "word": 'param word: [vocab, hidden] at "wte"',
    "return": "return last_hidden_state=super",
    "rename": 'rename "layer" -> "h", "mix.fc" -> "mlp"',
}
ENTRIES = [
    "layers: size = 3 from num_layers",
    "p: rate = 0.2 from drop",
    "wide = 4 * hidden",
    "new: int = 1 from new",
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(sorted(CHANGES)), unique=True),
    st.lists(st.sampled_from(ENTRIES), min_size=1, unique=True),
)
def test_any_changes_make_a_spec_that_compiles(names: list[str], entries: list[str]) -> None:
    file = flat(child(*(CHANGES[name] for name in names), config=tuple(entries)))
    sound(file)
    again = parse(SourceFile("child.spec", print_tree(file)))
    made = elaborate(file, "child", Shelf())
    assert made == elaborate(again, "child", Shelf())
    # Every name that is read has a meaning, and every entry of the child is there.
    text = lines(print_tree(file))
    assert set(entries) <= set(text)
    assert {"vocab", "hidden"} <= names_read(file)


def test_the_example_of_the_reference_is_one() -> None:
    text = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```ttml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (ours,) = (example for example in examples if " extends " in example)
    base = "\n".join(example for example in examples if re.match(r"config Tiny|defaults", example))
    found = print_tree(flat(ours, base))
    assert 'at="attn.qkv_proj"' in found
    assert 'at="o_proj"' in found
    assert "position_ids: int[B, S] = running(input_ids != 0, S) * (input_ids != 0)" in found
    sound(flat(ours, base))

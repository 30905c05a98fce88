"""A spec over another: what is taken over, what is replaced, and that the result is one spec like any other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ttmlc.api import compile_spec, compile_text, expand_file, expanded
from ttmlc.elaborate import elaborate
from ttmlc.expand import expand
from ttmlc.expand.rewriting import names_read
from ttmlc.language import parse, tree
from ttmlc.language.format import print_tree
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc.specs import finder, models

from tests.golden import Golden

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "families"
OVER = re.compile(r"^(config|model) \w+ extends ", re.MULTILINE)
FAMILIES = [path for path in models() if OVER.search(path.read_text())]
LIMITS = {"mistral": 15, "qwen2": 15, "qwen3": 18, "roberta": 25, "distilbert": 30}
"""Lines of code that a family may take over the one it extends."""

BASE = '''"""The base."""
config Base for "base":
    """How large it is."""
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    types: size = 2 from type_size
    layers: size = 2 from num_layers
    p: rate = 0.1 from dropout
    wide = 2 * hidden
    require hidden % 2 == 0, "hidden is even"
    fixed first = 1, second = 2
    harmless third, fourth, rest_*
    stale "old.embed.bias"

defaults:
    linear, embedding, param: init=normal(0.02)
    layer_norm: eps=1e-5
    dropout: p=p

block Mix(x: [B, S, hidden]):
    u = linear(layer_norm(x, at="norm"), wide, at="fc.up")
    y = gelu(u)
    return linear(y, hidden, at="fc.down")

block Unused(x: [B, S, hidden]):
    return linear(x, hidden, at="nobody")

model BaseModel(input_ids: int[B, S], type_ids: int[B, S] = 0):
    param word: [vocab, hidden] at "embed.word" | "old.word"
    kind = embedding(type_ids, types, hidden, at="embed.kind")
    n = layer_norm(word[input_ids] + kind, at="embed.norm")
    embed: h = dropout(n)
    repeat i in layers at "layer.{i}":
        mix: h = h + Mix(h, at="mix")
    return last_hidden_state=h, pooler_output=tanh(linear(first(h, S), hidden, at="pool"))
'''


class Shelf:
    """Specs in memory."""

    def __init__(self, **texts: str) -> None:
        self.files = {name: parse(SourceFile(f"{name}.spec", text)) for name, text in texts.items()}

    def __call__(self, name: tree.Name) -> tree.File:
        return self.files[name.text]

    def declaring(self, kind: str, name: tree.Name) -> tree.File | None:
        sort = {"config": tree.Config, "model": tree.Model}[kind]
        for file in self.files.values():
            if any(isinstance(item, sort) and item.name.text == name.text for item in file.items):
                return file
        return None


def flat(text: str, base: str = BASE, **others: str) -> tree.File:
    """The child ``text`` written out over ``base``."""
    return expand(parse(SourceFile("child.spec", text)), Shelf(base=base, **others))


def child(*statements: str, config: tuple[str, ...] = (), rest: str = "") -> str:
    """A child of ``BASE`` whose model has these statements."""
    entries = "".join(f"    {entry}\n" for entry in config or ("layers: size = 3 from num_layers",))
    body = "".join(f"    {statement}\n" for statement in statements or ("embed = super",))
    return f'config Child extends Base for "child":\n{entries}\n{rest}\nmodel ChildModel extends BaseModel:\n{body}'


def shown(*statements: str, config: tuple[str, ...] = (), rest: str = "") -> str:
    """The child written out, as text."""
    return print_tree(flat(child(*statements, config=config, rest=rest)))


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


# Families


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda path: path.stem)
def test_a_family_written_out_is_as_pinned(spec: Path, golden: Golden) -> None:
    golden.check(expanded(spec), HERE / "expanded" / f"{spec.stem}.spec")


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda path: path.stem)
def test_a_family_is_short(spec: Path) -> None:
    code = [line for line in lines(spec.read_text()) if not line.startswith(("#", '"""'))]
    assert len(code) <= LIMITS[spec.stem]


def sound(file: tree.File) -> None:
    """Nothing is left that needs a base, every node says where it was written, and the text is the tree."""
    for node in tree.walk(file):
        assert not isinstance(node, (tree.Amend, tree.Rename))
        if isinstance(node, (tree.Config, tree.Model)):
            assert node.extends is None
        if isinstance(node, tree.Target):
            assert len(node.path) == 1
    for item in file.items:
        for node in tree.walk(item) if not isinstance(item, tree.Offers) else ():
            if isinstance(node, tree.Name):
                assert node.span.text == node.text
            if isinstance(node, tree.Reference):
                assert node.name.text != "super"
    text = print_tree(file)
    again = parse(SourceFile("again.spec", text))
    assert again == file
    assert expand(again, Shelf()) is again
    assert print_tree(again) == text


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


# What is taken over


def test_a_child_that_changes_nothing_is_its_base_under_other_names() -> None:
    ours = lines(shown())
    theirs = lines(BASE)[1:]
    assert [line for line in ours if line not in theirs] == [
        'config Child for "child":',
        "layers: size = 3 from num_layers",
        "model ChildModel(input_ids: int[B, S], type_ids: int[B, S] = 0):",
    ]
    assert [line for line in theirs if line not in ours] == [
        'config Base for "base":',
        "layers: size = 2 from num_layers",
        "model BaseModel(input_ids: int[B, S], type_ids: int[B, S] = 0):",
    ]


def test_a_field_keeps_its_place_and_a_new_one_comes_before_what_reads_it() -> None:
    text = shown(
        config=(
            "hidden: size = half * 2 from hidden_size",
            "more: int = 1 from more",
            "half: int = base / 2",
            "base = 32",
        )
    )
    found = lines(text)
    order = [next(i for i, line in enumerate(found) if line.startswith(name)) for name in
             ("vocab:", "base =", "half:", "hidden:", "types:", "wide =", "require", "stale", "more:")]  # fmt: skip
    assert order == sorted(order)


def test_a_field_may_become_a_value_or_a_key_that_is_fixed() -> None:
    found = lines(shown(config=("p = 0.5", "fixed first = 3, dropout = 0.1", "harmless second")))
    assert "p = 0.5" in found
    assert "p: rate = 0.1 from dropout" not in found
    assert "fixed first = 1, second = 2" not in found
    assert "fixed first = 3, dropout = 0.1" in found
    assert "harmless third, fourth, rest_*" in found


def test_a_key_that_the_child_reads_is_harmless_no_more() -> None:
    found = lines(shown(config=("third: int = 1 from third",)))
    assert "harmless fourth, rest_*" in found


def test_an_axis_and_a_field_of_one_name_are_two_things() -> None:
    base = BASE.replace("    fixed first", "    axis hidden = (left right)\n    fixed first")
    found = lines(print_tree(flat(child(config=("axis hidden = (up down)",)), base)))
    assert "hidden: size = 32 from hidden_size" in found
    assert "axis hidden = (up down)" in found
    assert "axis hidden = (left right)" not in found


def test_a_block_is_replaced_whole_and_a_new_one_is_added() -> None:
    rest = (
        'block Mix(x: [B, S, hidden]):\n    return New(x, at="new")\n\n'
        'block New(x: [B, S, hidden]):\n    return linear(x, hidden, at="new")\n'
    )
    file = flat(child(rest=rest))
    blocks = [item.name.text for item in file.items if isinstance(item, tree.Function)]
    assert blocks == ["Mix", "Unused", "New"]
    text = print_tree(file)
    assert "fc.up" not in text
    assert "wide" not in text  # which only the old block read


def test_defaults_are_taken_over_and_added_to() -> None:
    rest = "defaults:\n    layer_norm: eps=1e-6\n    linear: bias=false\n"
    file = flat(child(rest=rest))
    [section] = [item for item in file.items if isinstance(item, tree.Defaults)]
    assert [[op.text for op in rule.ops] for rule in section.rules][3:] == [["layer_norm"], ["linear"]]


def test_a_statement_is_replaced_by_its_label_or_its_name() -> None:
    found = lines(shown("embed = super * 2", 'n = layer_norm(word[input_ids], at="n")', "mix = h + super"))
    assert "embed: h = dropout(n) * 2" in found
    assert 'n = layer_norm(word[input_ids], at="n")' in found
    assert 'mix: h = h + (h + Mix(h, at="mix"))' in found


def test_a_label_goes_before_a_name() -> None:
    base = BASE.replace("embed: h = dropout(n)", "h = n\n    n: h = dropout(h)")
    found = lines(print_tree(flat(child("n = super + 1"), base)))
    assert "n: h = dropout(h) + 1" in found
    assert 'n = layer_norm(word[input_ids] + kind, at="embed.norm")' in found


def test_a_statement_of_a_block_is_replaced() -> None:
    found = lines(shown("Mix.y = silu(super)", 'Mix.u = linear(x, wide, at="w", bias=false)'))
    assert "y = silu(gelu(u))" in found
    assert 'u = linear(x, wide, at="w", bias=false)' in found


def test_several_names_are_replaced_together() -> None:
    base = BASE.replace("y = gelu(u)", "y, z = Pair(u)")
    assert "y, z = Other(u)" in lines(print_tree(flat(child("Mix.y, Mix.z = Other(u)"), base)))
    with pytest.raises(DiagnosticError, match="together with others"):
        flat(child("Mix.y = gelu(u)"), base)


def test_options_of_a_call_are_changed_and_added() -> None:
    found = lines(shown(
        'Mix.u with at="w", bias=false', "kind with pad=1, init=normal(0.5)", "word with pad=0", "embed with p=0.5"
    ))  # fmt: skip
    assert 'u = linear(layer_norm(x, at="norm"), wide, at="w", bias=false)' in found
    assert 'kind = embedding(type_ids, types, hidden, at="embed.kind", pad=1, init=normal(0.5))' in found
    assert 'param word: [vocab, hidden] at "embed.word" | "old.word", pad=0' in found
    assert "embed: h = dropout(n, p=0.5)" in found


def test_an_option_may_be_made_of_what_it_was() -> None:
    base = BASE.replace("dropout(n)", "dropout(n, p=p)")
    assert "embed: h = dropout(n, p=p / 2)" in lines(print_tree(flat(child("embed with p=super / 2"), base)))


def test_the_default_of_an_input_is_replaced() -> None:
    found = shown("type_ids = super + (input_ids != 3)")
    assert "model ChildModel(input_ids: int[B, S], type_ids: int[B, S] = 0 + (input_ids != 3)):" in found


def test_results_and_parameters_are_replaced_and_requirements_added() -> None:
    found = lines(shown(
        'param word: [vocab, hidden] at "wte"', "return last_hidden_state=super * 2", 'require size(B) == 1, "one"'
    ))  # fmt: skip
    assert 'param word: [vocab, hidden] at "wte"' in found
    assert found[-2:] == ['require size(B) == 1, "one"', "return last_hidden_state=h * 2"]


def test_what_the_base_read_and_nobody_reads_now_is_left_out() -> None:
    text = shown('n = layer_norm(word[input_ids], at="embed.norm")')
    assert "kind" not in text
    assert "types" not in text  # the size of the table that is gone
    assert "type_ids" not in text  # and its input
    assert "block Unused" in text  # what the base did not read either is as it was
    assert "type_ids" in shown("kind = super * 2")


OFFERS = """
offers BaseModel at "base" | "model":
    Lm
    Pool(at="fc.head") as BaseLMHeadModel
    Other as Odd at "odd"
"""


def test_offers_are_taken_over_with_the_names_of_the_child() -> None:
    found = print_tree(flat(child(), BASE + OFFERS))
    assert found.endswith(OFFERS.replace("BaseModel", "ChildModel").replace("BaseLM", "ChildLM"))


def test_offers_of_the_child_replace_those_of_the_base() -> None:
    ours = '\noffers ChildModel at "child":\n    Lm(logits=super * 2)\n'
    found = print_tree(flat(child() + ours, BASE + OFFERS))
    assert found.endswith(ours)
    assert "BaseModel" not in found


def test_a_chain_is_followed_to_its_end() -> None:
    grand = (
        'use child\n\nconfig Grand extends Child for "grand":\n    p = 0\n\n'
        "model GrandModel extends ChildModel:\n    embed = super - 1\n    Mix.y = silu(super)\n"
    )
    text = print_tree(flat(grand, BASE, child=child("embed = super * 2", "Mix.y = tanh(super)")))
    found = lines(text)
    assert "embed: h = dropout(n) * 2 - 1" in found
    assert "y = silu(tanh(gelu(u)))" in found
    assert "layers: size = 3 from num_layers" in found
    assert "use " not in text


def test_what_the_base_uses_is_used_still() -> None:
    other = '"""Nothing."""\n'
    found = print_tree(
        flat("use base, third\n\n" + child(), "use second\n\n" + BASE, second=other, third=other)
    )
    assert lines(found)[0] == "use second, third"


def test_a_model_may_be_written_whole_over_the_blocks_of_another() -> None:
    text = (
        'config Child extends Base for "child":\n    p = 0\n\n'
        "model ChildModel(ids: int[B, S]):\n"
        '    h = Mix(embedding(ids, vocab, hidden, at="e"), at="mix")\n    return h=h\n'
    )
    found = print_tree(flat(text))
    assert "BaseModel" not in found
    assert "block Mix" in found
    assert "layers" not in found  # only the model that is gone read it


# Renames


def renamed(*pairs: str, base: str = BASE) -> str:
    return print_tree(flat(child(*(f"rename {pair}" for pair in pairs)), base))


def test_a_rename_changes_whole_words_of_paths_wherever_they_stand() -> None:
    text = renamed('"embed" -> "wte.deep", "layer" -> "h"')
    for path in ("wte.deep.word", "wte.deep.kind", "wte.deep.norm", "h.{i}", "old.wte.deep.bias"):
        assert f'"{path}"' in text
    assert '"embed' not in text
    assert '"norm"' in renamed('"nor" -> "x", "fc" -> "y"'.replace('"nor" -> "x", ', ""))


def test_one_pair_sees_what_the_one_before_it_made() -> None:
    text = renamed('"fc.up" -> "a", "fc" -> "b"', '"a" -> "c.d"')
    assert '"c.d"' in text
    assert '"b.down"' in text


def test_a_rename_may_go_into_a_block() -> None:
    text = renamed('"mix.fc.up" -> "gate", "mix.fc" -> "out"')
    assert 'linear(layer_norm(x, at="mix.norm"), wide, at="gate")' in text
    assert 'linear(y, hidden, at="out.down")' in text
    assert "h = h + Mix(h)" in text


def test_what_a_block_calls_moves_with_it() -> None:
    base = BASE.replace(
        "y = gelu(u)", 'y = Inner(u)\n    repeat j in layers at "r.{j}":\n        y = Inner(y)'
    ).replace(
        "block Unused", 'block Inner(x: [B, S, wide]):\n    return linear(x, wide, at="w")\n\nblock Unused'
    )
    found = lines(renamed('"mix.fc" -> "out"', base=base))
    assert 'y = Inner(u, at="mix")' in found
    assert 'repeat j in layers at "mix.r.{j}":' in found
    assert "y = Inner(y)" in found


def test_what_the_child_writes_is_not_renamed() -> None:
    text = print_tree(flat(child('rename "fc.up" -> "a"', 'Mix.u = linear(x, wide, at="fc.up")')))
    assert 'at="fc.up"' in text


# What it is not


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


# Any of them together

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
    assert "position_ids: int[B, S] = position(S) + 2" in found
    sound(flat(ours, base))

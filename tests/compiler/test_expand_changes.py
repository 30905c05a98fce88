"""What a spec takes over from another, what it replaces, and what it leaves out."""

from __future__ import annotations

import pytest
from ttmlc.language import tree
from ttmlc.language.format import print_tree
from ttmlc.source import DiagnosticError

from tests.compiler.extending import BASE, child, flat, lines, shown


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

"""Which outputs predict the next token, and so which models generate: found in what a spec says, by no name."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.source import SourceFile
from ttmlc_runtime import generation

from tests.modules import load

TEXT = """config Small for "small":
    vocab: size = 19 from vocab_size
    other: size = 19 from other_size
    hidden: size = 64 from hidden_size
    heads: size = 2 from num_heads
    layers: size = 2 from num_layers
    positions: size = 40 from positions
    causal: bool = true from is_decoder
    again: bool = true from again
    head_dim = hidden / heads

defaults:
    linear, embedding, param: init=normal(0.5)

block Attend(x: [B, S, hidden], mask: bool[B, S]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    k = linear(x, (heads head_dim), at="k") as [B, heads, S, head_dim]
    a = attention(q, k, k, mask=mask, causal=true) as [B, S, (heads head_dim)]
    return x + linear(a, hidden, at="o")

model SmallModel(tokens: int[B, S], seen: bool[B, S] = 1, places: int[B, S] = position(S)):
    param word: [vocab, hidden] at "word"
    h = word[tokens] + embedding(places, positions, hidden, at="place")
    repeat i in layers at "layer.{i}":
        h = Attend(h, seen, at="attend")
    return hidden_state=h, first_state=linear(first(h, S), hidden, at="first")

head Words(base, labels?: int[B, S]):
    logits = linear(base.hidden_state, vocab, at="out")
    return loss=cross_entropy(logits, next(labels, S), over=vocab), words=logits

offers SmallModel at "small":
    Words as SmallWords
"""
FOUND = '!next("words", "tokens", "seen", "places", vocab, positions, true, true)'

CHANGES: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "as it is": ((), FOUND),
    "a config that decides": (
        (("causal=true", "causal=causal"),),
        FOUND.replace("true, true)", "causal, true)"),
    ),
    "no end to positions": (
        (
            (
                '    h = word[tokens] + embedding(places, positions, hidden, at="place")',
                "    h = word[tokens]",
            ),
        ),
        '!next("words", "tokens", "seen", "", vocab, none, true, false)',
    ),
    "positions that are always the same": (
        (("places: int[B, S] = position(S)", "places: int[B, S] = 3"),),
        '!next("words", "tokens", "seen", "", vocab, none, true, false)',
    ),
    "attention that sees through no mask as well": (
        (
            (
                "    a = attention(q, k, k, mask=mask, causal=true)",
                "    b = attention(q, k, k, causal=true)\n    a = attention(q, b, k, mask=mask, causal=true)",
            ),
        ),
        FOUND.replace("true, true)", "true, false)"),
    ),
    "what the host computes of each token alone": (
        (
            ("    h = word[tokens]", "    at = where(tokens == 3, places, 1)\n    h = word[tokens]"),
            ("embedding(places,", "embedding(at,"),
        ),
        '!next("words", "tokens", "seen", "places", vocab, none, true, true)',
    ),
    "what the host computes of the mask": (
        (
            ("    h = word[tokens]", "    at = where(seen, places, 1)\n    h = word[tokens]"),
            ("embedding(places,", "embedding(at,"),
        ),
        '!next("words", "tokens", "seen", "places", vocab, none, true, false)',
    ),
    "places among all columns": (
        (
            ("    h = word[tokens]", "    at = where(tokens == 3, places, index(S))\n    h = word[tokens]"),
            ("embedding(places,", "embedding(at,"),
        ),
        '!next("words", "tokens", "seen", "places", vocab, none, true, false)',
    ),
    "places that are counted": (
        (("places: int[B, S] = position(S)", "places: int[B, S] = running(tokens != 5, S) + 2"),),
        '!next("words", "tokens", "seen", "", vocab, positions - 1 - 2, true, true)',
    ),
    "a count of something else": (
        (("places: int[B, S] = position(S)", "places: int[B, S] = running(tokens, S) * (tokens == 30)"),),
        '!next("words", "tokens", "seen", "", vocab, none, true, true)',
    ),
    "no mask": (
        (
            (", seen: bool[B, S] = 1", ""),
            ("Attend(h, seen,", "Attend(h,"),
            (", mask: bool[B, S]):", "):"),
            ("mask=mask, ", ""),
        ),
        '!next("words", "tokens", "", "places", vocab, positions, true, false)',
    ),
}
DECLINED: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "attention that sees all": (
        (("causal=true", "causal=false"),),
        "attention that is not causal brings later tokens",
    ),
    "attention that does not say": (
        (("mask=mask, causal=true", "mask=mask"),),
        "attention that is not causal",
    ),
    "other classes": (
        (('vocab, at="out"', 'other, at="out"'), ("over=vocab", "over=other")),
        "is not looked up by",
    ),
    "something else that brings tokens together": (
        (("linear(base.hidden_state, vocab", "linear(base.hidden_state + base.first_state, vocab"),),
        "'first' brings later tokens to earlier ones",
    ),
    "another input that has to be given": (
        (("places: int[B, S] = position(S)", "places: int[B, S]"),),
        "is not looked up by its one input without a default",
    ),
}
SILENT = {
    "labels of the tokens themselves": (("next(labels, S)", "labels"),),
}


def changed(changes: tuple[tuple[str, str], ...]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("train", [True, False], ids=["train", "no train"])
@pytest.mark.parametrize("name", CHANGES)
def test_an_output_about_the_next_token_is_found(name: str, train: bool) -> None:
    changes, expected = CHANGES[name]
    compiled = compile_text(SourceFile("small.spec", changed(changes)), Path("small.spec"), train=train)
    for stage in compiled.stages[1:]:
        (line,) = [line for line in print_module(stage.module).splitlines() if " predicts " in line]
        assert line.strip() == f"predicts {expected}"
    assert parse_module(compiled.dump("next-token")) == compiled.stages[1].module
    assert "class SmallWords(generation.Model[SmallConfig]):" in compiled.text
    assert "class SmallModel(nn.Model[SmallConfig]):" in compiled.text


@pytest.mark.parametrize("name", DECLINED)
def test_why_a_model_does_not_generate_is_told(name: str) -> None:
    changes, reason = DECLINED[name]
    compiled = compile_text(SourceFile("small.spec", changed(changes)), Path("small.spec"), train=False)
    (declined,) = [one for one in compiled.declined if one.rule == "next-token"]
    assert declined.reason.startswith("SmallWords does not generate: ")
    assert reason in declined.reason
    assert declined.at is not None
    assert "generation" not in compiled.text.replace("passes: next-token", "")


@pytest.mark.parametrize("name", SILENT)
def test_what_predicts_something_else_is_not_spoken_of(name: str) -> None:
    compiled = compile_text(SourceFile("small.spec", changed(SILENT[name])), Path("small.spec"))
    assert not [one for one in compiled.declined if one.rule == "next-token"]
    assert "class SmallWords(nn.Model[SmallConfig]):" in compiled.text


def test_a_build_whose_config_is_not_causal_says_so(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "small", "is_decoder": false}')
    text = changed((("causal=true", "causal=causal"),))
    compiled = compile_text(SourceFile("small.spec", text), Path("small.spec"), config=config)
    (declined,) = [one for one in compiled.declined if one.rule == "next-token"]
    assert "attention that is not causal" in declined.reason


def loaded(text: str, folder: Path) -> ModuleType:
    compiled = compile_text(SourceFile("small.spec", text), Path("small.spec"))
    return load(compiled.text, folder / "small_generating.py")


@pytest.mark.parametrize("name", CHANGES)
def test_it_generates_what_its_logits_say(name: str, tmp_path: Path) -> None:
    model = loaded(changed(CHANGES[name][0]), tmp_path).SmallWords(seed=3, dtype="float32")
    assert isinstance(model, generation.Model)
    text = model.generate([[4, 5, 6]], max_new_tokens=4)
    logits = model(text[:, :-1]).words.numpy()
    np.testing.assert_array_equal(logits[0, 2:].argmax(axis=-1), text[0, 3:])


def test_prompts_of_several_lengths_need_a_mask(tmp_path: Path) -> None:
    model = loaded(changed(CHANGES["no mask"][0]), tmp_path).SmallWords(dtype="float32")
    with pytest.raises(
        ValueError, match="this model takes no attention_mask: generate from prompts of one length"
    ):
        model.generate([[0, 1]], [[0, 1]], max_new_tokens=1)

"""Emitted models with a cache of keys and values: the logits of each token are those of a run of the whole text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.generation import Prompt
from ttmlc_runtime.generation.decoders import ROOM, Cached, Recomputing

from tests.runtime.generation.test_generating_families import MODELS, VOCAB, batch, generating

LONG = {"max_position_embeddings": 320, "n_positions": 320}
FEW, MANY = 24, 256
Array = np.ndarray[Any, Any]


def emitted(name: str) -> Any:
    """A model with random weights, with room for long texts."""
    (kind,) = generating(name)
    sizes = MODELS[name][1]
    longer = {key: LONG.get(key, value) for key, value in sizes.items()}
    return kind(kind.Config.from_hugging_face({"model_type": name, **longer}), seed=4, dtype="float32")


def compared(name: str, rows: int, tokens: int, steps: int, every: int = 1) -> None:
    """Logits after the prompts and after each of ``steps`` tokens, the likeliest; looked at ``every`` so many."""
    model = emitted(name)
    ids, mask = batch(rows, tokens)
    cached, whole = model.decoding(), Recomputing(model, model.next_token)
    assert isinstance(cached, Cached)
    with nn.no_grad():
        found, cache = cached.prefill(Prompt(ids, mask, steps))
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                expected = whole.prefill(Prompt(ids, mask))[0]
                assert found.shape == expected.shape == (rows, VOCAB)
                scale = np.abs(expected).max()
                np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * scale)
                np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))
            if step < steps:
                # spread over the words, so that a text does not go round in circles
                new = (found.argmax(-1) + 7 * step) % VOCAB
                found = cached.decode(new, cache)
                ids = np.concatenate([ids, new[:, None]], axis=-1)
                mask = np.pad(mask, ((0, 0), (0, 1)), constant_values=1)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_whole_text(name: str) -> None:
    """Ragged prompts, over the end of a tile."""
    compared(name, 3, 13, FEW, every=4)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_single_row_that_fills_its_tile(name: str) -> None:
    compared(name, 1, 32, 3)


@pytest.mark.deep
@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral"])
def test_long_texts(name: str) -> None:
    """Of each kind of attention that keeps keys: plain, grouped and turned, in a window."""
    compared(name, 3, 21, MANY)


def test_a_text_is_the_same_without_a_cache() -> None:
    model = emitted("llama")
    ids, mask = batch(2, 5)
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": True, "seed": 3}
    plain = model.generate(ids, mask, use_cache=False, **options)
    np.testing.assert_array_equal(model.generate(ids, mask, **options), plain)
    streamed = np.stack(list(model.stream(ids, mask, use_cache=False, **options)), -1)
    np.testing.assert_array_equal(streamed, plain[:, 5:])


def test_each_token_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = emitted("gpt2")
    ids, mask = batch(2, 5)
    seen: list[tuple[int, ...]] = []
    call = type(model).__call__

    def counted(self: Any, *arguments: Any, **given: Any) -> Any:
        seen.append(given["input_ids"].shape)
        return call(self, *arguments, **given)

    monkeypatch.setattr(type(model), "__call__", counted)
    model.generate(ids, mask, max_new_tokens=4)
    assert seen == [(2, 32), (2, 1), (2, 1), (2, 1)]
    seen.clear()
    model.generate(ids, mask, max_new_tokens=3, use_cache=False)
    assert seen == [(2, 32)] * 3


def test_a_cache_that_is_full_says_so() -> None:
    model = emitted("gpt2")
    ids, mask = batch(1, 32)
    decoder = model.decoding()
    with nn.no_grad():
        _, kept = decoder.prefill(Prompt(ids, mask))
        kept.cache.used = ROOM
        with pytest.raises(InputError, match=f"the cache is full: it has room for {ROOM} tokens"):
            decoder.decode(ids[:, -1], kept)


def test_a_cache_takes_the_tokens_that_it_was_made_for() -> None:
    there = np.ones((2, 32))
    with pytest.raises(InputError, match="a cache takes 32 tokens a row now, not 1"):
        nn.Cache(there, 64).begin(1)
    for tokens, columns in ((31, 64), (32, 63), (32, 32)):
        with pytest.raises(InputError, match="both are whole tiles"):
            nn.Cache(np.ones((2, tokens)), columns)


def test_recorded_calls_fill_no_cache() -> None:
    model = emitted("llama").train()
    cache = nn.Cache(np.ones((1, 32)), 64)
    with pytest.raises(InputError, match="a cache is filled by inference"):
        model(np.ones((1, 32), np.int64), attention_mask=cache)

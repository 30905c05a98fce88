"""``generate`` over decoders with a cache, which are Transformers': its tokens are those of their own ``generate``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import generation
from ttmlc_runtime.generation import NextToken, Prompt

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")

VOCAB = 73
KINDS = ("gpt2", "llama")
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are faster in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@lru_cache
def reference(kind: str) -> Any:
    """A tiny model with random weights."""
    torch.manual_seed(3)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2, n_positions=48, initializer_range=0.4
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=48,
            initializer_range=0.4,
        )
        model = transformers.LlamaForCausalLM(config)
    # Nothing of the checkpoints' own habits: what ends and fills rows is said in each call.
    model.generation_config = transformers.GenerationConfig()
    return model.eval()


class Theirs:
    """Prefill and decode with Transformers' cache."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[tuple[int, ...]] = []

    def _run(self, ids: Array, mask: Any, positions: Any, cache: Any) -> Any:
        self.calls.append(ids.shape)
        with torch.no_grad():
            return self.model(
                torch.from_numpy(ids),
                attention_mask=mask,
                position_ids=positions,
                cache=cache,
                use_cache=True,
            )

    def prefill(self, prompt: Prompt) -> tuple[Array, Any]:
        mask = torch.from_numpy(prompt.mask)
        out = self._run(prompt.ids, mask, torch.from_numpy(prompt.positions), None)
        return out.logits[:, -1].numpy(), {"cache": out.past_key_values, "mask": mask}

    def decode(self, tokens: Array, cache: Any) -> Array:
        mask = torch.cat([cache["mask"], torch.ones(len(tokens), 1, dtype=torch.long)], dim=-1)
        out = self._run(tokens[:, None], mask, mask.sum(-1, keepdim=True) - 1, cache["cache"])
        cache["mask"] = mask
        return out.logits[:, -1].numpy()


class Wrapped(generation.Model[Any]):
    """A model of Transformers where an emitted one stands otherwise."""

    next_token = NextToken(
        "logits",
        ids="input_ids",
        mask="attention_mask",
        positions="position_ids",
        vocab=lambda c: c.vocab_size,
        longest=lambda c: c.max_position_embeddings,
    )

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self.theirs = Theirs(model)

    def decoding(self) -> Theirs:
        return self.theirs


def batch(rows: int, tokens: int, seed: int = 0) -> tuple[Array, Array]:
    """Prompts padded on the left; the first is whole."""
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, tokens, rows)
    begins[0] = 0
    mask = (np.arange(tokens) >= begins[:, None]).astype(np.int64)
    return rng.integers(0, VOCAB - 1, (rows, tokens)) * mask, mask


OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "a penalty": {"repetition_penalty": 1.4},
    "an end": {"eos_token_id": "second", "pad_token_id": 0},
    "several ends": {"eos_token_id": "several", "pad_token_id": 72},
    "an end that fills": {"eos_token_id": "second"},
    "no end at first": {"eos_token_id": "several", "pad_token_id": 0, "min_new_tokens": 6},
    "only the likeliest": {"do_sample": True, "top_k": 1, "temperature": 0.7},
}


def settled(options: dict[str, Any], plain: Array, prompt: int) -> dict[str, Any]:
    """Ends that come: tokens that the greedy text holds."""
    ends = {
        "second": int(plain[0, prompt + 2]),
        "several": [int(plain[1, prompt + 1]), int(plain[-1, prompt + 4])],
    }
    wanted = options.get("eos_token_id")
    return {**options, "eos_token_id": ends[wanted]} if wanted else dict(options)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_transformers(kind: str, name: str) -> None:
    model = reference(kind)
    ids, mask = batch(4, 9)
    ours = Wrapped(model)
    plain = ours.generate(ids, mask, max_new_tokens=12)
    options = settled(OPTIONS[name], plain, ids.shape[1])
    theirs = model.generate(
        torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), max_new_tokens=12, **options
    ).numpy()
    found = ours.generate(ids, mask, max_new_tokens=12, **options)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, theirs)
    if name != "greedy" and "top_k" not in options:
        assert found.shape != plain.shape or (found != plain).any(), "the option changed nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_alone(kind: str) -> None:
    ids, mask = batch(4, 9, seed=2)
    ours = Wrapped(reference(kind))
    options: dict[str, Any] = {
        "do_sample": True,
        "seed": [3, 1, 4, 1],
        "top_p": 0.9,
        "repetition_penalty": 1.2,
    }
    whole = ours.generate(ids, mask, max_new_tokens=7, **options)
    for row in range(4):
        alone = ids[row : row + 1, mask[row] == 1]
        found = ours.generate(alone, max_new_tokens=7, **{**options, "seed": [options["seed"][row]]})
        np.testing.assert_array_equal(found[0, -7:], whole[row, -7:])


def test_each_step_runs_one_token_a_row() -> None:
    ids, mask = batch(3, 5)
    ours = Wrapped(reference("gpt2"))
    ours.generate(ids, mask, max_new_tokens=4)
    assert ours.theirs.calls == [(3, 5), (3, 1), (3, 1), (3, 1)]


def test_padding_is_found_by_its_token_as_transformers_does() -> None:
    model = reference("gpt2")
    ids = np.array([[5, 6, 7, 8], [72, 72, 9, 3]])
    theirs = model.generate(torch.from_numpy(ids), max_new_tokens=5, pad_token_id=72).numpy()
    np.testing.assert_array_equal(Wrapped(model).generate(ids, max_new_tokens=5, pad_token_id=72), theirs)


def test_a_text_streamer_of_transformers_takes_the_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    class Words:
        def decode(self, tokens: list[int], **options: Any) -> str:
            return "".join(f"<{token}>" for token in tokens)

    ours = Wrapped(reference("gpt2"))
    text = ours.generate([[5, 6, 7]], max_new_tokens=4, streamer=transformers.TextStreamer(Words()))
    assert capsys.readouterr().out.strip() == "".join(f"<{token}>" for token in text[0])

"""``generate`` of an emitted model: what it gives, what it leaves as it was, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import ConfigError, InputError

from generated.bert import BertConfig, BertForMaskedLM, BertLMHeadModel

VOCAB = 60
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 72,
    "initializer_range": 0.3,
    "is_decoder": True,
}
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def model() -> BertLMHeadModel:
    return BertLMHeadModel(
        BertConfig.from_hugging_face({"model_type": "bert", **SIZES}), seed=4, dtype="float32"
    )


def batch(rows: int, tokens: int, seed: int = 0) -> tuple[Array, Array]:
    """Prompts padded on the left; the first is whole."""
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, tokens, rows)
    begins[0] = 0
    mask = (np.arange(tokens) >= begins[:, None]).astype(np.int64)
    return rng.integers(1, VOCAB, (rows, tokens)) * mask, mask


def test_a_step_is_what_the_whole_text_would_say(model: BertLMHeadModel) -> None:
    """Each token is the likeliest of the row alone, without padding and filling."""
    ids, mask = batch(2, 31, seed=1)
    text = model.generate(ids, mask, max_new_tokens=3)
    for row in range(2):
        alone = text[row, 31 - mask[row].sum() :][None]
        logits = model(alone[:, :-1]).logits.numpy()[0]
        np.testing.assert_array_equal(logits[-3:].argmax(axis=-1), text[row, -3:])


def test_streaming_gives_the_same_tokens(model: BertLMHeadModel) -> None:
    class Kept:
        def __init__(self) -> None:
            self.said: list[Any] = []

        def put(self, value: Any) -> None:
            self.said.append(value)

        def end(self) -> None:
            self.said.append("end")

    ids, _ = batch(2, 3)
    options: dict[str, Any] = {"max_new_tokens": 3, "do_sample": True, "seed": 2}
    kept = Kept()
    text = model.generate(ids, **options, streamer=kept)
    np.testing.assert_array_equal(kept.said[0], ids)
    assert kept.said[-1] == "end"
    np.testing.assert_array_equal(np.stack(kept.said[1:-1], axis=-1), text[:, 3:])
    np.testing.assert_array_equal(np.stack(list(model.stream(ids, **options)), axis=-1), text[:, 3:])


def test_a_model_in_training_neither_records_nor_drops(model: BertLMHeadModel) -> None:
    ids, _ = batch(1, 5)
    expected = model.generate(ids, max_new_tokens=3)
    step = model.rng_state
    try:
        model.train()
        with nn.enable_grad():
            np.testing.assert_array_equal(model.generate(ids, max_new_tokens=3), expected)
    finally:
        model.eval()
    assert model.rng_state == step


def test_between_two_steps_the_callers_own_calls_are_recorded(model: BertLMHeadModel) -> None:
    ids, _ = batch(1, 5)
    with nn.enable_grad():
        for _ in model.stream(ids, max_new_tokens=2):
            assert nn.is_recording()


def test_rows_that_ended_are_filled_and_the_text_ends_with_the_last(model: BertLMHeadModel) -> None:
    ids, mask = batch(3, 5)
    plain = model.generate(ids, mask, max_new_tokens=6)[:, 5:]
    ends = [int(plain[0, 1]), int(plain[1, 2]), int(plain[2, 3])]
    text = model.generate(ids, mask, max_new_tokens=6, eos_token_id=ends, pad_token_id=0)[:, 5:]
    lengths = [next(at + 1 for at, token in enumerate(row) if token in ends) for row in plain]
    assert text.shape[1] == max(lengths) < 6
    for row, length in enumerate(lengths):
        np.testing.assert_array_equal(text[row, :length], plain[row, :length])
        assert not text[row, length:].any()


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "padding behind": (
        [[4, 5, 0]],
        [[1, 1, 0]],
        {},
        "row 0 ends in padding: pad prompts on the left",
    ),
    "padding within": ([[4, 0, 5]], [[1, 0, 1]], {}, "row 0 has padding between its tokens: pad prompts"),
    "padding found by its token": ([[4, 5, 0]], None, {"pad_token_id": 0}, "row 0 ends in padding"),
    "nothing to go on from": ([[1, 2], [0, 0]], [[1, 1], [0, 0]], {}, "row 1 has no token to go on from"),
    "an unknown token": ([[1, 60]], None, {}, "input_ids[0, 1] is 60 and must be in [0, 60)"),
    "an unknown end": ([[1]], None, {"eos_token_id": [1, 99]}, "eos_token_id 99 is no token: there are 60"),
    "an unknown filling": ([[1]], None, {"pad_token_id": 99}, "pad_token_id 99 is no token: there are 60"),
    "rows of several lengths": ([[1], [2, 3]], None, {}, "input_ids is no array of one shape"),
    "a row without a batch": ([1, 2], None, {}, "a single row is input_ids[None, :]"),
    "text": ([["a", "b"]], None, {}, "input_ids must be integers"),
    "a mask as tokens": ([[True, False]], None, {}, "input_ids must be integers, not bool"),
    "a number above int64": (
        np.array([[1 << 63]], np.uint64),
        None,
        {},
        "input_ids[0, 0] is 9223372036854775808 and must be in [0, 60)",
    ),
    "an odd mask": ([[1, 2]], [[2, 1]], {}, "attention_mask must hold 1 (a token) and 0 (padding) only"),
    "a mask of another shape": ([[1, 2]], [[1]], {}, "attention_mask is [1, 1], and input_ids [1, 2]"),
    "a prompt that leaves too little": (
        [[1] * 70],
        None,
        {"max_new_tokens": 4},
        "of 70 tokens and 4 new ones do not fit into the model's 72 positions: max_new_tokens can be 3 at most",
    ),
    "a prompt that is too long": ([[1] * 73], None, {}, "72 positions: shorten the prompt"),
    "no new tokens": ([[1]], None, {"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1 on"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(model: BertLMHeadModel, name: str) -> None:
    ids, mask, options, message = REFUSED[name]
    for call in (model.generate, model.stream):  # a stream too at once, and not at its first step
        with pytest.raises(InputError) as caught:
            call(ids, mask, **{"max_new_tokens": 2, **options})
        assert message in str(caught.value)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_a_mask_is_read_as_a_call_reads_it(model: BertLMHeadModel, dtype: Any) -> None:
    ids, mask = [[0, 4, 5], [7, 8, 9]], np.array([[0, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(
        model.generate(ids, mask.astype(dtype), max_new_tokens=2), model.generate(ids, mask, max_new_tokens=2)
    )


def test_the_last_position_can_be_used(model: BertLMHeadModel) -> None:
    assert model.generate([[1] * 70], max_new_tokens=3).shape == (1, 73)


def test_a_model_whose_tokens_see_those_after_them_does_not_generate() -> None:
    config = BertConfig.from_hugging_face({"model_type": "bert", **SIZES, "is_decoder": False})
    model = BertLMHeadModel.unfilled(config, dtype="float32")
    with pytest.raises(ConfigError, match="its attention is not causal"):
        model.generate([[1]], max_new_tokens=1)


def test_a_head_that_predicts_no_next_token_has_no_generate() -> None:
    assert not hasattr(BertForMaskedLM, "generate")

"""What is done to logits, against Transformers' processors; what is drawn, against the probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime.errors import InputError, RuntimeFault
from ttmlc_runtime.generation import Chooser, Sampling, process

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
processors: Any = pytest.importorskip("transformers.generation.logits_process", reason="the reference")

VOCAB = 61
EOS = (3, 17)
CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a penalty": {"repetition_penalty": 1.7},
    "a reward": {"repetition_penalty": 0.6},
    "no end yet": {"min_new_tokens": 4, "eos_token_id": list(EOS)},
    "an end by now": {"min_new_tokens": 2, "eos_token_id": 3},
    "hotter": {"do_sample": True, "temperature": 1.9},
    "colder": {"do_sample": True, "temperature": 0.31},
    "the best": {"do_sample": True, "top_k": 7},
    "more than there are": {"do_sample": True, "top_k": 1000},
    "off": {"do_sample": True, "top_k": 0, "top_p": 1.0},
    "the likeliest": {"do_sample": True, "top_p": 0.83},
    "hardly any": {"do_sample": True, "top_p": 0.0},
    "all of it": {
        "do_sample": True,
        "repetition_penalty": 1.3,
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.9,
        "min_new_tokens": 5,
        "eos_token_id": list(EOS),
    },
}


def logits(rows: int, dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    return (3 * np.random.default_rng(seed).standard_normal((rows, VOCAB))).astype(dtype)


def theirs(
    values: np.ndarray[Any, Any], ids: np.ndarray[Any, Any], prompt: int, options: dict[str, Any]
) -> Any:
    """Transformers' processors in the order in which its ``generate`` makes their list."""
    found = processors.LogitsProcessorList()
    if "repetition_penalty" in options:
        found.append(processors.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    if "min_new_tokens" in options:
        found.append(
            processors.MinNewTokensLengthLogitsProcessor(
                prompt, options["min_new_tokens"], options["eos_token_id"]
            )
        )
    if "temperature" in options:
        found.append(processors.TemperatureLogitsWarper(options["temperature"]))
    if options.get("top_k"):
        found.append(processors.TopKLogitsWarper(options["top_k"]))
    if options.get("top_p", 1.0) < 1.0:
        found.append(processors.TopPLogitsWarper(options["top_p"]))
    return found(torch.from_numpy(ids), torch.from_numpy(values.copy())).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_logits_become_what_transformers_makes_of_them(name: str, dtype: str) -> None:
    values = logits(40, dtype)
    ids = np.random.default_rng(1).integers(0, VOCAB, (40, 9))
    before = values.copy()
    ours = process(values, list(ids), 3, Sampling(max_new_tokens=8, **CASES[name]))
    expected = theirs(values, ids, 6, CASES[name])
    assert ours.dtype == dtype
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(expected))
    np.testing.assert_allclose(ours, expected, rtol=1e-6 if dtype == "float32" else 1e-15)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("name", ["the best", "the likeliest"])
def test_ties_are_kept_or_left_out_as_they_are_there(name: str) -> None:
    values = np.round(logits(200, "float32"))  # among whole numbers many are equal
    ids = np.zeros((200, 1), np.int64)
    ours = process(values, list(ids), 0, Sampling(max_new_tokens=1, **CASES[name]))
    expected = theirs(values, ids, 1, CASES[name])
    # Which of several equal tokens is left out is nobody's promise; how many are, is.
    np.testing.assert_array_equal(np.sort(ours, axis=-1), np.sort(expected, axis=-1))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    rows = 4000
    values = np.tile(np.log(np.array([0.5, 0.25, 0.125, 0.125])), (rows, 1))
    chooser = Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=0), rows)
    counts = np.bincount(chooser(values, [np.zeros(1, int)] * rows, 0), minlength=4) / rows
    # Four standard deviations of a share of 4000 draws are 0.032 at most.
    np.testing.assert_allclose(counts, [0.5, 0.25, 0.125, 0.125], atol=0.032)


def test_a_token_that_may_not_come_is_never_drawn() -> None:
    rows = 3000
    values = np.tile(np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf]), (rows, 1))
    drawn = Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=0), rows)(
        values, [np.zeros(1, int)] * rows, 0
    )
    assert set(drawn) == {1, 3}


def test_a_row_draws_the_same_whatever_the_others_are() -> None:
    options = Sampling(max_new_tokens=3, do_sample=True, seed=5)
    many, one = logits(6, "float64"), logits(6, "float64")[:2]
    seen = [np.zeros(1, int)] * 6
    whole, part = Chooser(options, 6), Chooser(options, 2)
    for step in range(20):
        np.testing.assert_array_equal(whole(many, seen, step)[:2], part(one, seen[:2], step))


def test_seeds_of_rows_are_the_rows_own() -> None:
    values = np.tile(logits(1, "float64"), (3, 1))
    draw = Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=[4, 9, 4]), 3)
    drawn = np.array([draw(values, [np.zeros(1, int)] * 3, 0) for _ in range(30)])
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 2])
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_one_seed_does_not_draw_equal_rows_alike() -> None:
    values = np.tile(logits(1, "float64"), (2, 1))
    draw = Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=4), 2)
    drawn = np.array([draw(values, [np.zeros(1, int)] * 2, 0) for _ in range(30)])
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_without_a_seed_calls_differ() -> None:
    values = logits(40, "float64")
    first, second = (
        Chooser(Sampling(max_new_tokens=1, do_sample=True), 40)(values, [np.zeros(1, int)] * 40, 0)
        for _ in range(2)
    )
    assert (first != second).any()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no new tokens": ({"max_new_tokens": 0}, "max_new_tokens must be a whole number from 1 on, not 0"),
    "half a token": ({"max_new_tokens": 1.5}, "max_new_tokens must be a whole number from 1 on, not 1.5"),
    "more at least than at most": ({"min_new_tokens": 9}, "min_new_tokens 9 is more than max_new_tokens 4"),
    "absolute zero": (
        {"do_sample": True, "temperature": 0.0},
        "temperature must be a number above 0, not 0.0",
    ),
    "no number": ({"do_sample": True, "temperature": float("nan")}, "temperature must be a number above 0"),
    "a negative penalty": ({"repetition_penalty": -1.0}, "repetition_penalty must be a number above 0"),
    "a share above one": ({"do_sample": True, "top_p": 1.5}, "top_p must be a number in [0, 1], not 1.5"),
    "a negative count": ({"do_sample": True, "top_k": -1}, "top_k must be a whole number from 0 on, not -1"),
    "a negative end": ({"eos_token_id": [1, -2]}, "eos_token_id must be a whole number from 0 on, not -2"),
    "nothing is drawn": (
        {"temperature": 0.5, "top_p": 0.9},
        "temperature, top_p would do nothing: give do_sample=True to draw tokens, or leave it out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    options, message = REFUSED[name]
    with pytest.raises(InputError) as caught:
        Sampling(**{"max_new_tokens": 4, **options})
    assert message in str(caught.value)


def test_seeds_and_rows_must_agree() -> None:
    with pytest.raises(InputError, match="there are 3 seeds and 2 rows"):
        Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=[1, 2, 3]), 2)


def test_a_seed_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="seed must be a whole number from 0 on, not 1.5"):
        Chooser(Sampling(max_new_tokens=1, do_sample=True, seed=1.5), 2)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_told(value: float) -> None:
    values = logits(3, "float32")
    values[1, 5] = value
    with pytest.raises(RuntimeFault, match="the logits of row 1 are not numbers after 2 new tokens"):
        Chooser(Sampling(max_new_tokens=4), 3)(values, [np.zeros(1, int)] * 3, 2)


def test_a_temperature_under_which_logits_overflow_is_told() -> None:
    choose = Chooser(Sampling(max_new_tokens=4, do_sample=True, temperature=1e-40), 3)
    with pytest.raises(RuntimeFault, match="is a temperature not all but 0"):
        choose(logits(3, "float32"), [np.zeros(1, int)] * 3, 0)

"""Question answering, causal language models and multiple choice: the reference against Transformers, and their IR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.verify import VerificationError, verify

from tests.compiler.test_heads import (
    BATCH,
    CLOSE,
    FIELDS,
    TOKENS,
    compare,
    head,
    inputs,
    made,
    module,
    pruned,
    specialised,
    theirs,
)

torch: Any = pytest.importorskip("torch", reason="parity is measured where torch and transformers are")
CHOICES = 4


def positions(*values: int) -> Any:
    return np.array(values)


def test_spans() -> None:
    model = theirs("BertForQuestionAnswering")
    labels = {"start_positions": positions(0, 3, 1), "end_positions": positions(4, 10, 1)}
    compare("BertForQuestionAnswering", {}, labels, model)


def test_positions_outside_count_as_transformers_counts_them() -> None:
    """Below 0 it is token 0; of S or beyond it does not count, alone or for all rows (which is no number)."""
    model = theirs("BertForQuestionAnswering")
    labels = {
        "start_positions": positions(-5, TOKENS, 2),
        "end_positions": positions(99, TOKENS + 1, TOKENS - 1),
    }
    compare("BertForQuestionAnswering", {}, labels, model)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    beyond = positions(TOKENS, TOKENS, TOKENS)
    given = {**inputs(), "start_positions": positions(0, 1, 2), "end_positions": beyond}
    found = evaluate(pruned(), "BertForQuestionAnswering", FIELDS, weights, given)
    assert np.isnan(found["loss"])


@pytest.mark.parametrize("one", ["start_positions", "end_positions"])
def test_one_of_two_positions_gives_no_loss(one: str) -> None:
    model = theirs("BertForQuestionAnswering")
    compare("BertForQuestionAnswering", {}, {one: positions(1, 2, 3)}, model, loss=False)


def causal(model: Any, fields: dict[str, Any], labels: Any) -> None:
    """As ``compare``; the loss to what float32 holds, in which Transformers computes it, and closely to torch's."""
    given = {**inputs(), "labels": labels}
    with torch.no_grad():
        wanted = model(**{key: torch.from_numpy(value) for key, value in given.items()})
        shifted = torch.from_numpy(np.concatenate([labels[:, 1:], np.full((BATCH, 1), -100)], axis=1))
        exact = torch.nn.functional.cross_entropy(wanted.logits.flatten(0, 1), shifted.flatten()).item()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    found = evaluate(pruned(), "BertLMHeadModel", FIELDS | fields, weights, given)
    assert found["logits"].shape == (BATCH, TOKENS, FIELDS["vocab"])
    assert np.abs(found["logits"] - wanted.logits.numpy()).max() < CLOSE
    assert abs(found["loss"] - exact) < CLOSE
    assert found["loss"] == pytest.approx(wanted.loss.item(), rel=1e-6)
    assert set(evaluate(pruned(), "BertLMHeadModel", FIELDS | fields, weights, inputs())) == {"logits"}


@pytest.mark.parametrize("tie", [True, False])
def test_next_words(tie: bool) -> None:
    labels = np.where(np.random.default_rng(1).random((BATCH, TOKENS)) < 0.3, -100, inputs()["input_ids"])
    model = theirs("BertLMHeadModel", tie_word_embeddings=tie)
    causal(model, {"tie": tie}, labels)


def test_next_words_of_a_decoder() -> None:
    model = theirs("BertLMHeadModel", is_decoder=True)
    causal(model, {"causal": True}, inputs()["input_ids"])


def many() -> dict[str, Any]:
    """Inputs of several choices for each entry of the batch."""
    rng = np.random.default_rng(5)
    shape = (BATCH, CHOICES, TOKENS)
    mask = np.arange(TOKENS) < rng.integers(1, TOKENS + 1, (BATCH, CHOICES, 1))
    return {
        "input_ids": rng.integers(0, 99, shape),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": rng.integers(0, 2, shape),
        "position_ids": rng.integers(0, 40, shape),
    }


def test_choices() -> None:
    model = theirs("BertForMultipleChoice")
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    for given in (many(), {"input_ids": many()["input_ids"]}):
        for labels in ({"labels": np.array([3, 0, 2])}, {"labels": np.array([1, -100, 0])}, {}):
            with torch.no_grad():
                tensors = {key: torch.from_numpy(value) for key, value in {**given, **labels}.items()}
                wanted = {key: value.numpy() for key, value in model(**tensors).items()}
            found = evaluate(pruned(), "BertForMultipleChoice", FIELDS, weights, {**given, **labels})
            assert set(found) == set(wanted)
            assert found["logits"].shape == (BATCH, CHOICES)
            for key, value in wanted.items():
                assert np.abs(found[key] - value).max() < CLOSE, key


# What they are


def test_taking_apart_needs_no_move_of_the_axis() -> None:
    function = head("BertForQuestionAnswering")
    assert not made(function, "rearrange")
    (apart,) = made(function, "take_apart")
    assert [(value.name, str(value.type)) for value in apart.results] == [
        ("start_logits", "float[B, S]"),
        ("end_logits", "float[B, S]"),
    ]
    assert [operation.op for operation in function.operations][-7:] == [
        "take_apart",
        "clamp",
        "cross_entropy",
        "clamp",
        "cross_entropy",
        "add",
        "divide",
    ]
    text = print_module(module())
    assert "clamp(%start_positions) {high = @S, low = 0} : int[B]" in text
    assert 'cross_entropy(%start_logits, %clamp) {ignore = @S, over = "S"} : float[]' in text


def test_labels_of_the_next_word() -> None:
    (shifted,) = made(head("BertLMHeadModel"), "next")
    assert (str(shifted.result.type), shifted.text("over"), shifted.get("fill")) == ("int[B, S]", "S", None)


def test_a_head_over_an_axis_runs_its_base_once() -> None:
    function = head("BertForMultipleChoice")
    assert [str(given.value.type) for given in function.inputs] == [
        "int[batch, choices, S]",
        "bool[batch, choices, S]",
        "int[batch, choices, S]",
        "int[batch, choices, S]",
        "int[batch]",
    ]
    assert {str(o.result.type) for o in made(function, "merge_batch")} == {"int[B, S]", "bool[B, S]"}
    (split,) = made(function, "split_batch")  # of the pooled output; nothing reads the other
    assert str(split.result.type) == "float[batch, choices, hidden]"
    calls = [o.text("block") for o in made(function, "call")]
    assert calls == [o.text("block") for o in made(head("BertModel"), "call")]


def test_specialised_builds_of_them_compute_the_same() -> None:
    found = specialised(**FIELDS)
    model = theirs("BertForQuestionAnswering")
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    given = {**inputs(), "start_positions": positions(0, 1, 2), "end_positions": positions(3, 4, 5)}
    both = [evaluate(m, "BertForQuestionAnswering", FIELDS, weights, given) for m in (pruned(), found)]
    for name, value in both[0].items():
        assert np.abs(value - both[1][name]).max() < CLOSE


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("clamp(%start_positions)", "clamp(%start_logits)"),
        ('take_apart(%qa_outputs) {over = "span"}', 'take_apart(%qa_outputs) {over = "S"}'),
        ("merge_batch(%input_ids)", "merge_batch(%labels)"),
        ("split_batch(%pooler_output)", "split_batch(%input_ids)"),
        ('next(%labels) {over = "S"}', 'next(%labels) {over = "hidden"}'),
    ],
)
def test_the_verifier_refuses_what_does_not_fit(right: str, wrong: str) -> None:
    text = print_module(module())
    assert right in text
    with pytest.raises(VerificationError):
        verify(parse_module(text.replace(right, wrong, 1)))

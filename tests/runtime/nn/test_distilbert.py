"""A family that extends another, whole: DistilBERT beside Transformers', in logits, losses and every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime.errors import ConfigError

from generated import distilbert
from tests.runtime.nn.pairs import (
    Arrays,
    Head,
    apart,
    batch,
    range_apart,
    run_ours,
    run_theirs,
    torch,
    transformers,
)

SIZES = {
    "vocab_size": 99,
    "dim": 96,
    "n_heads": 3,
    "n_layers": 2,
    "hidden_dim": 130,
    "max_position_embeddings": 140,
    **dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"), 0.0),
}
HEADS = {
    "the encoder": Head("DistilBertModel", {}, "outputs"),
    "masked words, tied": Head("DistilBertForMaskedLM", {"tie_word_embeddings": True}, "words"),
    "masked words, untied": Head("DistilBertForMaskedLM", {"tie_word_embeddings": False}, "words"),
    "one class": Head("DistilBertForSequenceClassification", {"num_labels": 5}, "class"),
    "a regression": Head("DistilBertForSequenceClassification", {"num_labels": 1}, "numbers"),
    "a class for each word": Head("DistilBertForTokenClassification", {"num_labels": 7}, "tags"),
    "a span": Head("DistilBertForQuestionAnswering", {}, "span"),
    "one of several": Head("DistilBertForMultipleChoice", {}, "choice"),
}
LENGTHS = (1, 7, 31, 33, 130)
"""One token, less than a tile, one less, one more, and several tiles."""


def theirs(head: Head, **options: Any) -> Any:
    """Transformers' model in float64 and in eval mode; biases and norms are random as well."""
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        **{**SIZES, **head.options, **options}, attn_implementation="eager", initializer_range=0.2
    )
    model = getattr(transformers, head.model)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                parameter += 0.1 * torch.randn_like(parameter)
    return model.double()


def ours(model: Any, dtype: str) -> Any:
    """The generated model with all that a checkpoint of ``model`` holds."""
    config = distilbert.DistilBertConfig.from_hugging_face(
        {**model.config.to_dict(), "model_type": "distilbert"}
    )
    made = getattr(distilbert, type(model).__name__)(config, dtype=dtype)
    made.load_state_dict({name: tensor.detach().numpy() for name, tensor in model.state_dict().items()})
    return made


def inputs_of(head: Head, tokens: int) -> Arrays:
    """A ragged batch; this family has no token types."""
    return {name: array for name, array in batch(head, tokens).items() if name != "token_type_ids"}


def compared(name: str, tokens: int, act: str, dtype: str) -> None:
    """Run both on the same weights and inputs, and hold the bars that BERT's heads hold."""
    head = HEADS[name]
    reference, inputs = theirs(head, activation=act), inputs_of(head, tokens)
    model = ours(reference, dtype).train()
    if head.labels == "outputs":  # which have no loss: the logits alone
        model.eval()
        with torch.no_grad():
            want = reference(**{key: torch.from_numpy(value) for key, value in inputs.items()})
        output = model(**inputs)
        assert list(output.keys()) == ["last_hidden_state"]
        seen = inputs["attention_mask"].astype(bool)
        far = np.abs(output.last_hidden_state.numpy() - want.last_hidden_state.numpy())[seen].max()
        assert far < (1e-5 if dtype == "float32" else 1e-12) * np.ptp(want.last_hidden_state.numpy())
        return
    wanted, found = run_theirs(reference, inputs), run_ours(model, inputs)
    logits, loss, cosine, norm, zero = (
        (2e-5, 1e-5, 1e-7, 2e-4, 1e-6) if dtype == "float32" else (1e-12, 1e-12, 1e-13, 1e-11, 1e-14)
    )
    assert range_apart(found, wanted, inputs["attention_mask"]) < logits
    assert abs(found.loss - wanted.loss) < 2 * loss * max(1.0, wanted.size)
    each, rest = apart(found.gradients, wanted.gradients)
    assert len(each) > 10
    assert rest < zero
    for one in each:
        assert 1 - one.cosine < cosine, one
        assert one.norm < (norm if wanted.gradients[one.name].size > 32 else max(norm, 1e-3)), one


@pytest.mark.parametrize("tokens", [7, 33])
@pytest.mark.parametrize("name", HEADS)
def test_it_is_transformers(name: str, tokens: int) -> None:
    compared(name, tokens, "gelu", "float64")


@pytest.mark.parametrize("name", HEADS)
def test_it_is_transformers_in_float32(name: str) -> None:
    compared(name, 31, "relu", "float32")


@pytest.mark.deep
@pytest.mark.parametrize("act", ["gelu", "relu"])
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("name", HEADS)
def test_it_is_transformers_everywhere(name: str, tokens: int, act: str) -> None:
    compared(name, tokens, act, "float32")


def test_what_a_head_drops_is_told_by_its_own_keys() -> None:
    """``p`` of each dropout is the field of that name, so that a rate of nearly 1 leaves nearly nothing."""
    config = distilbert.DistilBertConfig.from_hugging_face(
        {"model_type": "distilbert", "qa_dropout": 0.5, "seq_classif_dropout": 0.25, "dropout": 0.125}
    )
    assert (config.p_qa, config.p_head, config.p) == (0.5, 0.25, 0.125)


def test_what_it_does_not_do_is_refused_by_name() -> None:
    values = {"model_type": "distilbert", "sinusoidal_pos_embds": True}
    with pytest.raises(ConfigError, match="sinusoidal_pos_embds"):
        distilbert.DistilBertConfig.from_hugging_face(values)
    with pytest.raises(
        ConfigError, match="type_vocab_size"
    ):  # the size that only the token types read is gone
        distilbert.DistilBertConfig.from_hugging_face({"model_type": "distilbert", "type_vocab_size": 2})

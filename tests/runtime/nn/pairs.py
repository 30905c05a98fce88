"""A model of Transformers and the generated one beside it, with the same weights; their gradients compared."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn, ttnn

from generated import bert

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")

SIZES = {
    "vocab_size": 99,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 130,
    "max_position_embeddings": 140,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Head:
    """A head as it is tried: the class, what the config says, and labels for a batch."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: str = ""


HEADS = {
    "one class": Head("BertForSequenceClassification", {"num_labels": 5}, "class"),
    "several classes": Head(
        "BertForSequenceClassification",
        {"num_labels": 5, "problem_type": "multi_label_classification"},
        "marks",
    ),
    "a regression": Head("BertForSequenceClassification", {"num_labels": 1}, "numbers"),
    "several regressions": Head(
        "BertForSequenceClassification", {"num_labels": 3, "problem_type": "regression"}, "vectors"
    ),
    "masked words, tied": Head("BertForMaskedLM", {"tie_word_embeddings": True}, "words"),
    "masked words, untied": Head("BertForMaskedLM", {"tie_word_embeddings": False}, "words"),
    "a class for each word": Head("BertForTokenClassification", {"num_labels": 7}, "tags"),
    "next sentence": Head("BertForNextSentencePrediction", {}, "order"),
    "pretraining": Head("BertForPreTraining", {}, "words and order"),
    "the encoder": Head("BertModel", {}, "outputs"),
    "next words": Head("BertLMHeadModel", {"is_decoder": True, "use_cache": False}, "words"),
    "a span": Head("BertForQuestionAnswering", {}, "span"),
    "one of several": Head("BertForMultipleChoice", {}, "choice"),
}


def batch(head: Head, tokens: int, *, rows: int = 3, ragged: bool = True, seed: int = 0) -> Arrays:
    """Ids (with padding tokens among them), types, a mask, and labels; ragged rows end at different places."""
    if head.labels == "span" or head.model == "BertLMHeadModel":
        tokens = max(tokens, 2)  # one token has none behind it, and is no choice
    if head.labels == "choice":
        rows = max(rows, 2)  # which are what is chosen from
    rng = np.random.default_rng((seed, tokens))
    ends = rng.integers(1, tokens + 1, rows) if ragged else np.full(rows, tokens)
    ends[0] = tokens
    mask = (np.arange(tokens) < ends[:, None]).astype(np.int64)
    ids = rng.integers(0, 99, (rows, tokens)) * mask
    count = int(head.options.get("num_labels", 2))
    words = np.where(rng.random((rows, tokens)) < 0.4, rng.integers(0, 99, (rows, tokens)), -100)
    words[0, -1] = 7  # one counts always
    found = {
        "class": {"labels": rng.integers(0, count, rows)},
        "marks": {"labels": rng.integers(0, 2, (rows, count)).astype(np.float32)},
        "numbers": {"labels": rng.normal(size=rows).astype(np.float32)},
        "vectors": {"labels": rng.normal(size=(rows, count)).astype(np.float32)},
        "words": {"labels": words},
        "tags": {"labels": np.where(mask == 1, rng.integers(0, count, (rows, tokens)), -100)},
        "order": {"labels": rng.integers(0, 2, rows)},
        "words and order": {"labels": words, "next_sentence_label": rng.integers(0, 2, rows)},
        "outputs": {},
        "span": {
            "start_positions": rng.integers(0, tokens, rows),
            # Behind the last token it does not count; one counts always.
            "end_positions": np.where(np.arange(rows) == 0, 1, rng.integers(0, tokens + 3, rows)),
        },
        "choice": {"labels": rng.integers(0, rows, 1)},
    }[head.labels]
    types = rng.integers(0, 2, (rows, tokens))
    if head.labels == "choice":
        ids, mask, types = ids[None], mask[None], types[None]
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, **found}


def theirs(head: Head, *, seed: int = 0, std: float = 0.2, **options: Any) -> Any:
    """Transformers' model in float64 and in eval mode; biases and norms are random as well."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        **{**SIZES, **head.options, **options}, attn_implementation="eager", initializer_range=std
    )
    model = getattr(transformers, head.model)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.double()


def weights(model: Any) -> Arrays:
    """What ``model`` holds: a tied decoder twice, and of an untied one a bias that it never reads."""
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def ours(model: Any, dtype: str = "float32", **options: Any) -> Any:
    """The generated model with the weights of ``model``, in eval mode."""
    config = bert.BertConfig.from_hugging_face({**model.config.to_dict(), "model_type": "bert"})
    made = getattr(bert, type(model).__name__)(config, dtype=dtype, **options)
    made.load_state_dict(weights(model))
    return made


def tensors(inputs: Arrays, dtype: Any = torch.float64) -> dict[str, Any]:
    """``inputs`` as torch has them."""
    found = {name: torch.from_numpy(array) for name, array in inputs.items()}
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in found.items()
    }


class Weighed(nn.Function):
    """The sum of a value's elements, each with a weight: a loss of the user's own."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any, by: Any) -> Any:
        ctx.save(by)
        return ttnn.sum(ttnn.multiply(x, by))

    @staticmethod
    def backward(ctx: Any, dy: float) -> Any:
        (by,) = ctx.saved
        return ttnn.multiply(by, dy), None


def weighings(shapes: Mapping[str, tuple[int, ...]], mask: Any) -> Arrays:
    """A weight for each element of the encoder's outputs, 0 for tokens that the mask hides: nobody reads those."""
    rng = np.random.default_rng(5)
    made = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    made["last_hidden_state"] *= mask[:, :, None]
    return made


@dataclass(frozen=True)
class Ran:
    """What one side made of a batch."""

    loss: float
    logits: Arrays
    gradients: dict[str, Any]
    size: float = 0.0
    """Of the terms that the loss is a sum of: they may cancel, and their roundings do not."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """What the model returns as losses, by name; ``loss`` is their sum."""


def is_loss(name: str) -> bool:
    """Whether an output of this name is a loss."""
    return name == "loss" or name.endswith("_loss")


def run_theirs(model: Any, inputs: Arrays, dtype: Any = torch.float64) -> Ran:
    """Loss, logits and gradients of Transformers' model."""
    model.zero_grad()
    output = model(**tensors(inputs, dtype))
    logits = {name: value for name, value in output.items() if not is_loss(name)}
    losses = {name: value for name, value in output.items() if is_loss(name)}
    loss, size = sum(losses.values()), 0.0
    if not losses:
        by = weighings({name: tuple(v.shape) for name, v in logits.items()}, inputs["attention_mask"])
        terms = [value * torch.from_numpy(by[name]).to(dtype) for name, value in logits.items()]
        loss, size = (
            sum(term.sum() for term in terms),
            sum(float(term.detach().abs().sum()) for term in terms),
        )
    loss.backward()
    gradients = {
        name: None if parameter.grad is None else parameter.grad.double().numpy()
        for name, parameter in model.named_parameters()
    }
    found = {name: value.detach().double().numpy() for name, value in logits.items()}
    said = {name: float(value.detach()) for name, value in losses.items()}
    return Ran(float(loss.detach()), found, gradients, max(size, abs(float(loss.detach()))), said)


def loss_of(model: Any, inputs: Arrays) -> tuple[Any, dict[str, Any]]:
    """The generated model's loss, all of them in one, and its other outputs."""
    output = model(**inputs)
    logits = {name: output[name] for name in output.keys() if not is_loss(name)}  # noqa: SIM118  # no mapping
    losses = [output[name] for name in output.keys() if is_loss(name)]  # noqa: SIM118  # no mapping
    if not losses:
        by = weighings({name: v.shape for name, v in logits.items()}, inputs["attention_mask"])
        losses = [Weighed.apply(logits[name], on_device(logits[name], by[name])) for name in logits]
    return functools.reduce(operator.add, losses), logits


def run_ours(model: Any, inputs: Arrays) -> Ran:
    """Loss, logits and gradients of the generated model, in the mode it is in."""
    model.zero_grad()
    loss, logits = loss_of(model, inputs)
    loss.backward()
    gradients = {
        name: None if parameter.grad is None else parameter.grad.numpy().astype(np.float64)
        for name, parameter in model.named_parameters()
    }
    return Ran(float(loss), {name: value.numpy() for name, value in logits.items()}, gradients)


def on_device(like: Any, array: np.ndarray[Any, Any]) -> Any:
    """``array`` in the shape, type and place of an activation."""
    tensor = like.tensor
    wide = np.float64 if like.numpy().dtype == np.float64 else np.float32
    shaped = np.ascontiguousarray(array.reshape(tuple(tensor.shape)), wide)
    return ttnn.Tensor(shaped, tensor.dtype, tensor.device(), ttnn.TILE_LAYOUT)


@dataclass(frozen=True)
class Apart:
    """How far one gradient is from the other."""

    name: str
    cosine: float
    norm: float
    """By how much the ratio of the norms differs from 1."""


NOTHING = 1e-9
"""Gradients shorter than this part of the longest are zero: a bias that is added to all keys moves all scores of a
row alike, and a single token sees itself whatever the scores are. Only rounding is left of them."""


def apart(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[list[Apart], float]:
    """For each parameter; and of those whose gradient is zero the longest that was found, as part of the longest."""
    assert {name for name, g in found.items() if g is not None} == {
        name for name, g in wanted.items() if g is not None
    }
    longest = max(float(np.linalg.norm(g)) for g in wanted.values() if g is not None)
    result, rest = [], 0.0
    for name, want in wanted.items():
        if want is None:
            continue
        have, norm = found[name].ravel(), float(np.linalg.norm(want))
        assert found[name].shape == want.shape, name
        length = float(np.linalg.norm(have))
        if norm < NOTHING * longest:
            rest = max(rest, length / longest)
            continue
        result.append(Apart(name, float(have @ want.ravel()) / (length * norm), abs(length / norm - 1)))
    return result, rest


def range_apart(found: Ran, wanted: Ran, mask: Any) -> float:
    """The largest difference of outputs as part of their range; of tokens that are there.

    One number has no range, and may be what is left of terms of the size of 1 that cancel: it is measured by that.
    """
    worst = 0.0
    assert set(found.logits) == set(wanted.logits)
    for name, want in wanted.logits.items():
        have = found.logits[name]
        assert have.shape == want.shape, name
        tokens = (mask.shape == want.shape[: mask.ndim] and want.shape != mask.shape[:2]) or name[:3] in (
            "sta",
            "end",
        )
        seen = mask.astype(bool) if tokens else np.ones(len(want), bool)
        worst = max(
            worst,
            float(
                np.abs(have - want)[seen].max()
                / max(np.ptp(want[seen]), np.abs(want[seen]).max(), 1.0 if want[seen].size == 1 else 0.0)
            ),
        )
    return worst

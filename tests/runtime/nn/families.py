"""Families of models and their heads, as a table: what Transformers calls them, configs, and inputs for a batch."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.nn.pairs import Arrays

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")

VOCAB = 99
LENGTHS = (1, 7, 31, 33, 130)
"""One token, less than a tile, one less, one more, and several tiles."""
PAIRED = ("span", "words", "words and choice")
"""Labels of heads that take two tokens at least: one has none behind it, and is no choice."""
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
DECODER = {
    "vocab_size": VOCAB,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "intermediate_size": 130,
    "num_hidden_layers": 2,
    "max_position_embeddings": 140,
    "classifier_dropout": 0.0,
    "bos_token_id": None,
    "eos_token_id": None,
    "use_cache": False,
}
"""Odd sizes of decoders with grouped queries."""
LATE = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
"""Layers that slide from one on."""
MIXED = {
    **LATE,
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
"""Layers that slide where a list says so, whatever else is said."""
ENCODER = {
    "vocab_size": VOCAB,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "intermediate_size": 130,
    "num_hidden_layers": 2,
    "max_position_embeddings": 140,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
"""Odd sizes of encoders with token types."""


@dataclass(frozen=True)
class Head:
    """A head: the class, what the config says, and labels for a batch."""

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: str = ""
    double: bool = True
    """Whether the reference computes in float64. A query that sees no key is not a number in Transformers there."""


@dataclass(frozen=True)
class Family:
    """A family: the module of it, Transformers' class of its config, small odd sizes, and its heads."""

    module: str
    config: str
    sizes: Mapping[str, Any]
    heads: Mapping[str, Head]
    types: int = 0
    """How many different ``token_type_ids`` it takes; 0 where it has none."""


FAMILIES = {
    "bert": Family(
        "bert",
        "BertConfig",
        ENCODER,
        {
            "masked words": Head("BertForMaskedLM", {}, "words"),
            "a class": Head("BertForSequenceClassification", {"num_labels": 5}, "classes"),
            "one of several": Head("BertForMultipleChoice", {}, "choice"),
        },
        types=2,
    ),
    "roberta": Family(
        "roberta",
        "RobertaConfig",
        {**ENCODER, "pad_token_id": 3, "bos_token_id": None, "eos_token_id": None},
        {
            "the encoder": Head("RobertaModel", {}, "outputs"),
            "masked words, tied": Head("RobertaForMaskedLM", {"hidden_act": "relu"}, "words"),
            "masked words, untied": Head("RobertaForMaskedLM", {"tie_word_embeddings": False}, "words"),
            "next words": Head("RobertaForCausalLM", {"is_decoder": True, "use_cache": False}, "words"),
            "a class": Head("RobertaForSequenceClassification", {"num_labels": 5}, "classes"),
            "a number": Head("RobertaForSequenceClassification", {"num_labels": 1}, "numbers"),
            "yes or no": Head(
                "RobertaForSequenceClassification",
                {"num_labels": 4, "problem_type": "multi_label_classification"},
                "answers",
            ),
            "a class for each word": Head("RobertaForTokenClassification", {"num_labels": 7}, "tags"),
            "a span": Head("RobertaForQuestionAnswering", {}, "span"),
            "one of several": Head("RobertaForMultipleChoice", {"hidden_act": "gelu_new"}, "choice"),
        },
        types=2,
    ),
    "distilbert": Family(
        "distilbert",
        "DistilBertConfig",
        {
            "vocab_size": VOCAB,
            "dim": 96,
            "n_heads": 3,
            "n_layers": 2,
            "hidden_dim": 130,
            "max_position_embeddings": 140,
            **dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout"), 0.0),
        },
        {
            "the encoder": Head("DistilBertModel", {"activation": "relu"}, "outputs"),
            "masked words, tied": Head("DistilBertForMaskedLM", {"tie_word_embeddings": True}, "words"),
            "masked words, untied": Head(
                "DistilBertForMaskedLM", {"tie_word_embeddings": False, "activation": "relu"}, "words"
            ),
            "a class": Head("DistilBertForSequenceClassification", {"num_labels": 5}, "classes"),
            "a number": Head("DistilBertForSequenceClassification", {"num_labels": 1}, "numbers"),
            "a class for each word": Head(
                "DistilBertForTokenClassification", {"num_labels": 7, "activation": "relu"}, "tags"
            ),
            "a span": Head("DistilBertForQuestionAnswering", {}, "span"),
            "one of several": Head("DistilBertForMultipleChoice", {}, "choice"),
        },
    ),
    "gpt2": Family(
        "gpt2",
        "GPT2Config",
        {
            "vocab_size": VOCAB,
            "n_embd": 96,
            "n_head": 3,
            "n_layer": 2,
            "n_positions": 140,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "classifier_dropout": 0.0,
            "bos_token_id": None,
            "eos_token_id": None,
            "use_cache": False,
        },
        {
            "the decoder": Head("GPT2Model", {"n_inner": 130}, "outputs"),
            "next words, tied": Head("GPT2LMHeadModel", {}, "words"),
            "next words, untied": Head(
                "GPT2LMHeadModel",
                {"tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
                "words",
            ),
            "next words, unscaled": Head(
                "GPT2LMHeadModel", {"scale_attn_weights": False, "activation_function": "gelu"}, "words"
            ),
            "a class for each word": Head("GPT2ForTokenClassification", {"num_labels": 7}, "tags"),
            "a class": Head("GPT2ForSequenceClassification", {"num_labels": 5, "pad_token_id": 3}, "classes"),
            "a number": Head(
                "GPT2ForSequenceClassification", {"num_labels": 1, "pad_token_id": 0}, "numbers"
            ),
            "a span": Head("GPT2ForQuestionAnswering", {}, "span"),
            "next words, and one of several": Head(
                "GPT2DoubleHeadsModel", {"summary_first_dropout": 0.0}, "words and choice"
            ),
            "next words, untied, and one of several": Head(
                "GPT2DoubleHeadsModel",
                {
                    "summary_first_dropout": 0.0,
                    "summary_activation": "tanh",
                    "tie_word_embeddings": False,
                },
                "words and choice",
            ),
        },
        types=VOCAB,
    ),
    "llama": Family(
        "llama",
        "LlamaConfig",
        DECODER,
        {
            "the decoder": Head("LlamaModel", {"num_key_value_heads": 3, "rms_norm_eps": 1e-5}, "outputs"),
            "next words, tied": Head("LlamaForCausalLM", {"tie_word_embeddings": True}, "words"),
            "next words, biased": Head(
                "LlamaForCausalLM",
                {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu", "pad_token_id": 3},
                "words",
            ),
            "next words, wide heads": Head(
                "LlamaForCausalLM",
                {
                    "num_attention_heads": 6,
                    "num_key_value_heads": 2,
                    "head_dim": 64,
                    "rope_parameters": LLAMA3,
                },
                "words",
            ),
            "a class for each word": Head("LlamaForTokenClassification", {"num_labels": 7}, "tags"),
            "a class": Head(
                "LlamaForSequenceClassification", {"num_labels": 5, "pad_token_id": 3}, "classes"
            ),
            "yes or no": Head(
                "LlamaForSequenceClassification",
                {"num_labels": 4, "pad_token_id": 3, "problem_type": "multi_label_classification"},
                "answers",
            ),
            "a span": Head("LlamaForQuestionAnswering", {"rope_parameters": LINEAR}, "span"),
        },
    ),
    "mistral": Family(
        "mistral",
        "MistralConfig",
        DECODER,
        {
            "next words, in a window": Head(
                "MistralForCausalLM", {"sliding_window": 5}, "words", double=False
            ),
            "next words, in no window": Head("MistralForCausalLM", {"sliding_window": None}, "words"),
            "a class for each word": Head(
                "MistralForTokenClassification", {"num_labels": 7, "sliding_window": 40}, "tags", double=False
            ),
            "a class": Head(
                "MistralForSequenceClassification", {"num_labels": 5, "pad_token_id": 3}, "classes"
            ),
            "a span": Head("MistralForQuestionAnswering", {"sliding_window": 200}, "span"),
        },
    ),
    "qwen2": Family(
        "qwen2",
        "Qwen2Config",
        DECODER,
        {
            "next words": Head("Qwen2ForCausalLM", {}, "words"),
            "next words, tied": Head("Qwen2ForCausalLM", {"tie_word_embeddings": True}, "words"),
            "next words, some in a window": Head("Qwen2ForCausalLM", MIXED, "words", double=False),
            "a class for each word, late in a window": Head(
                "Qwen2ForTokenClassification", {**LATE, "num_labels": 7}, "tags", double=False
            ),
            "a class for each word": Head("Qwen2ForTokenClassification", {"num_labels": 7}, "tags"),
            "a class": Head(
                "Qwen2ForSequenceClassification", {"num_labels": 5, "pad_token_id": 3}, "classes"
            ),
            "a span": Head("Qwen2ForQuestionAnswering", {}, "span"),
        },
    ),
    "qwen3": Family(
        "qwen3",
        "Qwen3Config",
        {**DECODER, "head_dim": 64},
        {
            "next words": Head("Qwen3ForCausalLM", {}, "words"),
            "next words, biased": Head("Qwen3ForCausalLM", {"attention_bias": True, "head_dim": 32}, "words"),
            "next words, late in a window": Head("Qwen3ForCausalLM", LATE, "words", double=False),
            "a class for each word, some in a window": Head(
                "Qwen3ForTokenClassification",
                {**MIXED, "sliding_window": 40, "num_labels": 7},
                "tags",
                double=False,
            ),
            "a class for each word": Head("Qwen3ForTokenClassification", {"num_labels": 7}, "tags"),
            "a class": Head(
                "Qwen3ForSequenceClassification", {"num_labels": 5, "pad_token_id": 3}, "classes"
            ),
            "a span": Head("Qwen3ForQuestionAnswering", {"num_key_value_heads": 3}, "span"),
        },
    ),
}
CELLS = [(name, head) for name, family in FAMILIES.items() for head in family.heads]
"""Each family with each of its heads."""


def theirs(family: Family, head: Head, *, std: float = 0.2, **options: Any) -> Any:
    """Transformers' model in float32 and in eval mode; biases and norms are random as well."""
    torch.manual_seed(0)
    values = {**family.sizes, **head.options, **options}
    config = getattr(transformers, family.config)(
        **values, attn_implementation="eager", initializer_range=std
    )
    model = getattr(transformers, head.model)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def ours(family: Family, model: Any, folder: Path, **options: Any) -> Any:
    """The generated model, read from the folder that ``model`` saves itself to, with nothing left over."""
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
        model.save_pretrained(folder)
    kind = getattr(importlib.import_module(f"generated.{family.module}"), type(model).__name__)
    return kind.from_pretrained(folder, **{"dtype": "float32", "strict": True, **options})


def batch(family: Family, head: Head, tokens: int, *, types: bool, mask: bool, rows: int = 3) -> Arrays:
    """Ids and labels; with a mask rows end at different places, and with types every token has one."""
    if head.labels in PAIRED:
        tokens = max(tokens, 2)
    several = head.labels in ("choice", "words and choice")
    if several:
        rows = 4  # two choices of two
    rng = np.random.default_rng(tokens)
    ends = rng.integers(1, tokens + 1, rows) if mask else np.full(rows, tokens)
    ends[0] = tokens
    seen = (np.arange(tokens) < ends[:, None]).astype(np.int64)
    given = {"input_ids": rng.integers(0, VOCAB, (rows, tokens))}
    if mask:
        given["attention_mask"] = seen
    if types and family.types:
        given["token_type_ids"] = rng.integers(0, family.types, (rows, tokens))
    if several:
        given = {name: array.reshape(2, 2, tokens) for name, array in given.items()}
    count = int(head.options.get("num_labels", 2))
    # What a hidden token says counts for nobody; one word counts always.
    chosen = (rng.random((rows, tokens)) < 0.4) & (seen == 1)
    words = np.where(chosen, rng.integers(0, VOCAB, (rows, tokens)), -100)
    words[0, -1] = 7
    labels: dict[str, Arrays] = {
        "outputs": {},
        "words": {"labels": words},
        "classes": {"labels": rng.integers(0, count, rows)},
        "numbers": {"labels": rng.standard_normal(rows).astype(np.float32)},
        "answers": {"labels": rng.integers(0, 2, (rows, count)).astype(np.float32)},
        "tags": {"labels": np.where(seen == 1, rng.integers(0, count, (rows, tokens)), -100)},
        "span": {
            "start_positions": rng.integers(0, tokens, rows),
            # Behind the last token it does not count; one counts always.
            "end_positions": np.where(np.arange(rows) == 0, 1, rng.integers(0, tokens + 3, rows)),
        },
        "choice": {"labels": rng.integers(0, 2, 2)},
        "words and choice": {
            "labels": words.reshape(given["input_ids"].shape),
            "mc_labels": rng.integers(0, 2, 2),
        },
    }
    if head.labels == "words and choice" and mask:  # else the last token speaks for each
        given["mc_token_ids"] = seen.sum(1).reshape(2, 2) - 1
    return {**given, **labels[head.labels]}


def seen(inputs: Arrays) -> np.ndarray[Any, Any]:
    """1 for each token that the mask shows."""
    return inputs.get("attention_mask", np.ones_like(inputs["input_ids"]))

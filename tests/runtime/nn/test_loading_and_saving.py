"""Models loaded from folders and state dicts, and saved: what is read, written, told and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from ttmlc_runtime.errors import ConfigError, WeightsError

from tests.runtime.nn.tiny import NAMES, Tiny, TinyHead, folder_of, random_values

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shard_size", [1 << 30, 5000])
def test_float_models_round_trip_bit_for_bit(tmp_path: Path, dtype: str, shard_size: int) -> None:
    arrays = random_values(dtype=dtype)
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype=dtype)
    names = model.save_pretrained(tmp_path / "again", max_shard_size=shard_size)
    assert (len(names) > 2) == (shard_size == 5000)
    again = Tiny.from_pretrained(tmp_path / "again", dtype=dtype)
    for name, wanted in arrays.items():
        assert again.state_dict()[name].dtype == dtype
        assert again.state_dict()[name].tobytes() == wanted.tobytes(), name


def test_bfloat16_models_write_bfloat16_and_round_trip(tmp_path: Path) -> None:
    model = Tiny.from_pretrained(folder_of(tmp_path, random_values()))
    model.save_pretrained(tmp_path / "once")
    Tiny.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "twice")
    once, twice = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("once", "twice"))
    assert once == twice
    assert once.count(b'"dtype":"BF16"') == len(NAMES)
    # Seven bits of fraction: rounding moves a value by at most 2 ** -8 of itself.
    for name, wanted in random_values().items():
        found = model.state_dict()[name]
        assert (np.abs(found - wanted) <= np.abs(wanted) * 2**-8).all()


def test_float16_files_are_read_exactly(tmp_path: Path) -> None:
    arrays = random_values(dtype=np.float16)
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype="float32")
    assert all((model.state_dict()[name] == arrays[name].astype(np.float32)).all() for name in NAMES)


def test_what_config_json_held_is_written_back(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, random_values(), architectures=["Old"], torch_dtype="float16", task_specific_params={"a": 1}
    )
    Tiny.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == {
        "model_type": "tiny", "architectures": ["Tiny"], "torch_dtype": "bfloat16", "task_specific_params": {"a": 1},
        "vocab_size": 11, "hidden_size": 32, "num_layers": 2, "pad_token_id": 3,
    }  # fmt: skip


def test_saving_over_the_folder_it_came_from(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_values())
    model = Tiny.from_pretrained(folder, dtype="float32")
    model.save_pretrained(folder)
    found = load_file(folder / "model.safetensors")
    assert all((found[name] == array).all() for name, array in random_values().items())


def test_a_state_dict_loads_into_another_model() -> None:
    source, target = Tiny(seed=1, dtype="float32"), Tiny(seed=2, dtype="float32")
    report = target.load_state_dict({f"tiny.{name}": array for name, array in source.state_dict().items()})
    assert sorted(report.loaded) == sorted(NAMES)
    assert report.prefix == "tiny"
    assert target.report is report
    assert all((target.state_dict()[name] == source.state_dict()[name]).all() for name in NAMES)


def test_a_state_dict_is_copied() -> None:
    arrays = random_values()
    model = Tiny(dtype="float32")
    model.load_state_dict(arrays)
    arrays["word.weight"][:] = 7
    assert not (model.state_dict()["word.weight"] == 7).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm.weight": np.ones(32, np.int64)}, r"1 of a wrong dtype:\n  norm\.weight: I64"),
        ({"norm.weight": np.ones(32, bool)}, r"1 of a wrong dtype:\n  norm\.weight: BOOL"),
        ({"norm.weight": np.ones(31)}, r"norm\.weight: \[31\] instead of \[32\]"),
        ({"extra": np.ones(3)}, r"1 not expected:\n  extra"),
        ({"norm.gamma": np.zeros(32, np.float32)}, "norm.weight is there as .*, with different values"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(change: Any, words: str) -> None:
    model = Tiny(dtype="float32")
    before = model.state_dict()
    with pytest.raises(WeightsError, match=words):
        model.load_state_dict({**random_values(), **change})
    assert all((model.state_dict()[name] == before[name]).all() for name in NAMES)


def test_the_same_values_under_two_names_are_read_once() -> None:
    arrays = random_values()
    report = Tiny(dtype="float32").load_state_dict({**arrays, "norm.gamma": arrays["norm.weight"]})
    assert report.loaded.count("norm.weight") == 1


def test_old_names_are_read_and_new_ones_written(tmp_path: Path) -> None:
    arrays = random_values()
    arrays["norm.gamma"] = arrays.pop("norm.weight")
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype="float32")
    model.save_pretrained(tmp_path / "again")
    assert (load_file(tmp_path / "again" / "model.safetensors")["norm.weight"] == arrays["norm.gamma"]).all()


def test_left_over_tensors_are_warned_about_once_and_refused_where_strict(tmp_path: Path) -> None:
    arrays = {**random_values(), "cls.bias": np.ones(2, np.float32), "position_ids": np.arange(4)}
    folder = folder_of(tmp_path, arrays)
    with pytest.warns(UserWarning, match=r"1 tensors of .* are not used: cls\.bias") as caught:
        model = Tiny.from_pretrained(folder)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the caller's line, not ours
    assert model.report is not None
    assert (model.report.unexpected, model.report.stale) == (["cls.bias"], ["position_ids"])
    with pytest.raises(WeightsError, match=r"strict was asked(.|\n)*cls\.bias"):
        Tiny.from_pretrained(folder, strict=True)


@pytest.mark.parametrize("prefix", ["", "tiny.", "base."])
def test_a_head_begins_at_random_over_a_base_checkpoint(tmp_path: Path, prefix: str) -> None:
    word = random_values()["word.weight"]
    folder = folder_of(tmp_path, {f"{prefix}word.weight": word})
    with pytest.warns(UserWarning, match=r"1 parameters are not in .* and begin at random: score\.weight"):
        model = TinyHead.from_pretrained(folder, dtype="float32", seed=5)
    assert model.report is not None
    assert model.report.initialised == ["score.weight"]
    assert (model.state_dict()["tiny.word.weight"] == word).all()
    assert (
        model.state_dict()["score.weight"] == TinyHead(seed=5, dtype="float32").state_dict()["score.weight"]
    ).all()


def test_another_name_is_read_and_the_first_written(tmp_path: Path) -> None:
    score = np.random.default_rng(0).standard_normal((2, 32)).astype(np.float32)
    folder = folder_of(
        tmp_path, {"tiny.word.weight": random_values()["word.weight"], "classifier.weight": score}
    )
    TinyHead.from_pretrained(folder, dtype="float32").save_pretrained(tmp_path / "again")
    assert (load_file(tmp_path / "again" / "model.safetensors")["score.weight"] == score).all()


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match="only folders on this machine are read, so download the model first"
    ):
        Tiny.from_pretrained("someone/tiny-model")
    with pytest.raises(WeightsError, match=r"there is no config\.json in"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(ConfigError, match="of a 'other' model"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
        Tiny.from_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"config\.json is a file: give the folder it lies in"):
        Tiny.from_pretrained(tmp_path / "config.json")

"""Folders: which files are read, and which are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from handmade import floats
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.checkpoint import INDEX, SINGLE, open_checkpoint, read_json

A, B = np.float32([1, 2]), np.float32([[3]])


def sharded(folder: Path, weight_map: object, **files: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in files.items():
        (folder / f"{name}.safetensors").write_bytes(floats(arrays))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_a_single_file_a_folder_and_shards_read_alike(tmp_path: Path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    (single / SINGLE).write_bytes(floats({"a": A, "b": B}))
    shards = sharded(
        tmp_path / "shards", {"a": "x.safetensors", "b": "y.safetensors"}, x={"a": A}, y={"b": B}
    )
    for path in (single, single / SINGLE, shards):
        with open_checkpoint(path) as checkpoint:
            assert {name: checkpoint.read(name).tolist() for name in checkpoint.names} == {
                "a": [1, 2],
                "b": [[3]],
            }
            assert checkpoint.tensors() == {"a": ("F32", (2,)), "b": ("F32", (1, 1))}


def test_the_single_file_is_taken_before_an_index_as_transformers_does(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors"}, x={"a": A})
    (tmp_path / SINGLE).write_bytes(floats({"b": B}))
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.names == ["b"]


@pytest.mark.parametrize(
    "name",
    ["../out.safetensors", "/etc/passwd", "sub/../../out.safetensors", "sub/in.safetensors", "..\\out.safetensors",
     "..", ".", "", "a\0b", "link.safetensors",],
)  # fmt: skip
def test_an_index_that_points_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = sharded(tmp_path / "model", {"a": name})
    (tmp_path / "out.safetensors").write_bytes(floats({"a": A}))
    (folder / "sub").mkdir()
    (folder / "sub" / "in.safetensors").write_bytes(floats({"a": A}))
    (folder / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match=r"refused|no file name") as caught:
        open_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path, {"a": "loop.safetensors"})
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    with pytest.raises(
        WeightsError, match=r"no file name|not there: loop\.safetensors"
    ):  # the second from Python 3.13 on
        open_checkpoint(folder)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "link.safetensors"}, x={"a": A})
    (tmp_path / "link.safetensors").symlink_to("x.safetensors")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.read("a").tolist() == [1, 2]


def test_a_hub_cache_whose_files_are_links_to_blobs_is_read(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x--y" / "snapshots" / "0123"
    sharded(snapshot, {"a": "m-1.safetensors"})
    blobs = tmp_path / "models--x--y" / "blobs"
    blobs.mkdir()
    (blobs / "beef").write_bytes(floats({"a": A}))
    (snapshot / "m-1.safetensors").symlink_to("../../blobs/beef")
    with open_checkpoint(snapshot) as checkpoint:
        assert checkpoint.read("a").tolist() == [1, 2]
    (snapshot / "m-1.safetensors").unlink()
    (tmp_path / "models--x--y" / "secret").write_bytes(floats({"a": A}))
    (snapshot / "m-1.safetensors").symlink_to("../../secret")
    with pytest.raises(WeightsError, match="outside"):
        open_checkpoint(snapshot)


def test_missing_shards_are_all_named(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors", "b": "y.safetensors", "c": "z.safetensors"}, x={"a": A})
    with pytest.raises(WeightsError, match=r"not there: y\.safetensors, z\.safetensors"):
        open_checkpoint(tmp_path)


def test_a_tensor_that_the_index_misplaces_is_named(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors", "b": "x.safetensors"}, x={"a": A})
    with pytest.raises(WeightsError, match=r"x\.safetensors holds 'b', and it does not"):
        open_checkpoint(tmp_path)


def test_of_a_tensor_in_two_shards_the_index_decides(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "y.safetensors", "b": "x.safetensors"}, x={"a": A, "b": B}, y={"a": A * 7})
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.read("a").tolist() == [7, 14]


def test_a_tensor_in_two_shards_that_no_index_lists_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors", "b": "y.safetensors"}, x={"a": A, "c": A}, y={"b": B, "c": B})
    with pytest.raises(WeightsError, match=r"'c' lies in x\.safetensors and in y\.safetensors"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "no 'weight_map'"),
        ('{"weight_map": [1]}', "no 'weight_map'"),
        ('{"weight_map": {"a": 1}}', "no 'weight_map'"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "'a' occurs twice"),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("\xff", "no JSON"),
    ],
)
def test_a_malformed_index_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / INDEX).write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=words):
        open_checkpoint(tmp_path)


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch hurt'\ntR.")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin is not read.*save_pretrained"):
            open_checkpoint(path)


def test_a_folder_without_weights_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model\.safetensors and no model\.safetensors\.index\.json$"):
        open_checkpoint(tmp_path)
    (tmp_path / "other.safetensors").write_bytes(floats({"a": A}))
    with pytest.raises(WeightsError, match=r"but other\.safetensors: rename it, or give its path to"):
        open_checkpoint(tmp_path)
    with open_checkpoint(tmp_path / "other.safetensors") as checkpoint:
        assert checkpoint.names == ["a"]
    with pytest.raises(WeightsError, match="there is no checkpoint at"):
        open_checkpoint(tmp_path / "nowhere")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SINGLE)
    with pytest.raises(WeightsError, match="has no model"):
        open_checkpoint(tmp_path)


def test_an_index_is_no_checkpoint_by_itself(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors"}, x={"a": A})
    with pytest.raises(WeightsError, match="give the folder it lies in"):
        open_checkpoint(tmp_path / INDEX)


def test_json_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttmlc_runtime.weights.checkpoint.MAX_JSON", 1 << 20)
    path = tmp_path / "config.json"
    path.write_text('{"a": "' + "x" * (1 << 20) + '"}')
    with pytest.raises(WeightsError, match="more than 1 MiB"):
        read_json(path)
    with pytest.raises(WeightsError, match=r"there is no config\.json in"):
        read_json(tmp_path / "sub" / "config.json")


def test_open_files_are_closed_when_opening_fails(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "x.safetensors", "b": "y.safetensors"}, x={"a": A})
    (tmp_path / "y.safetensors").write_bytes(b"short")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(WeightsError, match="truncated"):
        open_checkpoint(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before

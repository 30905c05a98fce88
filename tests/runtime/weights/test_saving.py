"""Saving: what Hugging Face's tools read back, and old files that survive every failure."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.checkpoint import INDEX, SINGLE, open_checkpoint
from ttmlc_runtime.weights.saving import save_folder, split

SHAPES = {"a": (4, 8), "b": (3,), "c": (16, 8), "d": (1,)}
WHOLE, SHARDED = 1 << 30, 200
"""Bytes a file may hold: all of SHAPES, or about a quarter."""


def values(name: str, mark: float) -> np.ndarray:
    return np.full(SHAPES[name], mark + ord(name), np.float32)


def save(folder: Path, mark: float, limit: Any = WHOLE) -> list[str]:
    return save_folder(folder, SHAPES, "F32", lambda name: values(name, mark), {"mark": mark}, limit)


def marks(folder: Path) -> set[float]:
    """The marks that the weights of a folder carry; more than one would be a mixture of two saves."""
    with open_checkpoint(folder) as checkpoint:
        assert set(checkpoint.names) == set(SHAPES)
        found = {name: checkpoint.read(name) for name in checkpoint.names}
    assert all((array == array.flat[0]).all() for array in found.values())
    return {float(array.flat[0]) - ord(name) for name, array in found.items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_single_file_is_written_under_its_names(tmp_path: Path) -> None:
    assert save(tmp_path / "deep" / "new", 1) == [SINGLE, "config.json"]
    found = load_file(tmp_path / "deep" / "new" / SINGLE)
    assert {name: a.shape for name, a in found.items()} == SHAPES
    assert json.loads((tmp_path / "deep" / "new" / "config.json").read_text()) == {"mark": 1}
    assert sorted(contents(tmp_path / "deep" / "new")) == ["config.json", SINGLE]


def test_shards_and_their_index_are_as_transformers_writes_them(tmp_path: Path) -> None:
    names = save(tmp_path, 1, SHARDED)
    assert names == [
        "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
        INDEX, "config.json",
    ]  # fmt: skip
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 4 * (32 + 3 + 128 + 1)
    assert index["weight_map"] == {"a": names[0], "b": names[0], "c": names[1], "d": names[2]}
    assert marks(tmp_path) == {1}


def test_a_shard_holds_its_limit_or_one_tensor() -> None:
    assert [list(s) for s in split(SHAPES, "F32", 140)] == [["a", "b"], ["c"], ["d"]]
    assert [list(s) for s in split(SHAPES, "F32", 139)] == [["a"], ["b"], ["c"], ["d"]]
    assert [list(s) for s in split(SHAPES, "BF16", 1 << 20)] == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("first", [WHOLE, SHARDED])
@pytest.mark.parametrize("second", [WHOLE, SHARDED])
def test_a_second_save_replaces_the_first_and_leaves_nothing_of_it(
    tmp_path: Path, first: int, second: int
) -> None:
    save(tmp_path, 1, first)
    (tmp_path / "tokenizer.json").write_text("{}")
    names = save(tmp_path, 2, second)
    assert marks(tmp_path) == {2}
    assert set(contents(tmp_path)) == {*names, "tokenizer.json"}
    assert save(tmp_path, 3, second)
    assert marks(tmp_path) == {3}


def failing(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """``function``, whose call number ``at`` finds the disk full."""
    calls = iter(range(1 << 30))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize(("limit", "at"), [(WHOLE, 0), (WHOLE, 1), *((SHARDED, at) for at in range(5))])
def test_a_disk_that_is_full_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, at: int
) -> None:
    save(tmp_path, 1, limit)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(os.fsync, at))
    with pytest.raises(WeightsError, match="No space left on device; what was there before is unchanged"):
        save(tmp_path, 2, limit)
    assert contents(tmp_path) == before


def test_a_disk_that_is_full_while_bytes_are_written_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    save(tmp_path, 1)
    before = contents(tmp_path)
    # The system itself refuses to let any file grow beyond 300 bytes.
    code = (
        "import resource, signal, sys; sys.path[:0] = sys.argv[2:];"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300));"
        "from pathlib import Path; import test_saving; test_saving.save(Path(sys.argv[1]), 2)"
    )
    # -B: what this process cannot write whole must not become bytecode that another one reads.
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path), *sys.path], capture_output=True, text=True
    )
    assert "WeightsError: cannot save" in done.stderr
    assert contents(tmp_path) == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (300, 300)


def test_values_that_cannot_be_read_leave_the_old_files(tmp_path: Path) -> None:
    save(tmp_path, 1)
    before = contents(tmp_path)

    def read(name: str) -> np.ndarray:
        if name == "c":
            raise WeightsError("the device is gone")
        return values(name, 2)

    with pytest.raises(WeightsError, match="the device is gone"):
        save_folder(tmp_path, SHAPES, "F32", read, {}, WHOLE)
    assert contents(tmp_path) == before


KILL = """
import os, signal, sys
sys.path[:0] = sys.argv[5:]
from pathlib import Path
import test_saving as t
where, at, limit = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def dies(function):
    calls = iter(range(1 << 30))
    def call(*args, **kwargs):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

if where == "values":
    t.values = dies(t.values)
else:
    setattr(os, where, dies(getattr(os, where)))
t.save(Path(sys.argv[1]), 2, limit)
"""


def killed(folder: Path, where: str, at: int, limit: int) -> bool:
    """Save in another process that is killed at one call; whether it was, or had done before."""
    command = [sys.executable, "-B", "-c", KILL, str(folder), where, str(at), str(limit), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def until_done(folder: Path, where: str, first: int, second: int) -> Iterator[int]:
    """Save, then save again with a kill at call 0, at call 1, and so on, until nothing is left to kill."""
    for at in range(20):
        save(folder, 1, first)
        if not killed(folder, where, at, second):
            assert marks(folder) == {2}
            return
        yield at
    raise AssertionError("a save of four tensors has fewer than 20 such calls")


@pytest.mark.parametrize("limit", [WHOLE, SHARDED])
def test_a_kill_while_tensors_are_written_leaves_the_old_files(tmp_path: Path, limit: int) -> None:
    save(tmp_path, 1, limit)
    before = contents(tmp_path)
    assert killed(tmp_path, "values", 2, limit)
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".saving-")]
    assert len(left) == 1
    for path in tmp_path.iterdir():
        assert path in left or path.read_bytes() == before[path.name]
    assert marks(tmp_path) == {1}
    save(tmp_path, 3, limit)  # and the next save sweeps up
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".saving-")]


@pytest.mark.parametrize(
    ("first", "second"), [(WHOLE, WHOLE), (SHARDED, SHARDED), (WHOLE, SHARDED), (SHARDED, WHOLE)]
)
def test_a_kill_amid_the_switch_leaves_weights_of_one_save(tmp_path: Path, first: int, second: int) -> None:
    """The weights switch in one rename: whenever the process dies, they are all old or all new."""
    seen = set()
    for _ in until_done(tmp_path, "replace", first, second):
        seen |= marks(tmp_path)
        assert marks(tmp_path) in ({1}, {2})
    assert 1 in seen


def test_a_save_of_a_living_process_is_not_swept(tmp_path: Path) -> None:
    theirs = tmp_path / f".saving-{os.getppid()}-x"
    theirs.mkdir()
    dead = tmp_path / ".saving-999999999-x"
    dead.mkdir()
    save(tmp_path, 1)
    assert theirs.is_dir()
    assert not dead.exists()


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"cannot save to .*file"):
        save(tmp_path / "file", 1)
    with pytest.raises(WeightsError, match=r"cannot save to .*sub"):
        save(tmp_path / "file" / "sub", 1)
    (tmp_path / "config.json").mkdir()
    save_before = contents_of_files(tmp_path)
    with pytest.raises(WeightsError, match=r"config\.json is a folder there"):
        save(tmp_path, 1)
    assert contents_of_files(tmp_path) == save_before
    for limit in (0, "5GB"):
        with pytest.raises(WeightsError, match=f"cannot have {limit!r} bytes: give a number from 1 on"):
            save(tmp_path, 1, limit)


def contents_of_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

"""Checkpoints on disk: a safetensors file, shards with an index, or a Hugging Face folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Array
from ttmlc_runtime.weights.format import ITEM_BYTES, Entry, SafeFile, write

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "tf_model.h5")


@dataclass
class Checkpoint:
    """An open checkpoint: every tensor's entry, and the file it lies in."""

    path: Path
    files: dict[str, SafeFile]
    stack: ExitStack

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def names(self) -> list[str]:
        """All tensors, in the order of their bytes, so that reading them is one sweep."""
        return sorted(self.files, key=lambda name: (str(self.files[name].path), self.entry(name).start))

    def entry(self, name: str) -> Entry:
        """What a file says of a tensor."""
        return self.files[name].entries[name]

    def read(self, name: str) -> Array:
        """A tensor's values."""
        return self.files[name].read(name)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a safetensors file, or the weights of a Hugging Face folder.

    Raises:
        WeightsError: there is none, or it is malformed, or an index points outside its folder.
    """
    if path.is_file():
        return _open(path, {path})
    if not path.is_dir():
        raise WeightsError(f"there is no checkpoint at {path}")
    if (path / INDEX).is_file():
        return _sharded(path)
    if (path / SINGLE).is_file():
        return _open(path, {path / SINGLE})
    pickles = [name for name in PICKLES if (path / name).exists()]
    if pickles:
        raise WeightsError(
            f"{path} holds {pickles[0]}, a pickle, which is never read because reading one runs what is in it: "
            "save the model with safe_serialization=True"
        )
    raise WeightsError(f"{path} holds no {SINGLE} and no {INDEX}")


def _open(path: Path, files: set[Path], wanted: Mapping[str, Path] | None = None) -> Checkpoint:
    stack = ExitStack()
    found: dict[str, SafeFile] = {}
    with ExitStack() as guard:
        guard.push(stack)
        for file_path in sorted(files):
            file = stack.enter_context(SafeFile(file_path))
            for name in file.entries:
                if wanted is not None and wanted.get(name) != file_path:
                    continue
                if name in found:
                    raise WeightsError(
                        f"tensor {name!r} lies in {found[name].path.name} and in {file_path.name}"
                    )
                found[name] = file
        for name, where in (wanted or {}).items():
            if name not in found:
                raise WeightsError(
                    f"the index of {path} says that {where.name} holds {name!r}, and it does not"
                )
        guard.pop_all()
    return Checkpoint(path, found, stack)


def _sharded(path: Path) -> Checkpoint:
    index = read_json(path / INDEX)
    table = index.get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise WeightsError(f"{path / INDEX} has no 'weight_map' of file names")
    wanted = {str(name): _inside(path, str(file)) for name, file in table.items()}
    for file in set(wanted.values()):
        if not file.is_file():
            raise WeightsError(f"{path / INDEX} names {file.name}, which is not there")
    return _open(path, set(wanted.values()), wanted)


def _inside(folder: Path, name: str) -> Path:
    """The file ``name`` of ``folder``, which must lie there and not behind a link that leads out."""
    file = folder / name
    try:
        real, root = file.resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError):
        raise WeightsError(f"the index of {folder} names {name!r}, which is no file name") from None
    # Hub caches link files of a snapshot to blobs beside it, under the same model's folder.
    roots = (root, root.parent.parent) if root.parent.name == "snapshots" else (root,)
    if Path(name).name != name or not any(real.is_relative_to(base) for base in roots):
        raise WeightsError(f"the index of {folder} points outside its folder, at {name!r}: refused")
    return file


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: the file is missing, or is no JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return value


def save_folder(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
    read: Callable[[str], Array],
    config: Mapping[str, object],
    max_shard_bytes: int,
) -> list[str]:
    """Write a Hugging Face folder; what was there before stays whole until everything new is on the disk.

    Everything is written beside its final name first and flushed; then the names are switched. A full disk or a
    kill before that leaves the old files; one amid the switching leaves old and new files, each whole.

    Returns:
        The names of the files written.

    Raises:
        WeightsError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".saving-*"):  # by a save that was killed
        shutil.rmtree(left, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
    try:
        shards = _shards(shapes, dtype, max_shard_bytes)
        names: list[str] = []
        for place, shard in enumerate(shards):
            name = SINGLE if len(shards) == 1 else f"model-{place + 1:05d}-of-{len(shards):05d}.safetensors"
            write(staging / name, shard, dtype, _arrays(shard, read))
            names.append(name)
        if len(shards) > 1:
            table = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
            total = sum(_bytes(shape, dtype) for shape in shapes.values())
            _write_json(staging / INDEX, {"metadata": {"total_size": total}, "weight_map": table})
            names.append(INDEX)
        _write_json(staging / "config.json", config)
        names.append("config.json")
        for name in names:
            os.replace(staging / name, folder / name)
        # Weights of an earlier save in the other form would be read instead of, or beside, these.
        for old in (INDEX,) if len(shards) == 1 else (SINGLE,):
            (folder / old).unlink(missing_ok=True)
        _sync(folder)
        return names
    except OSError as error:
        raise WeightsError(
            f"cannot save to {folder}: {error.strerror or error}; what was there before is unchanged"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _arrays(
    shard: Mapping[str, tuple[int, ...]], read: Callable[[str], Array]
) -> Iterator[tuple[str, Array]]:
    for name in shard:
        yield name, read(name)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * ITEM_BYTES[dtype]


def _shards(
    shapes: Mapping[str, tuple[int, ...]], dtype: str, limit: int
) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    used = 0
    for name, shape in shapes.items():
        size = _bytes(shape, dtype)
        if shards[-1] and used + size > limit:
            shards.append({})
            used = 0
        shards[-1][name] = shape
        used += size
    return shards


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Writing a Hugging Face folder so that a reader finds the old checkpoint or the new one, each whole."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.checkpoint import CONFIG, INDEX, SINGLE, read_json
from ttmlc_runtime.weights.format import ITEM_BYTES, write
from ttmlc_runtime.weights.parameter import Array

Shapes = Mapping[str, tuple[int, ...]]
STAGING = ".saving-"


def save_folder(
    folder: Path,
    shapes: Shapes,
    dtype: str,
    read: Callable[[str], Array],
    config: Mapping[str, object],
    max_shard_bytes: int,
) -> list[str]:
    """Write weights and config.json; what was there before stays whole until everything new is on the disk.

    All files are written in a folder beside their final places and flushed; then the names are switched, which
    takes no room and no time. Weights switch in one rename: of the one file, or of the index, whose shards have
    names that the folder did not have. A full disk or a kill before that leaves the old checkpoint.

    Args:
        folder: made where it is not there.
        shapes: the parameters in order.
        dtype: what the tensors are stored as: "F32", "F64" or "BF16".
        read: gives a parameter's values.
        config: the contents of config.json.
        max_shard_bytes: a file holds at most this much, or one tensor that is larger.

    Returns:
        The names of the files written.

    Raises:
        WeightsError: it cannot be written.
    """
    _check_size(max_shard_bytes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=folder))
        try:
            names = _stage(staging, folder, shapes, dtype, read, config, max_shard_bytes)
            blocked = [name for name in names if (folder / name).is_dir()]
            if blocked:
                raise WeightsError(f"cannot save to {folder}: {blocked[0]} is a folder there")
            _switch(staging, folder, names)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise WeightsError(
            f"cannot save to {folder}: {error.strerror or error}; what was there before is unchanged"
        ) from error
    return names


def _check_size(limit: object) -> None:
    if not isinstance(limit, (int, float)) or not limit >= 1:
        raise WeightsError(f"a shard cannot have {limit!r} bytes: give a number from 1 on")


def _stage(
    staging: Path,
    folder: Path,
    shapes: Shapes,
    dtype: str,
    read: Callable[[str], Array],
    config: Mapping[str, object],
    limit: int,
) -> list[str]:
    """Write every file under ``staging``; the weights' deciding file is the last but one, config.json the last."""
    shards = split(shapes, dtype, limit)
    names = [SINGLE] if len(shards) == 1 else _fresh_names(folder, len(shards))
    for name, shard in zip(names, shards, strict=True):
        write(staging / name, shard, dtype, _arrays(shard, read))
    if len(shards) > 1:
        table = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(_bytes(shape, dtype) for shape in shapes.values())
        write_json(staging / INDEX, {"metadata": {"total_size": total}, "weight_map": table})
        names.append(INDEX)
    write_json(staging / CONFIG, config)
    return [*names, CONFIG]


def _switch(staging: Path, folder: Path, names: list[str]) -> None:
    old = _shards_of(folder)
    try:
        for name in names:
            os.replace(staging / name, folder / name)
            if name == INDEX:
                (folder / SINGLE).unlink(missing_ok=True)  # it would be read before the index
        sync(folder)
        # From here on nothing reads the old weights any more.
        if INDEX not in names:
            (folder / INDEX).unlink(missing_ok=True)
        for name in old - set(names):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(
            f"saving to {folder} stopped while names were switched ({error.strerror or error}): each file is whole, "
            "but weights and config.json may be of different saves; save again"
        ) from error


def _fresh_names(folder: Path, count: int) -> list[str]:
    """Hugging Face's names of shards; with a letter where the folder has shards so named, which must stay for now."""
    for letter in ("", *(f"{c}-" for c in "abcdefghijklmnopqrstuvwxyz")):
        names = [f"model-{letter}{place + 1:05d}-of-{count:05d}.safetensors" for place in range(count)]
        if not any((folder / name).exists() for name in names):
            return names
    raise WeightsError(f"{folder} has too many leftover shards: remove those that {INDEX} does not name")


def _shards_of(folder: Path) -> set[str]:
    """The files that an index in ``folder`` names, if there is one that can be read."""
    try:
        table = read_json(folder / INDEX).get("weight_map")
    except WeightsError:
        return set()
    if not isinstance(table, dict):
        return set()
    names = {name for name in table.values() if isinstance(name, str)}
    return {name for name in names if Path(name).name == name and name.endswith(".safetensors")}


def sweep(folder: Path) -> None:
    """Remove what saves left behind that were killed; those of living processes are theirs."""
    for left in folder.glob(f"{STAGING}*"):
        owner = left.name.removeprefix(STAGING).split("-")[0]
        if not (owner.isdecimal() and _lives(int(owner))) or int(owner) == os.getpid():
            shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _arrays(shard: Shapes, read: Callable[[str], Array]) -> Iterator[tuple[str, Array]]:
    for name in shard:
        yield name, read(name)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * ITEM_BYTES[dtype]


def split(shapes: Shapes, dtype: str, limit: int) -> list[dict[str, tuple[int, ...]]]:
    """The parameters in order, cut into shards of at most ``limit`` bytes; a larger one has a shard of its own."""
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


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a JSON object and flush it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Flush a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

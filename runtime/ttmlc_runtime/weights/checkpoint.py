"""Checkpoints on disk: a safetensors file, shards with an index, or a Hugging Face folder."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.format import Entry, SafeFile, unique
from ttmlc_runtime.weights.parameter import Array

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
PICKLES = (
    "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "tf_model.h5", "flax_model.msgpack",
)  # fmt: skip
MAX_JSON = 64 << 20
"""Bytes; the index of a model of many hundred shards has a few."""


@dataclass
class Checkpoint:
    """An open checkpoint: every tensor, and the file it lies in. Use it in a ``with`` statement."""

    path: Path
    files: dict[str, SafeFile]
    stack: ExitStack

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def names(self) -> list[str]:
        """All tensors, file by file in the order of their bytes."""
        return sorted(self.files, key=lambda name: (str(self.files[name].path), self.entry(name).start, name))

    def entry(self, name: str) -> Entry:
        """What a file says of a tensor."""
        return self.files[name].entries[name]

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Each tensor's dtype, as the format names it, and shape."""
        return {name: (self.entry(name).dtype, self.entry(name).shape) for name in self.names}

    def read(self, name: str) -> Array:
        """A tensor's values: float32, or float64 where it is so stored."""
        return self.files[name].read(name)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a safetensors file, or the weights of a Hugging Face folder.

    Raises:
        WeightsError: there is none, or it is malformed, or an index points outside its folder.
    """
    if path.is_dir():
        # As Transformers does: one file is taken before an index.
        if _regular(path / SINGLE):
            return _open(path, [path / SINGLE])
        if _regular(path / INDEX):
            return _sharded(path)
        raise WeightsError(_nothing_in(path))
    if path.name.endswith(".index.json"):
        raise WeightsError(f"{path} is an index: give the folder it lies in")
    if path.name in PICKLES or path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"):
        raise WeightsError(_pickle(path.name))
    if not _regular(path):
        raise WeightsError(f"there is no checkpoint at {path}")
    return _open(path, [path])


def _regular(path: Path) -> bool:
    """Whether ``path`` is a file with contents of its own: no pipe, no device, which might never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _nothing_in(folder: Path) -> str:
    for name in PICKLES:
        if (folder / name).exists():
            return f"{folder} has no {SINGLE}. {_pickle(name)}"
    others = sorted(p.name for p in folder.glob("*.safetensors"))
    if others:
        return (
            f"{folder} has no {SINGLE} and no {INDEX}, but {others[0]}: rename it, or give its path to "
            "load_checkpoint of a model"
        )
    return f"{folder} has no {SINGLE} and no {INDEX}"


def _pickle(name: str) -> str:
    return (
        f"{name} is not read, because reading such a file can run what is in it: load it once with Transformers "
        "and save it again with save_pretrained, which writes safetensors"
    )


def _open(path: Path, files: list[Path], wanted: Mapping[str, Path] | None = None) -> Checkpoint:
    found: dict[str, SafeFile] = {}
    with ExitStack() as stack:
        for file_path in files:
            file = stack.enter_context(SafeFile(file_path))
            for name in file.entries:
                if wanted is not None and wanted.get(name, file_path) != file_path:
                    continue  # the index says that another file's is the one that counts
                if name in found:
                    raise WeightsError(
                        f"tensor {name!r} lies in {found[name].path.name} and in {file_path.name} of {path}"
                    )
                found[name] = file
        for name, where in (wanted or {}).items():
            if name not in found:
                raise WeightsError(
                    f"the index of {path} says that {where.name} holds {name!r}, and it does not"
                )
        return Checkpoint(path, found, stack.pop_all())


def _sharded(path: Path) -> Checkpoint:
    table = read_json(path / INDEX).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise WeightsError(f"{path / INDEX} has no 'weight_map' of file names")
    places = {file: _inside(path, file) for file in sorted(set(table.values()))}
    missing = [file for file, place in places.items() if not _regular(place)]
    if missing:
        raise WeightsError(f"{path / INDEX} names files that are not there: {', '.join(missing)}")
    return _open(path, list(places.values()), {name: places[file] for name, file in table.items()})


def _inside(folder: Path, name: str) -> Path:
    """The file ``name`` of ``folder``, which must lie there and not behind a link that leads out."""
    file = folder / name
    try:
        real, root = file.resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError):
        raise WeightsError(f"the index of {folder} names {name!r}, which is no file name") from None
    # A hub cache links the files of models--x/snapshots/y to models--x/blobs.
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    plain = bool(name) and Path(name).name == name and "\\" not in name
    if not plain or not any(real.is_relative_to(base) for base in roots):
        raise WeightsError(f"the index of {folder} points outside its folder, at {name!r}: refused")
    return file


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: the file is missing, too large, or is no JSON object.
    """
    if not _regular(path):
        raise WeightsError(f"there is no {path.name} in {path.parent}: is it a Hugging Face folder?")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_JSON:
                raise WeightsError(f"{path} has more than {MAX_JSON >> 20} MiB: it is no such file")
            value = json.loads(file.read(size).decode("utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return value

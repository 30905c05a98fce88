"""Recordings as safetensors files: every value once, and in the metadata what is whose."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ttmlc_runtime.errors import InputError, WeightsError
from ttmlc_runtime.inspection.recording import Array, Key, Part, Recording, Step

FORMAT = "ttmlc activations 1"
DTYPES = ("dtype", "torch_dtype", "transformers_version", "architectures", "_name_or_path")
"""What a config says that changes nothing of what is computed here."""


def save(path: Path, recording: Recording) -> None:
    """Write a recording; ``path`` appears whole or stays as it was.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.numpy import save_file

    names: dict[int, str] = {}
    arrays: dict[str, Array] = {}

    def put(name: str, array: Array | None) -> str | None:
        if array is None:
            return None
        if id(array) not in names:
            names[id(array)] = name
            arrays[name] = np.ascontiguousarray(array)
        return names[id(array)]

    def several(name: str, values: tuple[Array, ...]) -> list[str | None]:
        return [put(f"{name}.{at}" if at else name, value) for at, value in enumerate(values)]

    parts = [
        {
            "key": _key(part.key),
            "parameters": sorted(part.parameters),
            "takes": put(f"{_label(part.key)}:takes", part.takes),
            "gives": several(f"{_label(part.key)}:gives", part.gives),
        }
        for part in recording.parts
    ]
    steps = [
        {
            "key": _key(step.key),
            "index": step.index,
            "name": step.name,
            "line": step.line,
            "gives": several(f"{_label(step.key)}:{step.index}:{step.name}", step.gives),
        }
        for step in recording.steps
    ]
    outputs = {name: put(f"outputs:{name}", value) for name, value in recording.outputs.items()}
    given = {name: put(f"inputs:{name}", np.asarray(value)) for name, value in recording.given.items()}
    about = {
        "kind": recording.kind, "model": recording.model, "config": dict(recording.config),
        "dtype": recording.dtype, "aliases": recording.aliases, "parts": parts, "steps": steps,
        "outputs": outputs, "given": given,
    }  # fmt: skip
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(arrays, staging, {"format": FORMAT, "recording": json.dumps(about, default=str)})
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def read(path: Path) -> Recording:
    """The recording in a file.

    Raises:
        WeightsError: it cannot be read, or holds no recording.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(
            f"there is no file {path}: --against is 'transformers', or a file that --save wrote"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise WeightsError(f"{path} holds no activations that `ttmlc inspect --save` wrote")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        about = json.loads(metadata["recording"])
        return _recording(about, arrays)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as activations: {type(error).__name__}: {error}") from None


def check(recording: Recording, where: str, ours: Any, given: Mapping[str, Array] | None) -> None:
    """Refuse a recording of another model, or of other inputs than ``given``, where they are.

    Raises:
        InputError: it is; it says in what they differ.
    """
    name = type(ours).__name__
    if recording.model != name:
        raise InputError(f"{where} holds activations of {recording.model}, and this is {name}: say --head")
    config = ours.config.to_hugging_face()
    other = {key: value for key, value in recording.config.items() if key not in DTYPES}
    differ = [
        f"{key} {other[key]!r} there and {value!r} here"
        for key, value in config.items()
        if key not in DTYPES
        and key in other
        and other[key] != json.loads(json.dumps(value, default=str))
        and (
            recording.kind == "blocks" or (type(value) is int and type(other[key]) is int)
        )  # theirs say more than ours
    ]
    if differ:
        raise InputError(f"{where} is of a model of another config: {', '.join(differ)}")
    for key, value in (given or {}).items():
        there = recording.given.get(key)
        if there is None or not np.array_equal(there, value):
            raise InputError(
                f"{where} was saved with other {key}: leave out --text, --input-ids, --batch, --seq and --seed, and "
                "the model is run with those of the file"
            )


def _recording(about: dict[str, Any], arrays: Mapping[str, Array]) -> Recording:
    def values(names: list[str]) -> tuple[Array, ...]:
        return tuple(arrays[name] for name in names)

    parts = [
        Part(
            Key(*part["key"]),
            frozenset(part["parameters"]),
            None if part["takes"] is None else arrays[part["takes"]],
            values(part["gives"]),
        )
        for part in about["parts"]
    ]
    steps = [
        Step(Key(*step["key"]), step["index"], step["name"], step["line"], (), False, values(step["gives"]))
        for step in about["steps"]
    ]
    return Recording(
        about["kind"],
        about["model"],
        about["config"],
        about["dtype"],
        {name: arrays[tensor] for name, tensor in about["given"].items()},
        parts,
        steps,
        {name: arrays[tensor] for name, tensor in about["outputs"].items()},
        about["aliases"],
    )


def _key(key: Key) -> list[object]:
    return [key.name, key.kind, key.turn]


def _label(key: Key) -> str:
    turn = f"#{key.turn}" if key.turn else ""
    return f"{key.name}:{key.kind}{turn}"

"""The state of a run on the disk: resumed, it goes on bit for bit; killed while it is written, the old one is there.

::

    folder/current.json                        names the state that counts; written last, in one rename
    folder/state-00000007/model.safetensors       the parameters, as exactly as the device holds them
                          optimizer.safetensors   masters and moments, NAME.exp_avg
                          state.json              steps, groups, seed, calls so far, and what the caller adds

Nothing in it depends on how the device holds parameters, so a run may go on with another build of its model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import InputError, WeightsError
from ttmlc_runtime.nn.model import Model
from ttmlc_runtime.optim.optimizer import Optimizer
from ttmlc_runtime.weights.checkpoint import open_checkpoint, read_json
from ttmlc_runtime.weights.format import write
from ttmlc_runtime.weights.parameter import Array
from ttmlc_runtime.weights.saving import STAGING, sweep, sync, write_json
from ttmlc_runtime.weights.storage import in_order, reader

ttnn = choose()

StrPath = str | os.PathLike[str]

CURRENT, STATE, MODEL, OPTIMIZER = "current.json", "state.json", "model.safetensors", "optimizer.safetensors"
NAME = re.compile(r"state-(\d{8})")
FORMAT = 1


def save_training_state(
    folder: StrPath, model: Model[Any], optimizer: Optimizer, *, extra: Mapping[str, Any] | None = None
) -> None:
    """Write all that a run needs to go on. Save between steps: gradients are not part of it.

    Whatever state ``folder`` holds stays whole until the new one is on the disk; then it is removed.

    Args:
        folder: made where it is not there.
        model: its parameters, seed and count of calls.
        optimizer: its groups, and its state of every parameter.
        extra: what the caller wants back, as JSON can hold it: positions in the data, schedules.

    Raises:
        InputError: JSON cannot hold ``extra``.
        WeightsError: it cannot be written.
    """
    found = optimizer.state_dict()
    described = {
        "format": FORMAT,
        "rng_state": list(model.rng_state),
        "optimizer": type(optimizer).__name__,
        "param_groups": found["param_groups"],
        "steps": {name: state["step"] for name, state in found["state"].items()},
        "extra": dict(extra or {}),
    }
    try:
        json.dumps(described)
    except (TypeError, ValueError) as error:
        raise InputError(f"extra must hold what JSON can: {error}") from None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        sweep(path)
        staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=path))
        try:
            _write(staging, model, found["state"], described)
            _switch(staging, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise WeightsError(
            f"cannot save to {path}: {error.strerror or error}; the state that was there before is unchanged"
        ) from error


def _write(staging: Path, model: Model[Any], state: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """All files of a state, flushed."""
    parameters = dict(model.named_parameters())
    storages = list(dict.fromkeys(s for one in parameters.values() for s in one.storages))
    read = reader(storages)
    names = list(in_order(storages))
    wide = model.dtype == "float32" or any(storage.dtype == ttnn.float32 for storage in storages)
    stored = "F64" if model.dtype == "float64" else "F32" if wide else "BF16"
    shapes = {name: parameters[name].shape for name in names}
    write(staging / MODEL, shapes, stored, ((name, read(name)) for name in names))
    arrays = dict(_flat(state))
    kind = "F64" if model.dtype == "float64" else "F32"
    write(
        staging / OPTIMIZER, {key: array.shape for key, array in arrays.items()}, kind, iter(arrays.items())
    )
    write_json(staging / STATE, described)


def _flat(state: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Array]]:
    for name, values in state.items():
        for key, value in values.items():
            if key != "step":
                yield f"{name}.{key}", np.asarray(value)


def _switch(staging: Path, folder: Path) -> None:
    """Make the staged state the one that counts, and remove all others."""
    numbers = [int(found[1]) for path in folder.iterdir() if (found := NAME.fullmatch(path.name))]
    name = f"state-{max(numbers, default=0) + 1:08d}"
    write_json(staging / CURRENT, {"state": name})
    sync(staging)
    os.rename(staging, folder / name)
    sync(folder)
    os.replace(folder / name / CURRENT, folder / CURRENT)
    sync(folder)
    for path in folder.iterdir():
        if NAME.fullmatch(path.name) and path.name != name:
            shutil.rmtree(path, ignore_errors=True)


def load_training_state(folder: StrPath, model: Model[Any], optimizer: Optimizer) -> dict[str, Any]:
    """Go on from what ``save_training_state`` wrote: parameters, optimizer, seed and count of calls.

    Args:
        folder: as given there.
        model: of the same parameters; it may be built otherwise, or compute in another dtype.
        optimizer: of the same class, with the same parameters in its groups; options are taken from the state.

    Returns:
        What was given as ``extra``.

    Raises:
        WeightsError: there is no state, it is damaged, or it does not fit; if the optimizer's part alone does not,
            the model has been loaded.
    """
    path = _current(Path(folder))
    described = read_json(path / STATE)
    try:
        if described["format"] != FORMAT:
            raise WeightsError(f"{path / STATE} is of format {described['format']}, and {FORMAT} is known")
        steps = {str(name): int(step) for name, step in described["steps"].items()}
        seed, calls = (int(number) for number in described["rng_state"])
        groups = [{**group, "params": list(group["params"])} for group in described["param_groups"]]
        extra, kind = dict(described["extra"]), described["optimizer"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path / STATE} is damaged: {error!r}") from None
    if kind != type(optimizer).__name__:
        raise WeightsError(
            f"the state in {folder} is of {kind}, and the optimizer is {type(optimizer).__name__}"
        )
    state: dict[str, dict[str, Any]] = {name: {"step": step} for name, step in steps.items()}
    with open_checkpoint(path / OPTIMIZER) as checkpoint:
        for key in checkpoint.tensors():
            name, _, what = key.rpartition(".")
            if name not in state:
                raise WeightsError(f"{path} is damaged: {OPTIMIZER} has {key}, and {STATE} knows no {name!r}")
            state[name][what] = checkpoint.read(key)
    model.load_checkpoint(path / MODEL, strict=True)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    model.rng_state = (seed, calls)
    return extra


def _current(folder: Path) -> Path:
    """The folder of the state that counts."""
    if not (folder / CURRENT).is_file():
        raise WeightsError(f"there is no training state in {folder}")
    name = read_json(folder / CURRENT).get("state")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise WeightsError(f"{folder / CURRENT} is damaged: it names no state")
    return folder / name

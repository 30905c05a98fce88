"""The base of every emitted model: made with random weights or from a checkpoint, called, saved."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.errors import BackendError, ConfigError, WeightsError
from ttmlc_runtime.nn.config import Config
from ttmlc_runtime.nn.devices import DTYPES, current
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.nn.scope import Registry, Scope
from ttmlc_runtime.weights.chain import Array
from ttmlc_runtime.weights.folder import open_checkpoint, read_json, save_folder
from ttmlc_runtime.weights.load import LoadReport, match, refuse

C = TypeVar("C", bound=Config)
M = TypeVar("M", bound="Model[Any]")
StrPath = str | os.PathLike[str]

STORED = {"bfloat16": "BF16", "float32": "F32", "float64": "F64"}
SHARD_BYTES = 5 * 10**9
LONG = 500 * 10**6
"""Checkpoints above this many bytes load with a progress bar."""


class Block:
    """A part of a model, made under a scope."""

    config: Any
    kernels: Kernels


class Model(Generic[C]):
    """A model on a device.

    Args:
        config: its sizes and choices; the defaults of its class where it is left out.
        seed: decides the random weights, parameter by parameter.
        dtype: "bfloat16" computes as a board does; "float32" and "float64" compute the same program exactly.
        device: where it lives; by default the one of an enclosing ``nn.device``, else a new one.

    Raises:
        ConfigError: the config does not fit.
        BackendError: the dtype is unknown, or exact on a real board.
    """

    Config: ClassVar[type[Any]]
    prefix: ClassVar[str] = ""
    stale: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        config: C | None = None,
        *,
        seed: int = 0,
        dtype: str = "bfloat16",
        device: types.Device | None = None,
    ) -> None:
        self._prepare(config, dtype, device)
        for name, parameter in self._registry.parameters.items():
            self._take(name, parameter.initial(seed))

    def _prepare(self, config: C | None, dtype: str, device: types.Device | None) -> None:
        if dtype not in DTYPES:
            raise BackendError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        made = config if config is not None else self.Config()
        if not isinstance(made, self.Config):
            raise ConfigError(
                f"{type(self).__name__} takes a {self.Config.__name__}, not {type(made).__name__}"
            )
        self.config: C = made
        self.dtype = dtype
        self.device = device if device is not None else current(dtype)
        self.kernels = Kernels.precise(self.device)
        self.report: LoadReport | None = None
        self._registry = Registry()
        self.build(Scope(self._registry, self.kernels), self.config)
        self._readers = self._registry.readers()

    def build(self, at: Scope, c: C) -> None:
        """Make the parameters; the emitted class says which."""
        raise NotImplementedError

    # Weights

    @classmethod
    def from_pretrained(
        cls: type[M],
        folder: StrPath,
        *,
        dtype: str = "bfloat16",
        device: types.Device | None = None,
        strict: bool = False,
    ) -> M:
        """The model of a Hugging Face folder: config.json and safetensors, one file or shards with an index.

        Tensors are read one at a time. Those left over are reported in ``model.report``, and refused with ``strict``.

        Raises:
            ConfigError: config.json is not for this model, or has a key that it does not know.
            WeightsError: the weights are missing, malformed, or do not fit.
        """
        path = Path(folder)
        if not path.is_dir():
            raise WeightsError(f"there is no folder {path}")
        config = cls.Config.from_hugging_face(read_json(path / "config.json"))
        model = cls.__new__(cls)
        model._prepare(config, dtype, device)
        model.load_checkpoint(path, strict=strict)
        return model

    def load_checkpoint(self, path: StrPath, *, strict: bool = False) -> LoadReport:
        """Load a safetensors file or folder into this model, streamed.

        Raises:
            WeightsError: it is missing, malformed, or does not fit.
        """
        with open_checkpoint(Path(path)) as checkpoint:
            tensors = {
                name: (checkpoint.entry(name).dtype, checkpoint.entry(name).shape)
                for name in checkpoint.names
            }
            matching = match(self._registry.parameters, tensors, self.prefix, self.stale)
            self._accept(matching.report, str(path), strict)
            size = sum(entry.end - entry.start for entry in map(checkpoint.entry, matching.sources))
            for name in _progress([n for n in checkpoint.names if n in matching.sources], size):
                self._take(matching.sources[name], checkpoint.read(name))
                matching.report.loaded.append(matching.sources[name])
        return matching.report

    def load_state_dict(self, arrays: Mapping[str, Array], *, strict: bool = True) -> LoadReport:
        """Load arrays under Hugging Face's names, with or without the base prefix.

        Raises:
            WeightsError: some are missing or do not fit, or are left over and ``strict``.
        """
        tensors = {
            name: (_stored(np.asarray(array)), tuple(np.shape(array))) for name, array in arrays.items()
        }
        matching = match(self._registry.parameters, tensors, self.prefix, self.stale)
        self._accept(matching.report, "the state dict", strict)
        for name, parameter in matching.sources.items():
            self._take(parameter, np.asarray(arrays[name]))
            matching.report.loaded.append(parameter)
        return matching.report

    def _accept(self, report: LoadReport, where: str, strict: bool) -> None:
        refuse(report, where, strict)
        if report.unexpected:
            shown = ", ".join(report.unexpected[:4]) + (", ..." if len(report.unexpected) > 4 else "")
            warnings.warn(f"{len(report.unexpected)} tensors of {where} are not used: {shown}", stacklevel=4)
        self.report = report

    def _take(self, name: str, array: Array) -> None:
        for storage in self._readers[name]:
            storage.offer(name, array, self.device)

    def state_dict(self) -> dict[str, Array]:
        """Every parameter under its Hugging Face name, in its own layout: float32 (float64 in that dtype)."""
        return {name: self._read(name) for name in self._registry.parameters}

    def _read(self, name: str) -> Array:
        return self._readers[name][0].read()[name]

    def save_pretrained(self, folder: StrPath, *, max_shard_size: int = SHARD_BYTES) -> list[str]:
        """Write what Transformers reads back: config.json and safetensors in this model's dtype.

        Whatever lies in ``folder`` stays whole until all of the new files are on the disk.

        Returns:
            The names of the files written.

        Raises:
            WeightsError: it cannot be written.
        """
        shapes = {name: parameter.shape for name, parameter in self._registry.parameters.items()}
        values = {**self.config.to_hugging_face(), "architectures": [type(self).__name__]}
        for key in ("torch_dtype", "dtype"):
            if key in values:
                values[key] = self.dtype
        return save_folder(
            Path(folder), shapes, STORED[self.dtype], _cached(self._readers), values, max_shard_size
        )

    # Looking at it

    def named_parameters(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes, in the order of the spec."""
        for name, parameter in self._registry.parameters.items():
            yield name, parameter.shape

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(int(np.prod(shape)) for _, shape in self.named_parameters())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_parameters():,} parameters, dtype={self.dtype!r}, {self.config})"


def _stored(array: Array) -> str:
    return {"f8": "F64", "f4": "F32", "f2": "F16"}.get(array.dtype.str[1:], array.dtype.str[1:].upper())


def _cached(readers: Mapping[str, list[Any]]) -> Callable[[str], Array]:
    """Read parameters one by one, bringing a storage that holds several to the host only once."""
    held: dict[int, dict[str, Array]] = {}

    def read(name: str) -> Array:
        storage = readers[name][0]
        if id(storage) not in held:
            held[id(storage)] = storage.read()
        values = held[id(storage)]
        array = values.pop(name)
        if not values:
            del held[id(storage)]
        return array

    return read


def _progress(names: list[str], size: int) -> Iterator[str]:
    if size < LONG or not sys.stderr.isatty():
        yield from names
        return
    from tqdm import tqdm

    yield from tqdm(names, desc="loading", unit="tensor")

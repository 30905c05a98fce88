"""The base of every emitted model: made with random weights or from a checkpoint, called, saved."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.nn.block import model_call
from ttmlc_runtime.nn.config import Config
from ttmlc_runtime.nn.devices import resolve
from ttmlc_runtime.nn.kernels import Kernels, Policy
from ttmlc_runtime.nn.parameter import Parameter
from ttmlc_runtime.nn.scope import Registry, Scope
from ttmlc_runtime.weights.checkpoint import CONFIG, open_checkpoint, read_json
from ttmlc_runtime.weights.load import SHOWN, LoadReport, Matching, Rules, match, printable, refuse
from ttmlc_runtime.weights.parameter import Array
from ttmlc_runtime.weights.saving import save_folder
from ttmlc_runtime.weights.storage import in_order, pair, reader, readers

C = TypeVar("C", bound=Config)
M = TypeVar("M", bound="Model[Any]")
StrPath = str | os.PathLike[str]

STORED = {"bfloat16": "BF16", "float32": "F32", "float64": "F64"}
SHARD_BYTES = 5 * 10**9
OURS = ("ttmlc", "ttmlc_runtime")
LONG = 500 * 10**6
"""Checkpoints above this many bytes load with a progress bar."""


class Model(Generic[C]):
    """A model on a device.

    Args:
        config: its sizes and choices; the defaults of its class where it is left out.
        seed: decides the random weights, parameter by parameter.
        dtype: "bfloat16" computes as a board does; "float32" and "float64" compute the same program exactly. Left
            out it is that of the device, and bfloat16 where there is none yet.
        device: where it lives; by default the one of an enclosing ``nn.device``, else one kept for the dtype.
        policy: how each role of op computes, where it is not to be the module's own.

    Raises:
        ConfigError: the config does not fit.
        BackendError: the dtype is unknown, exact on a real board, or not the device's.
    """

    Config: ClassVar[type[Any]]
    policy: Policy = Policy()
    """How each role of op computes; the emitted class says."""
    prefix: ClassVar[str | tuple[str, ...]] = ""
    """What stands before the base's names in files of a model with a head; of several, the first is written."""
    stale: ClassVar[tuple[str, ...]] = ()
    """Patterns of tensors that old files hold and nothing needs."""
    renames: ClassVar[Mapping[str, str]] = {}
    """Parts of names in old files, and what they are called now."""
    over: ClassVar[tuple[str, ...]] = ()
    """What the first two dims of its inputs are called, where they are three: ``("batch", "choices")``."""
    beside: ClassVar[Mapping[str, str]] = {}
    """The integers that are not of the shape of the first input, and theirs: ``int[batch, choices]``."""
    labels: ClassVar[Mapping[str, str]] = {}
    """The inputs of its losses, and what each may be: ``int[B, S]``, alternatives after ``|``."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Let calls of the emitted class say to its blocks whether they are recorded."""
        super().__init_subclass__(**keywords)
        if "__call__" in vars(cls):
            setattr(cls, "__call__", model_call(vars(cls)["__call__"]))  # noqa: B010  # the base has none to assign to

    def __init__(
        self,
        config: C | None = None,
        *,
        seed: int = 0,
        dtype: str | None = None,
        device: types.Device | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._prepare(config, dtype, device, policy)
        for name in in_order(self._registry.storages):
            self._take(name, self._registry.parameters[name].initial(seed))

    def _prepare(
        self, config: C | None, dtype: str | None, device: types.Device | None, policy: Policy | None
    ) -> None:
        made = config if config is not None else self.Config()
        if not isinstance(made, self.Config):
            raise ConfigError(
                f"{type(self).__name__} takes a {self.Config.__name__}, not {type(made).__name__}"
            )
        self.config: C = made
        self.dtype, self.device = resolve(dtype, device)
        self.policy = policy if policy is not None else self.policy
        self.kernels = Kernels.of(self.policy, self.device)
        self.report: LoadReport | None = None
        self._registry = Registry()
        self.build(Scope(self._registry, self.kernels), self.config)
        pair(self._registry.storages)
        self._readers = readers(self._registry.storages)
        unheld = [name for name in self._registry.parameters if name not in self._readers]
        if unheld:
            raise WeightsError(
                f"{type(self).__name__} makes parameters that no storage holds: {', '.join(unheld)}"
            )
        self._parameters = {
            name: Parameter(declared, self._readers[name])
            for name, declared in self._registry.parameters.items()
        }

    def build(self, at: Scope, c: C) -> None:
        """Make the parameters; the emitted class says which."""
        raise NotImplementedError

    # Weights

    @classmethod
    def unfilled(
        cls: type[M],
        config: Any = None,
        *,
        dtype: str | None = None,
        device: types.Device | None = None,
        policy: Policy | None = None,
    ) -> M:
        """A model whose parameters take their memory and hold nothing: to see what fits, or to be loaded.

        Raises:
            ConfigError: the config does not fit.
            BackendError: as from the constructor.
        """
        model = cls.__new__(cls)
        model._prepare(config, dtype, device, policy)
        for storage in model._registry.storages:
            storage.reserve(model.device)
        return model

    @classmethod
    def from_pretrained(
        cls: type[M],
        folder: StrPath,
        *,
        config: Any = None,
        dtype: str | None = None,
        device: types.Device | None = None,
        policy: Policy | None = None,
        strict: bool = False,
        ignore_mismatched_sizes: bool = False,
        seed: int = 0,
    ) -> M:
        """The model of a Hugging Face folder: config.json and safetensors, one file or shards with an index.

        Tensors are read one at a time. Those left over are warned about and listed in ``model.report``, and refused
        with ``strict``. A head that the checkpoint does not have begins at random, from ``seed``, with a warning.
        ``config`` is taken instead of the folder's config.json, as where a head is to have other labels; then
        ``ignore_mismatched_sizes`` lets the head begin at random though the file has one of another size.

        Raises:
            ConfigError: config.json is not for this model, or has a key that it does not know.
            WeightsError: the weights are missing, malformed, or do not fit.
        """
        path = Path(folder)
        if path.is_file():
            raise WeightsError(f"{path} is a file: give the folder it lies in, with its config.json")
        if not path.is_dir():
            raise WeightsError(
                f"there is no folder {path}: only folders on this machine are read, so download the model first"
            )
        if config is None:
            config = cls.Config.from_hugging_face(read_json(path / CONFIG))
        model = cls.__new__(cls)
        model._prepare(config, dtype, device, policy)
        model.load_checkpoint(path, strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes, seed=seed)
        return model

    def load_checkpoint(
        self, path: StrPath, *, strict: bool = False, ignore_mismatched_sizes: bool = False, seed: int = 0
    ) -> LoadReport:
        """Load a safetensors file or folder into this model, streamed; see :meth:`from_pretrained`.

        What does not fit is refused before anything is loaded. Should reading fail later, some parameters are of
        the checkpoint and others as before.

        Raises:
            WeightsError: it is missing, malformed, or does not fit.
        """
        with open_checkpoint(Path(path)) as checkpoint:
            tensors = checkpoint.tensors()
            rules = replace(self._rules(), resized=ignore_mismatched_sizes)
            matching = match(self._registry.parameters, tensors, rules)
            wanted = [checkpoint.entry(names[0]) for names in matching.sources.values()]
            size = sum(entry.end - entry.start for entry in wanted)
            return self._load(matching, checkpoint.read, str(path), strict, seed, size)

    def load_state_dict(self, arrays: Mapping[str, Any], *, strict: bool = True, seed: int = 0) -> LoadReport:
        """Load arrays under Hugging Face's names, with or without the base prefix.

        Raises:
            WeightsError: some are missing or do not fit, or are left over and ``strict``.
        """
        found = {name: _as_array(name, value) for name, value in arrays.items()}
        tensors = {name: (_stored(array), array.shape) for name, array in found.items()}
        matching = match(self._registry.parameters, tensors, self._rules())
        return self._load(matching, found.__getitem__, "the state dict", strict, seed, 0)

    def _rules(self) -> Rules:
        prefixes = (self.prefix,) if isinstance(self.prefix, str) else self.prefix
        written = tuple(p for p in prefixes if p)
        return Rules(written, self.stale, self.renames, tied=self._registry.tied)

    def _load(
        self,
        matching: Matching,
        read: Callable[[str], Array],
        where: str,
        strict: bool,
        seed: int,
        size: int,
    ) -> LoadReport:
        report = matching.report
        refuse(report, where, strict)
        for name, tensors in matching.sources.items():
            _same(name, tensors, read)
        self.report = report
        initialised = set(report.initialised)
        try:
            for name in _progress(list(in_order(self._registry.storages)), size):
                if name in initialised:
                    self._take(name, self._registry.parameters[name].initial(seed))
                elif name in matching.sources:
                    self._take(name, read(matching.sources[name][0]))
                    report.loaded.append(name)
        finally:
            for storage in self._registry.storages:
                storage.forget()
        _notice(where, report)
        return report

    def _take(self, name: str, array: Array) -> None:
        for storage in self._readers[name]:
            storage.offer(name, array, self.device)

    def state_dict(self) -> dict[str, Array]:
        """Every parameter under its Hugging Face name, in its own layout: float32 (float64 in that dtype).

        Raises:
            WeightsError: the device holds no values yet.
        """
        read = reader(self._registry.storages)
        return {name: read(name) for name in self._registry.parameters}

    def save_pretrained(self, folder: StrPath, *, max_shard_size: int = SHARD_BYTES) -> list[str]:
        """Write what Transformers reads back: config.json and safetensors in this model's dtype.

        Whatever lies in ``folder`` stays whole until all of the new files are on the disk. ``max_shard_size`` is in
        bytes; a larger model is written as shards with an index.

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
        read = reader(self._registry.storages)
        return save_folder(Path(folder), shapes, STORED[self.dtype], read, values, max_shard_size)

    # Training it

    @property
    def training(self) -> bool:
        """Whether calls are recorded and drop out; a new or loaded model's are not."""
        return self._registry.training

    def train(self: M, mode: bool = True) -> M:
        """Record calls and drop out; inside ``no_grad`` neither is done."""
        self._registry.training = mode
        return self

    def eval(self: M) -> M:
        """Run the inference program; inside ``enable_grad`` calls are recorded, and nothing is dropped."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients that were accumulated, and give back their memory."""
        for storage in self._registry.storages:
            storage.grad = None

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze all parameters, or let all be trained."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @property
    def rng_state(self) -> tuple[int, int]:
        """What dropout depends on: the run's seed, and how many calls were recorded. Set it to go on from there."""
        return self._registry.seed, self._registry.step

    @rng_state.setter
    def rng_state(self, state: tuple[int, int]) -> None:
        self._registry.seed, self._registry.step = state

    # Looking at it

    def parameters(self) -> Iterator[Parameter]:
        """The parameters, in the order of the spec."""
        yield from self._parameters.values()

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Hugging Face's names and the parameters, in the order of the spec."""
        yield from self._parameters.items()

    def num_parameters(self) -> int:
        """How many numbers the parameters hold; what several forms share counts once."""
        return sum(prod(parameter.shape) for parameter in self.parameters())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_parameters():,} parameters, dtype={self.dtype!r}, {self.config})"


def _as_array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{name}: numpy cannot read a {type(value).__name__} ({error}): give float32 values on the host"
        ) from None


def _stored(array: Array) -> str:
    """A dtype as safetensors names it: by bits, where numpy counts bytes."""
    kind = array.dtype.kind
    return "BOOL" if kind == "b" else f"{kind.upper()}{8 * array.dtype.itemsize}"


def _same(name: str, tensors: list[str], read: Callable[[str], Array]) -> None:
    """Refuse a parameter that is there under several names with different values."""
    for other in tensors[1:]:
        if not np.array_equal(read(tensors[0]), read(other), equal_nan=True):
            raise WeightsError(
                f"{name} is there as {tensors[0]} and as {other}, with different values: remove one of them, or, "
                "where the config ties what is not one, let it not (tie_word_embeddings)"
            )


def _notice(where: str, report: LoadReport) -> None:
    """Say once what was left over and what begins at random."""
    for names, what in (
        (report.unexpected, "tensors of {} are not used"),
        (report.initialised, "parameters are not in {} and begin at random"),
    ):
        if names:
            shown = ", ".join(map(printable, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
            warnings.warn(f"{len(names)} {what.format(where)}: {shown}", stacklevel=_outside())


def _outside() -> int:
    """The stack level, for a warning from the caller, of the first frame that is not ours."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    return level


def _progress(names: list[str], size: int) -> Iterator[str]:
    if size < LONG or not sys.stderr.isatty():
        yield from names
        return
    from tqdm import tqdm

    yield from tqdm(names, desc="loading", unit="tensor")

"""The same model in Transformers, recorded with hooks on every module.

It needs torch and transformers, which nothing else here does: they are imported where they are first wanted.
"""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ttmlc_runtime.errors import BackendError, InputError, WeightsError
from ttmlc_runtime.inspection.recording import Array, Key, Part, Recording

NEEDED = (
    "beside Transformers needs torch and transformers, and {} cannot be imported: pip install torch "
    "'transformers==5.24.0' (or 'ttmlc[parity]'), or give a file that was saved where they are: "
    "--against FILE.safetensors"
)


def libraries() -> tuple[Any, Any]:
    """torch and transformers.

    Raises:
        BackendError: one of them cannot be imported; it says what to install.
    """
    found = []
    for name in ("torch", "transformers"):
        try:
            found.append(importlib.import_module(name))
        except ImportError:
            raise BackendError(NEEDED.format(name)) from None
    return found[0], found[1]


def load(folder: Path, ours: Any) -> Any:
    """Transformers' model of the class that ``ours`` has, in float32, from the same folder.

    What the folder does not have, and ``ours`` therefore began at random, is taken from ``ours``.

    Raises:
        BackendError: the libraries are missing.
        InputError: Transformers has no such class.
        WeightsError: it cannot load the folder.
    """
    torch, transformers = libraries()
    name = type(ours).__name__
    kind = getattr(transformers, name, None)
    if kind is None:
        raise InputError(f"Transformers {transformers.__version__} has no class {name} to run beside ours")
    with _quiet(transformers):
        try:
            model = kind.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
            )
        except Exception as error:  # it raises what its parts do
            raise WeightsError(f"Transformers cannot load {folder} as {name}: {error}") from None
    held = dict(model.named_parameters(remove_duplicate=False))
    begun = ours.report.initialised if ours.report is not None else ()
    with torch.no_grad():
        for parameter in begun:
            if parameter not in held:
                raise WeightsError(f"{name} of Transformers has no parameter {parameter} to be given ours")
            values = next(one.numpy() for called, one in ours.named_parameters() if called == parameter)
            held[parameter].copy_(torch.from_numpy(np.array(values, np.float32)))
    return model.eval()


def record(model: Any, given: Mapping[str, Array]) -> Recording:
    """A run of one of Transformers' models, recorded.

    Raises:
        InputError: it does not take ``given``.
    """
    torch, _ = libraries()
    hooks = _Hooks(torch, model)
    config = model.config.to_dict()
    recording = Recording(
        "modules", type(model).__name__, config, "float32", dict(given), aliases=hooks.aliases
    )
    recording.parts = hooks.parts
    inputs = {name: torch.from_numpy(np.array(array)) for name, array in given.items()}
    with hooks, torch.no_grad():
        try:
            output = model(**inputs, return_dict=True)
        except Exception as error:  # it raises what torch does
            raise InputError(f"Transformers' {type(model).__name__} does not take this: {error}") from None
    for name, value in output.items():
        if torch.is_tensor(value) and value.is_floating_point():
            recording.outputs[name] = hooks.array(value)
    return recording


class _Hooks:
    """Hooks on the modules of a model, which make a part of each call."""

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch, self._model = torch, model
        self.parts: list[Part] = []
        self._handles: list[Any] = []
        self._turns: Counter[str] = Counter()
        self._arrays: dict[tuple[int, int], tuple[Any, Array]] = {}
        first: dict[int, str] = {}
        self.aliases: dict[str, str] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            self.aliases[name] = first.setdefault(id(parameter), name)

    def __enter__(self) -> None:
        for name, module in self._model.named_modules():
            if name:
                hook = self._hook(name, module)
                self._handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str, module: Any) -> Any:
        names = frozenset(
            self.aliases[f"{name}.{below}"] for below, _ in module.named_parameters(remove_duplicate=False)
        )
        kind = type(module).__name__

        def hook(_: Any, arguments: Any, keywords: Any, output: Any) -> None:
            taken = next(self._floats((*arguments, *keywords.values())), None)
            key = Key(name, kind, self._turns[name])
            self._turns[name] += 1
            gives = tuple(map(self.array, self._floats(output)))
            self.parts.append(Part(key, names, None if taken is None else self.array(taken), gives))

        return hook

    def _floats(self, value: Any) -> Iterator[Any]:
        """The tensors of floats in what a module takes or gives."""
        if self._torch.is_tensor(value):
            if value.is_floating_point():
                yield value
        elif isinstance(value, Mapping):
            yield from self._floats(tuple(value.values()))
        elif isinstance(value, (tuple, list)):
            for one in value:
                yield from self._floats(one)

    def array(self, tensor: Any) -> Array:
        """The values; a tensor's are one array as long as nothing writes to it. Tensors are kept for their identity."""
        key = (id(tensor), tensor._version)
        if key not in self._arrays:
            self._arrays[key] = (tensor, np.array(tensor.detach().float().numpy()))
        return self._arrays[key][1]


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without its progress bar and its remarks about what the folder lacks."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()

"""A model by one call: the spec that reads its config.json, compiled for its sizes, with its weights.

model = ttmlc.load("path/of/a/Hugging Face/folder")                       # the class that its config.json names
model = ttmlc.load(folder, head="SequenceClassification", num_labels=3)   # another head on the same base
model = ttmlc.load("mine.spec", preset="mine-tiny.yaml", seed=7)            # random weights
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ttmlc.api import Compiled, PresetError, compile_spec, expand_file, read_object
from ttmlc.elaborate.offers import head_class
from ttmlc.elaborate.problems import nearest
from ttmlc.language import tree
from ttmlc.specs import models

CONFIG = "config.json"
PACKAGE = "ttmlc_loaded"
"""What the modules that are made here are called, with their spec and build: ``ttmlc_loaded.mine_0a1b2c3d4e5f``."""
LONG = 1024
"""A name longer than this is no spec's."""


@dataclass(frozen=True)
class Family:
    """What a spec says of its family without being compiled.

    Attributes:
        path: the spec.
        model_type: which ``model_type`` of a config.json it reads.
        bases: its models.
        heads: the class of each offered head, by the head's name.
    """

    path: Path
    model_type: str
    bases: tuple[str, ...]
    heads: Mapping[str, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that can be loaded."""
        return (*self.bases, *self.heads.values())

    def chosen(self, head: str | None, architectures: Iterable[str]) -> str:
        """The class for ``head``, which is a head's name or a class's; without one the first of ``architectures``.

        Raises:
            PresetError: it is not among the spec's.
        """
        if head is not None:
            if head in self.heads or head in self.classes:
                return self.heads.get(head, head)
            known = (*self.heads, *self.classes)
            raise PresetError(
                f"{self.path.name} offers no head {head!r}. {nearest(head, known)} "
                f"Offered: {', '.join(self.heads) or 'none'}; without a head: {', '.join(self.bases)}."
            )
        wanted = list(architectures)
        found = next((name for name in wanted if name in self.classes), None)
        if found is None and wanted:
            raise PresetError(
                f"{self.path.name} has no {wanted[0]}: say head=... "
                f"({', '.join(self.heads)}), or head={self.bases[0]!r} for the model without one"
            )
        return found or self.bases[0]


def family(path: Path) -> Family:
    """What the spec at ``path`` says of its family.

    Raises:
        DiagnosticError: it does not parse.
    """
    file = expand_file(path)
    configs = [item for item in file.items if isinstance(item, tree.Config)]
    named = [config.model_type for config in configs if config.model_type is not None]
    model_type = str(named[0].value) if named else (configs[0].name.text.lower() if configs else path.stem)
    bases = tuple(item.name.text for item in file.items if isinstance(item, tree.Model))
    heads = {
        offer.head.text: head_class(item.model.text, offer)
        for item in file.items
        if isinstance(item, tree.Offers)
        for offer in item.offers
    }
    return Family(path, model_type, bases, heads)


def families() -> list[Family]:
    """The families that ship: the registry of models is the set of specs."""
    return [family(path) for path in models()]


def family_of(model_type: str) -> Family:
    """The shipped family that reads configs of ``model_type``.

    Raises:
        PresetError: there is none.
    """
    paths = sorted(models(), key=lambda path: path.stem != model_type)  # most are called as their type is
    seen = []
    for path in paths:
        found = family(path)
        if found.model_type == model_type:
            return found
        seen.append(found.model_type)
    hint = nearest(model_type, seen)
    raise PresetError(
        f"no spec reads models of type {model_type!r}. {hint} There are: {', '.join(sorted(seen))}; "
        "a spec of your own is given as path: ttmlc.load(spec=..., ...)"
    )


def load(
    source: str | os.PathLike[str],
    *,
    head: str | None = None,
    spec: str | os.PathLike[str] | None = None,
    preset: str = "",
    dtype: str | None = None,
    device: Any = None,
    seed: int = 0,
    strict: bool = False,
    ignore_mismatched_sizes: bool = False,
    train: bool = True,
    **keys: Any,
) -> Any:
    """A model of a Hugging Face folder with its weights, or of a spec with random ones.

    Args:
        source: a folder with config.json and safetensors; or a spec: its path, or the name of one that ships.
        head: a head's name ("SequenceClassification") or a class's ("MineForMaskedLM"). Left out, it is what the
            config.json names under ``architectures``, and the model without a head where it names none or for a spec.
        spec: the spec to read a folder by, where none that ships has its ``model_type``.
        preset: of a spec, the sizes: the name of a shipped preset or the path of a YAML file.
        dtype: "bfloat16", "float32" or "float64", as a model's constructor takes it.
        device: where it lives, as a model's constructor takes it.
        seed: decides the weights that begin at random.
        strict: whether tensors that are left over are refused.
        ignore_mismatched_sizes: whether a head that the folder has in another size begins at random.
        train: whether it can be trained; without, it compiles in less time.
        keys: entries of config.json to set or to change, as in ``num_labels=3``.

    Returns:
        An instance of the emitted class. Its module is compiled for just these sizes, once in a process for each
        config; ``inspect.getsource(type(model))`` shows it.

    Raises:
        PresetError: no spec fits, or the config or preset does not fit the spec.
        DiagnosticError: the spec is wrong.
        ConfigError: config.json has a key that the spec does not know.
        WeightsError: the weights are missing, malformed, or do not fit.
    """
    given = Path(source)
    made: dict[str, Any] = {"dtype": dtype, "device": device, "seed": seed}
    if _is_spec(source):
        if spec is not None:
            raise PresetError("the source is a spec already: leave spec=... out")
        if preset and keys:
            raise PresetError(f"a preset says all sizes: leave out {', '.join(keys)}, or the preset")
        found = family(_spec_path(given))
        compiled = compile_spec(found.path, preset=preset, config=keys or None, train=train)
        kind = getattr(_module(compiled), found.chosen(head, ()))
        config = kind.Config.from_hugging_face(keys) if keys else kind.Config(**dict(kind.Config.built_for))
        return kind(config, **made)
    if preset:
        raise PresetError("a preset gives the sizes of a spec, and a folder has its own")
    if not given.is_dir():
        raise PresetError(
            f"{given} is neither a folder with {CONFIG} nor a spec: only what is on this machine is read, so "
            "download the model first"
        )
    values = {**read_object(given / CONFIG), **keys}
    found = family(_spec_path(Path(spec))) if spec is not None else family_of(str(values.get("model_type")))
    compiled = compile_spec(found.path, config=values, train=train)
    kind = getattr(_module(compiled), found.chosen(head, _architectures(values)))
    made.update(strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes)
    return kind.from_pretrained(given, config=kind.Config.from_hugging_face(values), **made)


def _architectures(values: Mapping[str, Any]) -> list[str]:
    named = values.get("architectures")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _is_spec(source: str | os.PathLike[str]) -> bool:
    path = Path(source)
    if path.suffix == ".spec":
        return True
    return len(path.parts) == 1 and not path.exists() and any(path.name == model.stem for model in models())


def _spec_path(path: Path) -> Path:
    if path.suffix == ".spec":
        return path
    found = next((model for model in models() if model.stem == str(path)), None)
    if found is None:
        known = [model.stem for model in models()]
        raise PresetError(f"there is no spec {str(path)[:LONG]!r}. {nearest(str(path), known)}")
    return found


class _Source(importlib.abc.InspectLoader):
    """Gives a module its text, so that tracebacks and ``inspect`` show it though no file holds it."""

    def __init__(self, text: str, origin: str) -> None:
        self.text, self.origin = text, origin

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_filename(self, fullname: str) -> str:
        return self.origin

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.origin, "exec", dont_inherit=True)


def _module(compiled: Compiled) -> ModuleType:
    """The compiled module, imported; the same text is the same module."""
    import hashlib

    digest = hashlib.sha256(compiled.text.encode()).hexdigest()[:12]
    name = f"{PACKAGE}.{compiled.name}_{digest}"
    if name not in sys.modules:
        loader = _Source(compiled.text, f"{name.replace('.', '/')}.py")
        spec = ModuleSpec(name, loader, origin=loader.origin)
        spec.has_location = True  # gives it a __file__, without which ``inspect`` asks no loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]

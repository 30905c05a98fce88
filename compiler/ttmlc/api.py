"""What the commands do, for whoever would rather call than type.

compiled = compile_spec(Path("specs/models/tiny.spec"))
compiled.text                                   # the module
write(compiled, Path("out"))
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import ttmlc.ir.device_labels  # declares the ops of heads
import ttmlc.ir.device_training  # and with it the calls of inference
import ttmlc.ir.ops  # noqa: F401  # importing the two declares the ops
from ttmlc.elaborate import DeclinedHead, elaborate, elaborate_heads
from ttmlc.elaborate.problems import nearest
from ttmlc.emit.module import emit
from ttmlc.expand import expand
from ttmlc.ir import scalar
from ttmlc.ir.module import Module
from ttmlc.ir.text import print_module
from ttmlc.language import load, parse, tree
from ttmlc.language.format import format_text, print_tree
from ttmlc.passes.base import Declined
from ttmlc.passes.pipeline import Stage, pipeline, run
from ttmlc.presets import (
    PresetError,
    hugging_face_fields,
    met,
    preset_fields,
    preset_values,
    read_object,
)
from ttmlc.report import Summary, summarise
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc.specs import finder, models, presets, shipped

__all__ = [
    "Compiled", "DeclinedHead", "DiagnosticError", "PresetError", "Sizes", "check", "compile_spec", "compile_text",
    "declined_heads", "elaborate_file", "expand_file", "expanded", "format_file", "load_pretrained", "read_object",
    "sizes_of", "verify", "write", "write_text",
]  # fmt: skip
CONFIG = "config.json"


@dataclass(frozen=True)
class Compiled:
    """A compiled spec: the text of its module, every stage on the way, and what it holds."""

    name: str
    text: str
    stages: tuple[Stage, ...]
    summary: Summary

    @property
    def declined(self) -> tuple[Declined, ...]:
        """Every rewrite that matched and was not made."""
        return tuple(declined for stage in self.stages for declined in stage.declined)

    def dump(self, after: str) -> str:
        """The IR text as it was after a pass.

        Raises:
            PresetError: there is no such pass.
        """
        for stage in self.stages:
            if stage.name == after:
                return print_module(stage.module)
        known = [stage.name for stage in self.stages]
        raise PresetError(
            f"there is no pass {after!r}. {nearest(after, known)} In order: {', '.join(known)}."
        )


def elaborate_file(file: SourceFile, path: Path, *, heads: bool = True) -> Module:
    """The tensor-level module of a spec's text; ``path`` says where it looks for what it uses.

    Args:
        file: the text.
        path: where it stands, or would.
        heads: whether the heads that it offers become models of the module.

    Raises:
        DiagnosticError: with everything that is wrong.
    """
    find = finder(path)
    return elaborate(expand(parse(file), find), module_name(path), find, heads=heads)


def declined_heads(path: Path) -> tuple[DeclinedHead, ...]:
    """The heads that a spec offers and that are checked by name only, with the reasons.

    Raises:
        DiagnosticError: the spec is wrong.
    """
    find = finder(path)
    return elaborate_heads(expand(parse(load(path)), find), module_name(path), find)[1]


def expand_file(path: Path) -> tree.File:
    """A spec with what it extends written out: one tree that extends nothing.

    Raises:
        DiagnosticError: it does not parse, or does not fit what it extends.
    """
    return expand(parse(load(path)), finder(path))


def module_name(path: Path) -> str:
    """The name of the module that a spec becomes.

    Raises:
        PresetError: the file's name cannot be a Python module's.
    """
    name = path.stem
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise PresetError(
            f"{path.name}: a spec's file name becomes a module: lower-case letters, digits and '_' only"
        )
    return name


def compile_spec(
    path: Path, *, preset: str = "", config: Path | Mapping[str, Any] | None = None, train: bool = True
) -> Compiled:
    """Compile a spec: the generic module, or one specialised for a preset or a config.json.

    Args:
        path: the spec.
        preset: the name of a shipped preset, or the path of a YAML file.
        config: a Hugging Face config.json, or what one holds.
        train: whether blocks get a forward and a backward, and heads their losses. Without, models have no ``labels``
            to give, so that who gives them is told by Python instead of getting no loss.

    Raises:
        DiagnosticError: the spec is wrong.
        PresetError: the preset or config is.
    """
    return compile_text(load(path), path, preset=preset, config=config, train=train)


def compile_text(
    file: SourceFile,
    path: Path,
    *,
    preset: str = "",
    config: Path | Mapping[str, Any] | None = None,
    train: bool = True,
) -> Compiled:
    """As :func:`compile_spec`, for text that is read already."""
    module = elaborate_file(file, path)
    fields: dict[str, scalar.Value] = {}
    label = ""
    if preset:
        preset_path = find_preset(preset, module.name)
        fields, label = preset_fields(preset_path, module.name, module.config), preset_path.stem
    elif isinstance(config, Mapping):
        fields, label = hugging_face_fields(config, module.config, CONFIG), CONFIG
    elif config is not None:
        fields = hugging_face_fields(read_object(config), module.config, str(config))
        label = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{config.parent.resolve().name}/{config.name}")
    met(module.config, fields, label or "the defaults")
    stages = run(module, pipeline(tuple(fields.items()), label, train=train))
    last = stages[-1].module
    return Compiled(module.name, emit(last), tuple(stages), summarise(last, fields))


def sizes_of(path: Path, named: Sequence[Path]) -> tuple[Module, dict[Path, Sizes]]:
    """A spec's programs of inference, generic, and how large the first model is for each of the presets ``named``.

    Raises:
        DiagnosticError: the spec is wrong.
        PresetError: a preset is.
    """
    module = elaborate_file(load(path), path)
    last = run(module, pipeline((), "", train=False))[-1].module
    found = {}
    for preset in named:
        fields = preset_fields(preset, module.name, module.config)
        summary = summarise(last, fields)
        layers = module.config.values(fields).get("layers")
        found[preset] = Sizes(layers, summary.calls, summary.parameters)
    return last, found


def find_preset(name: str, model: str) -> Path:
    """The preset called ``name``, or the file at that path.

    Raises:
        PresetError: there is neither.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    found = shipped() / "presets" / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not found.is_file():
        known = [preset.stem for preset in presets(model)]
        raise PresetError(f"there is no preset {name!r}. {nearest(name, known)}")
    return found


def write(compiled: Compiled, folder: Path, dumps: Sequence[str] = ()) -> list[Path]:
    """Write the module, and the IR after each pass in ``dumps``; each file appears whole or not at all.

    Raises:
        OSError: a file cannot be written; what was there before is unchanged.
    """
    texts = {folder / f"{compiled.name}.{name}.ir": compiled.dump(name) for name in dumps}
    texts[folder / f"{compiled.name}.py"] = compiled.text
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` by way of a temporary file beside it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Sizes:
    """How large a preset's first model is: layers, device calls of an inference, parameters."""

    layers: scalar.Value
    calls: int
    parameters: int


def check(path: Path) -> Module:
    """The module of a spec that has nothing wrong with it, lowered too; its heads are checked and not lowered.

    Raises:
        DiagnosticError: with everything that is wrong.
    """
    return run(elaborate_file(load(path), path), pipeline())[-1].module


def expanded(path: Path) -> str:
    """A spec with what it extends written out, in canonical form, without comments.

    Raises:
        DiagnosticError: it does not parse, or does not fit what it extends.
    """
    return print_tree(expand_file(path))


def format_file(path: Path) -> tuple[str, str]:
    """A spec's text as it is and in canonical form.

    Raises:
        DiagnosticError: it does not parse.
    """
    file = load(path)
    return file.text, format_text(file.text, file.name)


def load_pretrained(
    folder: Path, *, spec: Path | None = None, model: str = "", dtype: str | None = None
) -> Any:
    """A model of a Hugging Face folder that generates, compiled for the folder's config and for inference alone.

    Args:
        folder: holds config.json and the weights.
        spec: what is compiled; the shipped one of the folder's ``model_type`` where it is left out.
        model: the class; else what config.json says under ``architectures``.
        dtype: as for every model.

    Raises:
        DiagnosticError: the spec is wrong.
        PresetError: no spec fits the folder, or there is no such class, or it does not generate.
        RuntimeFault: the weights cannot be loaded.
    """
    from ttmlc_runtime import generation

    config = folder / CONFIG
    values = read_object(config)
    path = spec if spec is not None else _spec_of(values.get("model_type"))
    compiled = compile_spec(path, config=config, train=False)
    module = _imported(compiled)
    kinds = {name: kind for name, kind in vars(module).items() if isinstance(kind, type)}
    able = [name for name, kind in kinds.items() if issubclass(kind, generation.Model)]
    said = values.get("architectures")
    name = model or (str(said[0]) if isinstance(said, list) and said else "")
    if name not in able:
        which = f"{name} of {path.name} does not generate" if name else f"{config} names no class"
        raise PresetError(f"{which}. {nearest(name, able)} Those that do: {', '.join(able) or 'none'}.")
    return kinds[name].from_pretrained(folder, dtype=dtype)  # type: ignore[attr-defined]  # it is a model


def _spec_of(model_type: object) -> Path:
    """The shipped spec of a ``model_type``."""
    known = {}
    for path in models():
        known[elaborate_file(load(path), path, heads=False).config.model_type] = path
    if model_type not in known:
        raise PresetError(
            f"no spec that ships is for model_type {model_type!r}: there are {', '.join(sorted(known))}"
        )
    return known[str(model_type)]


def _imported(compiled: Compiled) -> ModuleType:
    """The module as Python has it."""
    name = f"ttmlc_compiled_{compiled.name}"
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write(compiled, Path(folder))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
    return module


def verify(module: Path, *, preset: str = "", config: Path | None = None, **options: Any) -> dict[str, Any]:
    """Run a generated module through the real ttnn on a mock board; see ``ttmlc_runtime.mockboard.verify``.

    Args:
        module: what ``compile_spec`` wrote.
        preset: the name of a shipped preset, or the path of a YAML file: the sizes to run with.
        config: a Hugging Face config.json, instead.
        options: ``model``, ``board``, ``batch``, ``seq``, ``entry``, ``optimizer``, ``mask``.

    Raises:
        PresetError: the preset or config cannot be read, or is of another spec.
        RuntimeFault: as ``ttmlc_runtime.mockboard.verify`` raises it.
    """
    from ttmlc_runtime.mockboard import verify as on_board

    fields = preset_values(find_preset(preset, module.stem), module.stem) if preset else None
    values = read_object(config) if config is not None else None
    return on_board(module, fields=fields, hugging_face=values, **options)

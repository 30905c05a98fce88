"""A generated module on the real ttnn and a mock board: whether it is accepted, and what it takes.

This is the job that runs in the Python that has ttnn; ``verify`` starts it from any.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from ttmlc_runtime.errors import InputError
from ttmlc_runtime.mockboard import child, kit, steps
from ttmlc_runtime.mockboard.boards import BOARDS
from ttmlc_runtime.mockboard.capture import Capture, banks_of, capture, joined
from ttmlc_runtime.mockboard.steps import Given, Step

Data = dict[str, Any]
SPEC_LINE = re.compile(r"#\s+(\S+\.spec:\d+)\s+(.*)")


def verify(
    module: Path,
    *,
    model: str | None = None,
    fields: Mapping[str, Any] | None = None,
    hugging_face: Mapping[str, Any] | None = None,
    board: str = "n150",
    batch: int = 1,
    seq: int = 128,
    entry: str = "forward",
    optimizer: str = "adamw",
    mask: bool = True,
    timeout: float = child.TIMEOUT,
) -> Data:
    """Run an entry of a generated module through the real ttnn on a mock board, in a process of its own.

    Args:
        module: the generated file. It is imported, as a user would.
        model: its class; may be left out where there is one.
        fields: of its config; defaults where they are left out.
        hugging_face: the contents of a config.json, instead of ``fields``.
        board: a name in ``BOARDS``.
        batch: rows.
        seq: tokens in each.
        entry: "forward", the inference program; "train": forward, backward and an optimizer's step; "prefill": the
            logits after prompts, "decode": those after one more token a row, or "generate": both.
        optimizer: what a training step ends with: "adamw", "adam", "sgd", "lion", or "none".
        mask: whether an attention mask is given, where the model takes one.
        timeout: in seconds.

    Returns:
        What JSON can hold. "accepted", and where not "refused" with the reason and the line; "programs", "by_kind",
        "matmuls", "peak_dram_bytes", "peak_l1_bytes", "dram_bytes_moved" and more, all for each chip. What is said of a
        step is said of its second, which finds the optimizer's state, and in "phases" of each phase of it.

    Raises:
        BackendError: no Python with ttnn is to be found, or the process died.
        ConfigError: the config does not fit the model.
        InputError: the module, the model, the entry, the optimizer, the batch or the length cannot be had.
        ValueError: there is no such board.
    """
    if board not in BOARDS:
        raise ValueError(f"there is no board {board!r}; there are {', '.join(BOARDS)}")
    if not module.is_file():
        raise InputError(f"there is no file {module}")
    request = {
        "module": str(module.resolve()),
        "model": model,
        "fields": None if fields is None else dict(fields),
        "hugging_face": None if hugging_face is None else dict(hugging_face),
        "board": board,
        "batch": batch,
        "seq": seq,
        "entry": entry,
        "optimizer": optimizer,
        "mask": mask,
    }
    return child.run(f"{__name__}:job", request, board=board, timeout=timeout)


def job(request: Data) -> Data:
    """``verify`` in the child; see there."""
    import ttnn

    device = kit.open_board(ttnn, request["board"])
    try:
        return on(ttnn, device, request)
    finally:
        kit.close_board(ttnn, device)


def on(ttnn: Any, device: Any, request: Data) -> Data:
    """``verify`` on a device that is open."""
    path = Path(request["module"])
    kind = _model(_module(path), request["model"])
    steps.check(kind, request)
    config = _config(kind, request)
    banks = banks_of(ttnn, device)
    found: Data = {
        "accepted": True,
        "model": kind.__name__,
        **{name: request[name] for name in ("entry", "batch", "seq", "mask", "board")},
        **({"optimizer": request["optimizer"]} if request["entry"] == "train" else {}),
        "chips": device.get_num_devices(),
        "ttnn": version("ttnn"),
        "refused": None,
        **_room(ttnn, device, banks),
    }
    try:
        # Nothing is taken here, so that what does not fit is measured too.
        model, built = capture(
            ttnn, lambda: kind.unfilled(config, device=device), dispatch=False, banks=banks
        )
        found["weights_bytes"] = built.left_dram_bytes
        given = _given(ttnn, model, config, request)
        step = steps.step(model, given, request)
        first, second = (_run(ttnn, step, banks, dispatch=False) for _ in range(2))
        found.update(_measured(first, second, built.left_dram_bytes))
        del model, step
        step = steps.step(kind.unfilled(config, device=device), given, request)
        built_by = []
        for _ in range(2):
            before = device.num_program_cache_entries()
            second = _run(ttnn, step, banks)
            built_by.append(device.num_program_cache_entries() - before)
        found["new_programs"] = {"first_step": built_by[0], "second_step": built_by[1]}
        found["left_bytes"] = joined(second.values()).left_dram_bytes
    except RuntimeError as error:  # how ttnn refuses
        found.update(accepted=False, refused=_refusal(error, path, found))
    return found


def _given(ttnn: Any, model: Any, config: Any, request: Data) -> Given:
    """What the step is called with: the first of the inputs that the model takes."""
    refused: InputError | None = None
    for given in steps.inputs(type(model), config, request):
        try:
            capture(ttnn, lambda: model(**given), dispatch=False)  # noqa: B023  # called at once
        except InputError as error:
            refused = error
        else:
            return given
    assert refused is not None  # there is always one to try
    raise refused


def _run(ttnn: Any, step: Step, banks: int, *, dispatch: bool = True) -> dict[str, Capture]:
    """One step, phase by phase."""
    return {
        name: capture(ttnn, phase, dispatch=dispatch, banks=banks)[1] for name, phase in step.phases().items()
    }


def _room(ttnn: Any, device: Any, banks: int) -> Data:
    """What a chip has."""
    dram = ttnn.get_memory_view(device, ttnn.BufferType.DRAM)
    l1 = ttnn.get_memory_view(device, ttnn.BufferType.L1)
    return {"dram_bytes": dram.total_bytes_per_bank * banks, "l1_bytes": l1.total_bytes_per_bank}


def _measured(first: Mapping[str, Capture], second: Mapping[str, Capture], weights: int) -> Data:
    """What a second step takes; the first one besides makes the optimizer's state."""
    made, ran = joined(first.values()), joined(second.values())
    state = made.left_dram_bytes
    return {
        **_counted(ran),
        "phases": {name: _counted(phase) for name, phase in second.items()},
        "state_bytes": state,
        "peak_dram_bytes": weights + max(made.peak_dram_bytes, state + ran.peak_dram_bytes),
    }


def _counted(ran: Capture) -> Data:
    """The programs of a step or of a phase of it."""
    matmuls = Counter(
        (program.variant, program.reads[0].shape, program.reads[1].shape)
        for program in ran.programs
        if program.kind == "Matmul"
    )
    moved: Counter[str] = Counter()
    l1: dict[str, int] = {}
    compute: dict[str, list[Data]] = {}
    for program in ran.programs:
        if dict(program.compute) not in compute.setdefault(program.kind, []):
            compute[program.kind].append(dict(program.compute))
        moved[program.kind] += program.dram_bytes
        l1[program.kind] = max(l1.get(program.kind, 0), program.l1_bytes)
    up = [transfer.bytes for transfer in ran.transfers if transfer.to_device]
    return {
        "programs": len(ran.programs),
        "by_kind": ran.by_kind,
        "moved_by_kind": dict(moved),
        "l1_by_kind": l1,
        # A kind that is told how to compute is listed with an empty configuration too, if it was not told at times.
        "compute_by_kind": {kind: configs for kind, configs in compute.items() if any(configs)},
        "matmuls": [
            {"variant": variant, "a": list(a), "b": list(b), "programs": count}
            for (variant, a, b), count in matmuls.most_common()
        ],
        "peak_l1_bytes": ran.peak_l1_bytes,
        "dram_bytes_moved": ran.dram_bytes_moved,
        "uploads": {"count": len(up), "bytes": sum(up)},
    }


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file raises when it is imported
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    return module


def _model(module: ModuleType, name: str | None) -> Any:
    from ttmlc_runtime import nn

    found = {
        kind.__name__: kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, nn.Model) and kind.__module__ == module.__name__
    }
    if not found:
        raise InputError(f"{module.__file__} defines no model: give a module that `ttmlc compile` wrote")
    if name is None and len(found) > 1:
        raise InputError(f"{module.__file__} defines several models: say which of {', '.join(found)}")
    if name is not None and name not in found:
        raise InputError(f"{module.__file__} defines no model {name!r}; it defines {', '.join(found)}")
    return found[name] if name is not None else next(iter(found.values()))


def _config(kind: Any, request: Data) -> Any:
    if request["hugging_face"] is not None:
        return kind.Config.from_hugging_face(request["hugging_face"])
    return kind.Config(**(request["fields"] or {}))


def _refusal(error: RuntimeError, path: Path, found: Data) -> Data:
    """What ttnn said, where in the module it was called, and what was lacking."""
    said = told(str(error))
    where = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path and frame.lineno
    ]
    lacking = "arguments"
    if "Out of Memory" in said:
        lacking = "L1" if " L1 " in said else "DRAM"
    elif "L1" in said and ("grow to" in said or "clash" in said):
        lacking = "L1"
    refused: Data = {"lacking": lacking, "said": said, **_place(path, where[-1] if where else None)}
    if lacking == "DRAM":
        refused["need_bytes"] = found.get("peak_dram_bytes", 0)
    return refused


def _place(path: Path, line: int | None) -> Data:
    """A line of the module, and the line of the spec above it."""
    if line is None:
        return {"line": None, "source": None, "spec": None}
    lines = path.read_text(encoding="utf-8").splitlines()
    above = (SPEC_LINE.search(text) for text in reversed(lines[:line]))
    spec = next((f"{found.group(1)}  {found.group(2)}" for found in above if found), None)
    return {"line": line, "source": lines[line - 1].strip(), "spec": spec}


def told(message: str) -> str:
    """The words of one of ttnn's refusals, without places in its own sources."""
    lines = [line.strip() for line in message.splitlines()]
    if "info:" in lines:
        lines = lines[lines.index("info:") + 1 :]
    kept: list[str] = []
    for line in lines:
        if line.startswith("backtrace"):
            break
        if line:
            kept.append(line)
    return " ".join(kept) or message

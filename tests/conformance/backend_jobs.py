"""Jobs for the device backend: what a user's program does on a board, on one that is not there."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
from ttmlc_runtime.errors import BackendError
from ttmlc_runtime.mockboard import banks_of, capture

Data = dict[str, Any]
SMALL = {"layers": 2, "hidden": 128, "heads": 2, "inner": 256, "vocab": 99, "positions": 64}


def load(path: str) -> ModuleType:
    """A generated module."""
    spec = importlib.util.spec_from_file_location("generated", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generated"] = module
    spec.loader.exec_module(module)
    return module


def said(call: Any) -> str:
    """What a call is refused with."""
    try:
        call()
    except BackendError as error:
        return str(error)
    return "accepted"


def lifecycle(request: Data) -> Data:
    """Devices: opened for models that were given none, shared, closed, given by a block around."""
    import ttnn
    from ttmlc_runtime import nn
    from ttmlc_runtime import ttnn as chosen

    bert = load(request["module"])
    config = bert.BertConfig(**SMALL)
    one, other = bert.BertModel(config), bert.BertModel(config, seed=1)
    found = {
        "is_real": chosen is ttnn,
        "shared": one.device is other.device,
        "exact": said(lambda: bert.BertModel(config, dtype="float32")),
        "exact_device": said(lambda: nn.open_device("float64")),
        "unknown": said(lambda: nn.open_device("float16")),
        "programs_are_kept": one.device.num_program_cache_entries(),
        "repr": repr(one)[:60],
    }
    first = one([[1, 2, 3]], attention_mask=[[1, 1, 0]])
    found["shape"] = list(first.last_hidden_state.numpy().shape)
    found["programs_are_kept"] = one.device.num_program_cache_entries() > 0
    del first, one, other
    nn.close_devices()
    again = bert.BertModel(config)
    found["again"] = list(again([[1]]).pooler_output.numpy().shape)
    nn.close_devices()
    found["imported"] = [name for name in ("torch", "transformers", "ttmlc") if name in sys.modules]
    return found


def weights(request: Data) -> Data:
    """A checkpoint onto the board and back to a folder, without torch."""
    from ttmlc_runtime import nn

    bert = load(request["module"])
    with nn.device(nn.open_device()) as device:
        model = bert.BertModel.from_pretrained(request["folder"])
        return {
            "report": [model.report.initialised, model.report.unexpected],
            "names": sorted(model.state_dict()),
            "dtypes": sorted({str(array.dtype) for array in model.state_dict().values()}),
            "written": model.save_pretrained(request["out"]),
            "on_the_device": model.device is device,
        }


def second_step(request: Data) -> Data:
    """Programs that a second step builds, when everything a step may vary varies."""
    import ttnn
    from ttmlc_runtime import nn

    bert = load(request["module"])
    device = nn.open_device()
    model = bert.BertModel(bert.BertConfig(**SMALL), device=device)
    chance = np.random.default_rng(5)

    def step(number: int) -> None:
        ids = chance.integers(0, 99, (3, 40))
        mask = np.arange(40)[None, :] < chance.integers(1, 40, (3, 1))
        kinds = chance.integers(0, 2, (3, 40))
        places = (np.arange(40) + number) % 64
        model(
            ids, attention_mask=mask, token_type_ids=kinds, position_ids=np.broadcast_to(places, (3, 40))
        ).keys()

    step(0)
    entries = [device.num_program_cache_entries()]
    for number in (1, 2):
        step(number)
        entries.append(device.num_program_cache_entries())
    device.set_program_cache_misses_allowed(False)  # ttnn's own way to insist
    _, ran = capture(ttnn, lambda: step(3), banks=banks_of(ttnn, device))
    return {"entries": entries, "new": ran.new_programs, "left": ran.left_dram_bytes}


def training(request: Data) -> Data:
    """Blocks on the tape, gradients in storages, values written back: what a second step adds to the first."""
    import ttnn
    from ttmlc_runtime import nn

    taped = load(request["module"])
    device = nn.open_device()
    model = taped.Small(device=device).train()
    storages = [p.storages[0].primary for p in model.parameters()]
    buffers = [storage.tensor.buffer_address() for storage in storages]

    def step(number: int) -> None:
        for piece in range(3):
            ids, target = taped.batch(1, seed=3 * number + piece)
            (model(ids, target).loss / (number + 2)).backward()
        for storage in dict.fromkeys(storages):
            storage.write(ttnn.multiply(storage.grad, 0.5))
        model.zero_grad()

    ids, target = taped.batch(2)
    output = model(ids, target)
    output.loss.backward()
    found: Data = {
        "shapes": {name: list(p.grad.numpy().shape) for name, p in model.named_parameters()},
        "wanted": {name: list(p.shape) for name, p in model.named_parameters()},
        "loss": isinstance(float(output.loss), float),
        "freed": said_by_autograd(output.loss.backward),
    }
    del output
    model.zero_grad()
    step(0)
    device.set_program_cache_misses_allowed(False)
    _, ran = capture(ttnn, lambda: step(1), banks=banks_of(ttnn, device))
    found |= {"new": ran.new_programs, "left": ran.left_dram_bytes}
    found["in place"] = [storage.tensor.buffer_address() for storage in storages] == buffers
    return found


def said_by_autograd(call: Any) -> str:
    """What a backward is refused with."""
    from ttmlc_runtime.errors import AutogradError

    try:
        call()
    except AutogradError as error:
        return str(error)
    return "accepted"


def mesh(request: Data) -> Data:
    """A mesh: the model on every chip, its results read from one."""
    from ttmlc_runtime import nn

    bert = load(request["module"])
    rows, columns = request["mesh"]
    device = nn.open_mesh(rows, columns)
    model = bert.BertModel(bert.BertConfig(**SMALL), device=device)
    found = {
        "chips": device.get_num_devices(),
        "shape": list(model([[1, 2, 3]]).last_hidden_state.numpy().shape),
        "weights": sorted({len(array.shape) for array in model.state_dict().values()}),
    }
    nn.close_device(device)
    return found


def check_board(request: Data) -> Data:
    """The script that a board's owner runs first. A mock board computes nothing, so the script has to say so."""
    import contextlib
    import io
    import runpy

    sys.argv = [request["script"], "--module", request["module"]]
    printed = io.StringIO()
    ended: Any = 0
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(request["script"], run_name="__main__")
        except SystemExit as error:
            ended = error.code
    return {"printed": printed.getvalue(), "ended": ended}


def inspected(request: Data) -> Data:
    """A model beside activations that the emulator saved: everything but what the numbers are."""
    from pathlib import Path

    from ttmlc_runtime import nn
    from ttmlc_runtime.inspection import compare, saved

    bert = load(request["module"])
    model = bert.BertModel(bert.BertConfig(**SMALL))
    reference = saved.read(Path(request["saved"]))
    saved.check(reference, "it", model, None)
    bars = {"accumulated": 0.99, "isolated": 0.999}
    report = compare(model, reference.given, reference, against="it", modes=tuple(bars), tolerances=bars)
    found = {
        "blocks": [[str(row.key), row.why, row.fed, sorted(row.measures)] for row in report.blocks],
        "steps": [[row.name, row.line, row.spec, sorted(row.same)] for row in report.steps],
    }
    nn.close_devices()
    return found

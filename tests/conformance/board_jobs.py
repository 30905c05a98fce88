"""Jobs for the real ttnn on a mock board; they run in the Python that has it."""

from __future__ import annotations

import inspect
from typing import Any

from ttmlc_runtime.errors import RuntimeFault
from ttmlc_runtime.mockboard import Capture, banks_of, close_board, open_board, prepare
from ttmlc_runtime.mockboard.capture import read
from ttmlc_runtime.mockboard.verify import on, verify

Data = dict[str, Any]


OPTIONS = {
    name: option.default
    for name, option in inspect.signature(verify).parameters.items()
    if name not in ("module", "model", "board", "timeout")
}
"""What a request says where it matters: for the rest, as ``verify`` has it."""


def verify_many(request: Data) -> Data:
    """``verify`` for many requests in one process; what one of them raises stands in its place."""
    import ttnn

    device = open_board(ttnn, request["board"])
    found: list[Data] = []
    for one in request["requests"]:
        try:
            found.append(on(ttnn, device, {"board": request["board"], **OPTIONS, **one}))
        except RuntimeFault as error:
            found.append({"accepted": False, "error": type(error).__name__, "message": str(error)})
    return {"found": found}


def survive(request: Data) -> Data:
    """What a board is, as ttnn sees it, and that a product of matrices runs on it."""
    import numpy as np
    import ttnn

    device = open_board(ttnn, request["board"])
    x = ttnn.Tensor(np.ones((64, 96), np.float32), ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
    y = ttnn.linear(x, ttnn.zeros([96, 128], ttnn.bfloat16, ttnn.TILE_LAYOUT, device))
    gathered = None
    if device.get_num_devices() > 1:
        gathered = list(ttnn.all_gather(y, 1, cluster_axis=1).shape)
    grid = device.compute_with_storage_grid_size()
    banks = banks_of(ttnn, device)
    memory = ttnn.get_memory_view(device, ttnn.BufferType.DRAM)
    found = {
        "shape": list(y.shape),
        "gathered": gathered,
        "mesh": list(device.shape),
        "arch": str(device.arch()).rpartition(".")[2],
        "grid": [grid.x, grid.y],
        "gib": round(memory.total_bytes_per_bank * banks / 2**30, 1),
    }
    close_board(ttnn, device)
    return found


def crash(request: Data) -> Data:
    """Something that ends the process: ttnn cannot read a float64 array that it must guess the dtype of."""
    import numpy as np
    import ttnn

    return {"shape": list(ttnn.Tensor(np.zeros((3, 5))).shape)}


def sleep(request: Data) -> Data:
    """Longer than anybody waits."""
    import time

    time.sleep(request["seconds"])
    return {}


def prepared_too_late(request: Data) -> Data:
    """A second board in one process."""
    import ttnn  # noqa: F401  # that it is imported is the point

    prepare("n150")
    return {}


def captured(request: Data) -> Data:
    """Our reading of ttnn's record beside ttnn's own."""
    import ttnn

    device = open_board(ttnn, request["board"])
    banks = banks_of(ttnn, device)
    graph = ttnn._ttnn.graph

    def level() -> int:
        return int(ttnn.get_memory_view(device, ttnn.BufferType.DRAM).total_bytes_allocated_per_bank) * banks

    def zeros(*shape: int, memory: Any = None) -> Any:
        memory = memory or ttnn.DRAM_MEMORY_CONFIG
        return ttnn.zeros(list(shape), ttnn.bfloat16, ttnn.TILE_LAYOUT, device, memory)

    x, w = zeros(2, 100, 96), zeros(96, 3000)
    ids = ttnn.zeros([2, 64], ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT, device)
    table = ttnn.zeros([5000, 64], ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT, device)

    def step() -> Any:
        y = ttnn.linear(x, w, activation="gelu")
        near = ttnn.to_memory_config(y, ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(y)
        z = ttnn.softmax(near, -1)
        looked_up = ttnn.embedding(ids, table)
        return z, looked_up, ttnn.from_device(z)

    def peaks(dispatch: bool) -> tuple[Any, Capture, int]:
        mode = graph.RunMode.NORMAL if dispatch else graph.RunMode.NO_DISPATCH
        graph.begin_graph_capture(mode)
        kept = step()
        nodes = graph.end_graph_capture()
        return kept, read(nodes, banks), graph.extract_resource_usage_per_core(nodes).peak_total

    plain = peaks(False)[1:]
    before = level()
    kept, dispatched, _ = peaks(True)
    left = level() - before
    del kept
    again = peaks(True)[1]
    return {
        "kinds": [program.kind for program in plain[0].programs],
        "kinds_dispatched": [program.kind for program in dispatched.programs],
        "moved": [program.dram_bytes for program in plain[0].programs],
        "writes": [[operand.shape for operand in program.writes] for program in plain[0].programs],
        "peak_l1": plain[0].peak_l1_bytes,
        "peak_l1_of_ttnn": plain[1],
        "left": dispatched.left_dram_bytes,
        "left_of_ttnn": left,
        "new": dispatched.new_programs,
        "new_again": again.new_programs,
        "to_device": [transfer.to_device for transfer in dispatched.transfers],
        "transferred": [transfer.bytes for transfer in dispatched.transfers],
    }


def signatures(request: Data) -> Data:
    """What ttnn says an op takes: it lists that when it is called with nothing."""
    import ttnn

    found: Data = {}
    for name in request["ops"]:
        op: Any = ttnn
        for part in name.removeprefix("ttnn.").split("."):
            op = getattr(op, part)
        try:
            op()
        except TypeError as error:
            found[name] = str(error).partition("Available signature")[2]
    return found

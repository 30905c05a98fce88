"""ttnn's own record of what it did, as data: programs, buffers, transfers, and what follows from them.

ttnn writes a graph of nodes while a capture is open. A program is a call of a device operation; buffers come and go
between them. Two modes: *dispatched* (programs are built and memory is taken, so that what does not fit is refused),
and not, where nothing is taken, but what each program would take on a core is written at every call.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeVar

R = TypeVar("R")
Node = Mapping[str, Any]

GATHERS = {"Embeddings": 1, "Slice": 0}
"""Programs that read no more than they write of an operand, and its place."""
COMPUTE = re.compile(r"ComputeKernelConfig\(([^()]*)\)")
TILE = 32
TILE_BYTES = {
    "float32": 4096,
    "int32": 4096,
    "uint32": 4096,
    "bfloat16": 2048,
    "uint16": 2048,
    "uint8": 1024,
    "bfloat8_b": 1088,
    "bfloat4_b": 576,
}
"""Bytes of a tile of 32 x 32; the block formats keep an exponent for each sixteen elements beside them."""
SHAPE = re.compile(r"-?\d+")
RANGES = re.compile(r"\[(\d+)-(\d+) - (\d+)-(\d+)\]")


@dataclass(frozen=True)
class Operand:
    """A tensor that a program reads or writes."""

    shape: tuple[int, ...]
    dtype: str
    layout: str
    buffer: str
    """"DRAM" or "L1"; "" on the host."""
    bytes: int
    """On each chip, with the padding of tiles."""


@dataclass(frozen=True)
class Program:
    """One program that a chip runs."""

    kind: str
    """The device operation, such as "Matmul"."""
    variant: str
    """Which of its programs ttnn chose, such as "MatmulMultiCoreReuseMcast2D"."""
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    compute: Mapping[str, str]
    """The kernel configuration, by ttnn's names; empty where the operation has none."""
    cached: bool
    """Whether it had been built before."""
    l1_bytes: int
    """What its buffers take on the fullest core, L1 tensors that are live aside; not known of a dispatched one that
    had been built before."""

    @property
    def dram_bytes(self) -> int:
        """Bytes between DRAM and the cores if each operand is read once and each result written once: the least."""
        written = sum(operand.bytes for operand in self.writes if operand.buffer == "DRAM")
        read = sum(
            min(operand.bytes, written) if GATHERS.get(self.kind) == place else operand.bytes
            for place, operand in enumerate(self.reads)
            if operand.buffer == "DRAM"
        )
        return read + written


@dataclass(frozen=True)
class Transfer:
    """Bytes between the host and a device."""

    to_device: bool
    bytes: int


@dataclass(frozen=True)
class Capture:
    """What happened between the beginning and the end of a capture, on each chip."""

    programs: tuple[Program, ...]
    transfers: tuple[Transfer, ...]
    peak_dram_bytes: int
    """The most DRAM that was taken at a time beyond what was taken before, banks filled evenly: what fits is
    decided by the fullest."""
    left_dram_bytes: int
    """What of it was still taken at the end; negative where more was freed."""
    peak_l1_bytes: int
    """The most that the fullest core had taken at a time: tensors, and the buffers of the running program."""

    @cached_property
    def by_kind(self) -> dict[str, int]:
        """How many programs there are of each kind, most first."""
        return dict(Counter(program.kind for program in self.programs).most_common())

    @property
    def dram_bytes_moved(self) -> int:
        """The sum over programs of the least that each moves."""
        return sum(program.dram_bytes for program in self.programs)

    @property
    def new_programs(self) -> int:
        """How many had to be built."""
        return sum(not program.cached for program in self.programs)


def joined(captures: Iterable[Capture]) -> Capture:
    """Captures one behind the other as one."""
    every = tuple(captures)
    dram = list(accumulate((one.left_dram_bytes for one in every), initial=0))
    return Capture(
        programs=tuple(program for one in every for program in one.programs),
        transfers=tuple(transfer for one in every for transfer in one.transfers),
        peak_dram_bytes=max(
            (before + one.peak_dram_bytes for before, one in zip(dram, every, strict=False)), default=0
        ),
        left_dram_bytes=dram[-1],
        peak_l1_bytes=max((one.peak_l1_bytes for one in every), default=0),
    )


def capture(ttnn: Any, call: Callable[[], R], *, dispatch: bool = True, banks: int = 1) -> tuple[R, Capture]:
    """Call ``call`` and record what ttnn did.

    Args:
        ttnn: the real one.
        call: what to record; results that it keeps count as left.
        dispatch: whether programs are built and memory is taken. If not, nothing is refused for want of memory.
        banks: of DRAM on each chip; see ``banks_of``.

    Raises:
        RuntimeError: what ttnn refuses.
    """
    graph = ttnn._ttnn.graph
    graph.begin_graph_capture(graph.RunMode.NORMAL if dispatch else graph.RunMode.NO_DISPATCH)
    try:
        result = call()
    finally:  # an open capture would swallow whatever comes next
        nodes = graph.end_graph_capture()
    return result, read(nodes, banks)


def banks_of(ttnn: Any, device: Any) -> int:
    """Banks of DRAM on each chip."""
    banks: int = ttnn.get_memory_view(device, ttnn.BufferType.DRAM).num_banks
    return banks


def read(nodes: Sequence[Node], banks: int = 1) -> Capture:
    """A captured graph as data."""
    programs: list[Program] = []
    transfers: list[Transfer] = []
    dram, l1 = _Level(), _Level()
    running: list[int] = []  # what the program that runs takes on its fullest core; nothing between programs
    for node in nodes:
        kind, params = node["node_type"], node.get("params") or {}
        if kind in ("buffer_allocate", "buffer_deallocate"):
            level, scale = (dram, banks) if params["type"] == "DRAM" else (l1, 1)
            step = int(params["max_size_per_bank"]) * scale
            level.add(step if kind == "buffer_allocate" else -step)
        elif kind == "function_start":
            here = 0
            if params.get("program_factory_type"):
                programs.append(_program(node, nodes))
                here = programs[-1].l1_bytes
            elif params["name"] in ("Tensor::to_device", "Tensor::cpu"):
                moved = sum(operand.bytes for operand in _operands(node["input_tensors"], nodes))
                transfers.append(Transfer(params["name"] == "Tensor::to_device", moved))
            running.append(here)
            l1.add(here)
        elif kind == "function_end":
            l1.add(-running.pop())
    return Capture(tuple(programs), tuple(transfers), dram.peak, dram.now, l1.peak)


class _Level:
    """A level that rises and falls, and the highest it has been."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def add(self, step: int) -> None:
        self.now += step
        self.peak = max(self.peak, self.now)


def _program(start: Node, nodes: Sequence[Node]) -> Program:
    params = start["params"]
    inside = [nodes[place] for place in start["connections"]]
    factory = params["program_factory_type"]
    found = COMPUTE.search(" ".join(start.get("arguments") or ()))
    return Program(
        kind=re.sub(r"(Device)?Operation$", "", params["name"]).rpartition("::")[2],
        variant=re.sub(r"(Program)?Factory$", "", factory.rpartition("::")[2]) or "Program",
        reads=_operands(start["input_tensors"], nodes),
        writes=_results(inside, nodes),
        compute=dict(pair.split("=", 1) for pair in found.group(1).split(",")) if found else {},
        cached=bool(params.get("program_cache_hit")),
        l1_bytes=_fullest(inside),
    )


def _results(inside: Sequence[Node], nodes: Sequence[Node]) -> tuple[Operand, ...]:
    """What a program made, or what it was given to write to where it made nothing.

    Both are looked at, because ttnn writes down results that come as a tuple only where they are made.
    """
    made = [node for node in inside if node["node_type"] == "function_start"]
    found = [operand for node in made for operand in _after(node, nodes)]
    return tuple(found) or _operands(
        (place for node in inside if _ends(node) for place in node["connections"]), nodes
    )


def _after(start: Node, nodes: Sequence[Node]) -> tuple[Operand, ...]:
    """The tensors that a function inside a program returned."""
    ends = (nodes[place] for place in start["connections"] if _ends(nodes[place]))
    return tuple(operand for end in ends for operand in _operands(end["connections"], nodes))


def _ends(node: Node) -> bool:
    return bool(node["node_type"] == "function_end")


def _operands(places: Iterable[int], nodes: Sequence[Node]) -> tuple[Operand, ...]:
    found = []
    for place in places:
        node = nodes[place]
        if node["node_type"] != "tensor":
            continue
        params = node["params"]
        memory = re.search(r"buffer_type=BufferType::(\w+)", params.get("memory_config") or "")
        shape = tuple(int(size) for size in SHAPE.findall(params["shape"]))
        dtype, layout = (params[name].rpartition("::")[2] for name in ("dtype", "layout"))
        buffer = memory.group(1) if memory else ""
        found.append(Operand(shape, dtype.lower(), layout, buffer, _bytes(shape, dtype.lower(), layout)))
    return tuple(found)


def _bytes(shape: tuple[int, ...], dtype: str, layout: str) -> int:
    """What a tensor takes; ttnn writes down what its logical elements would."""
    if layout == "TILE":
        *outer, rows, columns = (1, 1, *shape)
        return math.prod(outer) * -(-rows // TILE) * -(-columns // TILE) * TILE_BYTES[dtype]
    return math.prod(shape) * TILE_BYTES[dtype] // TILE**2


def _fullest(nodes: Iterable[Node]) -> int:
    """Bytes on the core where a program's own buffers take the most; buffers laid over tensors take nothing."""
    cores: Counter[tuple[int, int]] = Counter()
    for node in nodes:
        params = node.get("params") or {}
        if node["node_type"] not in (
            "circular_buffer_allocate",
            "dataflow_buffer_allocate",
            "scratchpad_allocate",
        ):
            continue
        if params.get("globally_allocated", "0") != "0" or params.get("borrows_memory", "0") != "0":
            continue
        for ends in RANGES.findall(params["core_range_set"]):
            left, top, right, bottom = map(int, ends)
            for x in range(left, right + 1):
                for y in range(top, bottom + 1):
                    cores[x, y] += int(params["size"])
    return max(cores.values(), default=0)

"""The real ttnn without a board, for the sketches of docs/adr: a stand-in until the project's own kit is there.

ttnn has a mock target: given the description of a cluster (TT_METAL_MOCK_CLUSTER_DESC_PATH) it opens devices whose
reads and writes go nowhere, and still checks every argument, infers every shape, builds every program and allocates
memory. Only the compiler of device kernels is missing from the wheel. ttnn looks for it below
TT_METAL_RUNTIME_ROOT/runtime/sfpi, so a shadow of the root, links but for that folder, holds a script instead that
answers every compilation with one small ELF file whose code is ``ret``.

Call ``prepare`` before ttnn is imported; a process has one board.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
from pathlib import Path
from typing import Any

BOARDS = ("n150", "t3000")
# The Ethernet wires of a t3000: (chip, channel) to (chip, channel); chips 0-3 carry PCIe, chip i + 4 is i's neighbour.
WIRES = (
    (0, 6, 2, 6), (0, 7, 2, 7), (0, 8, 4, 0), (0, 9, 4, 1), (0, 14, 1, 14), (0, 15, 1, 15), (1, 0, 3, 0), (1, 1, 3, 1),
    (1, 8, 5, 0), (1, 9, 5, 1), (2, 8, 6, 0), (2, 9, 6, 1), (2, 14, 3, 14), (2, 15, 3, 15), (3, 8, 7, 0), (3, 9, 7, 1),
    (4, 6, 6, 6), (4, 7, 6, 7), (4, 14, 5, 14), (4, 15, 5, 15), (5, 6, 7, 6), (5, 7, 7, 7), (6, 14, 7, 14),
    (6, 15, 7, 15),
)  # fmt: skip
PLACES = ((1, 0), (1, 1), (2, 0), (2, 1), (0, 0), (0, 1), (3, 0), (3, 1))  # of chips 0-7 in the mesh

COMPILER = """#!/bin/sh
case "$1" in --version|-dumpversion|-dumpfullversion|-v)
  echo "riscv-tt-elf-g++ (tenstorrent/sfpi:7.89.0[1050]) 15.1.0"; exit 0;; esac
out=; deps=; source=
while [ $# -gt 0 ]; do
  case "$1" in -o) out=$2; shift;; -MF) deps=$2; shift;; *.cc|*.cpp) source=$1;; esac
  shift
done
if [ -n "$deps" ]; then printf '%s: %s\\n' "$out" "$source" > "$deps"; fi
if [ -n "$out" ]; then cp "${0%/*}/kernel.elf" "$out"; fi
"""


def prepare(board: str, folder: Path) -> None:
    """Set the environment for ``board``; the shadow root and the kernel cache go to ``folder``.

    Raises:
        ValueError: there is no such board here.
        RuntimeError: ttnn is imported already, or not installed.
    """
    if board not in BOARDS:
        raise ValueError(f"no board {board!r}: {', '.join(BOARDS)}")
    if "ttnn" in sys.modules:
        raise RuntimeError("a board is chosen before ttnn is imported")
    spec = importlib.util.find_spec("ttnn")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("ttnn is not installed here")
    wheel = Path(next(iter(spec.submodule_search_locations)))
    root, tools = folder / "root", folder / "root/runtime/sfpi/compiler/bin"
    tools.mkdir(parents=True, exist_ok=True)
    for name in ("tt_metal", "ttnn", "runtime/hw"):
        if not (root / name).is_symlink():
            (root / name).symlink_to(wheel / name)
    (tools / "kernel.elf").write_bytes(kernel())
    (tools / "riscv-tt-elf-g++").write_text(COMPILER)
    (tools / "riscv-tt-elf-g++").chmod(0o755)
    (folder / "cluster.yaml").write_text(cluster(board))
    os.environ.update(
        TT_METAL_RUNTIME_ROOT=str(root),
        TT_METAL_MOCK_CLUSTER_DESC_PATH=str(folder / "cluster.yaml"),
        TT_METAL_CACHE=str(folder / "cache"),
        TT_METAL_LOGS_PATH=str(folder),
        TT_LOGGER_LEVEL="off",
        TT_METAL_DISABLE_BACKTRACE="1",
        LOGURU_LEVEL="WARNING",
    )


def open_board(ttnn: Any, board: str) -> Any:
    """The device: one chip, or the eight of a t3000 in a row with a fabric between them.

    Dispatch by worker cores, because ttnn's default there counts a row of cores that its checks then refuse.
    """
    dispatch = ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.WORKER)
    if board == "n150":
        return ttnn.open_device(device_id=0, dispatch_core_config=dispatch)
    ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    return ttnn.open_mesh_device(ttnn.MeshShape(1, 8), dispatch_core_config=dispatch)


def cluster(board: str) -> str:
    """What ttnn reads as the description of the machine (YAML)."""
    chips, masked = (1, 1) if board == "n150" else (8, 3)  # rows of cores that are harvested, as a bit mask
    places = PLACES if chips == 8 else ((0, 0),)
    pci = range(min(chips, 4))
    harvested = (
        f"{{noc_translation: true, harvest_mask: {masked}, dram_harvesting_mask: 0, eth_harvesting_mask: 0, "
        "pcie_harvesting_mask: 0}"
    )
    lines = ["arch:", *(f"  {chip}: wormhole_b0" for chip in range(chips))]
    lines += ["chips:", *(f"  {chip}: [{x}, {y}, 0, 0]" for chip, (x, y) in enumerate(places))]
    if chips == 8:
        lines += ["chip_unique_ids:", *(f"  {chip}: {1000 + chip}" for chip in range(8))]
        lines += ["ethernet_connections:"]
        for one, channel, other, back in WIRES:
            lines += [f"  - [{{chip: {one}, chan: {channel}}}, {{chip: {other}, chan: {back}}}]"]
    else:
        lines += ["ethernet_connections: []"]
    lines += ["chips_with_mmio:", *(f"  - {chip}: {chip}" for chip in pci)]
    lines += ["harvesting:", *(f"  {chip}: {harvested}" for chip in range(chips))]
    lines += ["boards:"]
    kind = "n150" if chips == 1 else "n300"
    for chip in pci:
        together = [chip] if chips == 1 else [chip + 4, chip]
        board_id = (72059269368820857 if chips == 1 else 72058994491928619) + chip
        lines += [f"  - [{{board_id: {board_id}}}, {{board_type: {kind}}}, {{chips: {together}}}]"]
    return "\n".join(lines) + "\n"


def kernel(address: int = 0x6000) -> bytes:
    """An ELF file for 32-bit RISC-V: one segment of code that returns at once, and an empty table of relocations."""
    code = struct.pack("<4I", 0x00008067, 0x13, 0x13, 0x13)  # ret, then no-ops
    sections = (".text", ".rela.text", ".symtab", ".strtab", ".shstrtab")
    names = b"\0" + b"".join(section.encode() + b"\0" for section in sections)
    strings = b"\0_start\0"
    symbols = bytes(16) + struct.pack(
        "<IIIBBH", 1, address, len(code), 0x12, 0, 1
    )  # a global function in section 1
    code_at = 52 + 32 + 12  # after the headers, aligned to 16
    symbols_at = code_at + len(code)
    strings_at = symbols_at + len(symbols)
    names_at = strings_at + len(strings)
    table_at = -(-(names_at + len(names)) // 4) * 4

    def section(name: str, kind: int, flags: int, at: int, offset: int, *rest: int) -> bytes:
        return struct.pack("<10I", names.index(name.encode() + b"\0"), kind, flags, at, offset, *rest)

    table = bytes(40)
    table += section(".text", 1, 6, address, code_at, len(code), 0, 0, 4, 0)
    table += section(".rela.text", 4, 0x40, 0, code_at, 0, 3, 1, 4, 12)
    table += section(".symtab", 2, 0, 0, symbols_at, len(symbols), 4, 1, 4, 16)
    table += section(".strtab", 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0)
    table += section(".shstrtab", 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, address, 52, table_at, 0, 52, 32, 1, 40, 6, 5)
    segment = struct.pack("<8I", 1, code_at, address, address, len(code), len(code), 5, 16)
    body = (header + segment).ljust(code_at, b"\0") + code + symbols + strings + names
    return body.ljust(table_at, b"\0") + table

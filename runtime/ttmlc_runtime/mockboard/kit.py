"""The real ttnn without a board: the environment it is started in, and devices that are not there.

ttnn has a mock target. Given the description of a machine it opens devices whose reads and writes go nowhere, and
still checks every argument, infers every shape, builds every program and allocates memory on each chip. What it
computes on a device is missing; what it computes on the host (rounding, packing, tiles, shards) is real.

The target is chosen by environment variables that ttnn reads when it is imported: one board a process.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ttmlc_runtime.errors import BackendError
from ttmlc_runtime.mockboard import compiler
from ttmlc_runtime.mockboard.boards import BOARDS

FOLDER = "TTMLC_MOCK_DIR"
"""The variable that says where the shadow of ttnn's root and its kernel cache go."""


def default_folder() -> Path:
    """``$TTMLC_MOCK_DIR``, else a folder of this user's among the temporary files."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"ttmlc-mock-{os.getuid()}"


def prepare(board: str, folder: Path | None = None, *, log: str = "off") -> Path:
    """Set this process's environment for a mock ``board``, before ttnn is imported.

    Args:
        board: a name in ``BOARDS``.
        folder: what is kept from run to run goes there (links into the wheel, the kernel cache, ttnn's logs); several
            processes may share it. ``default_folder()`` where nothing is said.
        log: ttnn's log level; it logs each refusal as critical, so "off" where refusals are expected.

    Returns:
        The folder.

    Raises:
        ValueError: there is no such board.
        BackendError: ttnn is imported already, is not installed, or the folder cannot be written.
    """
    if board not in BOARDS:
        raise ValueError(f"there is no board {board!r}; there are {', '.join(BOARDS)}")
    if "ttnn" in sys.modules:
        raise BackendError("a mock board is chosen before ttnn is imported: call prepare() first")
    wheel = _wheel()
    kept = folder or default_folder()
    try:
        _shadow(wheel, kept / "root")
        described = kept / "boards" / f"{board}.yaml"
        _write(described, BOARDS[board].description().encode())
    except OSError as error:
        raise BackendError(f"cannot write {error.filename or kept}: {error.strerror}; set {FOLDER}") from None
    os.environ.update(
        TT_METAL_RUNTIME_ROOT=str(kept / "root"),
        TT_METAL_MOCK_CLUSTER_DESC_PATH=str(described),
        TT_METAL_CACHE=str(kept / "cache"),
        TT_METAL_LOGS_PATH=str(kept),
        TT_METAL_DISABLE_BACKTRACE="1",
        TT_LOGGER_LEVEL=log,
        LOGURU_LEVEL="WARNING",
    )
    return kept


def open_board(ttnn: Any, board: str, mesh: tuple[int, int] | None = None) -> Any:
    """Open the chips of a mock board: one as a device, several as a mesh with a fabric between them.

    Args:
        ttnn: the real one, imported after ``prepare``.
        board: what was prepared.
        mesh: rows and columns, where not all chips in their own mesh are wanted.

    Dispatch is by worker cores: with the Ethernet cores that ttnn takes by default on several chips, a mock device
    counts a row of cores that its own checks then refuse.
    """
    rows, columns = mesh or BOARDS[board].mesh
    dispatch = ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.WORKER)
    if (rows, columns) == (1, 1):
        return ttnn.open_device(device_id=0, dispatch_core_config=dispatch)
    ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
    return ttnn.open_mesh_device(ttnn.MeshShape(rows, columns), dispatch_core_config=dispatch)


def close_board(ttnn: Any, device: Any) -> None:
    """Close what ``open_board`` opened."""
    several = device.get_num_devices() > 1
    (ttnn.close_mesh_device if several else ttnn.close_device)(device)
    if several:
        ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def _wheel() -> Path:
    spec = importlib.util.find_spec("ttnn")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(
            f"ttnn is not installed for {sys.executable}: pip install 'ttmlc[ttnn]' with Python 3.10 or 3.12"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _shadow(wheel: Path, root: Path) -> None:
    """A root that is links into the wheel, but for the compiler's folder."""
    tools = root / "runtime/sfpi/compiler/bin"
    tools.mkdir(parents=True, exist_ok=True)
    for name in ("tt_metal", "ttnn", "runtime/hw"):
        _link(root / name, wheel / name)
    _write(tools / "kernel.elf", compiler.kernel())
    _write(tools / "riscv-tt-elf-g++", compiler.SCRIPT.encode(), 0o755)


def _link(at: Path, to: Path) -> None:
    if at.is_symlink() and os.readlink(at) == str(to):
        return
    new = at.with_name(f".{at.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(to)
    new.replace(at)


def _write(at: Path, data: bytes, mode: int = 0o644) -> None:
    """Write whole or not at all: other processes read it."""
    if at.exists() and at.read_bytes() == data:
        return
    at.parent.mkdir(parents=True, exist_ok=True)
    new = at.with_name(f".{at.name}.{os.getpid()}")
    new.write_bytes(data)
    new.chmod(mode)
    new.replace(at)

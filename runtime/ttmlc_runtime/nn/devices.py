"""Devices: given to a model, or by a ``with`` block around it, or opened once for each dtype."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import BackendError

DTYPES = ("bfloat16", "float32", "float64")
_current: ContextVar[types.Device | None] = ContextVar("device", default=None)
_opened: dict[str, types.Device] = {}


def open_device(dtype: str = "bfloat16", device_id: int = 0) -> types.Device:
    """Open a device that computes in ``dtype``.

    ``bfloat16`` is what a board computes, rounding every result. ``float32`` and ``float64`` compute the same
    program exactly, which only the emulator can.

    Raises:
        BackendError: another dtype, or an exact one on a real board.
    """
    numerics = _numerics(dtype)
    if ttnn is types:
        return types.open_device(device_id, numerics=numerics)
    opened = ttnn.open_device(device_id=device_id)
    opened.enable_program_cache()
    return opened


def open_mesh(rows: int, columns: int, dtype: str = "bfloat16") -> types.Device:
    """Open a mesh of chips. A model on it holds its weights on every chip, and results are read from the first.

    Raises:
        BackendError: another dtype, an exact one on a real board, or there are not so many chips.
    """
    numerics = _numerics(dtype)
    if ttnn is types:
        return types.open_mesh_device(types.MeshShape(rows, columns), numerics=numerics)
    try:
        if rows * columns > 1:
            ttnn.set_fabric_config(ttnn.FabricConfig.FABRIC_1D)
        opened = ttnn.open_mesh_device(ttnn.MeshShape(rows, columns))
    except RuntimeError as error:
        ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)
        raise BackendError(f"a mesh of {rows} x {columns} chips cannot be opened: {error}") from None
    opened.enable_program_cache()
    return opened


def close_device(opened: types.Device) -> None:
    """Close a device or a mesh; what lives on it can no longer be used."""
    if opened.get_num_devices() == 1:
        ttnn.close_device(opened)
        return
    ttnn.close_mesh_device(opened)
    ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def _numerics(dtype: str) -> str:
    """What the emulator calls ``dtype``, where this backend can compute in it."""
    if dtype not in DTYPES:
        raise BackendError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if dtype == "bfloat16":
        return "device"
    if ttnn is not types:
        raise BackendError(
            f"dtype={dtype!r} is exact arithmetic, which a board does not have: set TTMLC_BACKEND=emulator, "
            "or use bfloat16"
        )
    return dtype


def dtype_of(device: types.Device) -> str:
    """What ``device`` computes in."""
    numerics = getattr(device, "numerics", "device")  # a board has no such choice
    return "bfloat16" if numerics == "device" else str(numerics)


@contextmanager
def device(opened: types.Device) -> Iterator[types.Device]:
    """Make models in this block on ``opened`` where they are not told otherwise."""
    token = _current.set(opened)
    try:
        yield opened
    finally:
        _current.reset(token)


def resolve(dtype: str | None, given: types.Device | None) -> tuple[str, types.Device]:
    """The dtype and the device of a model.

    The device is the one given, else that of the enclosing ``with device(...)``, else one that is opened for the
    dtype and kept for the next model, because a board opens once. Without a dtype it is the device's, else bfloat16.

    Raises:
        BackendError: the dtype is unknown, or the device computes in another.
    """
    if dtype is not None and dtype not in DTYPES:
        raise BackendError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    chosen = given if given is not None else _current.get()
    if chosen is not None:
        found = dtype_of(chosen)
        if dtype not in (None, found):
            raise BackendError(
                f"dtype={dtype!r} was asked for on a device that computes in {found}: leave dtype out, or give "
                f"nn.open_device({dtype!r})"
                + (", which only the emulator has" if dtype != "bfloat16" else "")
            )
        return found, chosen
    dtype = dtype or "bfloat16"
    kept = _opened.get(dtype)
    if kept is None or not getattr(kept, "is_open", True):  # a board does not say
        kept = _opened[dtype] = open_device(dtype)
    return dtype, kept


def close_devices() -> None:
    """Close the devices that were opened for models which were given none."""
    while _opened:
        _, kept = _opened.popitem()
        close_device(kept)


atexit.register(close_devices)

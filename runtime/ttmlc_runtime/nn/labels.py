"""What a loss compares with: labels, targets and weights on the host, checked and brought to the device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.nn.outputs import Activation

Host = Any
"""Numbers on the host: a numpy array, nested lists, or anything that numpy can read (a torch tensor on the host)."""
Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

REDUCTIONS = ("mean", "sum", "none")


def reduction_of(reduction: str) -> str:
    """One of the three.

    Raises:
        InputError: it is another.
    """
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction is {reduction!r} and must be one of {', '.join(REDUCTIONS)}")
    return reduction


def array_of(name: str, value: Host) -> Array:
    """Numbers as numpy has them.

    Raises:
        InputError: they are no array of one shape, or no numbers.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # torch raises the last for tensors it cannot give
        raise InputError(f"{name} is no array of one shape: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers, not {array.dtype}")
    return array


def shaped(name: str, array: Array, shape: Shape) -> Array:
    """``array`` in ``shape``; a last dim of one, which data sets like to keep, may be there or not.

    Raises:
        InputError: its shape is another.
    """
    if array.shape in (shape, (*shape, 1)) or (*array.shape, 1) == shape:
        return array.reshape(shape)
    raise InputError(f"{name} is {list(array.shape)} and must be {list(shape)}")


def first(name: str, array: Array, wrong: Array) -> str:
    """The first element that is wrong, with its place."""
    place = tuple(int(at) for at in np.argwhere(wrong)[0])
    inside = f"[{', '.join(map(str, place))}]" if place else ""
    return f"{name}{inside} is {array[place]}"


def integers(name: str, value: Host, shape: Shape) -> Array:
    """Integers of ``shape``, as int64.

    Raises:
        InputError: they are no integers, or of another shape.
    """
    array = array_of(name, value)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, not {array.dtype}: convert them with .astype(int)")
    array = shaped(name, array, shape)
    if array.dtype == np.uint64:  # what int64 cannot hold stays above every range
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
    return array.astype(np.int64)


def classes(name: str, value: Host, shape: Shape, below: int, ignored: int) -> tuple[Array, Array]:
    """Labels of ``shape`` in [0, ``below``), and which of them count: those that are not ``ignored``.

    What does not count is 0 in the first.

    Raises:
        InputError: they are no integers, of another shape, or out of range; it names the first that is.
    """
    array = integers(name, value, shape)
    counts = array != ignored
    wrong = counts & ((array < 0) | (array >= below))
    if wrong.any():
        raise InputError(
            f"{first(name, array, wrong)} and must be in [0, {below}), or {ignored} to be left out"
        )
    return np.where(counts, array, 0), counts


def reals(name: str, value: Host, shape: Shape) -> Array:
    """Finite numbers of ``shape``, as float64.

    Raises:
        InputError: they are of another shape, or not finite; it names the first that is not.
    """
    array = shaped(name, array_of(name, value), shape).astype(np.float64)
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise InputError(f"{first(name, array, wrong)} and must be a number")
    return array


def weights(name: str, value: Host | None, shape: Shape) -> Array | None:
    """Weights that broadcast to ``shape``, as float64 of just that shape; None where there are none.

    Raises:
        InputError: they do not broadcast to it, or some are negative or not finite.
    """
    if value is None:
        return None
    array = array_of(name, value).astype(np.float64)
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        raise InputError(f"{first(name, array, wrong)} and must be a number, 0 or more")
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(f"{name} is {list(array.shape)} and must fit {list(shape)}") from None


def rows_of(x: Activation, name: str) -> Shape:
    """The device shape of one number for each row of ``x``, whose last logical dim is the device's last.

    Raises:
        InputError: ``x`` has no such rows.
    """
    device, shape = tuple(x.tensor.shape), x.shape
    if not shape or 0 in shape or device[-1:] != shape[-1:] or math.prod(device) != math.prod(shape):
        raise InputError(
            f"{name} is {list(shape)}, on the device {list(device)}: its last dim must be the same"
        )
    return (*device[:-1], 1)


def upload(array: Array, like: types.Tensor, shape: Shape) -> types.Tensor:
    """float32 tiles of ``shape`` beside ``like``; float64 where its device computes so."""
    return ttnn.Tensor(
        np.ascontiguousarray(array.reshape(shape), np.float64), ttnn.float32, like.device(), ttnn.TILE_LAYOUT
    )


def upload_integers(array: Array, like: types.Tensor, shape: Shape) -> types.Tensor:
    """uint32 tiles of ``shape`` beside ``like``."""
    return ttnn.Tensor(
        np.ascontiguousarray(array.reshape(shape), np.int32), ttnn.uint32, like.device(), ttnn.TILE_LAYOUT
    )

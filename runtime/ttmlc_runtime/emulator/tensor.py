"""Tensors: a logical array, a label for what the device holds, and storage that aliases share.

An array holds the logical elements alone. What lies in the padding of tiles is kept beside it: a known value, or
None where an op left it undefined. An op whose result would read undefined padding refuses, which is stricter than
a board: there the numbers would be wrong in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.device import Device
from ttmlc_runtime.emulator.dtypes import (
    DRAM_MEMORY_CONFIG,
    TILE_SIZE,
    DataType,
    Layout,
    MemoryConfig,
)
from ttmlc_runtime.emulator.packing import to_dtype as rounded
from ttmlc_runtime.emulator.refusal import check, fatal

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Storage:
    """A buffer; every alias of a tensor holds the same one."""

    alive: bool = True


class Shape(tuple[int, ...]):
    """A shape; ttnn's compares with lists too."""

    @property
    def rank(self) -> int:
        """How many dimensions there are."""
        return len(self)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (list, tuple)) else NotImplemented

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"Shape({list(self)})"


def tiled(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` with its last two dims rounded up to whole tiles; a vector gets a second dim."""
    full = list(shape) if len(shape) >= 2 else [1] * (2 - len(shape)) + list(shape)
    for place in (-2, -1):
        full[place] = -(-full[place] // TILE_SIZE) * TILE_SIZE
    return tuple(full)


class Tensor:
    """A tensor on the host or on an emulated device; made from a numpy array as ttnn's is."""

    def __init__(
        self,
        tensor: Array,
        data_type: DataType | None = None,
        device: Device | None = None,
        layout: Layout | None = None,
        mem_config: MemoryConfig | None = None,
        tile: object = None,
        cq_id: int | None = None,
        pad_value: float | None = None,
        mesh_mapper: object = None,
    ) -> None:
        if not isinstance(tensor, np.ndarray):
            raise TypeError("__init__(): incompatible function arguments: a numpy array is needed")
        dtype = data_type if data_type is not None else _natural(tensor)
        if dtype.is_float and tensor.dtype.kind not in "fiub":
            raise TypeError(f"__init__(): cannot take an array of {tensor.dtype}")
        layout = layout if layout is not None else Layout.ROW_MAJOR
        check(
            not dtype.is_block or layout is Layout.TILE,
            f"{dtype.value} needs TILE layout",
            "Pass layout=ttnn.TILE_LAYOUT",
        )
        if tensor.dtype == np.float16 and dtype is not DataType.FLOAT32:
            raise fatal("ndarray_import failed: float16 converts to float32 only")
        array = held(tensor, dtype, device)
        self._fill(
            array,
            dtype,
            layout,
            device,
            Storage(),
            0.0 if pad_value is None else float(pad_value),
            mem_config,
        )

    def _fill(
        self,
        array: Array,
        dtype: DataType,
        layout: Layout,
        device: Device | None,
        storage: Storage,
        padding: float | None,
        memory: MemoryConfig | None,
    ) -> None:
        self._array, self._dtype, self._layout, self._device = array, dtype, layout, device
        self._storage, self.padding, self._memory = storage, padding, memory or DRAM_MEMORY_CONFIG

    @classmethod
    def make(
        cls,
        array: Array,
        dtype: DataType,
        layout: Layout,
        device: Device | None,
        *,
        storage: Storage | None = None,
        padding: float | None = None,
        memory: MemoryConfig | None = None,
    ) -> Tensor:
        """A tensor around an array that is held already; the emulator's own constructor."""
        made = cls.__new__(cls)
        made._fill(array, dtype, layout, device, storage or Storage(), padding, memory)
        return made

    @property
    def array(self) -> Array:
        """The logical values.

        Raises:
            RuntimeError: the buffer, or an alias of it, was deallocated.
        """
        if not self._storage.alive:
            raise fatal("the tensor's buffer is not allocated: it, or an alias of it, was deallocated")
        return self._array

    @property
    def shape(self) -> Shape:
        """The logical shape."""
        return Shape(self._array.shape)

    @property
    def padded_shape(self) -> Shape:
        """The shape with the padding of tiles."""
        return Shape(tiled(self._array.shape) if self._layout is Layout.TILE else self._array.shape)

    @property
    def dtype(self) -> DataType:
        """The dtype label."""
        return self._dtype

    @property
    def layout(self) -> Layout:
        """Tiles or rows."""
        return self._layout

    def get_layout(self) -> Layout:
        """Tiles or rows."""
        return self._layout

    def memory_config(self) -> MemoryConfig:
        """Where it lives."""
        return self._memory

    def device(self) -> Device | None:
        """The device it is on; None on the host."""
        return self._device

    @property
    def ragged(self) -> bool:
        """Whether tiles are padded."""
        return self._layout is Layout.TILE and tuple(self.padded_shape) != tuple(self._array.shape)

    def is_allocated(self) -> bool:
        """Whether its buffer is there."""
        return self._storage.alive

    def volume(self) -> int:
        """How many logical elements there are."""
        return int(self._array.size)

    def alias(self, array: Array, *, padding: float | None = None) -> Tensor:
        """Another tensor on the same storage."""
        return Tensor.make(
            array,
            self._dtype,
            self._layout,
            self._device,
            storage=self._storage,
            padding=padding,
            memory=self._memory,
        )

    def shares_storage(self, other: Tensor) -> bool:
        """Whether deallocating one frees the other."""
        return self._storage is other._storage

    def cpu(self, blocking: bool = True) -> Tensor:
        """A copy on the host; an exact device's values stay exact."""
        return Tensor.make(self.array.copy(), self._dtype, self._layout, None, padding=self.padding)

    def to_numpy(self) -> Array:
        """The values as numpy; a bfloat16 tensor is converted with to_dtype first."""
        if self._dtype is DataType.BFLOAT16:
            raise fatal(
                "to_numpy of a bfloat16 tensor gives no data",
                "Convert with ttnn.to_dtype(t.cpu(), ttnn.float32) first",
            )
        return self.array.copy()

    def deallocate(self, force: bool = True) -> None:
        """Free the buffer, and with it every alias."""
        self._storage.alive = False

    def __getitem__(self, key: Any) -> Tensor:
        values = self.array[key]
        return Tensor.make(np.ascontiguousarray(values), self._dtype, self._layout, self._device)

    def __repr__(self) -> str:
        where = "host" if self._device is None else f"device {self._device.device_id}"
        label = f"shape={self.shape}, dtype={self._dtype!r}, layout={self._layout}, {where}"
        return f"ttnn.Tensor({self._array!r}, {label})"


def _natural(array: Array) -> DataType:
    names = {
        "f4": DataType.FLOAT32,
        "i4": DataType.INT32,
        "u4": DataType.UINT32,
        "i8": DataType.UINT32,
        "u1": DataType.UINT8,
    }
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind not in names:
        raise fatal(f"a dtype must be named for an array of {array.dtype}")
    return names[kind]


def held(array: Array, dtype: DataType, device: Device | None) -> Array:
    """A copy of ``array`` as ``device`` holds it under the label ``dtype``."""
    if dtype.is_float and device is not None and device.exact:
        return np.array(array, device.compute, order="C")
    copied = rounded(np.array(array, order="C"), dtype)
    if device is not None and dtype.is_float:
        copied = copied.astype(device.compute, copy=False)
    return copied


def result(
    array: Array,
    like: Tensor,
    dtype: DataType | None = None,
    *,
    layout: Layout | None = None,
    padding: float | None = None,
    memory: MemoryConfig | None = None,
) -> Tensor:
    """An op's result: rounded to its label unless the device is exact."""
    label = dtype or like.dtype
    device = like.device()
    if label.is_float and not (device is not None and device.exact):
        array = rounded(array, label)
    elif not label.is_float:
        array = array.astype(np.dtype(label.value), copy=False)
    return Tensor.make(array, label, layout or like.layout, device, padding=padding, memory=memory)


def on_device(tensor: object, name: str, op: str) -> Tensor:
    """``tensor`` as an operand of a device op.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: it is on the host, or was deallocated.
    """
    if not isinstance(tensor, Tensor):
        found = type(tensor).__name__
        raise TypeError(f"{op}(): incompatible function arguments: {name} must be ttnn.Tensor, not {found}")
    device = tensor.device()
    check(device is not None, f"{op}: {name} is on the host", "Move it with ttnn.to_device(tensor, device)")
    check(device is not None and device.open, f"{op}: {name} is on a device that was closed")
    tensor.array  # noqa: B018  # refuses where the buffer is gone
    return tensor


def tile(tensor: object, name: str, op: str) -> Tensor:
    """An operand that must be in tiles."""
    checked = on_device(tensor, name, op)
    check(
        checked.layout is Layout.TILE,
        f"{op}: {name} must be tilized",
        "Use ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    return checked

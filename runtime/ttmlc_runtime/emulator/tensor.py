"""Tensors: a logical shape, a label for what the device holds, and storage that aliases share.

Storage holds the logical elements alone; what lies in the padding of tiles is described beside them (``padding``).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.conversion import check_types, converted
from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import (
    DRAM_MEMORY_CONFIG,
    TILE_SIZE,
    DataType,
    Layout,
    MemoryConfig,
    StorageType,
)
from ttmlc_runtime.emulator.mesh import MeshToTensor, TensorToMesh
from ttmlc_runtime.emulator.numerics import DEVICE, Array, Numerics
from ttmlc_runtime.emulator.operators import Operators
from ttmlc_runtime.emulator.padding import FINITE, Padding, is_finite
from ttmlc_runtime.emulator.refusal import check, fatal, unmodelled
from ttmlc_runtime.emulator.shapes import Shape, tiled


def _references_of_a_lone_array() -> int:
    held = [np.empty(1)]
    array = held[0]
    return sys.getrefcount(array)


ALONE = _references_of_a_lone_array()
"""What getrefcount says of an array that one thing and a local name refer to; it differs among versions of Python."""


class Storage:
    """A buffer; every alias of a tensor holds the same one. Without ``data`` it was deallocated."""

    __slots__ = ("data", "padding", "writes")

    def __init__(self, data: Array, padding: Padding) -> None:
        self.data: Array | None = data
        self.padding = padding
        self.writes = 0


class Tensor(Operators):
    """A tensor on the host or on an emulated device.

    Args:
        tensor: a numpy array; it is copied.
        data_type: the label. Without one, the array's own type where ttnn has it.
        device: None leaves the tensor on the host.
        layout: rows where nothing is said.
        mem_config: DRAM where nothing is said.
        tile: not modelled; tiles are 32 x 32.
        cq_id: no meaning here.
        pad_value: what the padding of tiles holds, 0 where nothing is said.
        mesh_mapper: how it is cut over the chips of a mesh; without one, every chip of ``device`` holds the whole.

    Raises:
        TypeError: ``tensor`` is no numpy array, or an argument is of the wrong type.
        RuntimeError: ttnn does not convert such an array to such a label.
    """

    def __init__(
        self,
        tensor: Array,
        data_type: DataType | None = None,
        device: MeshDevice | None = None,
        layout: Layout | None = None,
        mem_config: MemoryConfig | None = None,
        tile: object = None,
        cq_id: int | None = None,  # ttnn's parameter
        pad_value: float | None = None,
        mesh_mapper: TensorToMesh | None = None,
    ) -> None:
        check_types(tensor, data_type, device, layout, mem_config)
        if tile is not None:
            raise unmodelled("ttnn.Tensor: tile=")
        if isinstance(mesh_mapper, TensorToMesh) and mesh_mapper.replicates:
            self.held_by = math.prod(mesh_mapper.grid)
        elif mesh_mapper is not None:
            self._cut(tensor, mesh_mapper, (data_type, device, layout, mem_config, None, cq_id, pad_value))
            return
        numerics = DEVICE if device is None else device.arithmetic
        held, data_type, layout = converted(tensor, data_type, layout, numerics)
        padding = 0.0 if pad_value is None else float(pad_value)
        self._set(Storage(held, padding), held.shape, data_type, layout, device, numerics, mem_config)

    def _cut(self, array: Array, mapper: object, options: tuple[Any, ...]) -> None:
        """Make a tensor of parts."""
        if not isinstance(mapper, TensorToMesh):
            raise TypeError(
                f"__init__(): incompatible function arguments: mesh_mapper cannot be {type(mapper).__name__}; "
                "of a wrapper, unwrap() is one"
            )
        cut = mapper.parts(array)
        device = options[1]
        check(
            device is None or len(cut) == device.get_num_devices(),
            f"ttnn.Tensor: {len(cut)} shards do not go on {device!r}",
        )
        parts = [Tensor(part, *options) for part in cut]
        self.__dict__.update(parts[0].__dict__)
        self.parts = tuple(parts) if len(parts) > 1 else ()

    parts: tuple[Tensor, ...] = ()
    """A tensor for each chip of a mesh, where they differ; this one is then its first."""

    @classmethod
    def of_parts(cls, parts: Sequence[Tensor]) -> Tensor:
        """A tensor on a mesh, from one for each chip."""
        made = parts[0].alias()
        made.parts = tuple(parts)
        return made

    def part(self, place: int) -> Tensor:
        """The tensor of a chip."""
        if self.parts or self.chips == 1:
            return self.parts[place] if self.parts else self
        alone = self.alias()
        alone.held_by = 1
        return alone

    def _set(
        self,
        storage: Storage,
        shape: tuple[int, ...],
        dtype: DataType,
        layout: Layout | None,
        device: MeshDevice | None,
        numerics: Numerics,
        memory: MemoryConfig | None,
    ) -> None:
        self._storage, self._shape, self._dtype, self._device = storage, shape, dtype, device
        self._layout = Layout.ROW_MAJOR if layout is None else layout
        self.numerics, self._memory = numerics, memory or DRAM_MEMORY_CONFIG

    @classmethod
    def make(
        cls,
        array: Array,
        dtype: DataType,
        layout: Layout,
        device: MeshDevice | None,
        numerics: Numerics,
        *,
        padding: Padding = FINITE,
        memory: MemoryConfig | None = None,
    ) -> Tensor:
        """A tensor around an array that is held already; the emulator's own constructor."""
        made = cls.__new__(cls)
        made._set(Storage(array, padding), array.shape, dtype, layout, device, numerics, memory)
        return made

    def alias(self, shape: Sequence[int] | None = None) -> Tensor:
        """Another tensor on the same storage, perhaps in another shape."""
        made = Tensor.__new__(Tensor)
        whole = self._shape if shape is None else tuple(shape)
        made._set(self._storage, whole, self._dtype, self._layout, self._device, self.numerics, self._memory)
        return made

    @property
    def array(self) -> Array:
        """The logical values; not to be written to.

        Raises:
            RuntimeError: the buffer, or an alias of it, was deallocated.
        """
        data = self._storage.data
        if data is None:
            raise fatal(
                "Input Tensor is not allocated: it, or an alias of it, was deallocated",
                "Deallocate a tensor only when its reshapes and other aliases are done with too",
            )
        if data.shape == self._shape:
            return data
        if not data.flags.c_contiguous:
            data = self._storage.data = np.ascontiguousarray(data)
        return data.reshape(self._shape)

    def own_array(self) -> Array | None:
        """The values to be written to in place, where nothing but this tensor's storage refers to them; else None."""
        data = self._storage.data
        if (
            data is None
            or data.shape != self._shape
            or not (data.flags.c_contiguous and data.flags.writeable)
        ):
            return None
        if sys.getrefcount(data) != ALONE:
            return None
        base: object = data.base
        if base is None:
            return data
        if not isinstance(base, np.ndarray) or sys.getrefcount(base) != ALONE:
            return None
        return data if base.flags.owndata else None

    def write(self, array: Array, padding: Padding) -> None:
        """Put other values into the storage, for every alias to see; they are held as this tensor's label is."""
        held = self.numerics.held(array, self._dtype)
        self._storage.data, self._storage.padding = held.reshape(self._shape), padding
        self._storage.writes += 1

    @property
    def writes(self) -> int:
        """How often other values were put into the storage; the emulator's own, which ttnn does not tell."""
        return self._storage.writes

    @property
    def padding(self) -> Padding:
        """What the padding of tiles holds; see ``padding``."""
        return self._storage.padding

    @padding.setter
    def padding(self, value: Padding) -> None:
        self._storage.padding = value

    @property
    def ragged_rows(self) -> bool:
        """Whether the second-to-last dim does not fill its tiles."""
        return self._layout is Layout.TILE and (len(self._shape) < 2 or self._shape[-2] % TILE_SIZE != 0)

    @property
    def ragged_columns(self) -> bool:
        """Whether the last dim does not fill its tiles."""
        return self._layout is Layout.TILE and (not self._shape or self._shape[-1] % TILE_SIZE != 0)

    @property
    def wild(self) -> bool:
        """Whether there is padding, and it may hold infinities or NaN."""
        return (self.ragged_rows or self.ragged_columns) and not is_finite(self._storage.padding)

    @property
    def wild_row(self) -> bool:
        """The same of the first row alone: no more is read of one that broadcasts, as a bias or a norm's weight."""
        return self.ragged_columns and not is_finite(self._storage.padding)

    @property
    def shape(self) -> Shape:
        """The logical shape."""
        return Shape(self._shape)

    @property
    def padded_shape(self) -> Shape:
        """The shape with the padding of tiles."""
        if self._layout is Layout.TILE:
            return Shape(tiled(self._shape))
        return Shape(self._shape or (1,))

    @property
    def dtype(self) -> DataType:
        """The dtype label."""
        return self._dtype

    @property
    def layout(self) -> Layout:
        """Tiles or rows."""
        return self._layout

    def get_dtype(self) -> DataType:
        """The dtype label."""
        return self._dtype

    def get_layout(self) -> Layout:
        """Tiles or rows."""
        return self._layout

    def memory_config(self) -> MemoryConfig:
        """Where it lives."""
        return self._memory

    def is_sharded(self) -> bool:
        """Whether it is cut over cores; the emulator has none that is."""
        return False

    def storage_type(self) -> StorageType:
        """Host or device."""
        return StorageType.HOST if self._device is None else StorageType.DEVICE

    def device(self) -> MeshDevice | None:
        """The device it is on; None on the host."""
        return self._device

    def is_allocated(self) -> bool:
        """Whether its buffer is there."""
        return self._storage.data is not None

    def buffer_address(self) -> int:
        """A number that aliases share."""
        return id(self._storage)

    def volume(self) -> int:
        """How many elements there are, those in the padding of tiles included."""
        return int(np.prod(self.padded_shape, dtype=np.int64))

    def logical_volume(self) -> int:
        """How many logical elements there are."""
        return int(np.prod(self._shape, dtype=np.int64))

    def element_size(self) -> int:
        """Bytes of one element on a device; 1 for the block formats, as in ttnn."""
        return {"bfloat16": 2, "uint16": 2, "float32": 4, "uint32": 4, "int32": 4}.get(self._dtype.value, 1)

    def cpu(self, blocking: bool = True, cq_id: int | None = None) -> Tensor:  # ttnn's parameters
        """A copy on the host; the values of an exact device stay exact."""
        if self.parts:
            return Tensor.of_parts([part.cpu() for part in self.parts])
        back = Tensor.make(
            self.array.copy(), self._dtype, self._layout, None, self.numerics, padding=self.padding
        )
        back.held_by = self.chips
        return back

    held_by: int | None = None
    """How many chips hold the same, where that is not for the device to say."""

    @property
    def chips(self) -> int:
        """How many chips hold it, or held it."""
        if self.parts:
            return len(self.parts)
        if self.held_by is not None:
            return self.held_by
        return 1 if self._device is None else self._device.get_num_devices()

    def to(
        self,
        target: MeshDevice | Layout,
        mem_config: MemoryConfig | None = None,
        cq_id: int | None = None,
    ) -> Tensor:
        """On a device, or in a layout."""
        from ttmlc_runtime.emulator.ops.transfer import to_device, to_layout

        if isinstance(target, Layout):
            return to_layout(self, target)
        return to_device(self, target, memory_config=mem_config, cq_id=cq_id)

    def to_numpy(self, *, mesh_composer: MeshToTensor | None = None) -> Array:
        """The values as numpy, for any label but bfloat16: that is converted with ``to_dtype`` first.

        Raises:
            RuntimeError: the tensor is bfloat16 (ttnn hands back no data), on a device, or of a mesh and there is no
                composer.
        """
        check(
            self._device is None,
            "to_numpy: the tensor is on a device",
            "Bring it to the host first: tensor.cpu()",
        )
        if self._dtype is DataType.BFLOAT16:
            raise fatal(
                "to_numpy of a bfloat16 tensor gives no data",
                "Convert it first: ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()",
            )
        if mesh_composer is not None:
            return mesh_composer.join([self.part(place).array for place in range(self.chips)])
        check(
            self.chips == 1,
            f"Can't convert a tensor distributed on a mesh of {self.chips} to row-major logical tensor",
            "Supply mesh_composer=, or read one of ttnn.get_device_tensors(tensor)",
        )
        return self.array.copy()

    def to_list(self) -> Any:
        """The values as nested lists."""
        return self.array.tolist()

    def item(self) -> Any:
        """The value of a tensor of one element."""
        check(self.array.size == 1, f"item: the tensor has {self.array.size} elements")
        return self.array.reshape(-1)[0].item()

    def deallocate(self, force: bool = False) -> None:
        """Free the buffer, and with it every alias; without ``force`` only where there is none."""
        for part in self.parts[1:]:
            part.deallocate(force)
        # Held by this tensor's attribute and by the argument of getrefcount.
        if force or sys.getrefcount(self._storage) <= 2:
            self._storage.data = None

    def reshape(self, *shape: Any) -> Tensor:
        """``ttnn.reshape``."""
        from ttmlc_runtime.emulator.ops.shape import reshape

        return reshape(self, shape[0] if len(shape) == 1 else shape)

    def __getitem__(self, key: Any) -> Tensor:
        from ttmlc_runtime.emulator.ops.index import getitem

        return getitem(self, key)

    def __repr__(self) -> str:
        values = "deallocated" if self._storage.data is None else repr(self.array)
        where = "" if self._device is None else f", device={self._device!r}"
        return f"ttnn.Tensor({values}, shape={self.shape}, dtype={self._dtype!r}, layout={self._layout!r}{where})"

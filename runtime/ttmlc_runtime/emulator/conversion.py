"""What becomes of arrays that are made tensors: the labels that ttnn gives them, and what it refuses."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import FLOAT64, Array, Numerics
from ttmlc_runtime.emulator.refusal import check, fatal

NATURAL = {
    "f4": DataType.FLOAT32,
    "i4": DataType.INT32,
    "u4": DataType.UINT32,
    "i8": DataType.UINT32,  # as ttnn has it
    "u2": DataType.UINT16,
    "u1": DataType.UINT8,
}
"""The dtype of an array when none is named."""
ONLY_FLOAT32 = ("f2", "f8", "i8", "i2", "u8")
"""Arrays that ttnn converts to float32 or integers, and to no other label."""


def converted(
    array: Array, label: DataType | None, layout: Layout | None, numerics: Numerics
) -> tuple[Array, DataType, Layout | None]:
    """An array as a tensor holds it, in memory of its own, with its label and its layout.

    Args:
        array: of any shape and dtype.
        label: None where the array's own type says it.
        layout: None where nothing is said: rows, but tiles for block formats.
        numerics: of the tensor.

    Raises:
        RuntimeError: ttnn does not convert such an array to such a label, or not in this layout.
    """
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if label is None:
        if kind not in NATURAL:
            raise fatal(
                f"ttnn.Tensor: an array of {array.dtype} needs a dtype", "Name one, as in ttnn.bfloat16"
            )
        label = NATURAL[kind]
    narrow = label.is_float and label is not DataType.FLOAT32 and kind in ONLY_FLOAT32
    # float64 numerics is the emulator's own, and pointless if it could not be given a float64.
    if narrow and not (kind == "f8" and numerics is FLOAT64):
        raise fatal(
            f"parse_py_tensor: ndarray_import failed: an array of {array.dtype} does not become {label!r}",
            "Convert it first: array.astype(np.float32)",
        )
    if label.is_block:
        check(
            layout is not Layout.ROW_MAJOR,
            f"ttnn.Tensor: Only TILE layout is supported for {label!r}",
            "Leave the layout out, or say ttnn.TILE_LAYOUT",
        )
        layout = Layout.TILE
    if kind in ("f2", "f8") and label in (DataType.UINT16, DataType.UINT8):
        with np.errstate(invalid="ignore"):
            array = array.astype(np.int64)  # these are converted by numpy, modulo their range
    return numerics.held(np.array(array, order="C"), label), label, layout


def check_types(tensor: object, dtype: object, device: object, layout: object, memory: object) -> None:
    """Refuse arguments of ``ttnn.Tensor`` that are not of its types, and a device that was closed.

    Raises:
        TypeError: naming the argument.
        RuntimeError: the device was closed.
    """
    wanted = (
        ("tensor", tensor, np.ndarray),
        ("data_type", dtype, DataType),
        ("device", device, MeshDevice),
        ("layout", layout, Layout),
        ("mem_config", memory, MemoryConfig),
    )
    for name, value, kind in wanted:
        if not isinstance(value, kind) and (value is not None or name == "tensor"):
            raise TypeError(
                f"__init__(): incompatible function arguments: {name} must be {kind.__name__}, "
                f"not {type(value).__name__}"
            )
    if isinstance(device, MeshDevice):
        check(device.is_open, f"ttnn.Tensor: {device!r} was closed")

"""The safetensors format, read strictly and tensor by tensor.

A file is a little-endian 64-bit length, a JSON header of that length, and the tensors' bytes. The header is text
from elsewhere and is believed in nothing: lengths, offsets, shapes and dtypes are checked before a byte is used.
numpy has no bfloat16, so its bits are widened to float32, which loses nothing.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Array

MAX_HEADER = 100 << 20
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its dtype as the format names it, shape, and where its bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafeFile:
    """An open safetensors file; use it in a ``with`` statement."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise WeightsError(f"cannot open {path}: {error.strerror}") from None
        try:
            self.entries, self.metadata, self._base = _header(self._file, path)
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SafeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
        self._file.close()

    def read(self, name: str) -> Array:
        """A float tensor as float32 (float64 where it is so stored).

        Raises:
            WeightsError: its dtype holds no real numbers.
        """
        entry = self.entries[name]
        if entry.dtype not in FLOATS:
            raise WeightsError(
                f"{self.path}: tensor {name!r} is {entry.dtype}, which is no float that a parameter can be"
            )
        count = math.prod(entry.shape)
        # A copy, so that nothing keeps the mapping alive after the file is closed.
        raw = np.frombuffer(self._map, FLOATS[entry.dtype], count, self._base + entry.start).copy()
        if entry.dtype == "BF16":
            raw = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif entry.dtype == "F16":
            raw = raw.astype(np.float32)
        return raw.reshape(entry.shape)


def _header(file: BinaryIO, path: Path) -> tuple[dict[str, Entry], dict[str, str], int]:
    size = os.fstat(file.fileno()).st_size
    raw = file.read(8)
    if len(raw) < 8:
        raise WeightsError(f"{path} is truncated: it has {size} bytes and no header")
    (length,) = struct.unpack("<Q", raw)
    if length > MAX_HEADER or 8 + length > size:
        raise WeightsError(
            f"{path} is corrupt or truncated: its header would have {length} bytes, the file has {size}"
        )
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is corrupt: its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path} is corrupt: its header is no object")
    metadata = header.pop("__metadata__", None) or {}
    entries = {name: _entry(path, name, value, size - 8 - length) for name, value in header.items()}
    _no_overlap(path, entries.values())
    kept = {str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {}
    return entries, kept, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _entry(path: Path, name: str, value: object, room: int) -> Entry:
    try:
        assert isinstance(value, dict)
        dtype, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
        assert dtype in ITEM_BYTES and isinstance(shape, list)
        assert all(type(n) is int and 0 <= n < 1 << 40 for n in (*shape, start, end))
    except (AssertionError, KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} is corrupt: the header's entry for {name!r} is malformed") from None
    if not start <= end <= room:
        raise WeightsError(
            f"{path} is truncated or corrupt: tensor {name!r} would end at byte {end} of {room}"
        )
    if math.prod(shape) * ITEM_BYTES[dtype] != end - start:
        raise WeightsError(
            f"{path} is corrupt: tensor {name!r}, {dtype} {shape}, does not fit {end - start} bytes"
        )
    return Entry(name, dtype, tuple(shape), start, end)


def _no_overlap(path: Path, entries: Iterable[Entry]) -> None:
    last, before = 0, ""
    for entry in sorted(entries, key=lambda e: (e.start, e.end)):
        if entry.start < last:
            raise WeightsError(f"{path} is corrupt: tensors {before!r} and {entry.name!r} overlap")
        last, before = entry.end, entry.name


def to_bytes(array: Array, dtype: str) -> bytes:
    """An array as the format stores it under ``dtype``; BF16 takes float32 values that are rounded already."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return (bits >> np.uint32(16)).astype("<u2").tobytes()
    return np.ascontiguousarray(array).astype(FLOATS[dtype], copy=False).tobytes()


def write(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, arrays: Iterator[tuple[str, Array]]
) -> None:
    """Write a file tensor by tensor; ``arrays`` gives them in the order of ``shapes``.

    The caller sees to atomicity: ``path`` should be a temporary name.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name, array in arrays:
            assert tuple(array.shape) == tuple(shapes[name]), f"{name}: {array.shape} is not {shapes[name]}"
            file.write(to_bytes(array, dtype))
        file.flush()
        os.fsync(file.fileno())

"""The safetensors format, read strictly and tensor by tensor.

A file is a little-endian 64-bit length, a JSON header of that length, and the tensors' bytes. The header is text
from elsewhere and is believed in nothing: lengths, offsets, shapes and dtypes are checked before a byte is used.
numpy has no bfloat16, so its bits are widened to float32, which loses nothing. Bytes are read, not mapped: a file
that shrinks meanwhile is an error, and not the end of the process.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.parameter import Array
from ttmlc_runtime.weights.steps import bfloat16_bits, from_bfloat16_bits

MAX_HEADER = 100 << 20
"""Bytes; the limit of the reference reader."""
MAX_RANK = 32
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
    "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""What a parameter can be read from, and numpy's name of its bytes."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its dtype as the format names it, shape, and where its bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafeFile:
    """An open safetensors file; use it in a ``with`` statement.

    Raises:
        WeightsError: it cannot be opened, or its header is malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise WeightsError(f"cannot open {path}: {error.strerror}") from None
        try:
            self.entries, self.metadata, self._base = _header(self._file, path)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SafeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str) -> Array:
        """A float tensor as float32 (float64 where it is so stored).

        Raises:
            WeightsError: its dtype holds no real numbers, or its bytes cannot be read.
        """
        entry = self.entries[name]
        if entry.dtype not in FLOATS:
            raise WeightsError(
                f"{self.path}: tensor {name!r} is {entry.dtype}, which is no float that a parameter can be"
            )
        raw = np.empty(math.prod(entry.shape), FLOATS[entry.dtype])
        self._into(raw.view(np.uint8), entry)
        if entry.dtype == "BF16":
            raw = from_bfloat16_bits(raw)
        elif entry.dtype == "F16":
            raw = raw.astype(np.float32)
        return raw.reshape(entry.shape)

    def _into(self, bytes_: Array, entry: Entry) -> None:
        """Fill ``bytes_`` from the file; the system may give them in several parts."""
        done = 0
        try:
            self._file.seek(self._base + entry.start)
            while done < bytes_.size:
                got = self._file.readinto(bytes_[done:].data)
                if not got:
                    raise WeightsError(f"{self.path} ended inside tensor {entry.name!r}: it is truncated")
                done += got
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot read tensor {entry.name!r}: {error.strerror}") from None


def _header(file: BinaryIO, path: Path) -> tuple[dict[str, Entry], dict[str, str], int]:
    size = os.fstat(file.fileno()).st_size
    raw = _exactly(file, 8)
    if len(raw) < 8:
        raise WeightsError(f"{path} is truncated: it has {size} bytes and no header")
    (length,) = struct.unpack("<Q", raw)
    if length > MAX_HEADER or 8 + length > size:
        raise WeightsError(
            f"{path} is corrupt or truncated: its header would have {length} bytes, the file has {size}"
        )
    try:
        header = json.loads(_exactly(file, length).decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is corrupt: its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise WeightsError(f"{path} is corrupt: its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{path} is corrupt: its __metadata__ does not map names to words")
    room = size - 8 - length
    entries = {name: _entry(path, name, value, room) for name, value in header.items()}
    _no_overlap(path, entries.values(), room)
    return entries, metadata, 8 + length


def _exactly(file: BinaryIO, count: int) -> bytes:
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ.

    Raises:
        ValueError: a name occurs twice, so that readers would disagree.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add returns None
        raise ValueError(f"{twice!r} occurs twice")
    return found


def _entry(path: Path, name: str, value: object, room: int) -> Entry:
    malformed = WeightsError(f"{path} is corrupt: the header's entry for {name!r} is malformed")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise malformed
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not (isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        raise malformed
    if dtype not in ITEM_BYTES:
        raise WeightsError(f"{path}: tensor {name!r} is of the dtype {dtype!r}, which is not known")
    start, end = offsets
    if not start <= end <= room:
        raise WeightsError(
            f"{path} is truncated or corrupt: tensor {name!r} would lie in bytes {start} to {end} of {room}"
        )
    if math.prod(shape) * ITEM_BYTES[dtype] != end - start:
        raise WeightsError(
            f"{path} is corrupt: tensor {name!r}, {dtype} {shape}, does not fit {end - start} bytes"
        )
    return Entry(name, dtype, tuple(shape), start, end)


def _naturals(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(type(n) is int and 0 <= n < 1 << 48 for n in value)
    )


def _no_overlap(path: Path, entries: Iterable[Entry], room: int) -> None:
    """Tensors must fill the data without overlap or gap, as the reference reader demands."""
    last, before = 0, "the header"
    for entry in sorted(entries, key=lambda e: (e.start, e.end)):
        if entry.start < last:
            raise WeightsError(f"{path} is corrupt: tensors {before} and {entry.name!r} overlap")
        if entry.start > last:
            raise WeightsError(
                f"{path} is corrupt: {entry.start - last} bytes between {before} and tensor {entry.name!r} are unused"
            )
        last, before = entry.end, repr(entry.name)
    if last != room:
        raise WeightsError(f"{path} is corrupt: {room - last} bytes behind the last tensor belong to none")


def to_bytes(array: Array, dtype: str) -> Array:
    """An array as the format stores it under ``dtype``; to BF16 it is rounded to nearest even."""
    if dtype == "BF16":
        return bfloat16_bits(array).astype("<u2", copy=False)
    return np.ascontiguousarray(array, FLOATS[dtype])


def write(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str, arrays: Iterator[tuple[str, Array]]
) -> None:
    """Write a file tensor by tensor and flush it to the disk; ``arrays`` gives them in the order of ``shapes``.

    The caller sees to atomicity: ``path`` should be a temporary name.

    Raises:
        OSError: it cannot be written.
        ValueError: ``arrays`` does not give what ``shapes`` announces.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # what Transformers asks for
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
        for (name, array), (wanted, shape) in zip(arrays, shapes.items(), strict=True):
            if name != wanted or tuple(array.shape) != tuple(shape):
                raise ValueError(f"{name} {array.shape} comes where {wanted} {shape} was announced")
            file.write(to_bytes(array, dtype).reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())

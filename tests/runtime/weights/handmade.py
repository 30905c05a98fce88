"""Small safetensors files made by hand, sound and broken."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np


def raw_file(header: object, data: bytes = b"") -> bytes:
    """The bytes of a file with this header, which need not make sense."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensors_file(arrays: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """A sound file of (dtype, shape, bytes)."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, raw) in arrays.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return raw_file(header, data)


def floats(arrays: dict[str, np.ndarray]) -> bytes:
    """A sound file of float32 arrays."""
    return tensors_file({name: ("F32", a.shape, a.astype("<f4").tobytes()) for name, a in arrays.items()})

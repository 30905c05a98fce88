"""Between numpy and emulated devices, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import ttmlc_runtime.emulator as ttnn

SIZES = (1, 7, 31, 33, 96, 130)
"""Widths that fill no tile, just miss or pass one, or are several."""


def upload(
    array: Any,
    device: ttnn.Device,
    dtype: ttnn.DataType = ttnn.bfloat16,
    layout: ttnn.Layout = ttnn.TILE_LAYOUT,
) -> ttnn.Tensor:
    """``array`` on the device, in the float type that its numerics take."""
    values = np.asarray(array)
    if values.dtype == np.float64 and device.numerics != "float64":
        values = values.astype(np.float32)
    return ttnn.Tensor(values, dtype, device, layout)


def download(tensor: ttnn.Tensor) -> np.ndarray[Any, Any]:
    """The values of a tensor, unrounded where the device is exact."""
    if tensor.dtype.is_float:
        return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()
    return tensor.cpu().to_numpy()


def reference(tensor: ttnn.Tensor) -> torch.Tensor:
    """The values that a tensor holds, in float64 for torch."""
    return torch.from_numpy(np.asarray(download(tensor), np.float64))

"""An emulated device: an architecture, a grid, and the numerics its tensors are computed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import CoreGrid, DeviceComputeKernelConfig, MathFidelity
from ttmlc_runtime.emulator.refusal import check

NUMERICS = ("device", "float32", "float64")


class Arch(Enum):
    """Which chip."""

    WORMHOLE_B0 = 2
    BLACKHOLE = 3


@dataclass(eq=False)
class Device:
    """One emulated chip.

    ``numerics`` says what a result is held in: as the device rounds it (``device``), or exactly, in float32 or
    float64, behind the same dtype labels.
    """

    device_id: int = 0
    numerics: str = "device"
    open: bool = True
    core_grid: CoreGrid = field(default_factory=lambda: CoreGrid(y=8, x=8))

    def arch(self) -> Arch:
        """The architecture."""
        return Arch.WORMHOLE_B0

    def compute_with_storage_grid_size(self) -> CoreGrid:
        """The grid that programs may use."""
        return self.core_grid

    @property
    def exact(self) -> bool:
        """Whether results are not rounded to their labels."""
        return self.numerics != "device"

    @property
    def compute(self) -> np.dtype[Any]:
        """What arithmetic is done in."""
        return np.dtype(np.float64 if self.numerics == "float64" else np.float32)


MeshDevice = Device


def open_device(device_id: int = 0, *, numerics: str = "device", **settings: object) -> Device:
    """Open an emulated device. ``numerics`` is the emulator's own; the other settings are accepted as ttnn's.

    Raises:
        ValueError: no such numerics.
    """
    if numerics not in NUMERICS:
        raise ValueError(f"numerics {numerics!r} is not one of {', '.join(NUMERICS)}")
    return Device(device_id, numerics)


def close_device(device: Device) -> None:
    """Close a device; its tensors can no longer be used."""
    device.open = False


def init_device_compute_kernel_config(
    arch: Arch,
    *,
    math_fidelity: MathFidelity = MathFidelity.LoFi,
    math_approx_mode: bool = True,
    fp32_dest_acc_en: bool = False,
    packer_l1_acc: bool = False,
    dst_full_sync_en: bool = False,
    throttle_level: object = None,
) -> DeviceComputeKernelConfig:
    """A kernel configuration; without fields it is LoFi, as ttnn's."""
    check(isinstance(arch, Arch), "arch must be a device's architecture", "Pass device.arch()")
    return DeviceComputeKernelConfig(
        math_fidelity, math_approx_mode, fp32_dest_acc_en, packer_l1_acc, dst_full_sync_en
    )

"""An emulated device: an architecture, a grid, and the numerics its tensors are computed in."""

from __future__ import annotations

from enum import Enum
from typing import Any

from ttmlc_runtime.emulator.mesh import MeshShape
from ttmlc_runtime.emulator.numerics import BY_NAME, Numerics
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.settings import (
    CoreGrid,
    DeviceComputeKernelConfig,
    MathFidelity,
    ThrottleLevel,
)


class Arch(Enum):
    """Which chip."""

    WORMHOLE_B0 = 2
    BLACKHOLE = 3


class MeshDevice:
    """Emulated chips; ttnn calls a device of one chip a mesh too."""

    def __init__(self, device_id: int, arithmetic: Numerics, shape: MeshShape | None = None) -> None:
        self._id, self.arithmetic, self.is_open = device_id, arithmetic, True
        self.shape = shape or MeshShape(1, 1)
        self.core_grid = CoreGrid(x=8, y=8)

    @property
    def numerics(self) -> str:
        """The emulator's own: what it was opened with."""
        return self.arithmetic.name

    def arch(self) -> Arch:
        """The architecture."""
        return Arch.WORMHOLE_B0

    def id(self) -> int:
        """Which device it is."""
        return self._id

    def get_num_devices(self) -> int:
        """How many chips it is made of."""
        return self.shape.mesh_size()

    def get_device_ids(self) -> list[int]:
        """A number for each chip, row by row; a board's are those of its wiring."""
        return list(range(self.get_num_devices()))

    def compute_with_storage_grid_size(self) -> CoreGrid:
        """The grid that programs may use."""
        return self.core_grid

    def enable_program_cache(self) -> None:
        """Nothing: the emulator compiles no programs."""

    def disable_and_clear_program_cache(self) -> None:
        """Nothing: the emulator compiles no programs."""

    def __repr__(self) -> str:
        grid = "x".join(map(str, self.shape))
        return (
            f"MeshDevice({grid} grid, {self.get_num_devices()} devices; emulated, {self.numerics} numerics)"
        )


Device = MeshDevice


def open_device(
    device_id: int = 0,
    l1_small_size: int = 0,  # ttnn's parameters; memory is not modelled
    trace_region_size: int = 0,
    num_command_queues: int = 1,
    dispatch_core_config: Any = None,
    worker_l1_size: int = 0,
    *,
    numerics: str = "device",
) -> MeshDevice:
    """Open an emulated device.

    Args:
        device_id: a number for messages.
        l1_small_size: taken as ttnn takes it; memory is not modelled.
        trace_region_size: likewise.
        num_command_queues: likewise.
        dispatch_core_config: likewise.
        worker_l1_size: likewise.
        numerics: the emulator's own. "device" rounds every result to its dtype and accumulates in float32;
            "float32" and "float64" compute and hold every real number in that type, behind the same labels.

    Raises:
        ValueError: no such numerics.
    """
    if numerics not in BY_NAME:
        raise ValueError(f"numerics {numerics!r} is not one of {', '.join(BY_NAME)}")
    return MeshDevice(device_id, BY_NAME[numerics])


def open_mesh_device(
    mesh_shape: MeshShape,
    l1_small_size: int = 0,  # ttnn's parameters; memory is not modelled
    trace_region_size: int = 0,
    num_command_queues: int = 1,
    dispatch_core_config: Any = None,
    offset: Any = None,
    physical_device_ids: Any = (),
    worker_l1_size: int = 0,
    *,
    numerics: str = "device",
) -> MeshDevice:
    """Open emulated chips in rows and columns; see ``open_device``.

    Raises:
        TypeError: ``mesh_shape`` is none.
        RuntimeError: it is empty.
        ValueError: no such numerics.
    """
    if not isinstance(mesh_shape, MeshShape):
        raise TypeError(
            f"open_mesh_device(): incompatible function arguments: {mesh_shape!r} is no MeshShape"
        )
    check(len(mesh_shape) > 0 and min(mesh_shape) > 0, f"open_mesh_device: there is no mesh of {mesh_shape}")
    if numerics not in BY_NAME:
        raise ValueError(f"numerics {numerics!r} is not one of {', '.join(BY_NAME)}")
    return MeshDevice(0, BY_NAME[numerics], mesh_shape)


def close_mesh_device(mesh_device: MeshDevice) -> None:
    """``close_device``."""
    close_device(mesh_device)


def close_device(device: MeshDevice) -> None:
    """Close a device; its tensors can no longer be used."""
    device.is_open = False


def synchronize_device(device: MeshDevice, cq_id: int | None = None) -> None:
    """Nothing: the emulator has computed what a call returned."""


def init_device_compute_kernel_config(
    arch: Arch,
    device_kernel_config: DeviceComputeKernelConfig | None = None,
    *,
    math_fidelity: MathFidelity = MathFidelity.LoFi,
    math_approx_mode: bool = True,
    fp32_dest_acc_en: bool = False,
    packer_l1_acc: bool = False,
    dst_full_sync_en: bool = False,
    throttle_level: ThrottleLevel = ThrottleLevel.NO_THROTTLE,
) -> DeviceComputeKernelConfig:
    """A kernel configuration. Without fields it is LoFi with bfloat16 accumulation, as ttnn's is."""
    if not isinstance(arch, Arch):
        raise TypeError(
            "init_device_compute_kernel_config(): incompatible function arguments: arch must be a ttnn Arch, "
            f"as device.arch() gives it, not {type(arch).__name__}"
        )
    if device_kernel_config is not None:
        return device_kernel_config
    return DeviceComputeKernelConfig(
        math_fidelity=math_fidelity,
        math_approx_mode=math_approx_mode,
        fp32_dest_acc_en=fp32_dest_acc_en,
        packer_l1_acc=packer_l1_acc,
        dst_full_sync_en=dst_full_sync_en,
        throttle_level=throttle_level,
    )

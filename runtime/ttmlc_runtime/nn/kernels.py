"""The numerics policy: how each role of op computes, said once for a model and passed to every call.

ttnn's own defaults differ from op to op, and fall to LoFi as soon as a core grid is given; so each call is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn

Keywords = dict[str, Any]


@dataclass(frozen=True)
class Kernels:
    """Keyword arguments by role: ``ttnn.linear(x, w, **kernels.matmul)``."""

    matmul: Keywords
    norm: Keywords
    attention: Keywords

    @classmethod
    def precise(cls, device: types.Device) -> Kernels:
        """Four passes a multiplication, no approximations, float32 sums: what parity is measured with."""
        config = ttnn.init_device_compute_kernel_config(
            device.arch(),
            math_fidelity=ttnn.MathFidelity.HiFi4,
            math_approx_mode=False,
            fp32_dest_acc_en=True,
            packer_l1_acc=True,
        )
        # An activation is fused into a matmul only where a core grid is given.
        matmul = {"compute_kernel_config": config, "core_grid": device.core_grid}
        return cls(matmul, {"compute_kernel_config": config}, {"compute_kernel_config": config})

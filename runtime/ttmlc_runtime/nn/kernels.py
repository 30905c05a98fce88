"""The numerics policy: how each role of op computes, said once for a module and passed to every call.

ttnn's own defaults differ from op to op, and fall to LoFi as soon as a core grid is given; so each call is told.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import BackendError

Keywords = dict[str, Any]


@dataclass(frozen=True)
class Compute:
    """How the units of a core compute: ttnn's compute kernel configuration."""

    fidelity: str = "HiFi4"
    """Passes a multiplication takes: LoFi 1, HiFi2 2, HiFi3 3, HiFi4 4; fewer drop low bits of the operands."""
    float32_sums: bool = True
    """Whether sums are kept in float32; else in bfloat16, with twice the room for tiles in flight."""
    approximate: bool = False
    """Whether exponentials and their like may be approximated."""

    def __post_init__(self) -> None:
        if not hasattr(types.MathFidelity, self.fidelity):
            raise BackendError(f"fidelity {self.fidelity!r} is not one of LoFi, HiFi2, HiFi3, HiFi4")


HIFI4 = Compute()
HIFI2 = Compute("HiFi2")


@dataclass(frozen=True)
class Policy:
    """How each role of op computes. What a module does not use is of no account."""

    matmul: Compute = HIFI4
    attention: Compute = HIFI4
    norm: Compute = HIFI4
    softmax: Compute = HIFI4
    reduce: Compute = HIFI4
    loss: Compute = HIFI4


@dataclass(frozen=True)
class Kernels:
    """Keyword arguments by role, for one device: ``ttnn.linear(x, w, **kernels.matmul)``."""

    matmul: Keywords
    attention: Keywords
    norm: Keywords
    softmax: Keywords
    reduce: Keywords
    loss: Keywords

    @classmethod
    def of(cls, policy: Policy, device: types.Device) -> Kernels:
        """What ``policy`` means on ``device``."""
        made = {role.name: keywords(getattr(policy, role.name), device) for role in fields(policy)}
        # An activation is fused into a matmul only where a core grid is given.
        made["matmul"]["core_grid"] = device.core_grid
        return cls(**made)


def keywords(compute: Compute, device: types.Device) -> Keywords:
    """What ``compute`` means on ``device``, as an op takes it."""
    return {"compute_kernel_config": _config(compute, device)}


def _config(compute: Compute, device: types.Device) -> Any:
    return ttnn.init_device_compute_kernel_config(
        device.arch(),
        math_fidelity=getattr(ttnn.MathFidelity, compute.fidelity),
        math_approx_mode=compute.approximate,
        fp32_dest_acc_en=compute.float32_sums,
        packer_l1_acc=True,  # partial sums of a long product stay in L1 in the format of the sums
    )

"""What every op checks of its kernel configuration."""

from __future__ import annotations

import warnings

from ttmlc_runtime.emulator.dtypes import DeviceComputeKernelConfig, MathFidelity
from ttmlc_runtime.emulator.tensor import Tensor

_warned: set[str] = set()


def modelled(config: DeviceComputeKernelConfig | None, tensor: Tensor, op: str) -> None:
    """Warn, once for each op, about a configuration whose rounding the emulator does not model."""
    device = tensor.device()
    if device is None or device.exact or op in _warned:
        return
    if config is None or config.math_fidelity is not MathFidelity.HiFi4 or not config.fp32_dest_acc_en:
        _warned.add(op)
        warnings.warn(
            f"{op}: the emulator computes as HiFi4 with float32 accumulation; this call asks for less, "
            "and a board would round more than is shown here",
            stacklevel=3,
        )

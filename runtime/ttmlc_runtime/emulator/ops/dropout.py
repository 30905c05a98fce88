"""Dropout."""

from __future__ import annotations

from ttmlc_runtime.emulator import gradients
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import result
from ttmlc_runtime.emulator.ops.table import Operand, op, unsigned
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.experimental.dropout"
DROPPED = Operand(frozenset({DataType.BFLOAT16}), Layout.TILE)


@op("experimental.dropout", input_tensor=DROPPED, output_tensor=DROPPED)
def dropout(
    input_tensor: Tensor,
    probability: float,
    scale: float,
    seed: int,
    *,
    use_per_device_seed: bool = True,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """X * scale, and 0 where an element is dropped, which is so likely.

    The seed and the shape decide which are dropped, the same in all numerics; a board drops others. ``probability`` is
    not checked, as in ttnn: below 0 nothing is dropped, above 1 everything.
    """
    unsigned(NAME, "seed", seed)
    device = input_tensor.device()
    if use_per_device_seed and device is not None and device.get_num_devices() > 1:
        raise unmodelled(f"{NAME}: another seed on each chip (use_per_device_seed=True)")
    check(
        output_tensor is None or output_tensor.shape == input_tensor.shape,
        f"{NAME}: preallocated_output_shape == input_tensor.logical_shape(): "
        f"{output_tensor and output_tensor.shape} and {input_tensor.shape}",
    )
    y = gradients.dropout(input_tensor.array, float(probability), float(scale), int(seed))
    padding = WILD if input_tensor.wild else FINITE
    return result(y, input_tensor, padding=padding, memory=memory_config, output=output_tensor, op=NAME)

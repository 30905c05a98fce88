"""Steps of optimizers."""

from __future__ import annotations

import math

from ttmlc_runtime.emulator import gradients
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op, unsigned, written_as
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

ADAMW = Operand(frozenset({DataType.BFLOAT16, DataType.BFLOAT8_B}), Layout.TILE)
ADAM = Operand(frozenset({DataType.BFLOAT16}), Layout.TILE)


def _step(
    name: str,
    operand: Operand,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor],
    outputs: tuple[Tensor | None, Tensor | None, Tensor | None],
    maximum: tuple[Tensor | None, Tensor | None],
    amsgrad: bool | None,
    step: int | None,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
    decoupled: bool,
    memory: MemoryConfig | None,
    config: DeviceComputeKernelConfig | None,
) -> list[Tensor | None]:
    """One step of Adam: [parameter, first moment, second moment, largest second moment or None]."""
    if step is not None:
        unsigned(name, "step", step)
    if amsgrad or any(tensor is not None for tensor in maximum):
        raise unmodelled(f"{name}: amsgrad")
    # ttnn takes step 0, which is the default as well, and divides by 1 - beta ** 0.
    check(bool(step), f"{name}: step counts from 1, not {step}", "Pass step=")
    check(max(betas) < 1, f"{name}: beta1 and beta2 must be less than 1, not {betas[0]} and {betas[1]}")
    param = tensors[0]
    for tensor, which in zip(tensors[1:], ("grad", "exp_avg_in", "exp_avg_sq_in"), strict=True):
        check(
            tensor.shape == param.shape,
            f"{name}: {which} must have the shape of param_in: {tensor.shape} and {param.shape}",
        )
    names = ("param_out", "exp_avg_out", "exp_avg_sq_out")
    written_as(name, operand, param.shape, **dict(zip(names, outputs, strict=True)))
    modelled(config, param, name)
    assert step is not None  # it is not 0 either
    places = (param, tensors[2], tensors[3])
    first, second, third = (_reused(into, place) for into, place in zip(outputs, places, strict=True))
    made = gradients.adam(
        (param.array, tensors[1].array, tensors[2].array, tensors[3].array),
        (first, second, third),
        keep=1 - lr * decay if decoupled else 1.0,
        pull=0.0 if decoupled else decay,
        beta1=betas[0],
        beta2=betas[1],
        step=lr / (1 - betas[0] ** step),
        correction=1 / math.sqrt(1 - betas[1] ** step),
        eps=eps,
    )
    # The second moment is made of squares: its root is a number in the padding too.
    padding = WILD if any(tensor.wild for tensor in tensors) else FINITE
    written: list[Tensor | None] = [
        result(values, param, padding=padding, memory=memory, output=into, op=name)
        for values, into in zip(made, outputs, strict=True)
    ]
    return [*written, None]


def _reused(output: Tensor | None, read: Tensor) -> Array | None:
    """The array of a tensor that is read and written, to be written into: a step is bound by memory, and fresh arrays
    would take half as long again."""
    same = output is not None and output.buffer_address() == read.buffer_address()
    return output.own_array() if output is not None and same else None


@op("moreh_adamw", param_in=ADAMW, grad=ADAMW, exp_avg_in=ADAMW, exp_avg_sq_in=ADAMW)
def moreh_adamw(
    param_in: Tensor,
    grad: Tensor,
    exp_avg_in: Tensor,
    exp_avg_sq_in: Tensor,
    lr: float | None = 1e-3,
    beta1: float | None = 0.9,
    beta2: float | None = 0.999,
    eps: float | None = 1e-8,
    weight_decay: float | None = 1e-2,
    step: int | None = 0,
    amsgrad: bool | None = False,
    *,
    max_exp_avg_sq_in: Tensor | None = None,
    param_out: Tensor | None = None,
    exp_avg_out: Tensor | None = None,
    exp_avg_sq_out: Tensor | None = None,
    max_exp_avg_sq_out: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> list[Tensor | None]:
    """[parameter, first moment, second moment, None] after a step; in place where the inputs are the outputs too."""
    return _step(
        "ttnn.moreh_adamw", ADAMW, (param_in, grad, exp_avg_in, exp_avg_sq_in),
        (param_out, exp_avg_out, exp_avg_sq_out), (max_exp_avg_sq_in, max_exp_avg_sq_out), amsgrad, step,
        1e-3 if lr is None else lr, (0.9 if beta1 is None else beta1, 0.999 if beta2 is None else beta2),
        1e-8 if eps is None else eps, 1e-2 if weight_decay is None else weight_decay, True, memory_config,
        compute_kernel_config,
    )  # fmt: skip


@op("moreh_adam", param_in=ADAM, grad=ADAM, exp_avg_in=ADAM, exp_avg_sq_in=ADAM)
def moreh_adam(
    param_in: Tensor,
    grad: Tensor,
    exp_avg_in: Tensor,
    exp_avg_sq_in: Tensor,
    *,
    lr: float | None = 1e-3,
    beta1: float | None = 0.9,
    beta2: float | None = 0.999,
    eps: float | None = 1e-8,
    weight_decay: float | None = 0.0,
    step: int | None = 0,
    amsgrad: bool | None = False,
    max_exp_avg_sq_in: Tensor | None = None,
    param_out: Tensor | None = None,
    exp_avg_out: Tensor | None = None,
    exp_avg_sq_out: Tensor | None = None,
    max_exp_avg_sq_out: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> list[Tensor | None]:
    """The same where ``weight_decay`` is added to the gradient instead."""
    return _step(
        "ttnn.moreh_adam", ADAM, (param_in, grad, exp_avg_in, exp_avg_sq_in),
        (param_out, exp_avg_out, exp_avg_sq_out), (max_exp_avg_sq_in, max_exp_avg_sq_out), amsgrad, step,
        1e-3 if lr is None else lr, (0.9 if beta1 is None else beta1, 0.999 if beta2 is None else beta2),
        1e-8 if eps is None else eps, 0.0 if weight_decay is None else weight_decay, False, memory_config,
        compute_kernel_config,
    )  # fmt: skip

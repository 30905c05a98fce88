"""Layer norm that keeps its statistics, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc_runtime.emulator import gradients
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.norm import tame
from ttmlc_runtime.emulator.ops.result import modelled, result
from ttmlc_runtime.emulator.ops.table import Operand, op, unsigned, written_as
from ttmlc_runtime.emulator.padding import FINITE, WILD
from ttmlc_runtime.emulator.refusal import check, fatal, unmodelled
from ttmlc_runtime.emulator.settings import DeviceComputeKernelConfig
from ttmlc_runtime.emulator.tensor import Tensor

TILES = Operand(frozenset({DataType.BFLOAT16}), Layout.TILE)


def _canonical(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of two dims or more, as ttnn compares them."""
    return (1,) * (2 - len(shape)) + tuple(shape)


def _shaped(op_name: str, shape: Sequence[int], **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        check(
            tensor is None or _canonical(tensor.shape) == _canonical(shape),
            f"{op_name}: {name} must have logical shape {list(shape)}. Got {tensor and tensor.shape}",
        )


def _one_dim(op_name: str, dims: int, x: Tensor) -> None:
    """Refuse any number of normalised dims but one."""
    check(dims > 0, f"{op_name}: normalized_dims should > 0. Got {dims}")
    rank = max(2, len(x.shape))
    check(dims <= rank, f"{op_name}: normalized_dims should <= input rank ({rank}). Got: {dims}")
    if dims > 1:
        raise unmodelled(f"{op_name}: normalized_dims={dims}")
    check(len(x.shape) > 0, f"{op_name}: a tensor without dims is not normalised")


@op("moreh_layer_norm", input=TILES, gamma=TILES, beta=TILES, output=TILES, mean=TILES, rstd=TILES)
def moreh_layer_norm(
    input: Tensor,  # noqa: A002  # ttnn's own name
    normalized_dims: int,
    eps: float = 1e-5,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    output: Tensor | None = None,
    mean: Tensor | None = None,
    rstd: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> list[Tensor | None]:
    """[(x - mean) rstd gamma + beta, mean, rstd] over the last dim.

    The statistics have x's shape without that dim; each is written where a tensor is given for it, and None elsewhere.
    """
    name, x = "ttnn.moreh_layer_norm", input
    unsigned(name, "normalized_dims", normalized_dims)
    _one_dim(name, normalized_dims, x)
    shape = tuple(x.shape)
    _shaped(name, shape[:-1], mean=mean, rstd=rstd)
    for vector, which in ((gamma, "gamma"), (beta, "beta")):
        # ttnn takes any, and reads the tiles that should be there.
        check(
            vector is None or (vector.logical_volume() == shape[-1] and vector.shape[-1] == shape[-1]),
            f"{name}: {which} must be one row of {shape[-1]}, not {vector and vector.shape}",
        )
    written_as(name, TILES, shape, output=output)
    modelled(compute_kernel_config, x, name)
    tame(x, "input", name)
    y, middle, scale = gradients.normalise(
        x.array,
        None if gamma is None else gamma.array.reshape(-1),
        None if beta is None else beta.array.reshape(-1),
        eps,
    )
    wild = x.wild or any(one is not None and one.wild_row for one in (gamma, beta))
    padding = WILD if wild else FINITE
    made: list[Tensor | None] = [result(y, x, padding=padding, memory=memory_config, output=output, op=name)]
    for values, into in ((middle, mean), (scale, rstd)):
        if into is not None:
            into.write(values.reshape(into.shape), padding)
        made.append(into)
    return made


@op("moreh_layer_norm_backward")
def moreh_layer_norm_backward(
    output_grad: Tensor,
    input: Tensor,  # noqa: A002  # ttnn's own name
    mean: Tensor,
    rstd: Tensor,
    normalized_dims: int,
    *,
    gamma: Tensor | None = None,
    input_grad: Tensor | None = None,
    gamma_grad: Tensor | None = None,
    beta_grad: Tensor | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: DeviceComputeKernelConfig | None = None,
) -> list[Tensor | None]:
    """[the gradient of x, of gamma, of beta], each where a tensor to write it into is given, and None elsewhere.

    Without any of them nothing is computed, and nothing is looked at, as in ttnn. Gamma is of no account without
    ``input_grad``.
    """
    name, x = "ttnn.moreh_layer_norm_backward", input
    unsigned(name, "normalized_dims", normalized_dims)
    outputs = {"input_grad": input_grad, "gamma_grad": gamma_grad, "beta_grad": beta_grad}
    if not any(tensor is not None for tensor in outputs.values()):
        return [None, None, None]
    scale = gamma if input_grad is not None else None
    read = {"output_grad": output_grad, "input": x, "mean": mean, "rstd": rstd, "gamma": scale}
    for which, tensor in (*read.items(), *outputs.items()):
        if tensor is not None:
            TILES.admit(name, which, tensor)
    _one_dim(name, normalized_dims, x)
    shape = tuple(x.shape)
    check(
        output_grad.shape == shape,
        f"{name}: output_grad and input should have the same logical shape: {output_grad.shape} and {x.shape}",
    )
    _shaped(name, shape[:-1], mean=mean, rstd=rstd)
    _shaped(name, shape[-1:], gamma=scale, gamma_grad=gamma_grad, beta_grad=beta_grad)
    check(
        input_grad is None or input_grad.shape == shape,
        f"{name}: input_grad and input should have the same logical shape",
    )
    check(len(shape) > 1, f"{name}: ShapeBase[] index out of range: a vector has no rows")
    modelled(compute_kernel_config, x, name)
    for tensor, which in ((output_grad, "output_grad"), (x, "input")):
        tame(tensor, which, name)
        # Rows beyond the last are multiplied by zero as well, where rows are added up.
        if tensor.ragged_rows and tensor.wild and (gamma_grad is not None or beta_grad is not None):
            raise fatal(
                f"{name}: the padding of {which} is not made of numbers, and the sum over rows would be NaN",
                f"Fill it: ttnn.fill_implicit_tile_padding({which}, 0)",
            )
    found = gradients.normalise_backward(
        output_grad.array,
        x.array,
        mean.array.reshape(shape[:-1]),
        rstd.array.reshape(shape[:-1]),
        None if scale is None else scale.array.reshape(-1),
        inner=input_grad is not None,
    )
    for into, values in zip(outputs.values(), found, strict=True):
        if into is not None and values is not None:
            into.write(values.reshape(into.shape), FINITE)
    return list(outputs.values())

"""A stand-in for the module ``ttnn``: its names, arguments, dtypes, layouts and refusals, on numpy.

One program, two numerics. On a device opened as ``numerics="device"`` every result is rounded to its dtype, as a
board's tensor would be; opened as ``"float32"`` or ``"float64"`` the same program computes exactly, behind the same
labels. See ``docs/emulator.md`` for what is modelled.
"""

from __future__ import annotations

from types import SimpleNamespace

from ttmlc_runtime.emulator.device import (
    Arch,
    Device,
    MeshDevice,
    close_device,
    init_device_compute_kernel_config,
    open_device,
)
from ttmlc_runtime.emulator.dtypes import (
    DRAM_MEMORY_CONFIG,
    L1_MEMORY_CONFIG,
    ROW_MAJOR_LAYOUT,
    TILE_LAYOUT,
    TILE_SIZE,
    BufferType,
    CoreGrid,
    DataType,
    DeviceComputeKernelConfig,
    GeluVariant,
    Layout,
    MathFidelity,
    MemoryConfig,
    TensorMemoryLayout,
    UnaryOpType,
    bfloat4_b,
    bfloat8_b,
    bfloat16,
    float32,
    int32,
    uint8,
    uint16,
    uint32,
)
from ttmlc_runtime.emulator.ops.attention import (
    nlp_concat_heads,
    nlp_create_qkv_heads,
    scaled_dot_product_attention,
)
from ttmlc_runtime.emulator.ops.creation import (
    full,
    full_like,
    max_ as max,
    mean,
    min_ as min,
    ones,
    ones_like,
    sum_ as sum,
    zeros,
    zeros_like,
)
from ttmlc_runtime.emulator.ops.eltwise import (
    abs_ as abs,
    add,
    div,
    eq,
    erf,
    exp,
    ge,
    gelu,
    gt,
    le,
    log,
    lt,
    multiply,
    ne,
    neg,
    reciprocal,
    relu,
    rsqrt,
    sigmoid,
    silu,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from ttmlc_runtime.emulator.ops.matmul import linear, matmul
from ttmlc_runtime.emulator.ops.rowwise import embedding, layer_norm, rms_norm, softmax
from ttmlc_runtime.emulator.ops.shape import (
    clone,
    concat,
    deallocate,
    fill_implicit_tile_padding,
    from_device,
    permute,
    reshape,
    slice_ as slice,
    to_device,
    to_dtype,
    to_layout,
    transpose,
    typecast,
)
from ttmlc_runtime.emulator.tensor import Shape, Tensor


class transformer(SimpleNamespace):  # noqa: N801  # ttnn's own name
    """The ops of ``ttnn.transformer``."""

    scaled_dot_product_attention = staticmethod(scaled_dot_product_attention)


class experimental(SimpleNamespace):  # noqa: N801  # ttnn's own name
    """The ops of ``ttnn.experimental``."""

    nlp_create_qkv_heads = staticmethod(nlp_create_qkv_heads)
    nlp_concat_heads = staticmethod(nlp_concat_heads)


__all__ = [
    "DRAM_MEMORY_CONFIG",
    "L1_MEMORY_CONFIG",
    "ROW_MAJOR_LAYOUT",
    "TILE_LAYOUT",
    "TILE_SIZE",
    "Arch",
    "BufferType",
    "CoreGrid",
    "DataType",
    "Device",
    "DeviceComputeKernelConfig",
    "GeluVariant",
    "Layout",
    "MathFidelity",
    "MemoryConfig",
    "MeshDevice",
    "Shape",
    "Tensor",
    "TensorMemoryLayout",
    "UnaryOpType",
    "abs",
    "add",
    "bfloat4_b",
    "bfloat8_b",
    "bfloat16",
    "clone",
    "close_device",
    "concat",
    "deallocate",
    "div",
    "embedding",
    "eq",
    "erf",
    "exp",
    "experimental",
    "fill_implicit_tile_padding",
    "float32",
    "from_device",
    "full",
    "full_like",
    "ge",
    "gelu",
    "gt",
    "init_device_compute_kernel_config",
    "int32",
    "layer_norm",
    "le",
    "linear",
    "log",
    "lt",
    "matmul",
    "max",
    "mean",
    "min",
    "multiply",
    "ne",
    "neg",
    "ones",
    "ones_like",
    "open_device",
    "permute",
    "reciprocal",
    "relu",
    "reshape",
    "rms_norm",
    "rsqrt",
    "sigmoid",
    "silu",
    "slice",
    "softmax",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "tanh",
    "to_device",
    "to_dtype",
    "to_layout",
    "transformer",
    "transpose",
    "typecast",
    "uint8",
    "uint16",
    "uint32",
    "where",
    "zeros",
    "zeros_like",
]  # fmt: skip


def __getattr__(name: str) -> object:
    raise AttributeError(f"the emulator does not model ttnn.{name}")

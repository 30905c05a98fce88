"""Between host and device, between layouts, and between dtypes."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import COUNTED, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import copied, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, Padding, after
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor

ANYWHERE = Operand(host=True)


@op("to_device", tensor=ANYWHERE)
def to_device(
    tensor: Tensor,
    device: MeshDevice,
    memory_config: MemoryConfig | None = None,
    *,
    cq_id: int | None = None,  # there is one queue
) -> Tensor:
    """A host tensor on ``device``; one that is there already is itself."""
    check(device.is_open, f"ttnn.to_device: {device!r} was closed")
    if tensor.device() is device:
        return tensor.alias()
    array = device.arithmetic.held(np.array(tensor.array), tensor.dtype)
    return Tensor.make(
        array,
        tensor.dtype,
        tensor.layout,
        device,
        device.arithmetic,
        padding=tensor.padding,
        memory=memory_config,
    )


@op("from_device", tensor=ANYWHERE)
def from_device(tensor: Tensor, blocking: bool = True, *, cq_id: int | None = None) -> Tensor:
    """A device tensor on the host."""
    return tensor.cpu(blocking, cq_id)


def _cast(tensor: Tensor, dtype: DataType) -> Padding:
    """The padding of ``tensor`` under another label."""
    if dtype.is_float or tensor.padding is FINITE:
        return tensor.padding
    return after(np.trunc, [tensor.padding], total=False)


@op("to_dtype", tensor=ANYWHERE)
def to_dtype(tensor: Tensor, dtype: DataType) -> Tensor:
    """A host tensor under another label. What came from an exact device stays exact.

    Raises:
        RuntimeError: the tensor is on a device, or rows would have to become tiles.
    """
    check(
        tensor.device() is None,
        "ttnn.to_dtype: Expected Tensor with HostStorage, got StorageType::DEVICE",
        "Bring it to the host first: tensor.cpu(). On the device use ttnn.typecast",
    )
    check(
        not dtype.is_block
        or tensor.layout is Layout.TILE
        or (tensor.padded_shape[-2:] == tensor.shape[-2:] and not any(n % 32 for n in tensor.shape[-2:])),
        f"ttnn.to_dtype: Converting layout to Layout::TILE implicitly changed physical shape, which {dtype!r} needs",
        "Make it tiles first: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    array = tensor.numerics.held(np.array(tensor.array), dtype)
    layout = Layout.TILE if dtype.is_block else tensor.layout
    return Tensor.make(array, dtype, layout, None, tensor.numerics, padding=_cast(tensor, dtype))


@op("typecast", input_tensor=Operand())
def typecast(
    input_tensor: Tensor,
    dtype: DataType,
    output_dtype: DataType | None = None,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """A copy under another label; with two labels, the first is what the tensor has."""
    label = output_dtype or dtype
    check(
        output_dtype is None or dtype is input_tensor.dtype,
        f"ttnn.typecast: the tensor is {input_tensor.dtype!r}, not {dtype!r}",
    )
    check(
        not label.is_block or input_tensor.layout is Layout.TILE,
        f"ttnn.typecast: Only TILE layout is supported for {label!r}",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    return result(
        copied(input_tensor), input_tensor, label, padding=_cast(input_tensor, label), memory=memory_config,
        output=output_tensor, op="ttnn.typecast",
    )  # fmt: skip


@op("to_layout", tensor=ANYWHERE)
def to_layout(
    tensor: Tensor,
    layout: Layout,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    sub_core_grids: None = None,  # ttnn's parameter
    pad_value: float = 0.0,
) -> Tensor:
    """The tensor in tiles or rows; itself where it is so already, whatever ``dtype`` says, as in ttnn."""
    if tensor.layout is layout:
        return tensor.alias()
    label = tensor.dtype
    if layout is Layout.ROW_MAJOR:
        whole = tensor.device() is None and tensor.padded_shape == tensor.shape
        if label.is_block and whole:
            return tensor.alias()  # ttnn's host leaves whole tiles of the block formats as they are
        check(
            not label.is_block or (label is not DataType.BFLOAT4_B and tensor.device() is not None),
            f"ttnn.to_layout: {label!r} does not become ROW_MAJOR here",
            "Convert it first: ttnn.typecast(tensor, ttnn.bfloat16)",
        )
        label = DataType.BFLOAT16 if label.is_block else label
        check(
            dtype is None or dtype is label or tensor.device() is None,
            f"ttnn.to_layout: dtype cannot be different from tensor dtype when converting to ROW_MAJOR: {dtype!r}",
        )
    elif tensor.device() is not None:
        check(
            label is not DataType.UINT8,
            "ttnn.to_layout: Can only tilize bfloat16/float32 or int32/uint32/uint16 tensors",
            "Convert it first: ttnn.typecast",
        )
        label = dtype or label  # on the host ttnn does not convert
    return result(
        copied(tensor), tensor, label, layout=layout, padding=float(pad_value), memory=memory_config
    )


@op("to_memory_config", tensor=Operand())
def to_memory_config(
    tensor: Tensor,
    memory_config: MemoryConfig,
    dtype: DataType | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """The tensor in DRAM or L1, perhaps under another label; itself where it is there already, whatever the label."""
    name = "ttnn.to_memory_config"
    if tensor.memory_config() == memory_config and output_tensor is None:
        return tensor.alias()
    label = dtype or tensor.dtype
    check(
        label is tensor.dtype or tensor.layout is Layout.TILE,
        f"{name}: Only tile layout supports dtype conversion",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    check(
        output_tensor is None or output_tensor.memory_config() == memory_config,
        f"{name}: Mismatched output memory config",
    )
    check(
        output_tensor is None or output_tensor.dtype is label,
        f"{name}: Mismatched output dtype",
    )
    return result(
        copied(tensor), tensor, label, padding=_cast(tensor, label), memory=memory_config,
        output=output_tensor, op=name,
    )  # fmt: skip


@op("clone", input=Operand())
def clone(
    input: Tensor,  # noqa: A002  # ttnn's own name
    *,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    compute_kernel_config: object = None,  # a copy computes nothing
) -> Tensor:
    """A copy, perhaps under another label."""
    check(
        dtype in (None, input.dtype) or input.layout is Layout.TILE,
        "ttnn.clone: data type conversion is only supported with tile layout",
    )
    padding = input.padding if dtype is None else _cast(input, dtype)
    return result(copied(input), input, dtype, padding=padding, memory=memory_config)


@op("copy", input_a=Operand(COUNTED), input_b=Operand(COUNTED))
def copy(input_a: Tensor, input_b: Tensor) -> Tensor:
    """The values of the first in the second, for every alias of it to see."""
    check(
        input_a.layout is input_b.layout,
        f"ttnn.copy: Input tensor layout ({input_a.layout!r}) must equal output tensor layout ({input_b.layout!r})",
        "Convert one: ttnn.to_layout",
    )
    check(
        input_a.dtype is input_b.dtype or input_a.layout is Layout.TILE,
        "ttnn.copy: Only tile layout supports dtype conversion",
        "Convert them: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )
    return result(
        copied(input_a),
        input_a,
        padding=_cast(input_a, input_b.dtype),
        output=input_b,
        op="ttnn.copy",
    )


@op("copy_host_to_device_tensor", host_tensor=ANYWHERE, device_tensor=Operand())
def copy_host_to_device_tensor(
    host_tensor: Tensor,
    device_tensor: Tensor,
    cq_id: int | None = None,  # there is one queue
) -> None:
    """The values of a host tensor in a device tensor that is there already."""
    check(host_tensor.device() is None, "ttnn.copy_host_to_device_tensor: the first tensor is on a device")
    check(
        host_tensor.shape == device_tensor.shape,
        "ttnn.copy_host_to_device_tensor: Host tensor has different shape",
    )
    check(
        host_tensor.dtype is device_tensor.dtype,
        "ttnn.copy_host_to_device_tensor: Host tensor has different dtype",
    )
    check(
        host_tensor.layout is device_tensor.layout,
        "ttnn.copy_host_to_device_tensor: Host tensor has different page config",
    )
    device_tensor.write(np.array(host_tensor.array), host_tensor.padding)


def deallocate(tensor: Tensor, force: bool = True) -> None:
    """Free a tensor's buffer, and with it every alias; again is nothing. Without ``force`` only if there is none."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"deallocate(): incompatible function arguments: a Tensor is needed, not {type(tensor).__name__}"
        )
    tensor.deallocate(force)


def get_device_tensors(tensor: Tensor) -> list[Tensor]:
    """The tensor of each chip."""
    return [tensor.part(chip) for chip in range(tensor.chips)]


def is_tensor_storage_on_device(tensor: Tensor) -> bool:
    """Whether the tensor is on a device."""
    return tensor.device() is not None

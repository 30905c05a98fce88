"""Elements picked along a dim by an index of the same rank."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.dtypes import COUNTED, DataType, MemoryConfig
from ttmlc_runtime.emulator.ops.result import moved, result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.gather"


@op(
    "gather",
    ignored=("sparse_grad",),
    input=Operand(COUNTED),
    index=Operand(frozenset({DataType.UINT32, DataType.UINT16})),
)
def gather(
    input: Tensor,  # noqa: A002  # ttnn's own name
    dim: int,
    index: Tensor,
    *,
    memory_config: MemoryConfig | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """input[..., index, ...] along ``dim``: the result has the shape of ``index`` and the dtype of ``input``.

    Where ``input`` is larger than ``index`` along another dim, only its beginning is read. An index beyond ``dim``,
    which a board would follow in silence, is refused.
    """
    check(
        input.layout is index.layout,
        f"{NAME}: Input tensor and index tensor must have the same layout: {input.layout!r} and {index.layout!r}",
        "Convert one: ttnn.to_layout",
    )
    values, places = input.array, index.array
    rank = values.ndim
    check(
        rank == places.ndim,
        f"{NAME}: Input and index tensor must have the same number of dimensions: {rank} and {places.ndim}",
    )
    check(rank >= 2, f"{NAME}: a tensor of {rank} dims: Can't convert shape rank", "Reshape it to two dims")
    check(-rank <= dim < rank, f"{NAME}: dim {dim} is out of range for tensor rank {rank}")
    along = dim % rank
    beyond = [d for d in range(rank) if d != along and places.shape[d] > values.shape[d]]
    check(
        not beyond,
        f"{NAME}: the index is {list(places.shape)} and the input {list(values.shape)}: Ends must be less than or "
        "equal to the shape of the tensor",
    )
    if places.size:
        largest = int(places.max())
        check(
            largest < values.shape[along],
            f"{NAME}: index {largest} is beyond the {values.shape[along]} elements of dim {dim}",
        )
    corner = tuple(slice(None) if d == along else slice(size) for d, size in enumerate(places.shape))
    y = np.take_along_axis(values[corner], places.astype(np.int64), along)
    if out is None:
        return moved(
            y, input, memory=memory_config or (input if along == rank - 1 else index).memory_config()
        )
    if along != rank - 1:
        raise unmodelled(
            f"{NAME}: out= along another dim than the last, where ttnn makes a new tensor after all,"
        )
    return result(y, input, output=out, op=NAME)

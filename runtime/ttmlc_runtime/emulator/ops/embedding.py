"""Rows looked up by index."""

from __future__ import annotations

import numpy as np

from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.ops.result import result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Tensor

NAME = "ttnn.embedding"


@op(
    "embedding",
    ignored=("embeddings_type",),
    input_tensor=Operand(frozenset({DataType.UINT32, DataType.BFLOAT16})),
    weight=Operand(frozenset({DataType.BFLOAT16, DataType.BFLOAT8_B})),
)
def embedding(
    input_tensor: Tensor,
    weight: Tensor,
    *,
    padding_idx: int | None = None,  # without embeddings_type ttnn does nothing with it either
    layout: Layout | None = None,
    dtype: DataType | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """weight[ids]: ids uint32 [B, S], weight bfloat16 [rows, features], the result [B, S, features].

    A bfloat8_b weight is unpacked to bfloat16 first. The layout is the weight's where none is named.

    Ids that would be wrong in silence on a board are refused: beyond the table, in a dtype that rounds them, or with
    more than one batch dim, of which ttnn reads only the first.
    """
    ids, table = input_tensor.array, weight.array
    check(table.ndim >= 2, f"{NAME}: weight must be [rows, features], not {list(table.shape)}")
    check(
        all(size == 1 for size in table.shape[:-2]),
        f"{NAME}: First two dimensions for the weights must be 1: {list(table.shape)}",
    )
    check(ids.ndim >= 1, f"{NAME}: ids must have a dim at least")
    check(
        all(size == 1 for size in ids.shape[1:-1]) or ids.ndim <= 2,
        f"{NAME}: ids {list(ids.shape)}: ttnn would read the first {ids.shape[0]} x {ids.shape[-1]} of them only",
        "Reshape them to two dims",
    )
    rows = table.reshape(table.shape[-2:])
    if ids.size:
        largest = int(ids.max())
        check(
            input_tensor.dtype is DataType.UINT32 or largest <= 256,
            f"{NAME}: ids up to {largest} in bfloat16, which holds integers up to 256",
            "Make them uint32",
        )
        check(largest < rows.shape[0], f"{NAME}: id {largest} is beyond the table's {rows.shape[0]} rows")
    where = layout or weight.layout
    label = dtype or DataType.BFLOAT16
    if where is Layout.ROW_MAJOR:
        label = DataType.BFLOAT16  # whatever was asked for, as in ttnn
    batch = ids.shape[:1] if ids.ndim >= 2 else ()
    looked_up = np.take(rows, ids.reshape(-1).astype(np.int64), axis=0)
    y = looked_up.reshape(*batch, ids.shape[-1], rows.shape[-1])
    if output_tensor is not None:
        label = dtype or output_tensor.dtype
        check(
            not label.is_block or where is Layout.TILE,
            f"{NAME}: Only TILE layout is supported for {label!r}",
            "Say layout=ttnn.TILE_LAYOUT",
        )
    return result(
        y,
        weight,
        label,
        layout=where,
        padding=0.0,
        memory=memory_config or input_tensor.memory_config(),  # wherever the table is
        output=output_tensor,
        op=NAME,
    )

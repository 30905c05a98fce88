"""What the emulator refuses, shares and forgets: the rules of ttnn 0.81.1's own front end."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import backend
from ttmlc_runtime import emulator as ttnn
from ttmlc_runtime.emulator.ops import result
from ttmlc_runtime.errors import BackendError

D = ttnn.open_device(0, numerics="float32")
sdpa = ttnn.transformer.scaled_dot_product_attention


def t(
    *shape: int, dtype: ttnn.DataType = ttnn.bfloat16, layout: ttnn.Layout = ttnn.TILE_LAYOUT
) -> ttnn.Tensor:
    return ttnn.Tensor(np.ones(shape, np.float32 if dtype.is_float else np.int32), dtype, D, layout)


ROWS = ttnn.ROW_MAJOR_LAYOUT
IDS = t(2, 7, dtype=ttnn.uint32, layout=ROWS)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "linear in rows": (lambda: ttnn.linear(t(1, 1, 32, 32, layout=ROWS), t(32, 32)), "must be tilized"),
    "linear of integers": (lambda: ttnn.linear(t(32, 32, dtype=ttnn.int32), t(32, 32)), "unsupported data type"),
    "linear of other widths": (lambda: ttnn.linear(t(1, 1, 32, 64), t(32, 32)), "width of the first tensor"),
    "unknown activation": (lambda: ttnn.linear(t(32, 32), t(32, 32), activation="swoosh"), "Unknown unary op"),
    "heads that do not broadcast": (lambda: ttnn.matmul(t(2, 12, 32, 32), t(2, 4, 32, 32)), "mismatch"),
    "bias of another width": (lambda: ttnn.linear(t(32, 32), t(32, 64), bias=t(32)), "Unsupported bias shape"),
    "embedding by int32": (
        lambda: ttnn.embedding(t(2, 7, dtype=ttnn.int32, layout=ROWS), t(9, 32, layout=ROWS)), "unsupported data type",
    ),
    "embedding of float32": (
        lambda: ttnn.embedding(IDS, t(9, 32, dtype=ttnn.float32, layout=ROWS)), "unsupported data type of weight",
    ),
    "norm by a vector in rows": (lambda: ttnn.layer_norm(t(1, 1, 7, 64), weight=t(64, layout=ROWS)), "tile width"),
    "norm by another width": (lambda: ttnn.layer_norm(t(1, 1, 7, 64), weight=t(32)), "padded widths must match"),
    "residual of another shape": (
        lambda: ttnn.layer_norm(t(2, 1, 7, 64), residual_input_tensor=t(1, 1, 7, 64)), "padded shapes must match",
    ),
    "attention in float32": (lambda: sdpa(*[t(1, 1, 32, 32, dtype=ttnn.float32)] * 3), "unsupported data type"),
    "head_dim of 40": (lambda: sdpa(*[t(1, 1, 32, 40)] * 3), "Padding is not supported on the head_dim"),
    "mask and causality": (lambda: sdpa(*[t(1, 1, 32, 32)] * 3, attn_mask=t(1, 1, 32, 32)), "cannot both be present"),
    "mask of one row": (
        lambda: sdpa(*[t(1, 1, 32, 32)] * 3, attn_mask=t(1, 1, 1, 32), is_causal=False), "Mask sequence length",
    ),
    "mask of another batch": (
        lambda: sdpa(*[t(3, 1, 32, 32)] * 3, attn_mask=t(2, 1, 32, 32), is_causal=False), "Mask batch dim",
    ),
    "kv heads that do not divide": (
        lambda: sdpa(t(1, 3, 32, 32), t(1, 2, 32, 32), t(1, 2, 32, 32)), "divisible by K num_heads",
    ),
    "mask whose padding lets keys through": (
        lambda: sdpa(*[t(1, 1, 33, 32)] * 3, attn_mask=t(1, 1, 33, 33), is_causal=False), "would be seen",
    ),
    "heads of 80": (
        lambda: ttnn.experimental.nlp_create_qkv_heads(t(1, 1, 7, 240), num_heads=1), "multiple of 32",
    ),
    "reshape to another volume": (lambda: ttnn.reshape(t(2, 32), (3, 32)), "Invalid arguments to reshape"),
    "concat of two dtypes": (lambda: ttnn.concat([t(32, 32), t(32, 32, dtype=ttnn.float32)]), "same dtypes"),
    "slice out of range": (lambda: ttnn.slice(t(2, 32), (0, 0), (3, 32)), "Ends 3 must be"),
    "add of integers and floats": (lambda: ttnn.add(t(32, 32), t(32, 32, dtype=ttnn.int32)), "do not go together"),
    "add of shapes that differ": (lambda: ttnn.add(t(2, 32), t(3, 32)), "Invalid subtile broadcast"),
    "typecast of rows to blocks": (lambda: ttnn.typecast(t(32, 32, layout=ROWS), ttnn.bfloat8_b), "Only TILE"),
    "bfloat16 straight to numpy": (lambda: t(2, 2).cpu().to_numpy(), "to_dtype"),
    "to_dtype on the device": (lambda: ttnn.to_dtype(t(2, 2), ttnn.float32), "host first"),
    "a tensor on the host": (lambda: ttnn.exp(t(2, 2).cpu()), "on the host"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_ttnn_refuses_is_refused(what: str) -> None:
    call, message = REFUSED[what]
    with pytest.raises(RuntimeError, match=r"^TT_FATAL") as caught:
        call()
    assert message in str(caught.value)


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="epsilom"):
        ttnn.layer_norm(t(1, 1, 7, 32), epsilom=1e-5)  # type: ignore[call-arg]  # the mistake that is tested


def test_no_tensor_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        ttnn.exp(np.ones(3))  # type: ignore[arg-type]  # the mistake that is tested


def test_an_op_that_is_not_modelled_says_so() -> None:
    with pytest.raises(AttributeError, match=r"rotary_embedding.* that the emulator models"):
        _ = ttnn.rotary_embedding  # type: ignore[attr-defined]  # the mistake that is tested


def test_an_id_beyond_the_table_is_refused() -> None:
    with pytest.raises(RuntimeError, match="id 1 is beyond the table's 1 rows"):
        ttnn.embedding(IDS, t(1, 32, layout=ROWS))


# Shapes


@pytest.mark.parametrize(
    ("shape", "padded"),
    [((5,), (32, 32)), ((7, 33), (32, 64)), ((2, 1, 32, 64), (2, 1, 32, 64)), ((3, 1, 1), (3, 32, 32))],
)
def test_tiles_are_padded_over_the_last_two_dims(shape: tuple[int, ...], padded: tuple[int, ...]) -> None:
    assert tuple(t(*shape).padded_shape) == padded
    assert tuple(t(*shape, layout=ROWS).padded_shape) == shape
    assert t(*shape).shape == list(shape)


# Aliases


def share(alias: ttnn.Tensor, base: ttnn.Tensor) -> bool:
    """Whether freeing one frees the other; both are gone afterwards."""
    ttnn.deallocate(alias)
    return not base.is_allocated()


@pytest.mark.parametrize(
    ("shape", "to", "shares"),
    [
        ((4, 128, 768), (4, 1, 128, 768), True),
        ((4, 128, 768), (512, 768), True),
        ((4, 40, 768), (4, 1, 40, 768), True),
        ((4, 40, 768), (160, 768), False),
        ((4, 128, 768), (4, 128, 12, 64), False),
    ],
)
def test_a_reshape_that_keeps_rows_of_tiles_shares_its_storage(
    shape: tuple[int, ...], to: tuple[int, ...], shares: bool
) -> None:
    x = t(*shape)
    assert share(ttnn.reshape(x, to), x) is shares


def test_deallocating_an_alias_frees_the_base() -> None:
    x = t(4, 128, 64)
    alias = ttnn.reshape(x, (512, 64))
    ttnn.deallocate(alias)
    assert not x.is_allocated()
    with pytest.raises(RuntimeError, match="was deallocated"):
        ttnn.exp(x)


NO_OPS: dict[str, Callable[[ttnn.Tensor], ttnn.Tensor]] = {
    "permute": lambda x: ttnn.permute(x, (0, 1, 2, 3)),
    "to_layout": lambda x: ttnn.to_layout(x, ttnn.TILE_LAYOUT),
    "concat": lambda x: ttnn.concat([x], 0),
    "to_device": lambda x: ttnn.to_device(x, D),
}


@pytest.mark.parametrize("name", NO_OPS)
def test_no_ops_are_aliases(name: str) -> None:
    x = t(2, 1, 32, 64)
    assert share(NO_OPS[name](x), x)


def test_a_cast_to_the_same_dtype_copies() -> None:
    x = t(2, 1, 32, 64)
    assert not share(ttnn.typecast(x, ttnn.bfloat16), x)


def test_a_closed_device_is_refused() -> None:
    device = ttnn.open_device(0)
    x = ttnn.Tensor(np.ones((2, 2), np.float32), ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
    ttnn.close_device(device)
    with pytest.raises(RuntimeError, match="closed"):
        ttnn.exp(x)


# Configurations and backends


def test_a_config_that_is_not_modelled_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "_warned", set())
    device = ttnn.open_device(0)
    x = ttnn.Tensor(np.ones((32, 32), np.float32), ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
    with pytest.warns(UserWarning, match="HiFi4 with float32 accumulation"):
        ttnn.linear(x, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ttnn.linear(x, x)


def test_the_backend_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTMLC_BACKEND", "emulator")
    assert backend.choose() is ttnn
    monkeypatch.setenv("TTMLC_BACKEND", "emualtor")
    with pytest.raises(BackendError, match="is not one of auto, ttnn, emulator"):
        backend.choose()


def test_a_ttnn_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTMLC_BACKEND", "ttnn")
    monkeypatch.setitem(sys.modules, "ttnn", None)
    with pytest.raises(BackendError, match="pip install"):
        backend.choose()


def test_importing_the_runtime_imports_neither_the_compiler_nor_what_is_slow() -> None:
    code = "import sys, ttmlc_runtime.nn; print([m for m in ('ttmlc', 'numba', 'torch', 'ttnn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

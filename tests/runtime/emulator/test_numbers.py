"""The emulator's numbers against PyTorch: exact modes to rounding, device mode to its dtype."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import emulator as ttnn
from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.packing import round_bfloat16, rounded

torch = pytest.importorskip("torch", reason="numbers are compared where torch is")
F = torch.nn.functional

# Relative to the largest value: float32 sums of up to 130 terms, and the polynomials of exp and erf (2 ulp).
BARS = {"float32": 1e-5, "float64": 1e-10}
SIZES = [(1, 1, 1, 32), (2, 1, 7, 96), (1, 3, 31, 33), (2, 2, 33, 130)]
rng = np.random.default_rng(0)


def device(numerics: str) -> ttnn.MeshDevice:
    return ttnn.open_device(0, numerics=numerics)


def put(
    array: np.ndarray[Any, Any], on: ttnn.MeshDevice, dtype: ttnn.DataType = ttnn.bfloat16
) -> ttnn.Tensor:
    layout = ttnn.TILE_LAYOUT if dtype.is_float else ttnn.ROW_MAJOR_LAYOUT
    return ttnn.Tensor(array, dtype, on, layout)


def get(tensor: ttnn.Tensor) -> np.ndarray[Any, Any]:
    return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()


def agree(found: ttnn.Tensor, wanted: Any, numerics: str) -> None:
    values, expected = get(found), wanted.numpy()
    assert values.shape == expected.shape
    assert values.dtype == np.dtype(numerics)
    assert np.abs(values - expected).max() <= BARS[numerics] * max(1.0, np.abs(expected).max())


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return rng.standard_normal(shape).astype(np.float32)


def ref(array: np.ndarray[Any, Any]) -> Any:
    return torch.from_numpy(array).double()


UNARY: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "square": torch.square,
    "neg": torch.neg,
    "abs": torch.abs,
    "erf": torch.erf,
}


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", SIZES)
def test_functions_of_one_tensor(name: str, shape: tuple[int, ...], numerics: str) -> None:
    x = normal(*shape)
    agree(getattr(ttnn, name)(put(x, device(numerics))), UNARY[name](ref(x)), numerics)


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("name", ["sqrt", "rsqrt", "log", "reciprocal"])
def test_functions_of_positive_numbers(name: str, numerics: str) -> None:
    x = np.abs(normal(2, 1, 7, 33)) + 0.1
    agree(getattr(ttnn, name)(put(x, device(numerics))), getattr(torch, name)(ref(x)), numerics)


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("shape", [(2, 1, 7, 33), (1, 1, 1, 33), (2, 1, 7, 1), (2, 1, 1, 1)])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "div"])
def test_functions_of_two_broadcast(name: str, shape: tuple[int, ...], numerics: str) -> None:
    on, a, b = device(numerics), normal(2, 1, 7, 33), normal(*shape) + 3
    agree(getattr(ttnn, name)(put(a, on), put(b, on)), getattr(torch, name)(ref(a), ref(b)), numerics)


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("act", [None, "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"])
@pytest.mark.parametrize("shape", SIZES)
def test_linear(shape: tuple[int, ...], act: str | None, numerics: str) -> None:
    on, x, w, b = device(numerics), normal(*shape), normal(shape[-1], 65) / 8, normal(65)
    wanted = ref(x) @ ref(w) + ref(b)
    functions = {"gelu_tanh": lambda t: F.gelu(t, approximate="tanh"), None: lambda t: t}
    function = functions.get(act) or UNARY[str(act)]
    agree(ttnn.linear(put(x, on), put(w, on), bias=put(b, on), activation=act), function(wanted), numerics)


@pytest.mark.parametrize("numerics", BARS)
def test_matmul_turns_and_batches(numerics: str) -> None:
    on, a, b = device(numerics), normal(2, 3, 7, 31), normal(2, 3, 31, 9)
    agree(ttnn.matmul(put(a, on), put(b, on)), ref(a) @ ref(b), numerics)
    agree(ttnn.matmul(put(a, on), put(a, on), transpose_b=True), ref(a) @ ref(a).mT, numerics)
    agree(ttnn.matmul(put(a, on), put(a, on), transpose_a=True), ref(a).mT @ ref(a), numerics)


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("eps", [1e-12, 1e-5])
def test_layer_norm_with_a_residual(shape: tuple[int, ...], eps: float, numerics: str) -> None:
    on, x, r, w, b = device(numerics), normal(*shape), normal(*shape), normal(shape[-1]), normal(shape[-1])
    found = ttnn.layer_norm(
        put(x, on), residual_input_tensor=put(r, on), weight=put(w, on), bias=put(b, on), epsilon=eps
    )
    agree(found, F.layer_norm(ref(x) + ref(r), shape[-1:], ref(w), ref(b), eps), numerics)


@pytest.mark.parametrize("numerics", BARS)
def test_rms_norm_and_softmax(numerics: str) -> None:
    on, x, w = device(numerics), normal(2, 1, 7, 96), normal(96)
    agree(
        ttnn.rms_norm(put(x, on), weight=put(w, on), epsilon=1e-6),
        F.rms_norm(ref(x), (96,), ref(w), 1e-6),
        numerics,
    )
    agree(ttnn.softmax(put(x, on), dim=-1), torch.softmax(ref(x), -1), numerics)


@pytest.mark.parametrize("numerics", BARS)
@pytest.mark.parametrize("tokens", [1, 7, 32, 33, 130])
@pytest.mark.parametrize("form", ["plain", "causal", "mask"])
def test_attention(tokens: int, form: str, numerics: str) -> None:
    on = device(numerics)
    q, k, v = (normal(2, 3, tokens, 32) for _ in range(3))
    seen = torch.ones(tokens, tokens, dtype=torch.bool)
    mask = None
    if form == "causal":
        seen = seen.tril()
    if form == "mask":
        seen = torch.from_numpy(rng.random((2, 1, tokens, tokens)) < 0.7) | torch.eye(
            tokens, dtype=torch.bool
        )
        mask = put(np.where(seen.numpy(), 0, -1e9).astype(np.float32), on)
        mask = ttnn.fill_implicit_tile_padding(mask, -1e9) if tokens % 32 else mask
    wanted = F.scaled_dot_product_attention(ref(q), ref(k), ref(v), attn_mask=seen)
    sdpa = ttnn.transformer.scaled_dot_product_attention
    heads = [put(x, on) for x in (q, k, v)]
    agree(sdpa(*heads, attn_mask=mask, is_causal=form == "causal"), wanted, numerics)
    joined = sdpa(*heads, attn_mask=mask, is_causal=form == "causal", output_concat_heads=True)
    agree(joined, wanted.transpose(1, 2).reshape(2, 1, tokens, 96), numerics)


@pytest.mark.parametrize("numerics", BARS)
def test_attention_of_grouped_heads(numerics: str) -> None:
    on, q, k, v = device(numerics), normal(2, 4, 7, 32), normal(2, 2, 7, 32), normal(2, 2, 7, 32)
    found = ttnn.transformer.scaled_dot_product_attention(*(put(x, on) for x in (q, k, v)), is_causal=True)
    wanted = F.scaled_dot_product_attention(ref(q), ref(k), ref(v), is_causal=True, enable_gqa=True)
    agree(found, wanted, numerics)


def test_a_row_that_sees_nothing_is_a_number() -> None:
    on, x = device("float32"), normal(1, 1, 32, 32)
    mask = put(np.full((1, 1, 32, 32), -1e9, np.float32), on)
    found = ttnn.transformer.scaled_dot_product_attention(*[put(x, on)] * 3, attn_mask=mask, is_causal=False)
    assert np.isfinite(get(found)).all()


def test_heads_split_and_join() -> None:
    on, x = device("float32"), normal(2, 1, 7, 3 * 2 * 32)
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(put(x, on), num_heads=2, transpose_k_heads=False)
    parts = x.reshape(2, 7, 3, 2, 32).transpose(2, 0, 3, 1, 4)
    for found, wanted in zip((q, k, v), parts, strict=True):
        assert np.array_equal(get(found), wanted)
    assert np.array_equal(
        get(ttnn.experimental.nlp_concat_heads(v)), parts[2].transpose(0, 2, 1, 3).reshape(2, 1, 7, 64)
    )
    turned = ttnn.experimental.nlp_create_qkv_heads(put(x, on), num_heads=2)[1]
    assert np.array_equal(get(turned), parts[1].swapaxes(-1, -2))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("dim", [None, -1, 2, [1, 3]])
def test_reductions(name: str, dim: Any) -> None:
    x = normal(2, 3, 7, 33)
    wanted = getattr(np, name)(
        x.astype(np.float64), axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=True
    )
    found = get(getattr(ttnn, name)(put(x, device("float32")), dim, keepdim=True))
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_moving_elements_loses_none() -> None:
    on, x = device("device"), round_bfloat16(normal(2, 3, 7, 33))
    t = put(x, on)
    assert np.array_equal(get(ttnn.permute(t, (0, 2, 1, 3))), x.transpose(0, 2, 1, 3))
    assert np.array_equal(get(ttnn.transpose(t, -1, -2)), x.swapaxes(-1, -2))
    assert np.array_equal(get(ttnn.reshape(t, (6, -1))), x.reshape(6, -1))
    assert np.array_equal(get(ttnn.slice(t, (0, 1, 0, 0), (2, 3, 1, 33))), x[:, 1:3, :1])
    assert np.array_equal(get(ttnn.concat([t, t], 2)), np.concatenate([x, x], 2))


def test_embedding_looks_rows_up() -> None:
    on, table = device("float32"), normal(50, 33)
    ids = rng.integers(0, 50, (2, 7)).astype(np.int32)
    rows = ttnn.Tensor(table, ttnn.bfloat16, on, ttnn.ROW_MAJOR_LAYOUT)
    found = ttnn.embedding(put(ids, on, ttnn.uint32), rows, layout=ttnn.TILE_LAYOUT)
    assert np.array_equal(get(found), table[ids])
    assert found.layout is ttnn.TILE_LAYOUT


# What a device rounds


def test_bfloat16_rounds_as_torch_does_bit_for_bit() -> None:
    bits = rng.integers(0, 1 << 32, 100_000, dtype=np.uint64).astype(np.uint32)
    ties = (rng.integers(0, 1 << 16, 10_000).astype(np.uint32) << 16) | np.uint32(0x8000)
    special = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 1, 0x7F7FFFFF, 0x807FFFFF], np.uint32)
    values = np.concatenate([bits, ties, special]).view(np.float32)
    found, wanted = round_bfloat16(values), torch.from_numpy(values).bfloat16().float().numpy()
    numbers = ~np.isnan(values)
    assert np.array_equal(found[numbers].view(np.uint32), wanted[numbers].view(np.uint32))
    assert np.isnan(found[~numbers]).all()


def test_device_mode_rounds_every_result() -> None:
    on = device("device")
    x = put(normal(1, 1, 32, 64), on)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for result in (ttnn.exp(x), ttnn.add(x, x), ttnn.softmax(x), ttnn.linear(x, put(normal(64, 32), on))):
            values = get(result)
            assert np.array_equal(values, round_bfloat16(values))


def test_exact_devices_keep_what_is_uploaded() -> None:
    x = normal(4, 33)
    assert np.array_equal(get(put(x, device("float32"))), x)
    assert not np.array_equal(get(put(x, device("device"))), x)
    doubles = rng.standard_normal((4, 33))
    assert np.array_equal(get(put(doubles, device("float64"))), doubles)


# Values, and what the host side of ttnn 0.81.1 packs them to: sixteen neighbours share an exponent.
PACKED = np.array(
    [
        1,
        -1,
        0.5,
        0.25,
        1 / 64,
        1 / 128,
        3 / 128,
        5 / 128,
        -3 / 128,
        1 / 256,
        3 / 256,
        0,
        2,
        127 / 64,
        1.7,
        -1.7,
    ]
)
BF8 = [1, -1, 0.5, 0.25, 0, 0, 0.03125, 0.03125, -0.03125, 0, 0, 0, 2, 2, 1.6875, -1.6875]
BF4 = [1, -1, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 1.5, -1.5]


@pytest.mark.parametrize(("dtype", "wanted"), [(ttnn.bfloat8_b, BF8), (ttnn.bfloat4_b, BF4)])
def test_block_formats_share_an_exponent(dtype: ttnn.DataType, wanted: list[float]) -> None:
    assert rounded(PACKED.astype(np.float32)[None], dtype)[0].tolist() == wanted


def test_block_formats_keep_blocks_apart() -> None:
    row = np.concatenate([np.full(16, 1e-3), np.full(16, 1e3)]).astype(np.float32)[None]
    assert np.abs(rounded(row, ttnn.bfloat8_b) / row - 1).max() < 2**-6


# Compiled kernels and their stand-ins agree


def test_kernels_without_numba_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, r, w, b = normal(64, 96), normal(64, 96), normal(96), normal(96)
    scores, mask = normal(2, 3, 7, 33), np.where(rng.random((2, 1, 7, 33)) < 0.5, 0, -1e9).astype(np.float32)

    def results() -> list[np.ndarray[Any, Any]]:
        on = device("float32")
        return [
            *(kernels.activate(x.copy(), b, name) for name in kernels.FUSED),
            get(
                ttnn.layer_norm(
                    put(x, on), residual_input_tensor=put(r, on), weight=put(w, on), epsilon=1e-12
                )
            ),
            get(ttnn.layer_norm(put(x, on), epsilon=1e-5)),
            kernels.softmax(scores.copy(), 0.2, mask),
        ]

    fast = results()
    monkeypatch.setattr(kernels, "_compiled", lambda: None)
    for found, wanted in zip(fast, results(), strict=True):
        # A few ulp of the largest value.
        assert np.abs(found - wanted).max() < 5e-7 * max(4, np.abs(wanted).max())


def test_kernels_hold_at_the_ends_of_the_range() -> None:
    x = np.array([[-1e30, -100, -88, -20, -5, -1e-6, 0, 1e-6, 5, 20, 88, 100, 1e4, 1e30]], np.float32)
    for name in ("relu", "gelu", "silu", "tanh", "sigmoid", "erf"):
        with np.errstate(all="ignore"):
            found, wanted = kernels.activate(x.copy(), None, name), kernels.apply(name, x.astype(np.float64))
        assert np.isfinite(found).all()
        assert np.allclose(found, wanted, rtol=2e-6, atol=2e-6)

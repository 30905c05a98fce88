"""Every op's numbers against PyTorch in float64, in both exact numerics, at sizes that fill no tiles."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import ttmlc_runtime.emulator as ttnn
from places import SIZES, download, reference, upload
from torch.nn import functional as F
from ttmlc_runtime.emulator.functions import ACTIVATIONS

UNARY = {
    "abs": torch.abs, "acos": torch.acos, "asin": torch.asin, "atan": torch.atan, "ceil": torch.ceil,
    "cos": torch.cos, "cosh": torch.cosh, "eqz": lambda x: x == 0, "erf": torch.erf, "erfc": torch.erfc,
    "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "floor": torch.floor, "frac": torch.frac,
    "gelu": F.gelu, "gez": lambda x: x >= 0, "gtz": lambda x: x > 0, "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish, "identity": lambda x: x, "isfinite": torch.isfinite, "isinf": torch.isinf,
    "isnan": torch.isnan, "lez": lambda x: x <= 0, "log": torch.log, "log10": torch.log10, "log1p": torch.log1p,
    "log2": torch.log2, "log_sigmoid": F.logsigmoid, "logical_not": torch.logical_not, "ltz": lambda x: x < 0,
    "mish": F.mish, "neg": torch.neg, "nez": lambda x: x != 0, "reciprocal": torch.reciprocal, "relu": F.relu,
    "relu6": F.relu6, "rsqrt": torch.rsqrt, "selu": F.selu, "sigmoid": torch.sigmoid, "sign": torch.sign,
    "silu": F.silu, "sin": torch.sin, "sinh": torch.sinh, "softplus": F.softplus, "softsign": F.softsign,
    "sqrt": torch.sqrt, "square": torch.square, "swish": F.silu, "tan": torch.tan, "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink, "trunc": torch.trunc,
}  # fmt: skip
POSITIVE = ("log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt")
BINARY = {
    "add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div, "rsub": lambda a, b: b - a,
    "maximum": torch.maximum, "minimum": torch.minimum, "squared_difference": lambda a, b: (a - b) ** 2,
    "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or, "logical_xor": torch.logical_xor,
}  # fmt: skip
ACTIVE = {"gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "recip": torch.reciprocal}


@pytest.mark.parametrize("columns", SIZES)
@pytest.mark.parametrize("rows", SIZES)
def test_linear_with_bias_and_gelu(rows, columns, exact, rng, close):
    x, w = (
        upload(rng.standard_normal((2, rows, 33)), exact),
        upload(rng.standard_normal((33, columns)) / 6, exact),
    )
    b = upload(rng.standard_normal(columns), exact)
    wanted = F.gelu(reference(x) @ reference(w) + reference(b))
    close(ttnn.linear(x, w, bias=b, activation="gelu"), wanted)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_string(activation, exact, rng, close):
    # Of squares, so that logarithms and roots have their domain; off zero, where reciprocals would end the comparison.
    x, w = upload(rng.random((3, 7)) + 0.1, exact), upload(rng.random((7, 31)) + 0.1, exact)
    function = ACTIVE.get(activation) or UNARY[activation]
    close(ttnn.linear(x, w, activation=activation), function(reference(x) @ reference(w)))


@pytest.mark.parametrize(
    "shape", [(31,), (1, 31), (1, 1, 1, 31), (7, 31), (2, 3, 7, 31), (2, 3, 1, 31), (1,)]
)
def test_every_form_of_bias(shape, exact, rng, close):
    x, w = upload(rng.standard_normal((2, 3, 7, 33)), exact), upload(rng.standard_normal((33, 31)), exact)
    b = upload(rng.standard_normal(shape), exact)
    close(ttnn.linear(x, w, bias=b), reference(x) @ reference(w) + reference(b))


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
def test_transposed_factors(flags, exact, rng, close):
    x, w = rng.standard_normal((7, 33)), rng.standard_normal((33, 130))
    a, b = upload(x.T if flags[0] else x, exact), upload(w.T if flags[1] else w, exact)
    left, right = reference(a), reference(b)
    wanted = (left.T if flags[0] else left) @ (right.T if flags[1] else right)
    close(ttnn.matmul(a, b, transpose_a=flags[0], transpose_b=flags[1]), wanted)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((33,), (33, 7)),
        ((7, 33), (33,)),
        ((33,), (33,)),
        ((2, 3, 7, 33), (2, 3, 33, 31)),
        ((2, 3, 7, 33), (1, 1, 33, 31)),
        ((1, 1, 7, 33), (2, 3, 33, 31)),
        ((2, 3, 7, 33), (1, 33, 31)),
        ((1, 2, 3, 7, 33), (33, 31)),
    ],
)
def test_products_of_every_rank(left, right, exact, rng, close):
    a, b = upload(rng.standard_normal(left), exact), upload(rng.standard_normal(right), exact)
    close(ttnn.matmul(a, b), torch.matmul(reference(a), reference(b)))


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_norms_with_everything(name, width, exact, rng, close):
    x, r = (upload(rng.standard_normal((2, 7, width)) + 3, exact) for _ in range(2))
    w, b = (upload(rng.standard_normal(width), exact) for _ in range(2))
    found = getattr(ttnn, name)(x, weight=w, bias=b, residual_input_tensor=r, epsilon=1e-3)
    total = reference(x) + reference(r)
    centred = total - total.mean(-1, keepdim=True) if name == "layer_norm" else total
    scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-3)
    close(found, scaled * reference(w) + reference(b))


def test_norms_without_weights_and_with_weights_in_rows(exact, rng, close):
    x = upload(rng.standard_normal((5, 96)), exact)
    close(ttnn.layer_norm(x, epsilon=1e-5), F.layer_norm(reference(x), (96,), eps=1e-5))
    w = upload(rng.standard_normal((3, 32)), exact, layout=ttnn.ROW_MAJOR_LAYOUT)
    close(
        ttnn.layer_norm(x, weight=w, epsilon=1e-5),
        F.layer_norm(reference(x), (96,), reference(w).reshape(96), eps=1e-5),
    )


@pytest.mark.parametrize("dim", [-1, 0, 1, 2, -4])
def test_softmax_over_any_dim(dim, exact, rng, close):
    x = upload(rng.standard_normal((2, 3, 31, 130)) * 4, exact)
    close(ttnn.softmax(x, dim), torch.softmax(reference(x), dim))


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary(name, exact, rng, close):
    values = (
        rng.uniform(0.05, 0.95, (7, 130)) if name in POSITIVE else rng.uniform(-0.99, 0.99, (7, 130)) * 1.0
    )
    if name not in (*POSITIVE, "acos", "asin", "tan"):
        values = values * 6
    values[0, :3] = 0.5
    x = upload(values, exact)
    close(getattr(ttnn, name)(x), UNARY[name](reference(x)))


@pytest.mark.parametrize(
    "shapes", [((7, 33), (7, 33)), ((2, 3, 7, 33), (33,)), ((7, 1), (1, 33)), ((1,), (3, 7, 33))]
)
@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary_broadcasts(name, shapes, exact, rng, close):
    a, b = (upload(np.round(rng.uniform(0.5, 3, shape), 1), exact) for shape in shapes)
    close(getattr(ttnn, name)(a, b), BINARY[name](reference(a), reference(b)))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "eq", "lt"])
def test_binary_with_a_number_on_either_side(name, exact, rng, close):
    x = upload(rng.uniform(0.5, 3, (7, 33)), exact)
    close(getattr(ttnn, name)(x, 1.5), BINARY[name](reference(x), torch.tensor(1.5)))
    if name in ("add", "subtract", "multiply", "divide"):
        close(getattr(ttnn, name)(1.5, x), BINARY[name](torch.tensor(1.5), reference(x)))


def test_functions_fused_into_binary_ops(exact, rng, close):
    gate, up = (upload(rng.standard_normal((7, 33)), exact) for _ in range(2))
    found = ttnn.multiply(gate, up, input_tensor_a_activations=[ttnn.UnaryOpType.SILU])
    close(found, F.silu(reference(gate)) * reference(up))
    scaled = ttnn.UnaryWithParam(ttnn.UnaryOpType.MUL_UNARY_SFPU, 0.125)
    found = ttnn.add(gate, up, input_tensor_a_activations=[scaled], activations=[ttnn.UnaryOpType.RELU])
    close(found, F.relu(reference(gate) * 0.125 + reference(up)))


def test_where_mac_clamp_and_chains(exact, rng, close):
    p, a, b = (upload(np.round(rng.standard_normal((7, 33))), exact) for _ in range(3))
    P, A, B = (reference(tensor) for tensor in (p, a, b))
    close(ttnn.where(p, a, b), torch.where(P != 0, A, B))
    close(ttnn.where(p, a, -1.0), torch.where(P != 0, A, -1.0))
    close(ttnn.mac(p, 0.5, b), P * 0.5 + B)
    close(ttnn.clamp(a, -0.5, 1.0), A.clamp(-0.5, 1.0))
    close(ttnn.leaky_relu(a, 0.1), F.leaky_relu(A, 0.1))
    close(ttnn.gelu(a, variant=ttnn.GeluVariant.Tanh), F.gelu(A, approximate="tanh"))
    chain = [
        ttnn.UnaryOpType.SQUARE,
        ttnn.UnaryWithParam(ttnn.UnaryOpType.ADD_UNARY_SFPU, 1.0),
        ttnn.UnaryOpType.SQRT,
    ]
    close(ttnn.unary_chain(a, chain), torch.sqrt(A**2 + 1))


@pytest.mark.parametrize("dim", [None, -1, 0, 1, [1, 2], (2, 3)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_reductions(dim, keepdim, exact, rng, close):
    x = upload(rng.standard_normal((2, 3, 31, 33)), exact)
    X, over = reference(x), tuple(dim) if isinstance(dim, (list, tuple)) else dim
    over = (0, 1, 2, 3) if over is None else over
    close(ttnn.sum(x, dim, keepdim), X.sum(over, keepdim))
    close(ttnn.mean(x, dim, keepdim, scalar=2.0), X.mean(over, keepdim) * 2)
    close(ttnn.max(x, dim, keepdim), X.amax(over, keepdim))
    close(ttnn.min(x, dim, keepdim), X.amin(over, keepdim))
    close(ttnn.var(x, dim, keepdim), X.var(over, keepdim=keepdim))


def test_gather_picks_along_a_dim_and_refuses_an_index_beyond_it(exact, rng):
    x = upload(rng.normal(size=(2, 5, 7)).astype(np.float32), exact)
    places = rng.integers(0, 5, (1, 3, 7)).astype(np.int32)
    index = ttnn.Tensor(places, ttnn.uint32, exact, ttnn.TILE_LAYOUT)
    found = ttnn.gather(x, 1, index)
    wanted = torch.gather(reference(x), 1, torch.from_numpy(places.astype(np.int64)))
    assert np.array_equal(download(found), wanted.numpy()), "nothing is computed"
    with pytest.raises(RuntimeError, match="index 4 is beyond the 2 elements of dim 0"):
        ttnn.gather(x, 0, ttnn.Tensor(np.full((1, 5, 7), 4, np.int32), ttnn.uint32, exact, ttnn.TILE_LAYOUT))


def test_argmax_is_exact_and_takes_the_first(exact):
    x = upload([[1.0, 3.0, 3.0], [5.0, 1.0, 2.0]], exact)
    found = ttnn.argmax(x, -1)
    assert (found.dtype, found.layout) == (ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT)
    assert download(found).tolist() == [1, 0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("tokens", "heads", "shared"), [(1, 4, 4), (7, 4, 2), (33, 6, 1), (130, 2, 2)])
def test_attention(tokens, heads, shared, causal, exact, rng, close):
    q = upload(rng.standard_normal((2, heads, tokens, 32)), exact)
    k, v = (upload(rng.standard_normal((2, shared, tokens, 32)), exact) for _ in range(2))
    wanted = F.scaled_dot_product_attention(
        reference(q), reference(k), reference(v), is_causal=causal, enable_gqa=True
    )
    attend = ttnn.transformer.scaled_dot_product_attention
    close(attend(q, k, v, is_causal=causal), wanted)
    joined = wanted.transpose(1, 2).reshape(2, 1, tokens, heads * 32)
    close(attend(q, k, v, is_causal=causal, output_concat_heads=True), joined)


@pytest.mark.parametrize("shape", [(2, 1, 33, 40), (1, 4, 33, 40), (2, 4, 33, 40), (1, 1, 33, 40)])
def test_attention_with_a_mask_and_other_keys(shape, exact, rng, close):
    q = upload(rng.standard_normal((2, 4, 33, 32)), exact)
    k, v = (upload(rng.standard_normal((2, 4, 40, 32)), exact) for _ in range(2))
    mask = upload(np.where(rng.random(shape) < 0.3, -1e9, 0.0), exact)
    mask = ttnn.fill_implicit_tile_padding(mask, -1e9)
    found = ttnn.transformer.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=False, scale=0.3)
    scores = reference(q) @ reference(k).transpose(-1, -2) * 0.3 + reference(mask)
    close(found, torch.softmax(scores, -1) @ reference(v))


@pytest.mark.parametrize(("heads", "shared"), [(3, None), (4, 2), (2, 0)])
@pytest.mark.parametrize("transpose", [False, True])
def test_heads_of_a_joint_projection(heads, shared, transpose, exact, rng, close):
    kv = heads if shared is None else shared
    x = upload(rng.standard_normal((2, 1, 7, (heads + 2 * kv) * 32)), exact)
    parts = reference(x).reshape(2, 7, heads + 2 * kv, 32).transpose(1, 2).split([heads, kv, kv], 1)
    found = ttnn.experimental.nlp_create_qkv_heads(
        x, num_heads=heads, num_kv_heads=shared, transpose_k_heads=transpose
    )
    for part, wanted, name in zip(found, parts, "qkv", strict=True):
        close(part, wanted.transpose(-1, -2) if name == "k" and transpose else wanted)
    joined = parts[0].transpose(1, 2).reshape(2, 1, 7, heads * 32)
    close(ttnn.experimental.nlp_concat_heads(found[0]), joined)
    close(ttnn.transformer.concatenate_heads(found[0]), joined[:, 0])


def test_heads_of_two_projections_and_of_three_dims(exact, rng, close):
    q, kv = (
        upload(rng.standard_normal((2, 1, 7, 128)), exact),
        upload(rng.standard_normal((2, 1, 7, 128)), exact),
    )
    found = ttnn.experimental.nlp_create_qkv_heads(
        q, kv, num_heads=4, num_kv_heads=2, transpose_k_heads=False
    )
    both = reference(kv).reshape(2, 7, 4, 32).transpose(1, 2)
    close(found[1], both[:, :2])
    close(found[2], both[:, 2:])
    joint = upload(rng.standard_normal((2, 7, 192)), exact)
    split = ttnn.transformer.split_query_key_value_and_split_heads(joint, num_heads=2)
    close(split[1], reference(joint).reshape(2, 7, 6, 32).permute(0, 2, 3, 1)[:, 2:4])


def test_embedding(exact, rng, close):
    table = upload(rng.standard_normal((50, 33)), exact, layout=ttnn.ROW_MAJOR_LAYOUT)
    ids = ttnn.Tensor(rng.integers(0, 50, (2, 7)).astype(np.int32), ttnn.uint32, exact, ttnn.ROW_MAJOR_LAYOUT)
    found = ttnn.embedding(ids, table, layout=ttnn.TILE_LAYOUT)
    close(found, F.embedding(torch.from_numpy(download(ids).astype(np.int64)), reference(table)))
    assert ttnn.embedding(ids, table).layout is ttnn.ROW_MAJOR_LAYOUT


def test_shapes_and_orders(exact, rng, close):
    x = upload(rng.standard_normal((2, 3, 31, 33)), exact)
    X = reference(x)
    close(ttnn.reshape(x, (6, 31, -1)), X.reshape(6, 31, 33))
    close(ttnn.reshape(x, (2, 99, 31)), X.reshape(2, 99, 31))
    close(ttnn.permute(x, (0, 2, -1, 1)), X.permute(0, 2, 3, 1))
    close(ttnn.transpose(x, 1, -1), X.transpose(1, -1))
    close(ttnn.unsqueeze(x, -1), X.unsqueeze(-1))
    close(ttnn.squeeze(ttnn.unsqueeze(x, 1), 1), X)
    close(ttnn.repeat(x, (1, 2, 1, 1)), X.repeat(1, 2, 1, 1))
    close(ttnn.repeat_interleave(x, 2, 1), X.repeat_interleave(2, 1))
    close(ttnn.expand(ttnn.unsqueeze(x, 0), (4, -1, -1, -1, -1)), X.expand(4, -1, -1, -1, -1))


def test_parts_of_tensors(exact, rng, close):
    x = upload(rng.standard_normal((2, 3, 31, 33)), exact)
    X = reference(x)
    close(ttnn.slice(x, (0, 1, 0, 0), (2, 3, 1, 33)), X[:, 1:3, :1])
    close(ttnn.slice(x, [0, 0, 0, 0], [2, 3, 31, -2], [1, 1, 2, 3]), X[:, :, ::2, :-2:3])
    close(x[1], X[1])
    close(x[:, -1, ..., 2:5], X[:, -1, ..., 2:5])
    close(ttnn.concat([x, x[:, :, :, :7]], -1), torch.cat([X, X[..., :7]], -1))
    for piece, wanted in zip(ttnn.split(x, 2, 1), X.split(2, 1), strict=True):
        close(piece, wanted)
    for piece, wanted in zip(ttnn.chunk(x, 3, 3), X.chunk(3, 3), strict=True):
        close(piece, wanted)
    close(ttnn.pad(x, [(0, 1), (0, 2)], 5.0), F.pad(X, (0, 2, 0, 1), value=5.0))


def test_creation(exact):
    full = ttnn.full((3, 5), 2.5, dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT, device=exact)
    assert download(full).tolist() == [[2.5] * 5] * 3
    assert download(ttnn.ones_like(full)).tolist() == [[1.0] * 5] * 3
    assert download(ttnn.zeros((2,), ttnn.uint32, device=exact)).tolist() == [0, 0]
    assert download(ttnn.arange(3, 10, 2, dtype=ttnn.int32, device=exact)).tolist() == [3, 5, 7, 9]
    assert np.isnan(download(ttnn.empty((2, 2), device=exact))).all()


def test_a_bfloat16_label_loses_nothing_on_an_exact_device(exact):
    third = np.full((1, 3), 1 / 3, exact.arithmetic.compute)
    on_device = ttnn.Tensor(third, ttnn.bfloat16, exact, ttnn.TILE_LAYOUT)
    back = ttnn.to_dtype(on_device.cpu(), ttnn.float32).to_numpy()
    assert back.dtype == exact.arithmetic.compute
    assert back.tolist() == third.tolist()


def test_a_host_tensor_is_rounded_before_it_reaches_an_exact_device(exact):
    host = ttnn.Tensor(np.full((1, 3), 1 / 3, np.float32), ttnn.bfloat16, layout=ttnn.TILE_LAYOUT)
    assert download(ttnn.to_device(host, exact))[0, 0] == np.float32(0.333984375)


def test_integers_stay_integers(exact):
    big = np.array([[2**24 + 1, 7]], np.int32)
    x = ttnn.Tensor(big, ttnn.int32, exact, ttnn.TILE_LAYOUT)
    assert download(ttnn.add(x, 1)).tolist() == [[2**24 + 2, 8]]
    assert download(ttnn.multiply(x, x)).dtype == np.int32
    assert ttnn.divide(x, x).dtype is ttnn.float32
    ids, classes = (
        ttnn.Tensor(np.array(values, np.int32), ttnn.uint32, exact, ttnn.TILE_LAYOUT)
        for values in ([[1], [0]], [[0, 1]])
    )
    one_hot = ttnn.eq(ids, classes, dtype=ttnn.bfloat16)
    assert download(one_hot).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("call", ["linear", "layer_norm", "add", "attention"])
def test_device_numerics_round_each_result_once(call, device, rng):
    x = upload(rng.standard_normal((1, 2, 64, 64)), device)
    w = upload(rng.standard_normal((64, 64)) / 8, device)
    X, W = reference(x), reference(w)
    if call == "linear":
        found, wanted = ttnn.linear(x, w, activation="gelu"), F.gelu(X @ W)
    elif call == "layer_norm":
        found, wanted = ttnn.layer_norm(x, epsilon=1e-5), F.layer_norm(X, (64,), eps=1e-5)
    elif call == "add":
        found, wanted = ttnn.add(x, w), X + W
    else:
        found = ttnn.transformer.scaled_dot_product_attention(x, x, x)
        wanted = F.scaled_dot_product_attention(X, X, X, is_causal=True)
    values = reference(found)
    assert torch.equal(values.to(torch.bfloat16).to(torch.float64), values), "a value is no bfloat16"
    # Half a step of bfloat16 is 2^-8 of the power of two below; float32 sums may tip a value near a tie over.
    assert torch.all((values - wanted).abs() <= wanted.abs() * 2**-8 * 1.01 + 1e-6)


def test_a_configuration_that_is_not_modelled_is_said_once(device, rng, monkeypatch):
    from ttmlc_runtime.emulator.ops import result

    monkeypatch.setattr(result, "_warned", set())
    x = upload(rng.standard_normal((32, 32)), device)
    with pytest.warns(UserWarning, match="HiFi4 with float32 accumulation") as caught:
        ttnn.matmul(x, x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ttnn.matmul(x, x)

"""The numbers of the ops that training needs, against PyTorch in float64, in both exact numerics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import ttmlc_runtime.emulator as ttnn
from places import SIZES, download, reference, upload
from torch.nn import functional as F
from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.threads import WORTHWHILE

SLOPES = {
    "gelu_bw": F.gelu, "tanh_bw": torch.tanh, "sigmoid_bw": torch.sigmoid,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}  # fmt: skip
MANY = (3, 130, 96)
"""More elements than one thread is given."""
assert np.prod(MANY) > WORTHWHILE


def gradients(y, dy, *inputs):
    """Of ``y`` by PyTorch."""
    return torch.autograd.grad(y, inputs, dy)


def wanting(tensor):
    """The values that a tensor holds, for a gradient."""
    return reference(tensor).requires_grad_()


@pytest.mark.parametrize("shape", [(7, 33), (2, 1, 31, 130), MANY, ()])
@pytest.mark.parametrize("name", SLOPES)
def test_gradients_of_activations(name, shape, exact, rng, close):
    x, dy = (upload(rng.standard_normal(shape) * 3, exact) for _ in range(2))
    X = wanting(x)
    (wanted,) = gradients(SLOPES[name](X), reference(dy), X)
    if name == "gelu_tanh":
        (found,) = ttnn.gelu_bw(dy, x, variant=ttnn.GeluVariant.Tanh)
    else:
        (found,) = getattr(ttnn, name)(dy, x)
    close(found, wanted)


@pytest.mark.parametrize("name", SLOPES)
def test_gradients_of_activations_far_out_are_numbers(name, exact, close):
    far = upload([[-200.0, 200.0]], exact)
    if name == "gelu_tanh":
        (found,) = ttnn.gelu_bw(far, far, variant=ttnn.GeluVariant.Tanh)
    else:
        (found,) = getattr(ttnn, name)(far, far)
    close(found, [[0.0, 200.0 if name.startswith("gelu") else 0.0]])


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("scaled", [True, False])
def test_layer_norm_with_statistics_and_its_gradients(width, scaled, exact, rng, close):
    shape = (3, 33, width) if width < 96 else (3, 130, width)
    eps = (
        1e-3 if width > 1 else 0.1
    )  # one element has no variance, and rounding would be magnified by 1 / sqrt(eps)
    x, dy = (upload(rng.standard_normal(shape) * 2 + 1, exact) for _ in range(2))
    w, b = (upload(rng.standard_normal(width), exact) for _ in range(2))
    X, W, B = wanting(x), wanting(w), wanting(b)
    Y = F.layer_norm(X, (width,), W if scaled else None, B if scaled else None, eps)
    tiles = {"dtype": ttnn.bfloat16, "layout": ttnn.TILE_LAYOUT, "device": exact}
    mean, rstd = ttnn.empty(shape[:-1], **tiles), ttnn.empty(shape[:-1], **tiles)
    y, *statistics = ttnn.moreh_layer_norm(
        x, 1, eps, w if scaled else None, b if scaled else None, mean=mean, rstd=rstd
    )
    assert [one is other for one, other in zip(statistics, (mean, rstd), strict=True)] == [True, True]
    close(y, Y.detach())
    close(mean, X.detach().mean(-1))
    close(rstd, 1 / torch.sqrt(X.detach().var(-1, correction=0) + eps))
    dx, dw, db = ttnn.empty(shape, **tiles), ttnn.empty((width,), **tiles), ttnn.empty((1, width), **tiles)
    found = ttnn.moreh_layer_norm_backward(
        dy, x, mean, rstd, 1, gamma=w if scaled else None, input_grad=dx, gamma_grad=dw, beta_grad=db
    )
    assert all(one is other for one, other in zip(found, (dx, dw, db), strict=True))
    inputs = (X, W, B) if scaled else (X,)
    wanted = gradients(Y, reference(dy), *inputs)
    close(dx, wanted[0])
    normed = (X - X.mean(-1, keepdim=True)) * reference(rstd)[..., None]
    close(dw, (reference(dy) * normed.detach()).sum((0, 1)))
    close(db, reference(dy).sum((0, 1))[None])


def test_layer_norm_gradients_are_written_where_a_tensor_is_given_alone(exact, rng, close):
    x, dy = (upload(rng.standard_normal((7, 33)), exact) for _ in range(2))
    mean, rstd = (upload(rng.random(7) + 0.5, exact) for _ in range(2))
    assert ttnn.moreh_layer_norm_backward(dy, x, mean, rstd, 1) == [None, None, None]
    sums = upload(np.zeros(33), exact)
    found = ttnn.moreh_layer_norm_backward(dy, x, mean, rstd, 1, beta_grad=sums)
    assert found[:2] == [None, None]
    close(found[2], reference(dy).sum(0))
    assert ttnn.moreh_layer_norm(x, 1)[1:] == [None, None]


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_softmax_backward_over_any_dim(dim, exact, rng, close):
    x, dy = (upload(rng.standard_normal((2, 3, 31, 130)) * 2, exact) for _ in range(2))
    X = wanting(x)
    Y = torch.softmax(X, dim)
    close(ttnn.moreh_softmax_backward(ttnn.softmax(x, dim), dy, dim), gradients(Y, reference(dy), X)[0])


def test_softmax_backward_into_the_gradient_it_is_given(exact, rng, close):
    y, dy = (upload(rng.random((7, 33)), exact) for _ in range(2))
    Y, D = reference(y), reference(dy)
    assert ttnn.moreh_softmax_backward(y, dy, 1, input_grad_tensor=dy) is dy
    close(dy, Y * (D - (Y * D).sum(-1, keepdim=True)))


@pytest.mark.parametrize("features", [31, 96])
def test_embedding_backward_adds_up_what_an_id_names_twice(features, exact, rng, close):
    table = upload(rng.standard_normal((50, features)), exact, layout=ttnn.ROW_MAJOR_LAYOUT)
    ids = rng.integers(0, 50, (6, 64)).astype(np.int32)
    grad = upload(rng.standard_normal((1, 1, ids.size, features)), exact)
    rows = ttnn.Tensor(ids, ttnn.uint32, exact, ttnn.ROW_MAJOR_LAYOUT)
    found = ttnn.embedding_bw(rows, table, grad)
    W = wanting(table)
    looked_up = F.embedding(torch.from_numpy(ids.astype(np.int64)), W)
    close(found, gradients(looked_up, reference(grad).reshape(looked_up.shape), W)[0][None, None])
    assert found.layout is ttnn.TILE_LAYOUT


@pytest.mark.parametrize(
    "shapes", [((7, 33),) * 3, (MANY,) * 3, ((2, 3, 7, 33), (7, 33), (1, 1)), ((7, 1), (1, 33), (33,))]
)
def test_three_tensors(shapes, exact, rng, close):
    a, b, c = (upload(rng.uniform(0.5, 3, shape), exact) for shape in shapes)
    A, B, C = (reference(tensor) for tensor in (a, b, c))
    close(ttnn.lerp(a, b, c), A + C * (B - A))
    close(ttnn.lerp(a, b, 0.1), torch.lerp(*torch.broadcast_tensors(A, B), 0.1))
    close(ttnn.addcmul(a, b, c, value=-0.3), torch.addcmul(A, B, C, value=-0.3))
    close(ttnn.addcdiv(a, b, c, value=-0.3), torch.addcdiv(A, B, C, value=-0.3))


@pytest.mark.parametrize("shape", [(7, 33), MANY])
@pytest.mark.parametrize("name", ["lerp", "addcmul", "addcdiv"])
def test_three_tensors_into_the_first(name, shape, exact, rng, close):
    a, b, c = (upload(rng.uniform(0.5, 3, shape), exact) for _ in range(3))
    A, B, C = (reference(tensor) for tensor in (a, b, c))
    alias = ttnn.reshape(a, (1, *shape))
    assert getattr(ttnn, name)(a, b, c, output_tensor=a) is a
    wanted = {"lerp": A + C * (B - A), "addcmul": A + B * C, "addcdiv": A + B / C}
    close(alias, wanted[name][None])


def optimized(kind, tensors, steps, **keywords):
    """The parameter and moments of PyTorch's optimizer after some steps with the same gradient."""
    p, g = (reference(tensor) for tensor in tensors[:2])
    parameter = torch.nn.Parameter(p.clone())
    optimizer = kind([parameter], **keywords)
    for _ in range(steps):
        parameter.grad = g.clone()
        optimizer.step()
    state = optimizer.state[parameter]
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


@pytest.mark.parametrize("shape", [(7, 33), MANY])
@pytest.mark.parametrize("name", ["moreh_adamw", "moreh_adam"])
def test_adam_steps_in_place(name, shape, exact, rng, close):
    kind = torch.optim.AdamW if name == "moreh_adamw" else torch.optim.Adam
    p, g = (upload(rng.standard_normal(shape), exact) for _ in range(2))
    m, v = (ttnn.zeros_like(p) for _ in range(2))
    wanted = optimized(kind, (p, g), 3, lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    alias = ttnn.reshape(p, (1, *shape))
    said = {"lr": 1e-2, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.1, "amsgrad": False}
    for step in (1, 2, 3):
        found = getattr(ttnn, name)(
            p, g, m, v, step=step, param_out=p, exp_avg_out=m, exp_avg_sq_out=v, **said
        )
        assert [one is other for one, other in zip(found, (p, m, v, None), strict=True)] == [True] * 4
    for tensor, values in zip((p, m, v), wanted, strict=True):
        close(tensor, values)
    close(alias, wanted[0][None])


@pytest.mark.parametrize("name", ["moreh_adamw", "lerp"])
def test_what_is_written_in_place_takes_no_other_memory(name, rng):
    device = ttnn.open_device(numerics="float32")
    p, g, m, v = (upload(rng.random(MANY), device) for _ in range(4))
    places = [tensor.array.ctypes.data for tensor in (p, m, v)]
    if name == "lerp":
        ttnn.lerp(p, g, 0.1, output_tensor=p)
    else:
        ttnn.moreh_adamw(p, g, m, v, 1e-2, step=1, param_out=p, exp_avg_out=m, exp_avg_sq_out=v)
    assert [tensor.array.ctypes.data for tensor in (p, m, v)] == places
    ttnn.close_device(device)


def test_adam_leaves_alone_what_it_is_not_told_to_write(exact, rng, close):
    p, g, m, v = (upload(rng.random(MANY), exact) for _ in range(4))
    before = [reference(tensor) for tensor in (p, g, m, v)]
    new = ttnn.moreh_adamw(p, g, m, v, 1e-2, step=1)
    for tensor, values in zip((p, g, m, v), before, strict=True):
        close(tensor, values)
    close(new[1], 0.9 * before[2] + 0.1 * before[1])
    assert new[3] is None


def test_adam_in_place_does_not_reach_what_was_taken_from_the_parameter_before(exact, rng, close):
    p, g, m, v = (upload(rng.random((1, 2, 64, 64)), exact) for _ in range(4))
    heads = ttnn.experimental.nlp_concat_heads(p)
    part, kept = ttnn.slice(p, [0, 0, 0, 0], [1, 1, 64, 64]), p.cpu()
    wanted = [reference(tensor) for tensor in (heads, part)]
    ttnn.moreh_adamw(p, g, m, v, 1e-2, step=1, param_out=p, exp_avg_out=m, exp_avg_sq_out=v)
    for tensor, values in zip((heads, part), wanted, strict=True):
        close(tensor, values)
    assert not np.array_equal(download(p), ttnn.to_dtype(kept, ttnn.float32).to_numpy())


def test_dropout_drops_so_many_and_scales_the_others(exact, rng):
    x = upload(rng.uniform(1, 2, (8, 1, 128, 96)), exact)
    found, values = download(ttnn.experimental.dropout(x, 0.25, 4 / 3, 7)), download(x)
    kept = found != 0
    # 98304 draws: five standard deviations are 0.007.
    assert abs(kept.mean() - 0.75) < 0.007
    np.testing.assert_array_equal(found[kept], (values * values.dtype.type(4 / 3))[kept])


def test_dropout_repeats_itself_for_a_seed_and_a_shape(exact, rng):
    x, y = (upload(rng.uniform(1, 2, (3, 33, 40)), exact) for _ in range(2))

    def dropped(tensor, seed):
        return download(ttnn.experimental.dropout(tensor, 0.5, 2.0, seed)) == 0

    assert np.array_equal(dropped(x, 7), dropped(y, 7))
    # Two masks of 3960 elements agree on half of them; five standard deviations are 0.04.
    assert abs(np.mean(dropped(x, 7) == dropped(x, 8)) - 0.5) < 0.04


def test_the_same_elements_are_dropped_in_all_numerics(rng):
    values = rng.uniform(1, 2, MANY).astype(np.float32)
    masks = []
    for numerics in ("device", "float32", "float64"):
        device = ttnn.open_device(numerics=numerics)
        masks.append(download(ttnn.experimental.dropout(upload(values, device), 0.1, 1.0, 99)) == 0)
        ttnn.close_device(device)
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0), (-1.0, 0), (1.0, 1), (1.5, 1)])
def test_a_probability_beyond_its_range_drops_nothing_or_everything(probability, share, exact, rng):
    x = upload(rng.uniform(1, 2, (7, 33)), exact)
    assert (download(ttnn.experimental.dropout(x, probability, 1.0, 3)) == 0).mean() == share


@pytest.mark.parametrize(
    "name", ["layer_norm", "layer_norm_backward", "softmax_backward", "gelu_bw", "dropout"]
)
def test_device_numerics_round_a_gradient_once(name, device, rng):
    x, dy = (upload(rng.standard_normal((96, 64)), device) for _ in range(2))
    X, D = wanting(x), reference(dy)
    mean, rstd = (upload(values, device) for values in (download(x).mean(-1), 1 / download(x).std(-1)))
    if name == "layer_norm":
        found, wanted = ttnn.moreh_layer_norm(x, 1, 1e-5)[0], F.layer_norm(X, (64,), eps=1e-5)
    elif name == "layer_norm_backward":
        found = ttnn.moreh_layer_norm_backward(dy, x, mean, rstd, 1, gamma_grad=ttnn.zeros_like(dy[0]))[1]
        wanted = (D * (X - reference(mean)[:, None]) * reference(rstd)[:, None]).sum(0)
    elif name == "softmax_backward":
        found, wanted = ttnn.moreh_softmax_backward(x, dy, 1), X * (D - (X * D).sum(-1, keepdim=True))
    elif name == "gelu_bw":
        found, wanted = ttnn.gelu_bw(dy, x)[0], gradients(F.gelu(X), D, X)[0]
    else:
        found = ttnn.experimental.dropout(x, 0.5, 1.7, 3)
        wanted = torch.where(reference(found) == 0, 0, X * 1.7)
    values = reference(found)
    assert torch.equal(values.to(torch.bfloat16).to(torch.float64), values), "a value is no bfloat16"
    # Half a step of bfloat16 is 2^-8 of the power of two below; float32 sums may tip a value near a tie over.
    assert torch.all((values - wanted.detach()).abs() <= wanted.detach().abs() * 2**-8 * 1.01 + 1e-5)


def test_without_numba_the_numbers_are_the_same(monkeypatch, rng):
    from ttmlc_runtime.emulator import gradients as g

    x, dy = (rng.standard_normal((33, 96)).astype(np.float32) for _ in range(2))
    p, v = np.abs(x), np.abs(dy)
    numbers = {
        "keep": 0.9,
        "pull": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "step": 0.1,
        "correction": 2.0,
        "eps": 1e-6,
    }

    def everything():
        y, mean, rstd = g.normalise(x, dy[0], dy[1], 1e-5)
        return [
            y, mean, rstd, *g.normalise_backward(dy, x, mean, rstd, dy[0], inner=True), g.softmax_backward(x, dy),
            *(g.scale_by_slope(dy, x, name) for name in g.SLOPES), g.dropout(x, 0.3, 2.0, 5),
            g.add_rows(np.arange(33) % 7, dy, 9), *g.adam((p, dy, x, v), (None, None, None), **numbers),
        ]  # fmt: skip

    compiled = everything()
    for module in (g, kernels):
        monkeypatch.setattr(module, "_compiled", lambda: None)
    for one, other in zip(compiled, everything(), strict=True):
        # float32 sums of 96 in another order; the bar of the float32 numerics.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_gradients_of_a_product_are_products_in_float32(exact, rng, close):
    x, w, dy = (
        upload(rng.standard_normal(size), exact) for size in ((1, 1, 66, 40), (40, 31), (1, 1, 66, 31))
    )
    X, W, D = (reference(tensor) for tensor in (x, w, dy))
    dw = ttnn.matmul(x, dy, transpose_a=True, dtype=ttnn.float32)
    assert dw.dtype is ttnn.float32
    close(dw, X.transpose(-1, -2) @ D)
    close(ttnn.matmul(dy, w, transpose_b=True), D @ W.T)


def test_padding_puts_a_gradient_back_into_its_place(exact, rng, close):
    dy = upload(rng.standard_normal((2, 1, 1, 40)), exact)
    for tokens in (7, 32, 130):
        found = ttnn.pad(dy, [(0, 0), (0, 0), (0, tokens - 1), (0, 0)], 0.0)
        close(found, F.pad(reference(dy), (0, 0, 0, tokens - 1)))


@pytest.mark.parametrize("kind", ["SQUARE", "SQRT", "GTZ", "MUL_UNARY_SFPU"])
@pytest.mark.parametrize("place", ["input_tensor_a_activations", "input_tensor_b_activations", "activations"])
def test_functions_fused_into_what_is_written_in_place(kind, place, exact, rng, close):
    a, b = (upload(rng.random((7, 33)), exact) for _ in range(2))
    A, B = reference(a), reference(b)
    which = getattr(ttnn.UnaryOpType, kind)
    function = {
        "SQUARE": torch.square,
        "SQRT": torch.sqrt,
        "GTZ": lambda x: (x > 0).double(),
        "MUL_UNARY_SFPU": lambda x: x * 0.3,
    }[kind]
    chain = [ttnn.UnaryWithParam(which, 0.3) if kind == "MUL_UNARY_SFPU" else which]
    assert ttnn.add(a, b, output_tensor=a, **{place: chain}) is a
    wanted = {"input_tensor_a_activations": function(A) + B, "input_tensor_b_activations": A + function(B)}
    close(a, wanted.get(place, function(A + B)))
    close(b, B)


def test_adamw_composed_of_other_ops_is_adamw(exact, rng, close):
    """As it is where parameters are float32 and the board's own step is not."""
    p, g = (upload(rng.standard_normal((33, 40)), exact, ttnn.float32) for _ in range(2))
    m, v = (ttnn.zeros_like(p) for _ in range(2))
    lr, b1, b2, eps, decay = 1e-2, 0.9, 0.99, 1e-6, 0.1
    wanted = optimized(torch.optim.AdamW, (p, g), 3, lr=lr, betas=(b1, b2), eps=eps, weight_decay=decay)
    kinds = ttnn.UnaryOpType

    def times(factor):
        return ttnn.UnaryWithParam(kinds.MUL_UNARY_SFPU, factor)

    for t in (1, 2, 3):
        root = (1 - b2**t) ** 0.5
        ttnn.lerp(m, g, 1 - b1, output_tensor=m)
        ttnn.add(
            v, g, input_tensor_a_activations=[times(b2)], input_tensor_b_activations=[kinds.SQUARE, times(1 - b2)],
            output_tensor=v,
        )  # fmt: skip
        d = ttnn.add(v, eps * root, input_tensor_a_activations=[kinds.SQRT])
        ttnn.multiply(p, 1 - lr * decay, output_tensor=p)
        ttnn.addcdiv(p, m, d, value=-lr * root / (1 - b1**t), output_tensor=p)
    for tensor, values in zip((p, m, v), wanted, strict=True):
        close(tensor, values)


def test_a_mesh_drops_alike_on_all_chips_or_says_that_it_cannot_do_otherwise(rng):
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 2), numerics="float32")
    x = ttnn.Tensor(
        rng.uniform(1, 2, (2, 33, 40)).astype(np.float32), ttnn.bfloat16, mesh, ttnn.TILE_LAYOUT,
        mesh_mapper=ttnn.shard_tensor_to_mesh_mapper(mesh, 0),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="another seed on each chip"):
        ttnn.experimental.dropout(x, 0.5, 2.0, 7)
    dropped = ttnn.experimental.dropout(x, 0.5, 2.0, 7, use_per_device_seed=False)
    halves = ttnn.get_device_tensors(ttnn.to_dtype(dropped.cpu(), ttnn.float32))
    one, other = (half.to_numpy() == 0 for half in halves)
    assert np.array_equal(one, other)
    ttnn.close_mesh_device(mesh)

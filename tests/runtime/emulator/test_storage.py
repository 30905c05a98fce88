"""Storage: what shares it, what frees it, what is refused after that, and what lies in the padding of tiles."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import ttmlc_runtime.emulator as ttnn
from places import download, upload

FREED = "not allocated"


@pytest.mark.parametrize(
    ("shape", "layout", "new", "is_view"),
    [
        ((4, 128, 768), ttnn.TILE_LAYOUT, (4, 1, 128, 768), True),
        ((4, 128, 768), ttnn.TILE_LAYOUT, (512, 768), True),
        ((2, 3, 40, 64), ttnn.TILE_LAYOUT, (6, 40, 64), True),
        ((2, 3, 40, 64), ttnn.TILE_LAYOUT, (240, 64), False),
        ((2, 3, 40, 64), ttnn.ROW_MAJOR_LAYOUT, (240, 64), True),
        ((2, 3, 64, 64), ttnn.TILE_LAYOUT, (2, 3, 32, 128), False),
        ((2, 3, 64, 64), ttnn.ROW_MAJOR_LAYOUT, (2, 3, 32, 128), False),
        ((64,), ttnn.TILE_LAYOUT, (1, 1, 1, 64), True),
        ((64,), ttnn.TILE_LAYOUT, (64, 1), False),
        ((3, 1, 64), ttnn.TILE_LAYOUT, (3, 64), False),
    ],
)
def test_a_reshape_is_a_view_where_ttnns_is(shape, layout, new, is_view, device):
    x = upload(np.zeros(shape), device, layout=layout)
    assert (ttnn.reshape(x, new).buffer_address() == x.buffer_address()) is is_view


@pytest.mark.parametrize(
    "alias",
    [
        lambda x: ttnn.reshape(x, (1, 64, 64)),
        lambda x: ttnn.view(x, (1, 64, 64)),
        lambda x: ttnn.unsqueeze(x, 0),
        lambda x: ttnn.squeeze(x, 0),
        lambda x: ttnn.permute(x, (0, 1)),
        lambda x: ttnn.transpose(x, 1, 1),
        lambda x: ttnn.concat([x]),
        lambda x: ttnn.slice(x, (0, 0), (64, 64)),
        lambda x: x[:],
        lambda x: ttnn.repeat(x, (1, 1)),
        lambda x: ttnn.pad(x, [(0, 0), (0, 0)], 0.0),
        lambda x: ttnn.to_layout(x, ttnn.TILE_LAYOUT),
        lambda x: ttnn.to_device(x, x.device()),
        lambda x: ttnn.to_memory_config(x, ttnn.DRAM_MEMORY_CONFIG),
        lambda x: ttnn.fill_implicit_tile_padding(x, 1.0),
    ],
)
def test_freeing_an_alias_frees_the_base(alias, device):
    x = upload(np.ones((64, 64)), device)
    ttnn.deallocate(alias(x))
    assert not x.is_allocated()
    with pytest.raises(RuntimeError, match=FREED):
        ttnn.relu(x)


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: ttnn.clone(x),
        lambda x: ttnn.typecast(x, ttnn.bfloat16),
        lambda x: ttnn.reshape(x, (32, 128)),
        lambda x: ttnn.add(x, 0.0),
        lambda x: ttnn.to_layout(x, ttnn.ROW_MAJOR_LAYOUT),
        lambda x: x.cpu(),
        lambda x: x[:32],
    ],
)
def test_a_copy_outlives_its_source(copy, device):
    x = upload(np.ones((64, 64)), device)
    made = copy(x)
    ttnn.deallocate(x)
    assert (download(made) == 1).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda x: ttnn.linear(x, x),
        lambda x: ttnn.add(x, x),
        lambda x: ttnn.layer_norm(x),
        lambda x: ttnn.reshape(x, (1, 64, 64)),
        lambda x: ttnn.concat([x, x]),
        lambda x: x.cpu(),
        lambda x: x[0],
        lambda x: ttnn.multiply(1.0, x),
    ],
)
def test_use_after_free_is_refused(use, device):
    x = upload(np.ones((64, 64)), device)
    ttnn.deallocate(x)
    ttnn.deallocate(x)  # again is nothing, as in ttnn
    with pytest.raises(RuntimeError, match=FREED):
        use(x)
    assert "deallocated" in repr(x)


def test_without_force_only_what_is_not_shared_is_freed(device):
    x = upload(np.ones((64, 64)), device)
    alias = ttnn.reshape(x, (1, 64, 64))
    ttnn.deallocate(x, force=False)
    assert x.is_allocated()
    del alias
    ttnn.deallocate(x, force=False)
    assert not x.is_allocated()


def test_what_is_written_in_place_is_seen_by_every_alias(device):
    x = upload(np.ones((64, 64)), device)
    alias = ttnn.reshape(x, (1, 64, 64))
    ttnn.add_(x, 1.0)
    assert (download(alias) == 2).all()
    ttnn.multiply(alias, 3.0, output_tensor=alias)
    assert (download(x) == 6).all()
    ttnn.copy(upload(np.zeros((64, 64)), device), x)
    assert (download(alias) == 0).all()
    host = ttnn.Tensor(np.full((64, 64), 7, np.float32), ttnn.bfloat16, layout=ttnn.TILE_LAYOUT)
    ttnn.copy_host_to_device_tensor(host, x)
    assert (download(alias) == 7).all()


def test_results_do_not_follow_their_operands(device):
    # Heads are views of the projection inside the emulator; to the program they are tensors of their own.
    x = upload(np.ones((1, 1, 32, 96)), device)
    q, _, v = ttnn.experimental.nlp_create_qkv_heads(x, num_heads=1)
    ttnn.add_(x, 1.0)
    assert (download(q) == 1).all()
    ttnn.deallocate(x)
    assert (download(v) == 1).all()


def test_a_matmul_writes_into_its_output_tensor(device):
    x, out = (
        upload(np.ones((2, 32, 32)), device),
        ttnn.zeros((2, 32, 32), ttnn.float32, ttnn.TILE_LAYOUT, device),
    )
    assert ttnn.matmul(x, x, optional_output_tensor=out) is out
    assert (download(out) == 32).all()
    with pytest.raises(RuntimeError, match="dtypes should match"):
        ttnn.matmul(x, x, dtype=ttnn.bfloat16, optional_output_tensor=out)


def test_a_closed_device_is_refused():
    device = ttnn.open_device()
    x = upload(np.ones((2, 2)), device)
    ttnn.close_device(device)
    with pytest.raises(RuntimeError, match="closed"):
        ttnn.relu(x)
    with pytest.raises(RuntimeError, match="closed"):
        upload(np.ones((2, 2)), device)


# the padding of tiles


def attend(device, tokens, mask, k=None):
    q = upload(np.ones((1, 1, tokens, 32)), device)
    k = q if k is None else k
    return ttnn.transformer.scaled_dot_product_attention(q, k, k, attn_mask=mask, is_causal=False)


@pytest.mark.parametrize("filled", [0.0, -1.0, 1e9, np.inf])
def test_a_mask_whose_padding_would_let_keys_through_is_refused(filled, device):
    mask = ttnn.Tensor(
        np.zeros((1, 1, 40, 40), np.float32), ttnn.bfloat16, device, ttnn.TILE_LAYOUT, pad_value=filled
    )
    with pytest.raises(RuntimeError, match=r"TT_FATAL.*padding.*fill_implicit_tile_padding"):
        attend(device, 40, mask)


def test_a_mask_made_of_sums_has_padding_that_is_not_known(device):
    rows, columns = upload(np.zeros((1, 1, 40, 40)), device), upload(np.zeros((1, 1, 1, 40)), device)
    mask = ttnn.add(rows, columns)
    with pytest.raises(RuntimeError, match="padding is not known"):
        attend(device, 40, mask)
    assert download(attend(device, 40, ttnn.fill_implicit_tile_padding(mask, -1e9))).shape == (1, 1, 40, 32)


def test_a_mask_that_fills_its_tiles_needs_no_filling(device):
    attend(device, 64, upload(np.zeros((1, 1, 64, 64)), device))


def test_padding_follows_elementwise_functions(device):
    mask = ttnn.Tensor(
        np.zeros((1, 1, 40, 40), np.float32), ttnn.bfloat16, device, ttnn.TILE_LAYOUT, pad_value=1.0
    )
    assert ttnn.multiply(mask, -1e9).padding == -1e9
    attend(device, 40, ttnn.multiply(mask, -1e9))
    assert ttnn.add(mask, mask).padding == 2.0
    assert ttnn.exp(ttnn.zeros_like(mask)).padding == 1.0


@pytest.mark.parametrize(
    "wild",
    [
        lambda x: ttnn.log(x),
        lambda x: ttnn.reciprocal(x),
        lambda x: ttnn.divide(x, x),
        lambda x: ttnn.empty(x.shape, ttnn.bfloat16, ttnn.TILE_LAYOUT, x.device()),
        lambda x: ttnn.rsqrt(ttnn.slice(ttnn.concat([x, x], -1), (0, 0), (40, 40))),
    ],
)
def test_padding_that_may_be_infinite_is_not_multiplied_by_zero(wild, device):
    x = upload(np.ones((40, 40)), device)
    y = wild(x)
    with pytest.raises(RuntimeError, match="not made of numbers"):
        ttnn.matmul(x, y)
    for norm in (ttnn.layer_norm, ttnn.rms_norm, ttnn.softmax):
        with pytest.raises(RuntimeError, match="not made of numbers"):
            norm(y)
    k = ttnn.reshape(ttnn.pad(y, [(0, 0), (0, 24)], 0.0), (1, 1, 40, 64))
    with pytest.raises(RuntimeError, match="not made of numbers"):
        ttnn.transformer.scaled_dot_product_attention(
            upload(np.ones((1, 1, 40, 64)), device), k, k, is_causal=False
        )
    ttnn.matmul(x, ttnn.fill_implicit_tile_padding(y, 0.0))


def test_unknown_but_finite_padding_is_no_obstacle(device):
    x = upload(np.ones((40, 40)), device)
    y = ttnn.linear(x, x)
    assert y.padding is None
    ttnn.softmax(ttnn.layer_norm(ttnn.matmul(y, y)))


def test_padding_shows_in_the_shape_alone(device):
    x = upload(np.zeros((2, 40, 70)), device)
    assert (x.shape, x.padded_shape) == ([2, 40, 70], [2, 64, 96])
    assert upload(np.zeros(5), device).padded_shape == (32, 32)
    assert upload(np.zeros((2, 40, 70)), device, layout=ttnn.ROW_MAJOR_LAYOUT).padded_shape == (2, 40, 70)
    assert (x.volume(), x.logical_volume()) == (2 * 64 * 96, 2 * 40 * 70)


def test_threads_may_compute_at_once(rng):
    device = ttnn.open_device(numerics="float32")
    x = upload(rng.standard_normal((512, 256)), device)
    wanted = download(ttnn.gelu(ttnn.layer_norm(x)))
    found: list[np.ndarray] = []

    def work() -> None:
        for _ in range(10):
            found.append(download(ttnn.gelu(ttnn.layer_norm(x))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert all((values == wanted).all() for values in found)

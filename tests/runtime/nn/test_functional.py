"""What blocks call in training, against PyTorch's own gradients in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import ttmlc_runtime.emulator as ttnn
from torch.nn import functional as F
from ttmlc_runtime import nn

ACTIVATIONS = {
    "gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu, "silu": F.silu, "swish": F.silu,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "linear": lambda x: x,
}  # fmt: skip
EXACT = 1e-12
"""float64 to some hundred roundings, relative to the largest value."""


@pytest.fixture
def device() -> Iterator[ttnn.MeshDevice]:
    opened = ttnn.open_device(numerics="float64")
    yield opened
    ttnn.close_device(opened)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def upload(array: Any, device: ttnn.MeshDevice) -> ttnn.Tensor:
    return ttnn.Tensor(np.asarray(array, np.float64), ttnn.bfloat16, device, ttnn.TILE_LAYOUT)


def values(tensor: ttnn.Tensor) -> torch.Tensor:
    return torch.from_numpy(ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy())


def close(tensor: ttnn.Tensor, wanted: torch.Tensor) -> None:
    found, expected = values(tensor), wanted.detach()
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= EXACT * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_of_activations(name: str, device: ttnn.MeshDevice, rng: np.random.Generator) -> None:
    x, dy = (rng.standard_normal((2, 7, 33)) * 4 for _ in range(2))
    at = torch.from_numpy(x).requires_grad_()
    (wanted,) = torch.autograd.grad(ACTIVATIONS[name](at), at, torch.from_numpy(dy))
    close(nn.activate_backward(upload(dy, device), upload(x, device), name), wanted)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 1, 33, 40), (7, 31)])
def test_layer_norm_and_its_gradients(
    shape: tuple[int, ...], bias: bool, device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    arrays = [rng.standard_normal(size) for size in (shape, shape[-1:], shape[-1:], shape)]
    x, w, b, dy = (torch.from_numpy(array) for array in arrays)
    inputs = [tensor.requires_grad_() for tensor in (x, w, b)]
    wanted = F.layer_norm(x, shape[-1:], w, b if bias else None, 1e-5)
    gradients = torch.autograd.grad(wanted, inputs[: 2 + bias], dy)
    on_x, on_w, on_b, on_dy = (upload(array, device) for array in arrays)
    y, mean, rstd = nn.layer_norm(on_x, on_w, on_b if bias else None, 1e-5)
    close(y, wanted)
    assert list(mean.shape) == list(rstd.shape) == list(shape[:-1])
    found = nn.layer_norm_backward(on_dy, on_x, mean, rstd, on_w, bias=bias)
    for tensor, gradient in zip(found, gradients, strict=False):
        assert tensor is not None
        close(tensor, gradient)
    assert bias or found[2] is None


@pytest.mark.parametrize("shape", [(2, 1, 33, 40), (2, 3, 7, 32), (1, 1, 32, 64)])
def test_rms_norm_backward(shape: tuple[int, ...], device: ttnn.MeshDevice, rng: np.random.Generator) -> None:
    """A row of zeros has a gradient too, of which eps alone decides how large it is."""
    arrays = [rng.standard_normal(size) for size in (shape, shape[-1:], shape)]
    arrays[0][0, 0, 0] = 0
    x, w, dy = (torch.from_numpy(array) for array in arrays)
    wanted = F.rms_norm(x.requires_grad_(), shape[-1:], w.requires_grad_(), 1e-2)
    gradients = torch.autograd.grad(wanted, (x, w), dy)
    on_x, on_w, on_dy = (upload(array, device) for array in arrays)
    close(ttnn.rms_norm(on_x, weight=on_w, epsilon=1e-2), wanted)
    dx, dw = nn.rms_norm_backward(on_dy, on_x, on_w, 1e-2)
    close(dx, gradients[0])
    assert dw.shape[-1] == dw.logical_volume() == shape[-1]
    close(ttnn.reshape(dw, shape[-1:]), gradients[1])


def test_softmax_backward(device: ttnn.MeshDevice, rng: np.random.Generator) -> None:
    x, dy = (torch.from_numpy(rng.standard_normal((2, 3, 7, 33))) for _ in range(2))
    y = torch.softmax(x.requires_grad_(), -1)
    found = nn.softmax_backward(upload(dy, device), upload(y.detach(), device))
    close(found, torch.autograd.grad(y, x, dy)[0])


@pytest.mark.parametrize("shape", [(2, 1, 1, 33), (2, 1, 33, 33), None])
def test_masked_scores(
    shape: tuple[int, ...] | None, device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    scores = rng.standard_normal((2, 3, 33, 33))
    mask = None if shape is None else rng.standard_normal(shape)
    found = nn.masked_scores(upload(scores, device), 0.3, None if mask is None else upload(mask, device))
    close(found, torch.from_numpy(scores * 0.3 + (0 if mask is None else mask)))


@pytest.mark.parametrize("window", [1, 4, 33, None])
@pytest.mark.parametrize("group", [1, 3])
def test_causal_windows(
    window: int | None, group: int, device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    """A query of every head of a group sees the same keys, itself included."""
    scores = rng.standard_normal((2, 2, group * 33, 33))
    query, key = np.indices((33, 33))
    seen = (key <= query) & (key > query - (window or 99))
    added = nn.causal_mask(upload(scores, device), window=window)
    assert added is not None
    found = ttnn.to_dtype(added.cpu(), ttnn.float32).to_numpy()
    assert np.array_equal(found[0, 0] == 0, np.tile(seen, (group, 1)))
    mask = nn.causal_window(upload(scores[:, :, :33], device), window)
    assert mask.causal == (mask.additive is None) == (window is None or window >= 33)


@pytest.mark.parametrize("skip", [None, 0, 3])
@pytest.mark.parametrize("tokens", [1, 7, 32, 33])
@pytest.mark.parametrize("four", [True, False])
def test_embedding_backward(
    tokens: int, skip: int | None, four: bool, device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    """PyTorch's ``padding_idx`` is the row that is skipped."""
    ids, dy = rng.integers(0, 5, (3, tokens)), rng.standard_normal((3, tokens, 40))
    table = torch.from_numpy(rng.standard_normal((50, 40))).requires_grad_()
    looked_up = F.embedding(torch.from_numpy(ids), table, padding_idx=skip)
    (wanted,) = torch.autograd.grad(looked_up, table, torch.from_numpy(dy))
    rows = ttnn.Tensor(ids.astype(np.int32), ttnn.uint32, device, ttnn.ROW_MAJOR_LAYOUT)
    gradient = upload(dy[:, None] if four else dy, device)
    found = nn.embedding_backward(rows, upload(table.detach(), device), gradient, skip_row=skip)
    assert found.layout is ttnn.TILE_LAYOUT
    close(found, wanted)


@pytest.mark.parametrize("at_once", [True, False])
def test_heads_of_several_are_joined_side_by_side(
    device: ttnn.MeshDevice, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:  # as where they would not fit on a core
        monkeypatch.setattr("ttmlc_runtime.nn.functional.JOINED", 64)
    arrays = [rng.normal(size=(2, heads, 33, 32)) for heads in (3, 1, 1)]
    found = nn.join_heads(*(upload(array, device) for array in arrays))
    wanted = [np.swapaxes(array, 1, 2).reshape(2, 1, 33, -1) for array in arrays]
    close(found, torch.from_numpy(np.concatenate(wanted, -1)))


def test_dropout_is_undone_by_no_rate_and_by_no_seed(
    device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    x = upload(rng.uniform(1, 2, (2, 33, 40)), device)
    assert nn.dropout(x, 0.0, 5, 1) is x
    assert nn.dropout(x, 0.1, None, 1) is x
    assert not values(nn.dropout(x, 1.0, 5, 1)).any()


def test_dropout_drops_alike_for_a_seed_and_a_site_alone(
    device: ttnn.MeshDevice, rng: np.random.Generator
) -> None:
    x, y = (upload(rng.uniform(1, 2, (4, 33, 40)), device) for _ in range(2))

    def mask(tensor: ttnn.Tensor, seed: int, site: int) -> torch.Tensor:
        return values(nn.dropout(tensor, 0.5, seed, site)) == 0

    assert torch.equal(mask(x, 5, 1), mask(y, 5, 1))
    for seed, site in ((5, 2), (6, 1), (6, 0), (5 + 2**32, 1)):
        # Of two masks of 5280 elements half agree; five standard deviations are 0.035.
        assert abs(float((mask(x, 5, 1) == mask(x, seed, site)).double().mean()) - 0.5) < 0.035
    kept = ~mask(x, 5, 1)
    close(nn.dropout(x, 0.5, 5, 1), torch.where(kept, values(x) * 2, 0.0))
    close(nn.dropout(x, 0.5, 5, 1, scale=0.25), torch.where(kept, values(x) / 2, 0.0))
    close(nn.dropout(x, 0.5, None, 1, scale=0.25), values(x) / 4)
    close(nn.dropout(x, 0.0, 5, 1, scale=0.25), values(x) / 4)

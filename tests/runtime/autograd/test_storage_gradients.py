"""Storages that take gradients and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from taped import host, on_device
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import AutogradError, WeightsError
from ttmlc_runtime.weights import Parameter, Storage, concat, normal
from ttmlc_runtime.weights.chain import Leaf
from ttmlc_runtime.weights.storage import pair, to_device

DTYPES = (ttnn.bfloat16, ttnn.float32)


def chain(name: str = "w", shape: tuple[int, ...] = (32, 64)) -> Leaf:
    return Leaf(Parameter(name, shape, normal(1)))


def filled(of: Any, device: Any, **options: Any) -> Storage:
    storage = Storage(str(of), of, **options)
    storage.fill({p.name: p.initial(0) for p in of.parameters()}, device)
    return storage


def test_gradients_of_any_shape_take_that_of_the_storage() -> None:
    device = nn.open_device("float64")
    storage, values = filled(chain(), device), np.arange(2048.0)
    for count, shape in enumerate([(1, 1, 32, 64), (32, 64), (64, 32), (2048,)], 1):
        storage.accumulate(on_device(values.reshape(shape), device))
        assert host(storage.grad).shape == (32, 64)
        assert (host(storage.grad).reshape(-1) == count * values).all()
    storage.accumulate(on_device(values.reshape(32, 64), device, ttnn.ROW_MAJOR_LAYOUT))
    assert storage.grad.layout == ttnn.TILE_LAYOUT
    assert (host(storage.grad).reshape(-1) == 5 * values).all()
    bias = filled(chain("b", (64,)), device)
    bias.accumulate(on_device(np.arange(64.0).reshape(1, 1, 1, 64), device))
    assert (host(bias.grad) == np.arange(64)).all()


def test_a_gradient_of_other_elements_is_refused() -> None:
    device = nn.open_device("float64")
    with pytest.raises(
        AutogradError, match=r"the gradient of w\.T is \[32, 32\], and its storage \[64, 32\]"
    ):
        filled(chain().T, device).accumulate(on_device(np.ones((32, 32)), device))


@pytest.mark.parametrize("first", DTYPES)
@pytest.mark.parametrize("second", DTYPES)
def test_sums_are_float32_where_either_is(first: Any, second: Any) -> None:
    device = nn.open_device()
    storage = filled(chain(), device)
    wide = 1 + 2.0**-12  # float32 holds it, bfloat16 does not
    for dtype in (first, second):
        storage.accumulate(to_device(np.full((32, 64), wide, np.float32), dtype, device))
    exact = ttnn.float32 in (first, second)
    assert storage.grad.dtype == (ttnn.float32 if exact else ttnn.bfloat16)
    wanted = sum(wide if dtype == ttnn.float32 else 1.0 for dtype in (first, second))
    assert (host(storage.grad) == wanted).all()


def test_a_tensor_that_was_given_is_never_written_to() -> None:
    """It may be somebody else's too, as what an addition hands to both of its sides."""
    device = nn.open_device("float64")
    storage, given = filled(chain(), device), on_device(np.ones((32, 64)), device)
    for _ in range(2):
        storage.accumulate(given)
    owned = storage.grad
    storage.accumulate(given)
    assert storage.grad is owned, "a sum that is the storage's own is added to in place"
    assert (host(storage.grad) == 3).all()
    assert (host(given) == 1).all()
    storage.grad = given  # as by a step that clips
    storage.accumulate(given)
    assert (host(storage.grad) == 2).all()
    storage.grad = None
    storage.accumulate(given)
    storage.accumulate(given)
    assert (host(given) == 1).all()


def test_one_gradient_for_two_storages_is_two_tensors() -> None:
    class Both(nn.Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any) -> Any:
            return ttnn.add(a, b)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return dy, dy

    device = nn.open_device("float64")
    kernels = nn.Kernels.of(nn.Policy(), device)
    holder = nn.Scope(nn.Registry(), kernels).store(a=chain("a"), b=chain("b"))
    for storage in holder.storages.values():
        storage.fill({storage.name: np.ones((32, 64))}, device)
    dy = on_device(np.ones((32, 64)), device)
    Both.apply(holder["a"], holder["b"]).backward(dy)
    addresses = {s.grad.buffer_address() for s in holder.storages.values()} | {dy.buffer_address()}
    assert len(addresses) == 3


def test_frozen_storages_take_nothing() -> None:
    device = nn.open_device("float64")
    storage = filled(concat(chain("a"), chain("b")), device)
    assert storage.trainable
    storage.frozen.add("a")
    assert storage.trainable, "half frozen: refused when a model is trained"
    storage.frozen.add("b")
    assert not storage.trainable
    storage.trainable = True
    assert not storage.frozen
    storage.trainable = False
    assert storage.frozen == {"a", "b"}
    storage.accumulate(on_device(np.ones((32, 128)), device))
    assert storage.grad is None


def test_holders_take_gradients_by_role() -> None:
    device = nn.open_device("float64")
    kernels = nn.Kernels.of(nn.Policy(), device)
    holder = nn.Scope(nn.Registry(), kernels).store(weight=chain(), bias=chain("b", (64,)))
    one = on_device(np.ones((1, 1, 32, 64)), device)
    holder.accumulate(weight=one, bias=None)
    weight, bias = holder.storages.values()
    assert (host(weight.grad) == 1).all() and bias.grad is None
    weight.trainable = False
    assert holder.trainable
    holder.accumulate(weight=one)
    assert (host(weight.grad) == 1).all()
    bias.trainable = False
    assert not holder.trainable
    assert not holder["bias"].requires_grad and holder["bias"].storage is bias


@pytest.mark.parametrize("numerics", ["bfloat16", "float64"])
@pytest.mark.parametrize("held", DTYPES)
@pytest.mark.parametrize("given", DTYPES)
@pytest.mark.parametrize("layout", [ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT])
def test_other_values_are_written_in_place(numerics: str, held: Any, given: Any, layout: Any) -> None:
    device = nn.open_device(numerics)
    storage = filled(chain(), device, dtype=held, layout=layout)
    before, version = storage.tensor, storage.version
    values = np.full((32, 64), 1 + 2.0**-12)
    storage.write(to_device(values if numerics == "float64" else values.astype(np.float32), given, device))
    assert storage.tensor is before
    assert storage.version == version + 1
    assert (storage.tensor.dtype, storage.tensor.layout) == (held, layout)
    narrow = numerics == "bfloat16" and ttnn.bfloat16 in (held, given)
    assert (storage.host() == (1 if narrow else 1 + 2.0**-12)).all()


def test_what_does_not_fit_is_not_written() -> None:
    device = nn.open_device("float64")
    storage = filled(chain(), device)
    with pytest.raises(WeightsError, match=r"w takes values of \[32, 64\], not \[64, 32\]"):
        storage.write(on_device(np.ones((64, 32)), device))
    with pytest.raises(WeightsError, match="w has no values yet"):
        Storage("w", chain()).write(on_device(np.ones((32, 64)), device))


def test_whatever_changes_values_raises_the_version() -> None:
    device = nn.open_device("float64")
    storage = Storage("w", chain())
    assert storage.version == 0
    storage.reserve(device)
    assert storage.version == 1
    storage.offer("w", np.ones((32, 64)), device)
    assert storage.version == 2


def test_two_forms_of_one_parameter_are_one_to_training() -> None:
    device = nn.open_device("float64")
    word = chain("word", (12, 32))
    rows = filled(word, device, layout=ttnn.ROW_MAJOR_LAYOUT)
    tiles, turned = filled(word, device), filled(word.T, device)
    pair([rows, tiles, turned])
    assert (rows.primary, tiles.primary, turned.primary) == (tiles, tiles, turned)
    rows.accumulate(on_device(np.ones((12, 32)), device))
    tiles.accumulate(on_device(np.ones((1, 1, 12, 32)), device))
    assert rows.grad is None
    assert (host(tiles.grad) == 2).all()
    for step, storage in enumerate((tiles, rows), 2):
        storage.write(on_device(np.full((12, 32), step), device))
        assert (rows.host() == step).all() and (tiles.host() == step).all()
        assert rows.version == tiles.version == step
    tiles.trainable = False
    rows.accumulate(on_device(np.ones((12, 32)), device))
    assert (host(tiles.grad) == 2).all()


def test_windows_and_fused_forms_are_nobodys_other_form() -> None:
    device = nn.open_device("float64")
    word, other = chain("word"), chain("other")
    parts = [word.window(0, 0, 16), word.window(0, 0, 16), concat(word, other), word]
    storages = [filled(part, device) for part in parts]
    pair(storages)
    assert [storage.primary for storage in storages] == storages


def test_an_element_that_is_held_twice_has_the_sum_of_its_gradients() -> None:
    """Where values are only given back, the first is enough."""
    word = chain("word", (2, 3))
    twice = concat(word, word.window(1, 0, 2)).permuted(1, 0)
    gradient = np.arange(10.0).reshape(5, 2)
    wanted = gradient.T[:, :3].copy()
    wanted[:, :2] += gradient.T[:, 3:]
    assert (twice.adjoint(gradient)["word"] == wanted).all()

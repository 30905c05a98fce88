"""Blocks in training, against PyTorch in float64, and what of them stays in memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from taped import (
    CLOSE,
    SIDES,
    Gate,
    Small,
    Squares,
    agree,
    batch,
    gradients,
    host,
    in_torch,
    on_device,
    small,
)
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights import zeros


def test_every_gradient_is_pytorchs_under_its_name_and_in_its_layout() -> None:
    """Among them a tied matrix, which gets one from the lookup and one from the scores, and fused projections."""
    model, (ids, target) = small(), batch(2)
    loss, wanted = in_torch(model, ids, target)
    output = model(ids, target)
    assert float(output.loss) == pytest.approx(loss, rel=CLOSE)
    output.loss.backward()
    agree(gradients(model), wanted)


def test_gradients_of_micro_batches_add_to_those_of_the_batch() -> None:
    model, (ids, target) = small(), batch(4)
    _, wanted = in_torch(model, ids, target)
    for piece in range(4):
        model(ids[piece : piece + 1], target[piece : piece + 1]).loss.backward()
    agree(gradients(model), wanted)
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_scaled_loss_scales_every_gradient() -> None:
    model, (ids, target) = small(), batch(2)
    _, wanted = in_torch(model, ids, target)
    ((model(ids, target).loss * 3 + model(ids, target).loss) / 4).backward()
    agree(gradients(model), wanted)


def test_gradients_agree_with_finite_differences() -> None:
    """Independent of PyTorch, and of the layout: the model's own loss as its parameters are nudged."""
    model, (ids, target) = small(), batch(1)
    model(ids, target).loss.backward()
    state, step = model.state_dict(), 1e-5
    generator = np.random.default_rng(1)
    for name, gradient in gradients(model).items():
        way = generator.standard_normal(gradient.shape)
        losses = []
        for sign in (1, -1):
            model.load_state_dict({**state, name: state[name] + sign * step * way})
            losses.append(float(model(ids, target).loss))
        # Central differences err by the third derivative times step ** 2, and by rounding over the step.
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx((gradient * way).sum(), rel=1e-6), name


def test_a_users_function_stands_between_two_blocks() -> None:
    class Double(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: float) -> Any:
            ctx.by = by
            return ttnn.multiply(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            assert ctx.needs == (True, False)
            return ttnn.multiply(dy, ctx.by), None

    class Doubled(Small):
        def __call__(self, x: Any) -> Any:
            return nn.Activation(self.gates[1](Double.apply(self.gates[0](x, None), 2.0), None), (1, 32, 32))

    model = Doubled(device=nn.open_device("float64")).train()
    values = np.random.default_rng(0).standard_normal((1, 1, 32, 32))
    y = model(on_device(values, model.device))
    dy = np.random.default_rng(1).standard_normal((1, 1, 32, 32))
    y.backward(on_device(dy, model.device))

    import torch

    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    x = torch.tensor(values)
    for i, scale in enumerate((2.0, 1.0)):
        left, right = (x @ p[f"layer.{i}.{side}.weight"].T + p[f"layer.{i}.{side}.bias"] for side in SIDES)
        x = (x + torch.tanh(left) * right) * scale
    x.backward(torch.tensor(dy))
    agree(gradients(model), {n: v.grad.numpy() for n, v in p.items() if v.grad is not None})


def test_a_storage_goes_to_a_function_by_its_role() -> None:
    class Scale(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: Any) -> Any:
            ctx.save(x, by)
            return ttnn.multiply(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, by = ctx.saved
            return ttnn.multiply(dy, by), ttnn.sum(ttnn.multiply(dy, x), dim=2, keepdim=True)

    model, x = small(), np.random.default_rng(0).standard_normal((1, 1, 32, 32))
    holder = nn.Scope(nn.Registry(), model.kernels).store(weight=model.gates[0].both.storages["bias"].chain)
    storage = holder.storages["weight"]
    storage.fill({f"layer.0.{side}.bias": np.arange(32.0) for side in SIDES}, model.device)
    wide = np.concatenate([x, x], -1)
    y = Scale.apply(on_device(wide, model.device), holder["weight"])
    y.backward(on_device(np.ones_like(wide), model.device))
    assert host(storage.grad).shape == (64,)
    np.testing.assert_allclose(host(storage.grad), wide.sum(2).reshape(-1), rtol=1e-12)
    storage.trainable = False
    assert not isinstance(Scale.apply(on_device(wide, model.device), holder["weight"]), nn.Variable)


def shifted() -> tuple[Any, Any]:
    """A model with a Function on a storage of its own, and an input."""

    class Shift(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: Any) -> Any:
            return ttnn.add(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return dy, ttnn.sum(dy, dim=2, keepdim=True)

    class Shifted(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            self.shift = at.store(bias=at.parameter("shift.bias", (32,), zeros))

        def __call__(self, x: Any) -> Any:
            return nn.Activation(Shift.apply(x, self.shift["bias"]), (1, 32, 32))

    model = Shifted(device=nn.open_device("float64"))
    return model, on_device(np.ones((1, 1, 32, 32)), model.device)


def test_a_function_in_a_model_goes_by_its_mode() -> None:
    model, x = shifted()
    assert not model(x).requires_grad
    y = model.train()(x)
    y.backward(x)
    assert (dict(model.named_parameters())["shift.bias"].grad.numpy() == 32).all()


def test_a_storage_that_a_function_was_given_may_not_change_before_its_backward() -> None:
    model, x = shifted()
    y = model.train()(x)
    model.shift.storages["bias"].write(model.shift.bias)
    with pytest.raises(
        AutogradError, match=r"shift\.bias changed between the forward and the backward of Shift"
    ):
        y.backward(x)


# Memory


def test_backward_lets_go_of_everything_without_the_collector() -> None:
    model, (ids, target) = small(), batch(1)
    alive: list[weakref.ref[Any]] = []

    class Watched(Gate):
        def forward(self, x: Any, mask: Any = None) -> Any:
            y, kept = Gate.forward(self, x, mask)
            alive.extend(weakref.ref(value) for value in (kept, kept.x, kept.t, y))
            return y, kept

    for gate in model.gates:
        gate.__class__ = Watched
    gc.collect()
    gc.disable()
    try:
        output = model(ids, target)
        kept = [ref() is not None for ref in alive]
        # What the second gate gives is saved by the block above it, and its input by itself.
        assert kept == [True] * 8
        output.loss.backward()
        assert [ref() for ref in alive] == [None] * 8, "though the output still holds the loss"
        del output
        output = model(ids, target)
        del output
        assert [ref() for ref in alive] == [None] * 16, "also without a backward"
    finally:
        gc.enable()


def test_values_that_nothing_saved_die_on_the_way_forward() -> None:
    class Pass(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return ttnn.multiply(x, 2.0)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return ttnn.multiply(dy, 2.0)

    device = nn.open_device("float64")
    first = Pass.apply(nn.Variable.begin(on_device(np.ones((1, 1, 32, 32)), device)))
    ref = weakref.ref(first.tensor)
    second = Pass.apply(first)
    gc.disable()
    try:
        del first
        assert ref() is None
    finally:
        gc.enable()
    second.backward(on_device(np.ones((1, 1, 32, 32)), device))


def test_a_model_dies_without_the_collector() -> None:
    model = small()
    model(*batch(1)).loss.backward()
    ref = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert ref() is None
    finally:
        gc.enable()


def test_squares_is_the_loss_that_it_says() -> None:
    device = nn.open_device("float64")
    loss = Squares.apply(
        nn.Activation(on_device([[3.0, 1.0]], device), (2,)), on_device([[1.0, 1.0]], device)
    )
    assert (loss.shape, float(loss), loss.item()) == ((), 4.0, 4.0)

"""The tape by itself: users' functions, hooks, and memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from taped import Squares, host, on_device
from taped_functions import SHAPE, Halves, Multiply, Tanh, Total, begin, values
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.autograd import Combination, number
from ttmlc_runtime.errors import AutogradError

# Walking back


def test_gradients_of_several_uses_add_up_and_each_node_is_passed_once(device: Any) -> None:
    x, seen = begin(device)
    square = Multiply.apply(x, x)
    fourth = Multiply.apply(square, square)
    passed: list[int] = []
    square.register_hook(lambda gradient: passed.append(1))
    Total.apply(Multiply.apply(fourth, square)).backward()
    assert len(seen) == len(passed) == 1
    np.testing.assert_allclose(host(seen[0]), 6 * values() ** 5, rtol=1e-12)


def test_gradients_agree_with_finite_differences(device: Any) -> None:
    def loss(array: np.ndarray) -> tuple[Any, list[Any]]:
        x, seen = nn.Variable.begin(on_device(array, device)), []
        x.register_hook(seen.append)
        y = Tanh.apply(Multiply.apply(Tanh.apply(x), x))
        return Squares.apply(Multiply.apply(y, x), on_device(values(9), device)), seen

    at, way, step = values(), values(1), 1e-6
    recorded, seen = loss(at)
    recorded.backward()
    up, down = (number(loss(at + sign * step * way)[0]) for sign in (1, -1))
    # A second-order formula at 1e-6: the error of rounding, some 1e-16 / 1e-6 of the loss, is the larger one.
    assert (host(seen[0]) * way).sum() == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_an_output_that_nothing_read_counts_as_zeros(device: Any) -> None:
    x, seen = begin(device, shape=(1, 1, 32, 64))
    _, right = Halves.apply(x)
    Total.apply(Multiply.apply(right, right)).backward()
    found = host(seen[0])
    assert (found[..., :32] == 0).all()
    np.testing.assert_allclose(found[..., 32:], 2 * values(shape=(1, 1, 32, 64))[..., 32:], rtol=1e-15)


def test_a_scalar_that_nothing_read_counts_as_zero(device: Any) -> None:
    class Both(nn.Function):
        scalar = True

        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.like = x
            return ttnn.sum(x), ttnn.mean(x)

        @staticmethod
        def backward(ctx: Any, total: float, mean: float) -> Any:
            assert (total, mean) == (1.0, 0.0)
            return ttnn.full_like(ctx.like, total)

    x, seen = begin(device)
    Both.apply(x)[0].backward()
    assert (host(seen[0]) == 1).all()


def test_a_long_chain_needs_no_deep_stack(device: Any) -> None:
    """Walked and let go: more nodes than Python's stack has frames."""
    x, seen = begin(device, shape=(1, 1, 1, 1))
    y = x
    for _ in range(5000):
        y = Multiply.apply(y, on_device(np.ones((1, 1, 1, 1)), device))
    y.backward()
    assert host(seen[0]).item() == 1
    del y


def test_what_needs_no_gradient_is_not_recorded(device: Any) -> None:
    x = on_device(values(), device)
    assert not isinstance(Multiply.apply(x, x), nn.Variable)
    y = Multiply.apply(nn.Activation(x, (32, 32)), x)
    assert isinstance(y, nn.Activation) and not y.requires_grad
    with nn.no_grad():
        assert not isinstance(Multiply.apply(begin(device)[0], x), nn.Variable)


def test_a_function_knows_which_gradients_are_needed(device: Any) -> None:
    needs = []

    class Asked(Multiply):
        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            needs.append(ctx.needs)
            return (None, ttnn.multiply(dy, ctx.saved[0]))

    x, seen = begin(device)
    Total.apply(Asked.apply(on_device(values(1), device), x)).backward()
    assert needs == [(False, True)]
    assert (host(seen[0]) == values(1)).all()


def test_a_gradient_of_none_stops_there(device: Any) -> None:
    class Stop(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return ttnn.multiply(x, 1.0)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return None

    x, seen = begin(device)
    Total.apply(Tanh.apply(Stop.apply(Tanh.apply(x)))).backward()
    assert seen == []


def test_a_function_called_in_a_forward_is_not_recorded(device: Any) -> None:
    class Outer(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            inner = Tanh.apply(nn.Variable.begin(x))
            assert not isinstance(inner, nn.Variable) and not nn.is_recording()
            return inner

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            assert not nn.is_recording()
            return dy

    x, seen = begin(device)
    Total.apply(Outer.apply(x)).backward()
    assert (host(seen[0]) == 1).all()


def test_handles_keep_their_logical_shape(device: Any) -> None:
    x = nn.Activation(begin(device)[0], (1, 32, 32))
    assert x.requires_grad and "requires_grad=True" in repr(x)
    y = Tanh.apply(x)
    assert (type(y), y.shape) == (nn.Activation, (1, 32, 32))
    assert y.numpy().shape == (1, 32, 32)
    wide = nn.Activation(begin(device, shape=(1, 1, 32, 64))[0], (32, 64))
    assert [half.shape for half in Halves.apply(wide)] == [(1, 1, 32, 32)] * 2
    assert Total.apply(wide).shape == ()


# Hooks


def test_a_hook_sees_and_may_replace_the_gradient(device: Any) -> None:
    x, seen = begin(device)
    y = nn.Activation(Tanh.apply(x), SHAPE)
    first = y.register_hook(lambda gradient: ttnn.multiply(gradient, 3.0))
    found: list[Any] = []
    second = y.register_hook(found.append)
    loss = Total.apply(y)
    loss.register_hook(lambda gradient: gradient * 2)
    loss.backward(retain_graph=True)
    assert (host(found[0]) == 6).all(), "hooks see what those before them gave, of a scalar a float"
    np.testing.assert_allclose(host(seen[0]), 6 * (1 - np.tanh(values()) ** 2), rtol=1e-12)
    first.remove()
    second.remove()
    second.remove()
    loss.backward()
    assert len(found) == 1
    np.testing.assert_allclose(host(seen[1]), 2 * (1 - np.tanh(values()) ** 2), rtol=1e-12)


def test_a_hook_must_give_the_same_shape(device: Any) -> None:
    x, _ = begin(device)
    y = Tanh.apply(x)
    y.register_hook(lambda gradient: on_device(values(shape=(1, 1, 32, 64)), device))
    with pytest.raises(
        AutogradError,
        match=r"what a hook on Tanh returned is \[1, 1, 32, 64\], and the value \[1, 1, 32, 32\]",
    ):
        Total.apply(y).backward()


def test_a_hook_where_no_gradient_comes_is_refused(device: Any) -> None:
    for value in (on_device(values(), device), nn.Variable(on_device(values(), device))):
        with pytest.raises(AutogradError, match="no gradient comes here: nothing was recorded"):
            nn.Activation(value, SHAPE).register_hook(print)


# Memory


def test_a_hook_that_holds_its_variable_goes_with_the_backward(device: Any) -> None:
    x, _ = begin(device)
    held = [Tanh.apply(x)]
    held[0].register_hook(lambda gradient, held=held: None)
    ref, loss = weakref.ref(held[0].edge.node), Total.apply(held[0])
    gc.disable()
    try:
        loss.backward()
        del held, loss
        assert ref() is None
    finally:
        gc.enable()


def test_a_backward_may_let_go_of_what_was_saved_as_it_goes(device: Any) -> None:
    class Early(Tanh):
        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            ref, ctx.saved = weakref.ref(ctx.saved[0]), ()
            assert ref() is None
            return dy

    x, seen = begin(device)
    loss = Total.apply(Early.apply(x))
    gc.disable()
    try:
        loss.backward()
    finally:
        gc.enable()
    assert len(seen) == 1


def test_repr_says_where_a_variable_comes_from(device: Any) -> None:
    x, _ = begin(device)
    assert repr(Tanh.apply(x)) == "Variable(shape=[1, 1, 32, 32], made by Tanh)"
    assert repr(nn.Variable(x.tensor)) == "Variable(shape=[1, 1, 32, 32])"
    assert isinstance((Total.apply(nn.Activation(x, SHAPE)) / 2).value, Combination)

"""Losses as numbers: weighed, added, and begun at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from taped import Squares, host, on_device
from taped_functions import SHAPE, Multiply, Tanh, Total, begin, values
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.autograd import backward
from ttmlc_runtime.errors import AutogradError


def test_losses_are_weighed_and_added_by_the_host(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (x, seen), (y, other) = begin(device), begin(device, 1)
    one, two = (Total.apply(nn.Activation(v, SHAPE)) for v in (x, y))
    a, b = float(one), float(two)
    for name in ("add", "multiply", "subtract", "div", "sum", "mean"):
        monkeypatch.setattr(ttnn, name, lambda *_, **__: pytest.fail("a program ran"))
    mixed = (2 * one + two / 4 - (-one) * 0.5 + 1 - two * 3) - 0.5
    assert mixed.shape == ()
    assert mixed.item() == pytest.approx(2.5 * a - 2.75 * b + 0.5, rel=1e-14)
    assert float(1 - one) == pytest.approx(1 - a, rel=1e-14)
    assert float(sum([one, two])) == pytest.approx(a + b, rel=1e-14)
    mixed.backward()
    assert (host(seen[0]) == 2.5).all()
    assert (host(other[0]) == -2.75).all()


def test_a_weighed_loss_is_a_tensor_too_where_one_is_asked_for(device: Any) -> None:
    x, seen = begin(device)
    loss = Total.apply(nn.Activation(x, SHAPE))
    mixed = (loss + loss * 2) / 4 + 1
    wanted = 0.75 * values().sum() + 1
    assert host(mixed.tensor) == pytest.approx(wanted, rel=1e-12)
    assert mixed.numpy() == pytest.approx(wanted, rel=1e-12)
    assert mixed.tensor is mixed.tensor
    Squares.apply(mixed, on_device(0.0, device)).backward()
    np.testing.assert_allclose(host(seen[0]), 2 * wanted * 0.75, rtol=1e-12)


def test_a_long_sum_of_losses_stays_flat(device: Any) -> None:
    x, seen = begin(device)
    loss = Total.apply(nn.Activation(x, SHAPE))
    total = loss * 0
    for _ in range(3000):
        total = total + loss
    assert float(total) == pytest.approx(3000 * float(loss), rel=1e-12)
    total.backward()
    assert (host(seen[0]) == 3000).all()


def test_losses_that_were_not_recorded_are_weighed_too(device: Any) -> None:
    loss = nn.Activation(on_device(3.0, device), ())
    mixed = loss / 2 + 1
    assert float(mixed) == 2.5
    assert not mixed.requires_grad
    with pytest.raises(AutogradError, match="nothing was recorded"):
        mixed.backward()


def test_only_losses_are_weighed(device: Any) -> None:
    x = nn.Activation(on_device(values(), device), SHAPE)
    loss = Total.apply(x)
    for wrong in (lambda: x + 1, lambda: x / 2, lambda: 2 * x, lambda: loss + x, lambda: x - loss):
        with pytest.raises(TypeError, match="only losses .* write a Function that calls ttnn"):
            wrong()
    for wrong in (lambda: loss * loss, lambda: loss / "2", lambda: loss + "1", lambda: 1 / loss):
        with pytest.raises(TypeError, match="unsupported operand"):
            wrong()
    with pytest.raises(TypeError, match=r"only a single number is a float, not \[1, 1, 32, 32\]"):
        float(x)
    # numpy's own arithmetic goes on as it did.
    assert (x - values() == 0).all()
    assert (values() - x == 0).all()


def test_a_function_may_say_for_each_call_whether_it_is_a_scalar(device: Any) -> None:
    class Reduced(Total):
        @staticmethod
        def forward(ctx: Any, x: Any, reduction: str) -> Any:
            ctx.like, ctx.scalar = x, reduction == "sum"
            return ttnn.sum(x) if ctx.scalar else ttnn.multiply(x, 1.0)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return (ttnn.full_like(ctx.like, dy) if ctx.scalar else dy), None

    x, seen = begin(device)
    assert Reduced.apply(nn.Activation(x, SHAPE), "sum").shape == ()
    each = Reduced.apply(nn.Activation(x, SHAPE), "none")
    assert each.shape == SHAPE
    with pytest.raises(AutogradError, match="needs a gradient of that shape"):
        each.backward()
    each.backward(on_device(values(1), device))
    assert (host(seen[0]) == values(1)).all()


def test_a_gradient_of_one_element_is_a_number_to_a_scalar(device: Any) -> None:
    x, seen = begin(device)
    loss = Total.apply(x)
    Multiply.apply(loss, on_device(5.0, device)).backward()
    assert (host(seen[0]) == 5).all()


def test_backward_begins_at_a_gradient_that_is_given(device: Any) -> None:
    x, seen = begin(device)
    Total.apply(x).backward(0.5)
    Tanh.apply(x).backward(nn.Activation(on_device(values(1), device), SHAPE))
    backward(nn.Activation(Tanh.apply(x), SHAPE), on_device(values(1), device))
    assert (host(seen[0]) == 0.5).all()
    np.testing.assert_allclose(host(seen[1]), values(1) * (1 - np.tanh(values()) ** 2), rtol=1e-12)
    assert (host(seen[1]) == host(seen[2])).all()

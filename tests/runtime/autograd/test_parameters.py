"""Parameters as users hold them, their hooks, and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from taped import (
    Small,
    agree,
    batch,
    gradients,
    host,
    in_torch,
    on_device,
    small,
)
from ttmlc_runtime import nn
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights import normal
from ttmlc_runtime.weights.gradients import one_pass


def test_parameters_are_live_handles() -> None:
    model, (ids, target) = small(), batch(1)
    parameters = dict(model.named_parameters())
    assert list(parameters.values()) == list(model.parameters())
    half = parameters["layer.0.left.weight"]
    assert (half.name, half.shape, half.ndim, half.requires_grad) == (
        "layer.0.left.weight",
        (32, 32),
        2,
        True,
    )
    assert half.grad is None
    assert (half.numpy() == model.state_dict()["layer.0.left.weight"]).all()
    assert half.storages == (model.gates[0].both.storages["weight"],)
    model(ids, target).loss.backward()
    assert half.grad is not None
    assert half.grad.shape == half.grad.numpy().shape == (32, 32)
    assert np.asarray(half.grad, np.float32).dtype == np.float32
    assert repr(half) == "Parameter(layer.0.left.weight, shape=[32, 32])"
    assert "shape=[32, 32]" in repr(half.grad)


def test_a_hook_on_a_parameter_sees_the_whole_gradient_and_may_replace_it() -> None:
    model, (ids, target) = small(), batch(1)
    _, wanted = in_torch(model, ids, target)
    parameters = dict(model.named_parameters())
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("word.weight", "layer.0.right.bias")}
    handles = [parameters[name].register_hook(seen[name].append) for name in seen]
    doubled = parameters["layer.0.right.bias"].register_hook(lambda gradient: 2 * gradient)
    model(ids, target).loss.backward()
    for name, found in seen.items():
        assert len(found) == 1, "once a pass, also where the gradient comes from two blocks"
        agree({name: found[0]}, {name: wanted[name]})
    twice = {**wanted, "layer.0.right.bias": 2 * wanted["layer.0.right.bias"]}
    agree(gradients(model), twice)

    # A second pass: what the hook sees is the new gradient alone, and what it gives is added.
    model(ids, target).loss.backward()
    agree({"word.weight": seen["word.weight"][1]}, {"word.weight": wanted["word.weight"]})
    agree(gradients(model), {name: 2 * value for name, value in twice.items()})

    for handle in (*handles, doubled, doubled):
        handle.remove()
    model.zero_grad()
    model(ids, target).loss.backward()
    agree(gradients(model), wanted)
    assert len(seen["word.weight"]) == 2


def test_hooks_are_called_in_order_with_what_the_one_before_gave() -> None:
    model, (ids, target) = small(), batch(1)
    parameter = dict(model.named_parameters())["layer.1.left.weight"]
    parameter.register_hook(np.zeros_like)
    parameter.register_hook(lambda gradient: gradient + 1)
    model(ids, target).loss.backward()
    assert (parameter.grad.numpy() == 1).all()
    assert dict(model.named_parameters())["layer.1.right.weight"].grad.numpy().std() > 0.1


def test_a_hook_may_not_write_into_the_gradient_or_change_its_shape() -> None:
    model, (ids, target) = small(), batch(1)
    parameter = dict(model.named_parameters())["layer.1.left.weight"]

    def halve(gradient: np.ndarray) -> None:
        gradient *= 0.5

    handle = parameter.register_hook(halve)
    with pytest.raises(ValueError, match="read-only"):
        model(ids, target).loss.backward()
    handle.remove()
    parameter.register_hook(lambda gradient: gradient[:1])
    with pytest.raises(AutogradError, match=r"hook on layer\.1\.left\.weight returned \[1, 32\]"):
        model(ids, target).loss.backward()


def test_windows_of_a_parameter_join_to_its_gradient() -> None:
    class Halves(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            whole = at.parameter("whole", (40, 32), normal(1))
            parts = [whole.window(0, 0, 20), whole.window(0, 20, 40).padded(0, (1, 20, 1), 32, 7.0)]
            self.halves = [at.store(weight=part.T) for part in parts]

    model = Halves(device=nn.open_device("float64")).train()
    whole = dict(model.named_parameters())["whole"]
    assert (whole.numpy() == model.state_dict()["whole"]).all()
    values = np.arange(32 * 52.0).reshape(32, 52)
    model.halves[0].accumulate(weight=on_device(values[:, :20], model.device))
    assert (whole.grad.numpy()[20:] == 0).all()
    model.halves[1].accumulate(weight=on_device(values[:, 20:], model.device))
    assert (whole.grad.numpy() == values[:, :40].T).all(), "what is only padding counts for nothing"

    model.zero_grad()
    whole.register_hook(lambda gradient: gradient + 1)
    model.halves[1].accumulate(weight=on_device(values[:, 20:], model.device))
    held = host(model.halves[1].storages["weight"].grad)
    assert (held[:, :20] == values[:, 20:40] + 1).all()
    assert (held[:, 20:] == values[:, 40:]).all()


def test_a_replaced_gradient_is_not_counted_twice_where_windows_overlap() -> None:
    class Overlapping(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            whole = at.parameter("whole", (32, 48), normal(1))
            self.parts = at.store(a=whole.window(1, 0, 32), b=whole.window(1, 16, 48))

    model = Overlapping(device=nn.open_device("float64"))
    whole = dict(model.named_parameters())["whole"]
    whole.register_hook(lambda gradient: 2 * gradient)
    one = on_device(np.ones((32, 32)), model.device)
    with one_pass():
        model.parts.accumulate(a=one, b=one)
    # Each part is a gradient by itself, so that where both hold an element it has the sum of the two.
    wanted = np.full((32, 48), 2.0)
    wanted[:, 16:32] = 4
    assert (whole.grad.numpy() == wanted).all()


def test_an_output_without_a_loss_has_no_such_key() -> None:
    model, (ids, target) = small(), batch(1)
    without, full = model(ids), model(ids, target)
    assert without.loss is None
    assert without.keys() == ("logits",) == tuple(without)
    assert without[0] is without.logits is without["logits"]
    assert without.to_tuple() == (without.logits,)
    assert len(without) == 1
    with pytest.raises(KeyError, match="loss"):
        without["loss"]
    assert full.keys() == ("loss", "logits") and full[0] is full.loss

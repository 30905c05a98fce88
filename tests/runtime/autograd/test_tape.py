"""The tape by itself: functions, hooks, scalars, and what it refuses."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from taped import Squares, batch, gradients, host, on_device, small
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.autograd import Combination, backward, number
from ttmlc_runtime.errors import AutogradError, RuntimeFault

SHAPE = (1, 1, 32, 32)


@pytest.fixture
def device() -> Any:
    return nn.open_device("float64")


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape)


class Multiply(nn.Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save(a, b)
        return ttnn.multiply(a, b)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        a, b = ctx.saved
        return ttnn.multiply(dy, b), ttnn.multiply(dy, a)


class Halves(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return tuple(ttnn.split(x, 32, dim=3))

    @staticmethod
    def backward(ctx: Any, left: Any, right: Any) -> Any:
        return ttnn.concat([left, right], dim=3)


class Total(nn.Function):
    """The sum of all elements, a scalar."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.like = x
        return ttnn.sum(x)

    @staticmethod
    def backward(ctx: Any, dy: float) -> Any:
        return ttnn.full_like(ctx.like, dy)


class Tanh(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = ttnn.tanh(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        return ttnn.multiply(dy, ttnn.rsub(ttnn.multiply(ctx.saved[0], ctx.saved[0]), 1.0))


def begin(device: Any, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[nn.Variable, list[Any]]:
    """A variable and the gradients that come back to it."""
    variable, seen = nn.Variable.begin(on_device(values(seed, shape), device)), []
    variable.register_hook(seen.append)
    return variable, seen


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


# Scalars


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


# Refusals


def test_errors_are_ones_that_a_user_may_catch() -> None:
    assert issubclass(AutogradError, RuntimeFault)


def test_backward_comes_once_unless_the_graph_is_retained(device: Any) -> None:
    x, seen = begin(device)
    loss = Total.apply(Tanh.apply(x))
    for _ in range(2):
        loss.backward(retain_graph=True)
    loss.backward()
    assert [(host(g) == host(seen[0])).all() for g in seen] == [True] * 3
    with pytest.raises(
        AutogradError, match=r"came a second time to Total, .* or say retain_graph=True the first time"
    ):
        loss.backward()
    assert len(seen) == 3


def test_two_losses_over_one_trunk_need_the_graph_retained() -> None:
    """The refusal comes before the second loss has added anything."""
    model, (ids, target) = small(), batch(1)
    output = model(ids, target)
    other = Total.apply(output.logits)
    other.backward()
    before = gradients(model)
    with pytest.raises(AutogradError, match="came a second time to Unembed at 'word'"):
        (output.loss + 1).backward()
    assert all((gradients(model)[name] == before[name]).all() for name in before)


def test_a_value_of_many_numbers_needs_a_gradient(device: Any) -> None:
    y = Tanh.apply(begin(device)[0])
    with pytest.raises(
        AutogradError, match=r"backward\(\) of a value of \[1, 1, 32, 32\] needs a gradient of that shape"
    ):
        y.backward()


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (1.0, "the gradient given to backward.* must be a device tensor, not a float"),
        (
            (1, 1, 32, 64),
            r"the gradient given to backward\(\) is \[1, 1, 32, 64\], and the value \[1, 1, 32, 32\]",
        ),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(device: Any, gradient: Any, words: str) -> None:
    given = on_device(values(shape=gradient), device) if isinstance(gradient, tuple) else gradient
    with pytest.raises(AutogradError, match=words):
        Tanh.apply(begin(device)[0]).backward(given)


def test_a_scalars_gradient_is_a_number(device: Any) -> None:
    with pytest.raises(AutogradError, match="must be a number, as that of every scalar, not a Tensor"):
        Total.apply(begin(device)[0]).backward(on_device(values(), device))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (lambda dy: (dy,), "the backward of Wrong gave 1 gradients for 2 arguments"),
        (lambda dy: (dy, None, None), "the backward of Wrong gave 3 gradients for 2 arguments"),
        (lambda dy: dy, "the backward of Wrong gave 1 gradients for 2 arguments"),
        (
            lambda dy: (1.0, None),
            "gradient 0 from the backward of Wrong must be a device tensor, not a float",
        ),
        (
            lambda dy: (ttnn.sum(dy, dim=3, keepdim=True), None),
            r"gradient 0 from the backward of Wrong is \[1, 1, 32, 1\], and the value \[1, 1, 32, 32\]",
        ),
    ],
)
def test_what_a_users_backward_gives_is_checked(device: Any, results: Any, words: str) -> None:
    class Wrong(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, other: Any) -> Any:
            return ttnn.multiply(x, 1.0)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return results(dy)

    with pytest.raises(AutogradError, match=words):
        Total.apply(Wrong.apply(begin(device)[0], None)).backward()


def test_parameters_that_changed_before_backward_are_noticed() -> None:
    model, (ids, target) = small(), batch(1)
    for change in (
        lambda: model.gates[0].both.storages["weight"].write(model.gates[0].both.weight),
        lambda: model.load_state_dict(model.state_dict()),
    ):
        output = model(ids, target)
        change()
        with pytest.raises(
            AutogradError,
            match=r"changed between the forward and the backward of .* came before backward\(\)",
        ):
            output.loss.backward()
        assert all(parameter.grad is None for parameter in model.parameters())


def test_a_saved_tensor_that_was_freed_is_noticed(device: Any) -> None:
    x, _ = begin(device)
    loss = Total.apply(Multiply.apply(x, x))
    x.tensor.deallocate(True)
    with pytest.raises(AutogradError, match="a tensor that Multiply saved for its backward was deallocated"):
        loss.backward()


def test_a_saved_tensor_that_was_written_to_is_noticed(device: Any) -> None:
    x, _ = begin(device)
    loss = Total.apply(Multiply.apply(x, x))
    alias = ttnn.reshape(x.tensor, (1, 32, 32))
    ttnn.add(alias, alias, output_tensor=alias)
    with pytest.raises(
        AutogradError, match="a tensor that Multiply saved for its backward was written in place since"
    ):
        loss.backward()


def test_what_blocks_inside_saved_is_watched_too(device: Any) -> None:
    class Nested(Tanh):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = ttnn.tanh(x)
            ctx.inner = [nn.Saved(first=nn.Saved(y=y), several=(y,))]
            return y

    y = Nested.apply(begin(device)[0])
    ttnn.add(y.tensor, 1.0, output_tensor=y.tensor)
    with pytest.raises(AutogradError, match="a tensor that Nested saved .* written in place since"):
        Total.apply(y).backward()


def test_what_was_not_saved_has_no_name(device: Any) -> None:
    with pytest.raises(AttributeError, match="nothing was saved as 'y'; saved are: x, seed"):
        _ = nn.Saved(x=1, seed=2).y
    with pytest.raises(AttributeError, match="saved are: none"):
        _ = nn.Saved().y


def test_the_function_in_the_documentation_runs(device: Any) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/autograd.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(class Scale.*?)^y = ", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"nn": nn, "ttnn": ttnn}
    exec(code, names)
    (x, seen), (weight, other) = begin(device), begin(device, 1, (1, 1, 1, 32))
    Total.apply(names["Scale"].apply(x, weight, 3.0)).backward()
    np.testing.assert_allclose(
        host(seen[0]), np.broadcast_to(3 * values(1, (1, 1, 1, 32)), SHAPE), rtol=1e-14
    )
    np.testing.assert_allclose(host(other[0]), 3 * values().sum(2, keepdims=True), rtol=1e-12)


def test_a_function_without_its_two_halves_cannot_be_called(device: Any) -> None:
    with pytest.raises(NotImplementedError):
        nn.Function.apply(begin(device)[0])
    with pytest.raises(NotImplementedError):
        nn.Function.backward(None)  # type: ignore[arg-type]


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

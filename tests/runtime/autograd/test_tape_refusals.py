"""What the tape refuses, and what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from taped import batch, gradients, host, on_device, small
from taped_functions import SHAPE, Multiply, Tanh, Total, begin, values
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import AutogradError, RuntimeFault


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
        nn.Function.backward(None)  # type: ignore[arg-type]  # it is refused before it is read

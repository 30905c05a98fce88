"""clip_grad_norm beside PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from bag import bag, give, rounded, some
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import AutogradError, ConfigError
from ttmlc_runtime.optim import clip_grad_norm

# A sum of a few thousand squares in another order; float32 keeps 24 bits, and rounded gradients of bfloat16 9.
CLOSE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2**-8}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_the_norm_and_the_gradients_are_pytorchs(max_norm: float, norm_type: float, dtype: str) -> None:
    model = bag(dtype)
    gradients = some(model, 0)
    label = ttnn.float32
    if dtype == "bfloat16":
        label, gradients = ttnn.bfloat16, {name: rounded(value) for name, value in gradients.items()}
    give(model, gradients, label)
    tensors = []
    for value in gradients.values():
        tensors.append(torch.zeros(value.shape, dtype=torch.float64))
        tensors[-1].grad = torch.tensor(value, dtype=torch.float64)
    wanted = float(torch.nn.utils.clip_grad_norm_(tensors, max_norm, norm_type))
    found = clip_grad_norm(model.parameters(), max_norm, norm_type)
    assert isinstance(found, float)
    assert found == pytest.approx(wanted, rel=min(CLOSE[dtype], 1e-5))
    for parameter, tensor in zip(model.parameters(), tensors, strict=True):
        value = tensor.grad.numpy()
        assert np.abs(parameter.grad.numpy() - value).max() <= CLOSE[dtype] * np.abs(value).max()


def test_a_tied_matrix_counts_once_and_parameters_without_gradients_not_at_all() -> None:
    model = bag("float64")
    assert clip_grad_norm(model.parameters(), 1.0) == 0.0
    give(model, {"word.weight": np.full((12, 40), 2.0)})
    assert clip_grad_norm(model.parameters(), 1e9) == pytest.approx(math.sqrt(12 * 40 * 4), rel=1e-12)
    word = dict(model.named_parameters())["word.weight"]
    assert clip_grad_norm(word, 1e9) == pytest.approx(math.sqrt(12 * 40 * 4), rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_told_or_spreads_as_in_pytorch(bad: float) -> None:
    model = bag("float32")
    gradients = some(model, 0)
    gradients["norm.weight"][3] = bad
    give(model, gradients)
    with pytest.raises(AutogradError, match="the norm of the gradients is (nan|inf)"):
        clip_grad_norm(model.parameters(), 1.0, error_if_nonfinite=True)
    before = {name: one.grad.numpy() for name, one in model.named_parameters()}
    assert all(
        np.array_equal(before[name], gradients[name].astype(np.float32), equal_nan=True) for name in before
    )
    assert not math.isfinite(clip_grad_norm(model.parameters(), 1.0))
    tensor = torch.zeros(40)
    tensor.grad = torch.tensor(gradients["norm.weight"], dtype=torch.float32)
    torch.nn.utils.clip_grad_norm_([tensor], 1.0)
    found = dict(model.named_parameters())["norm.weight"].grad.numpy()
    assert np.array_equal(found, tensor.grad.numpy(), equal_nan=True)


def test_what_is_no_parameter_or_none_is_refused() -> None:
    model = bag("float32")
    used = model.parameters()
    clip_grad_norm(used, 1.0)
    with pytest.raises(ConfigError, match="got no parameters: an iterator"):
        clip_grad_norm(used, 1.0)
    with pytest.raises(ConfigError, match="and no tuple"):
        clip_grad_norm(model.named_parameters(), 1.0)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("arguments", [(-1.0,), (float("nan"),), (1.0, 0.0), (1.0, -2.0)])
def test_a_length_or_a_norm_that_cannot_be_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="both are numbers from 0 up"):
        clip_grad_norm(bag("float32").parameters(), *arguments)

"""Where nothing is rounded, a copy holds the same array as what it is of, until one of the two is written to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ttmlc_runtime import emulator as ttnn
from ttmlc_runtime.emulator.ops.matmul import SINGLE

COPIES: dict[str, Callable[[ttnn.Tensor], ttnn.Tensor]] = {
    "typecast": lambda x: ttnn.typecast(x, ttnn.float32),
    "clone": ttnn.clone,
    "to_layout": lambda x: ttnn.to_layout(ttnn.to_layout(x, ttnn.ROW_MAJOR_LAYOUT), ttnn.TILE_LAYOUT),
    "copy": lambda x: ttnn.copy(x, ttnn.zeros_like(x)),
}


def _tensor(device: ttnn.MeshDevice, values: np.ndarray) -> ttnn.Tensor:
    return ttnn.Tensor(values, ttnn.bfloat16, device, ttnn.TILE_LAYOUT)


@pytest.mark.parametrize("numerics", ["device", "float32", "float64"])
@pytest.mark.parametrize("name", COPIES)
def test_a_step_in_place_does_not_reach_a_copy(name: str, numerics: str) -> None:
    device = ttnn.open_device(numerics=numerics)
    values = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) % 251
    x = _tensor(device, values)
    other = COPIES[name](x)
    zeros = [ttnn.zeros_like(x) for _ in range(2)]
    ttnn.moreh_adamw(
        x, ttnn.ones_like(x), *zeros, lr=1.0, step=1,
        param_out=x, exp_avg_out=zeros[0], exp_avg_sq_out=zeros[1],
    )  # fmt: skip
    back = ttnn.to_dtype(other.cpu(), ttnn.float32).to_numpy()
    assert np.array_equal(back, values)
    assert not np.array_equal(ttnn.to_dtype(x.cpu(), ttnn.float32).to_numpy(), values)


@pytest.mark.parametrize("numerics", ["device", "float32", "float64"])
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_is_added_to_leaves_the_first_as_it_was(name: str, numerics: str) -> None:
    device = ttnn.open_device(numerics=numerics)
    values = np.ones((64, 64), np.float32)
    x = _tensor(device, values)
    other = COPIES[name](x)
    ttnn.add_(other, 1.0)
    assert np.array_equal(ttnn.to_dtype(x.cpu(), ttnn.float32).to_numpy(), values)
    assert np.array_equal(ttnn.to_dtype(other.cpu(), ttnn.float32).to_numpy(), values + 1)


@pytest.mark.parametrize("rows", [96, 33, 130])
def test_products_of_many_heads_are_those_of_each_head_whatever_pieces_they_are_made_in(rows: int) -> None:
    """Of 130 rows pieces are halves, for 33 rows there are none, and 96 is halved twice."""
    device = ttnn.open_device(numerics="float64")
    assert rows * 64 * 192 > SINGLE
    generator = np.random.default_rng(rows)
    a, b = generator.normal(size=(3, 2, rows, 64)), generator.normal(size=(3, 2, 64, 192))
    x, y = _tensor(device, a), _tensor(device, b)
    found = ttnn.to_dtype(ttnn.matmul(x, y).cpu(), ttnn.float32).to_numpy()
    # Sums of 64 products near 1, in float64: 64 * 1e-16 * 8.
    np.testing.assert_allclose(found, np.einsum("bhik,bhkj->bhij", a, b), rtol=0, atol=1e-13)

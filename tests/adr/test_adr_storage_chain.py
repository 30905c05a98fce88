"""The storage chain of docs/adr: every bit comes back, and padding and splitting change no number and no gradient."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.modules import imported

ROOT = Path(__file__).resolve().parents[2]
SKETCH = ROOT / "docs/adr/sketches/storage_chain.py"

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch derives the gradients that are compared; it is in .venv where that has Python 3.11",
)


@pytest.fixture(scope="module")
def sketch() -> ModuleType:
    return imported(SKETCH, "storage_chain_sketch")


def leaves(sketch: ModuleType, make: Callable[[tuple[int, ...]], Any]) -> dict[str, Any]:
    """Values for every parameter."""
    return {
        leaf.name: make(leaf.shape) for form in sketch.STORAGES.values() for leaf in form.chain.parameters()
    }


def test_the_sketch_runs_by_itself() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    done = subprocess.run(
        [sys.executable, str(SKETCH)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "5 of 5 parameters came back bit for bit"


@pytest.mark.parametrize("seed", range(3))
def test_every_bit_pattern_comes_back_through_two_devices(sketch: ModuleType, seed: int) -> None:
    generator = np.random.default_rng(seed)
    parameters = leaves(
        sketch, lambda shape: generator.integers(0, 1 << 32, shape, np.uint32).view(np.float32)
    )
    assert any(np.isnan(array).any() for array in parameters.values()), "NaNs have bits too"
    saved = sketch.save(sketch.load(parameters))
    assert saved.keys() == parameters.keys()
    for name, array in parameters.items():
        assert saved[name].shape == array.shape
        assert saved[name].tobytes() == array.tobytes(), name


def test_a_bit_that_a_device_changes_is_seen_in_the_one_parameter_it_belongs_to(sketch: ModuleType) -> None:
    parameters = leaves(sketch, np.zeros)
    devices = sketch.load(parameters)
    devices[1]["q_k_v_proj"][7, 3 * sketch.WHOLE_HEAD] = (
        1  # device 1: behind its 3 query heads stands its key head
    )
    changed = {
        name: np.argwhere(array).tolist() for name, array in sketch.save(devices).items() if array.any()
    }
    assert changed == {"model.layers.0.self_attn.k_proj.weight": [[sketch.HEAD_DIM, 7]]}


def test_the_tied_form_that_a_device_makes_by_itself_is_its_part_of_the_whole(sketch: ModuleType) -> None:
    generator = np.random.default_rng(0)
    parameters = leaves(sketch, generator.standard_normal)
    form, _ = sketch.DERIVED["lm_head"]
    for held, part in zip(sketch.load(parameters), form.parts(), strict=True):
        assert np.array_equal(held["lm_head"], part.forward(parameters))


def test_a_tied_gradient_is_the_sum_of_both_uses_once(sketch: ModuleType) -> None:
    generator = np.random.default_rng(0)
    rows, columns = (generator.standard_normal((sketch.WHOLE_VOCAB, sketch.HIDDEN)) for _ in range(2))
    devices = sketch.load(leaves(sketch, np.zeros))
    for place, held in enumerate(devices):
        mine = slice(place * 32, place * 32 + 32)
        held["embed_tokens"], held["lm_head"] = rows[mine], columns[mine].T
    found = sketch.gradients(devices)["model.embed_tokens.weight"]
    assert np.array_equal(found, (rows + columns)[: sketch.VOCAB])


def attention(x: Any, weights: Sequence[Any], width: int, angles: Any, scale: float) -> Any:
    """Grouped-query attention with rotary positions: [tokens, hidden] on weights [in, out] of heads ``width`` wide."""
    import torch

    q, k, v, o = weights

    def heads(w: Any) -> Any:
        return (x @ w).reshape(len(x), -1, width).transpose(0, 1)  # [heads, tokens, width]

    def turned(h: Any) -> Any:
        half = width // 2
        wide = torch.zeros(len(x), half, dtype=x.dtype)
        wide[:, : angles.shape[1]] = angles
        both = torch.cat([wide, wide], dim=1)
        return h * both.cos() + torch.cat([-h[..., half:], h[..., :half]], dim=-1) * both.sin()

    queries, keys, values = turned(heads(q)), turned(heads(k)), heads(v)
    group = len(queries) // len(keys)
    scores = queries @ keys.repeat_interleave(group, 0).transpose(1, 2) * scale
    scores = scores + torch.full(scores.shape[1:], -torch.inf, dtype=x.dtype).triu(1)
    a = scores.softmax(dim=-1) @ values.repeat_interleave(group, 0)
    return a.transpose(0, 1).reshape(len(x), -1) @ o


@needs_torch
def test_padded_heads_on_two_devices_compute_what_the_parameters_say_and_padding_gets_no_gradient(
    sketch: ModuleType,
) -> None:
    import torch

    generator = np.random.default_rng(4)
    parameters = leaves(sketch, generator.standard_normal)
    x = torch.tensor(generator.standard_normal((10, sketch.HIDDEN)))
    dy = torch.tensor(generator.standard_normal((10, sketch.HIDDEN)))
    angles = torch.tensor(generator.standard_normal((10, sketch.HALF)))
    at = "model.layers.0.self_attn."

    plain: dict[str, Any] = {
        name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()
    }
    weights = [plain[f"{at}{role}_proj.weight"].T for role in "qkvo"]
    wanted = attention(x, weights, sketch.HEAD_DIM, angles, sketch.HEAD_DIM**-0.5)
    wanted.backward(dy)

    devices = sketch.load(parameters)
    live: list[dict[str, Any]] = [
        {name: torch.tensor(held[name].copy(), requires_grad=True) for name in held} for held in devices
    ]
    own = sketch.HEADS // sketch.TP * sketch.WHOLE_HEAD
    each = sketch.WHOLE_HEAD * sketch.KV // sketch.TP
    parts = []
    for held in live:
        q, k, v = held["q_k_v_proj"].split([own, each, each], dim=1)
        parts.append(attention(x, (q, k, v, held["o_proj"]), sketch.WHOLE_HEAD, angles, sketch.SCALE))
    found = parts[0] + parts[1]  # row-parallel: the all-reduce
    found.backward(dy)

    # float64: what is left is the order of sums
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    grads: list[dict[str, Any]] = [
        {name: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for name, t in held.items()}
        for held in live
    ]
    for name, gradient in sketch.gradients(grads).items():
        if name.startswith(at):
            np.testing.assert_allclose(
                gradient, plain[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name
            )
    # Zeros get no gradient, so that no optimizer moves them: padding stays padding through training.
    for role in ("q_k_v_proj", "o_proj"):
        ones = {name: np.ones_like(array) for name, array in parameters.items()}
        for held, real in zip(grads, sketch.load(ones), strict=True):
            assert not held[role][real[role] == 0].any()
            assert held[role][real[role] == 1].all()


@needs_torch
def test_heads_padded_at_their_end_would_be_wrong_under_rotary(sketch: ModuleType) -> None:
    """Why q and k are padded by halves: the test above would fail otherwise."""
    import torch

    generator = np.random.default_rng(5)
    x = torch.tensor(generator.standard_normal((10, sketch.HIDDEN)))
    angles = torch.tensor(generator.standard_normal((10, sketch.HALF)))
    w = [torch.tensor(generator.standard_normal((sketch.HIDDEN, sketch.HEAD_DIM))) for _ in range(3)]
    o = torch.tensor(generator.standard_normal((sketch.HEAD_DIM, sketch.HIDDEN)))
    extra = sketch.WHOLE_HEAD - sketch.HEAD_DIM
    wide = [torch.nn.functional.pad(one, (0, extra)) for one in w]
    tall = torch.nn.functional.pad(o, (0, 0, 0, extra))
    wanted = attention(x, (*w, o), sketch.HEAD_DIM, angles, sketch.SCALE)
    found = attention(x, (*wide, tall), sketch.WHOLE_HEAD, angles, sketch.SCALE)
    assert (found - wanted).abs().max() > 0.1 * wanted.abs().max()

"""Small specs that use one feature each, trained: the emitted backward in float64 against slopes of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.evaluate import evaluate
from ttmlc.source import SourceFile
from ttmlc_runtime import nn, ttnn

from tests.compiler.small_specs import BODIES, spec
from tests.modules import load

STEP = 1e-4
# Five points: off by STEP^4 / 30 of a fifth derivative along one direction, and by the roundings of a loss of some
# thousands of terms, 1e-13, over STEP.
CLOSE = 1e-7


class Weighed(nn.Function):
    """The sum of a value's elements, each with a weight."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any, by: Any) -> Any:
        ctx.save(by)
        return ttnn.sum(ttnn.multiply(x, by))

    @staticmethod
    def backward(ctx: Any, dy: float) -> Any:
        return ttnn.multiply(ctx.saved[0], dy), None


@pytest.mark.parametrize("causal", [False, pytest.param(True, marks=pytest.mark.deep)])
@pytest.mark.parametrize("name", BODIES)
def test_the_emitted_backward_is_the_slope(name: str, causal: bool, tmp_path: Path) -> None:
    compiled = compile_text(SourceFile("small.spec", spec(BODIES[name])), tmp_path / "small.spec")
    module = load(compiled.text, tmp_path / "small_trained.py")
    model = module.SmallModel(module.SmallConfig(causal=causal), seed=1, dtype="float64").train()
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 19, (2, 9))
    mask = np.arange(9)[None] < np.array([[9], [5]])
    parameters = model.state_dict()
    pruned = next(stage.module for stage in compiled.stages if stage.name == "prune")

    inputs = {"ids": ids, "mask": mask}
    if "more" in BODIES[name]:
        inputs["more"] = rng.integers(0, 19, (2, 9))

    def reference(moved: dict[str, Any]) -> dict[str, Any]:
        return evaluate(pruned, "SmallModel", {"causal": causal}, moved, inputs)

    weights = {key: rng.normal(size=value.shape) for key, value in reference(parameters).items()}
    output = model(**inputs)
    total: Any = 0.0
    for key, by in weights.items():
        held = output[key]
        on_device = ttnn.Tensor(
            np.ascontiguousarray(by.reshape(tuple(held.tensor.shape))),
            held.tensor.dtype,
            model.device,
            ttnn.TILE_LAYOUT,
        )
        total = Weighed.apply(held, on_device) + total
    total.backward()
    grads = {key: p.grad.numpy() for key, p in model.named_parameters() if p.grad is not None}
    assert set(grads) == set(parameters), "some parameter has no gradient"
    for key in parameters:
        way = rng.normal(size=parameters[key].shape)
        way /= np.linalg.norm(way)
        losses = []
        for steps in (2, 1, -1, -2):
            found = reference({**parameters, key: parameters[key] + steps * STEP * way})
            losses.append(sum(float((found[one] * by).sum()) for one, by in weights.items()))
        far, near, back, farther = losses
        slope = (8 * (near - back) - (far - farther)) / (12 * STEP)
        assert abs(float((grads[key] * way).sum()) - slope) < CLOSE * max(1.0, abs(slope)), key

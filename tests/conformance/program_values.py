"""Values that a program takes each time it runs, and values that are built into it: a new one is a new program.

What changes from step to step (a seed, a learning rate, a position) has to be of the first kind. Each row says how the
call is made with a value, two values, and whether ttnn builds a second program for the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Row:
    """A value of a call."""

    op: str
    value: str
    call: Callable[[Bench, Any], Any]
    values: tuple[Any, Any]
    built_in: bool = False

    @property
    def name(self) -> str:
        """The op and the value."""
        return f"{self.op}, {self.value}"


class Bench:
    """Tensors to call with."""

    def __init__(self, ttnn: Any, device: Any) -> None:
        self.ttnn, self.device = ttnn, device

        def zeros(*shape: int, dtype: Any = ttnn.bfloat16, layout: Any = ttnn.TILE_LAYOUT) -> Any:
            return ttnn.zeros(list(shape), dtype, layout, device)

        self.zeros = zeros
        self.x, self.y, self.z = (zeros(1, 1, 64, 64) for _ in range(3))
        self.cache, self.step, self.caches = zeros(1, 2, 64, 64), zeros(1, 2, 1, 64), zeros(2, 2, 64, 64)
        self.config = ttnn.init_device_compute_kernel_config(
            device.arch(), math_fidelity=ttnn.MathFidelity.HiFi4
        )


def _adamw(b: Bench, **changed: Any) -> Any:
    given = {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.01,
        "step": 1,
        **changed,
    }
    moments = b.zeros(1, 1, 64, 64), b.zeros(1, 1, 64, 64)
    return b.ttnn.moreh_adamw(b.x, b.y, *moments, **given)


def _sgd(b: Bench, lr: float) -> Any:
    out = b.zeros(1, 1, 64, 64), b.zeros(1, 1, 64, 64)
    return b.ttnn.moreh_sgd(b.x, b.y, b.z, *out, lr, 0.9, 0.0, 0.0, False, momentum_initialized=True)


def _dropout(b: Bench, seed: int = 1, probability: float = 0.1) -> Any:
    return b.ttnn.experimental.dropout(b.x, probability=probability, scale=1 / (1 - probability), seed=seed)


def _activated(b: Bench, slope: float) -> Any:
    return b.ttnn.add(b.x, b.y, activations=[b.ttnn.UnaryWithParam(b.ttnn.UnaryOpType.LEAKY_RELU, slope)])


FREE = (
    Row("experimental.dropout", "seed", lambda b, v: _dropout(b, seed=v), (1, 2)),
    Row("add", "a number", lambda b, v: b.ttnn.add(b.x, v), (0.5, 0.25)),
    Row("subtract", "a number", lambda b, v: b.ttnn.subtract(b.x, v), (0.5, 0.25)),
    Row("rsub", "a number", lambda b, v: b.ttnn.rsub(b.x, v), (0.5, 0.25)),
    Row("multiply", "a number", lambda b, v: b.ttnn.multiply(b.x, v), (0.5, 0.25)),
    Row("div", "a number", lambda b, v: b.ttnn.div(b.x, v), (0.5, 0.25)),
    Row("mac", "a number", lambda b, v: b.ttnn.mac(b.x, v, b.y), (0.5, 0.25)),
    Row("lerp", "weight", lambda b, v: b.ttnn.lerp(b.x, b.y, v), (0.5, 0.25)),
    Row("addcmul", "value", lambda b, v: b.ttnn.addcmul(b.x, b.y, b.z, value=v), (0.5, 0.25)),
    Row("addcdiv", "value", lambda b, v: b.ttnn.addcdiv(b.x, b.y, b.z, value=v), (0.5, 0.25)),
    Row("where", "a number", lambda b, v: b.ttnn.where(b.x, b.y, v), (0.5, 0.25)),
    Row("sum", "scalar", lambda b, v: b.ttnn.sum(b.x, -1, True, scalar=v), (0.5, 0.25)),
    Row("moreh_adamw", "lr", lambda b, v: _adamw(b, lr=v), (1e-3, 1e-4)),
    Row("moreh_adamw", "step", lambda b, v: _adamw(b, step=v), (1, 2)),
    Row(
        "moreh_clip_grad_norm",
        "max_norm",
        lambda b, v: b.ttnn.moreh_clip_grad_norm([b.x, b.y], v, 2.0),
        (1.0, 0.5),
    ),
    Row("update_cache", "index", lambda b, v: b.ttnn.update_cache(b.cache, b.step, v), (3, 4)),
    Row("fill_cache", "batch index", lambda b, v: b.ttnn.fill_cache(b.caches, b.cache, v), (0, 1)),
    Row("uniform", "seed", lambda b, v: b.ttnn.uniform(b.x, 0.0, 1.0, v), (1, 2)),
    Row("bernoulli", "seed", lambda b, v: b.ttnn.bernoulli(b.x, v), (1, 2)),
)

BUILT_IN = tuple(
    Row(op, value, call, values, True)
    for op, value, call, values in (
        ("experimental.dropout", "probability", lambda b, v: _dropout(b, probability=v), (0.1, 0.2)),
        ("moreh_adamw", "weight_decay", lambda b, v: _adamw(b, weight_decay=v), (0.01, 0.02)),
        ("moreh_sgd", "lr", _sgd, (1e-3, 1e-4)),
        ("layer_norm", "epsilon", lambda b, v: b.ttnn.layer_norm(b.x, epsilon=v), (1e-12, 1e-5)),
        ("rms_norm", "epsilon", lambda b, v: b.ttnn.rms_norm(b.x, epsilon=v), (1e-6, 1e-5)),
        ("pow", "exponent", lambda b, v: b.ttnn.pow(b.x, v), (2.5, 3.5)),
        ("clamp", "max", lambda b, v: b.ttnn.clamp(b.x, 0.0, v), (1.0, 2.0)),
        ("add", "the parameter of an activation", _activated, (0.1, 0.2)),
        ("full_like", "value", lambda b, v: b.ttnn.full_like(b.x, v), (1.0, 2.0)),
        (
            "slice",
            "start",
            lambda b, v: b.ttnn.slice(b.x, (0, 0, v, 0), (1, 1, v + 32, 64)),
            (0, 32),
        ),
        (
            "transformer.scaled_dot_product_attention",
            "scale",
            lambda b, v: b.ttnn.transformer.scaled_dot_product_attention(
                b.cache, b.cache, b.cache, scale=v, compute_kernel_config=b.config
            ),
            (0.5, 0.25),
        ),
    )
)
ROWS = {row.name: row for row in (*FREE, *BUILT_IN)}


def job(request: dict[str, Any]) -> dict[str, Any]:
    """For each row, how many programs its second value adds."""
    import ttnn
    from ttmlc_runtime.mockboard import open_board

    device = open_board(ttnn, request["board"])
    bench = Bench(ttnn, device)
    found: dict[str, Any] = {}
    for name, row in ROWS.items():
        entries = [device.num_program_cache_entries()]
        try:
            for value in (*row.values, row.values[0]):
                row.call(bench, value)
                entries.append(device.num_program_cache_entries())
        except (RuntimeError, TypeError) as error:
            found[name] = str(error)[:500]
            continue
        found[name] = [after - before for before, after in pairwise(entries)]
    return found

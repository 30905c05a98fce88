"""What the sketches of docs/adr import and the runtime does not have yet, in the least code that runs them.

``install`` puts the modules ``ttmlc_runtime.gradients``, ``.distributed``, ``.generate`` and ``.rotary`` in place, made
for one ttnn: the real one, or the arithmetic of ``device_numbers``. Configs, inputs and chains are the runtime's own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from ttmlc_runtime.weights import Chain, Leaf, Parameter

Tensor = Any
Make = Callable[
    [Chain, "int | None", Any], Tensor
]  # a chain, the dimension that is split over the mesh, a layout


class Saved(SimpleNamespace):
    """What a forward keeps for its backward, by name."""

    def tensors(self) -> Iterator[Tensor]:
        """All of them, those of blocks inside too."""
        for value in vars(self).values():
            if isinstance(value, Saved):
                yield from value.tensors()
            else:
                yield value


@dataclass(frozen=True)
class Placement:
    """What a specialised module was placed on; beside the config's ``built_for``."""

    board: str
    mesh: Mapping[str, int]
    program: str
    batch: int
    tokens: int
    budget: int

    def check(self, device: Any, fingerprint: str) -> None:
        """Refuse a mesh of another shape."""
        shape, wanted = tuple(device.shape), tuple(self.mesh.values())
        if shape != wanted:
            raise ValueError(
                f"this module (build {fingerprint}) was compiled for a mesh of {wanted}, and this is {shape}"
            )

    def digest(self, built_for: Mapping[str, object]) -> str:
        """The fingerprint: twelve digits of everything that was folded in."""
        described = json.dumps([dict(built_for), self.__dict__], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Angles:
    """cos and sin of the rotary angles; tiles for whole rows of tokens, rows to look positions up in."""

    cos: Tensor
    sin: Tensor
    minus_sin: Tensor = None
    cos_rows: Tensor = None
    sin_rows: Tensor = None


@dataclass(frozen=True)
class Cache:
    """Keys and values of one layer: [rows, kv, length, head_dim] each."""

    k: Tensor
    v: Tensor


@dataclass(eq=False)
class Holder:
    """The storages of one layer by role, and the gradients that arrived."""

    chains: dict[str, Chain]
    tensors: dict[str, Tensor]
    split: int | None
    trains: bool = True
    grads: dict[str, Tensor] = field(default_factory=dict)

    def __getattr__(self, role: str) -> Tensor:
        return self.__dict__["tensors"][role]

    def add_grad(self, **grads: Tensor) -> None:
        """Take gradients, which must have as many elements as what they are of."""
        for role, grad in grads.items():
            assert math.prod(tuple(grad.shape)) == math.prod(tuple(self.tensors[role].shape)), (
                role,
                grad.shape,
            )
            self.grads[role] = grad


@dataclass(frozen=True)
class Scope:
    """A path in the checkpoint under which parameters are made; ``make`` brings a chain to the device."""

    device: Any
    kernels: Any
    make: Make
    path: str = ""
    holders: dict[str, Holder] = field(default_factory=dict)
    constants: Callable[[float], Tensor] | None = None

    def __truediv__(self, below: str) -> Scope:
        return replace(self, path=f"{self.path}.{below}" if self.path else below)

    def parameter(
        self, name: str, shape: tuple[int, ...], init: Any, *, zero_row: int | None = None
    ) -> Chain:
        return Leaf(Parameter((self / name).path, shape, init, zero_row=zero_row))

    def store(self, *, split: int | None = None, layout: Any = None, **chains: Chain) -> Holder:
        holder = Holder(
            dict(chains), {role: self.make(c, split, layout) for role, c in chains.items()}, split
        )
        first = next(iter(chains.values()))
        self.holders[f"{self.path}/{next(first.parameters()).name}"] = holder
        return holder

    def constant(self, value: float) -> Tensor:
        assert self.constants is not None
        return self.constants(value)


def modules(ttnn: Any) -> dict[str, ModuleType]:
    """The missing modules by name, made for ``ttnn``."""

    def rms_norm_backward(
        dy: Tensor, x: Tensor, weight: Tensor, epsilon: float, *, plus: Tensor, kernels: Any
    ) -> tuple[Tensor, Tensor]:
        """The gradients of x, with ``plus`` added, and of weight: 11 programs."""
        mean = ttnn.mean(ttnn.square(x), dim=-1, keepdim=True, **kernels.reduce)
        rstd = ttnn.add(mean, epsilon, activations=[ttnn.UnaryOpType.RSQRT])
        normed = ttnn.multiply(x, rstd)
        dscaled = ttnn.multiply(dy, normed)
        dweight = ttnn.sum(dscaled, dim=-2, keepdim=True, **kernels.reduce)
        inner = ttnn.mean(ttnn.multiply(dscaled, weight), dim=-1, keepdim=True, **kernels.reduce)
        dx = ttnn.addcmul(ttnn.multiply(dy, weight), normed, inner, value=-1.0)
        return ttnn.mac(dx, rstd, plus), dweight

    def rows(values: Any, dtype: Any, device: Any) -> Tensor:
        return ttnn.Tensor(np.ascontiguousarray(values, np.int32), dtype, device, ttnn.ROW_MAJOR_LAYOUT)

    class AnglesHere(Angles):
        @classmethod
        def table(cls, inv_freq: Any, positions: int, device: Any) -> Angles:
            half = np.outer(np.arange(positions, dtype=np.float32), inv_freq)
            angles = np.concatenate([half, half], axis=1).astype(np.float32)
            cos, sin = np.cos(angles), np.sin(angles)

            def tiles(a: Any) -> Tensor:
                return ttnn.Tensor(a[None, None], ttnn.bfloat16, device, ttnn.TILE_LAYOUT)

            def lookup(a: Any) -> Tensor:
                return ttnn.Tensor(a, ttnn.bfloat16, device, ttnn.ROW_MAJOR_LAYOUT)

            return cls(tiles(cos), tiles(sin), tiles(-sin), lookup(cos), lookup(sin))

    class CacheHere(Cache):
        @classmethod
        def zeros(cls, shape: tuple[int, ...], device: Any) -> Cache:
            def one() -> Tensor:
                return ttnn.zeros(list(shape), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)

            return cls(one(), one())

    class Step:
        """Where every row stands, on the device: to look up by (uint32 [B, 1]) and to attend by (int32 [B])."""

        def __init__(self, positions: list[int], device: Any) -> None:
            self.rows, self._device = len(positions), device
            self.places = rows(np.array(positions)[:, None], ttnn.uint32, device)
            self.positions = rows(np.array(positions), ttnn.int32, device)

        def ids(self, tokens: list[int]) -> Tensor:
            return rows(np.array(tokens)[:, None], ttnn.uint32, self._device)

        def advance(self) -> None:
            ttnn.plus_one(self.places)
            ttnn.plus_one(self.positions)

    made: dict[str, dict[str, Any]] = {
        "gradients": {"Saved": Saved, "rms_norm_backward": rms_norm_backward},
        "distributed": {"Placement": Placement},
        "generate": {"Cache": CacheHere, "Step": Step},
        "rotary": {"Angles": AnglesHere},
    }
    found = {}
    for name, contents in made.items():
        module = ModuleType(f"ttmlc_runtime.{name}")
        module.__dict__.update(contents)
        found[module.__name__] = module
    return found

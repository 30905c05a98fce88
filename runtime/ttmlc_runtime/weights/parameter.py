"""Parameters: logical tensors under their checkpoint names, and how each begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.errors import ConfigError, WeightsError

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Initialiser = Callable[[np.random.Generator, Shape], Array]


def normal(std: float) -> Initialiser:
    """Draws from a normal distribution around 0; ``std`` is its standard deviation."""

    def draw(generator: np.random.Generator, shape: Shape) -> Array:
        values = generator.standard_normal(shape, np.float32)
        values *= np.float32(std)
        return values

    return draw


def zeros(generator: np.random.Generator, shape: Shape) -> Array:
    """All zeros."""
    return np.zeros(shape, np.float32)


def ones(generator: np.random.Generator, shape: Shape) -> Array:
    """All ones."""
    return np.ones(shape, np.float32)


@dataclass(frozen=True)
class Parameter:
    """A logical tensor: its name in the checkpoint, its shape and how it begins.

    ``also`` are other names under which it is read; ``name`` is the one that is written. Row ``zero_row`` begins as
    zeros (a padding token's embedding).
    """

    name: str
    shape: Shape
    init: Initialiser
    also: tuple[str, ...] = ()
    zero_row: int | None = None

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape):
            raise WeightsError(f"{self.name} cannot have the shape {list(self.shape)}")
        if self.zero_row is not None and not (self.shape and 0 <= self.zero_row < self.shape[0]):
            # The row comes from a config's padding token: it is the config that does not hold together.
            raise ConfigError(
                f"{self.name} has the shape {list(self.shape)}, and the padding token is {self.zero_row}: there is no "
                "such row; give the config more rows, another padding token, or none"
            )

    def initial(self, seed: int) -> Array:
        """Initial values, float32; they depend on the seed and the name alone, not on the order of parameters."""
        digest = hashlib.sha256(f"{seed} {self.name}".encode()).digest()
        values = self.init(np.random.default_rng(int.from_bytes(digest[:8], "little")), self.shape)
        if self.zero_row is not None:
            values[self.zero_row] = 0
        return values

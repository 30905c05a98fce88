"""Shapes, and what tiles make of them."""

from __future__ import annotations

from collections.abc import Sequence

from ttmlc_runtime.emulator.dtypes import TILE_SIZE


class Shape(tuple[int, ...]):
    """A shape; ttnn's compares with lists too."""

    __slots__ = ()

    @property
    def rank(self) -> int:
        """How many dimensions there are."""
        return len(self)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (list, tuple)) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"Shape({list(self)})"


def tiled(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` with its last two dims rounded up to whole tiles; a vector gets a second dim.

    ``tiled((2, 40, 64))`` is ``(2, 64, 64)``, and ``tiled((5,))`` is ``(32, 32)``.
    """
    full = list(shape) if len(shape) >= 2 else [1] * (2 - len(shape)) + list(shape)
    for place in (-2, -1):
        full[place] = -(-full[place] // TILE_SIZE) * TILE_SIZE
    return tuple(full)

"""Rotary positions (Su et al., 2021): heads turned by the angles of their tokens, in pairs of features.

Feature j and feature j + half of a head are the coordinates of one point, which is turned by the angle
position * frequency[j]: (x1, x2) becomes (x1 cos - x2 sin, x2 cos + x1 sin). The angles are known on the host, so
their cosines and sines are made there, in float32, and rounded once on their way to the device.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn

Array = np.ndarray[Any, Any]
KEPT = 4
"""Of how many calls with different positions the cosines and sines are kept."""
TILE = types.TILE_SIZE


class Table:
    """The frequencies of rotary positions, float32 [half], and what was made of them for the last few calls.

    Calls with equal positions get the same tensors, so that training steps make them once.
    """

    def __init__(self, frequencies: Array) -> None:
        self.frequencies = np.asarray(frequencies, np.float32)
        self._made: OrderedDict[tuple[Any, ...], Rotary] = OrderedDict()
        self._swaps: dict[tuple[int, int], types.Tensor] = {}

    def at(self, positions: Array, device: types.Device) -> Rotary:
        """The angles of tokens at ``positions``, integers [batch, tokens]."""
        if len(positions) > 1 and (positions == positions[0]).all():
            positions = positions[:1]
        key = (id(device), positions.shape, np.ascontiguousarray(positions, np.int64).tobytes())
        if key not in self._made:
            self._made[key] = Rotary(self, np.array(positions), device)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def swap(self, width: int, device: types.Device) -> types.Tensor:
        """[1, 1, width, width] of 0, 1 and -1: x @ swap is (-x2, x1), and 0 where nothing is turned."""
        key = (id(device), width)
        if key not in self._swaps:
            half = len(self.frequencies)
            values = np.zeros((1, 1, width, width), np.float32)
            each = np.arange(half)
            values[0, 0, each + half, each] = -1
            values[0, 0, each, each + half] = 1
            self._swaps[key] = ttnn.Tensor(values, ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
        return self._swaps[key]


@dataclass(frozen=True, eq=False)
class Rotary:
    """The angles of tokens in the forms that ops take, each made where one first asks for it.

    ``positions`` are [batch, tokens], or [1, tokens] where every row of the batch has the same.
    """

    table: Table
    positions: Array
    device: types.Device
    _forms: dict[tuple[str, int], types.Tensor] = field(default_factory=dict, repr=False)

    @property
    def angles(self) -> Array:
        """Float32 [rows, tokens, half]."""
        return self.positions.astype(np.float32)[:, :, None] * self.table.frequencies

    def cosines(self, width: int) -> types.Tensor:
        """[rows, 1, tokens, width]: each twice, and 1 for features that are not turned."""
        return self._form("cos", width, np.cos, 1.0)

    def sines(self, width: int, *, back: bool = False) -> types.Tensor:
        """[rows, 1, tokens, width]: each twice, and 0 for features that are not turned; negative to turn ``back``."""
        if back:
            return self._form("-sin", width, lambda angles: -np.sin(angles), 0.0)
        return self._form("sin", width, np.sin, 0.0)

    def fits(self, width: int) -> bool:
        """Whether ttnn's own op takes it: one row for the whole batch, every feature turned, a width it knows."""
        whole = 2 * len(self.table.frequencies) == width
        return len(self.positions) == 1 and whole and (width == TILE or width % (2 * TILE) == 0)

    def _form(self, name: str, width: int, function: Any, otherwise: float) -> types.Tensor:
        if (name, width) not in self._forms:
            each = function(self.angles)[:, None]
            rest = np.full((*each.shape[:3], width - 2 * each.shape[3]), otherwise, np.float32)
            values = np.concatenate([each, each, rest], -1)
            self._forms[name, width] = ttnn.Tensor(values, ttnn.bfloat16, self.device, ttnn.TILE_LAYOUT)
        return self._forms[name, width]


def rotary(x: types.Tensor, angles: Rotary, **kernels: Any) -> types.Tensor:
    """X [B, heads, S, width], each token turned by its angles.

    One program where every row has the same positions and a head is turned whole, of 32 features or a multiple of 64;
    else four: x * cos + (x @ swap) * sin, where the product only moves and negates.
    """
    return _turned(x, angles, False, kernels)


def rotary_backward(dy: types.Tensor, angles: Rotary, **kernels: Any) -> types.Tensor:
    """The gradient of :func:`rotary`: dy turned the other way. As many programs."""
    return _turned(dy, angles, True, kernels)


def _turned(x: types.Tensor, angles: Rotary, back: bool, kernels: dict[str, Any]) -> types.Tensor:
    width = x.shape[3]
    cos, sin = angles.cosines(width), angles.sines(width, back=back)
    if angles.fits(width):
        return ttnn.experimental.rotary_embedding_hf(x, cos, sin, **kernels)
    swapped = ttnn.matmul(x, angles.table.swap(width, angles.device), **kernels)
    return ttnn.add(ttnn.multiply(x, cos), ttnn.multiply(swapped, sin))

"""Where the spaces of arguments draw from: sizes that fill no tile, just miss one or are several; dtypes; tensors.

The simplest choice comes first everywhere, so that Hypothesis shrinks towards a plain call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.conformance.differential.calls import Call, Name, Same, Tensor, View

SIZES = (32, 64, 1, 33, 40, 96, 31, 7, 130)
FEW = (2, 1, 3)
FLOATS = ("bfloat16", "float32", "bfloat8_b", "bfloat4_b")
COUNTED = (*FLOATS, "int32", "uint32")
DTYPES = (*COUNTED, "uint16", "uint8")
LAYOUTS = ("TILE", "ROW_MAJOR")
LARGEST = 1 << 17
"""Elements of a tensor; what is to be seen is seen on small ones."""

Keywords = dict[str, Any]
Space = Callable[["Source"], Call]


class Source:
    """Draws, by kind."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw

    def pick(self, options: Sequence[Any]) -> Any:
        """One of ``options``."""
        return self.draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        """True so often."""
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def integer(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return int(self.draw(st.integers(low, high)))

    def shape(self, low: int = 0, high: int = 4) -> tuple[int, ...]:
        """So many dims."""
        rank = self.integer(low, high) if self.chance(60) else max(low, min(high, self.pick((2, 3, 4))))
        sizes = [self.pick(FEW) for _ in range(rank - 2)] + [self.pick(SIZES) for _ in range(min(rank, 2))]
        return tuple(sizes) if math.prod(sizes) <= LARGEST else tuple(min(size, 33) for size in sizes)

    def dim(self, rank: int) -> int:
        """A dim that is there."""
        return self.integer(-rank, rank - 1) if rank else self.pick((0, -1))

    def float_dtype(self, percent: int = 75) -> str:
        """Mostly what everything takes."""
        return self.pick(("bfloat16", "float32")) if self.chance(percent) else self.pick(FLOATS)

    def dtype(self) -> str:
        """Any, the floats more often."""
        return self.float_dtype() if self.chance(60) else self.pick(DTYPES)

    def layout(self, rows: int = 25) -> str:
        """Rows so often."""
        return "ROW_MAJOR" if self.chance(rows) else "TILE"

    def tensor(self, shape: Sequence[int], dtype: str | None = None, layout: str | None = None) -> Tensor:
        """On the device, mostly in DRAM."""
        memory = "L1" if self.chance(10) else "DRAM"
        return Tensor(
            tuple(shape),
            dtype or self.float_dtype(),
            "TILE" if dtype in ("bfloat8_b", "bfloat4_b") else layout or self.layout(),
            memory,
        )

    def memory(self, keywords: Keywords, percent: int = 20) -> Keywords:
        """With a ``memory_config`` so often."""
        if self.chance(percent):
            keywords["memory_config"] = self.pick((Name("DRAM_MEMORY_CONFIG"), Name("L1_MEMORY_CONFIG")))
        return keywords

    def output(
        self,
        keywords: Keywords,
        shape: Sequence[int],
        like: Tensor,
        name: str = "output_tensor",
        percent: int = 15,
    ) -> Keywords:
        """With a tensor to write into so often, which may not fit."""
        if self.chance(percent):
            dtype = like.dtype if self.chance(70) else self.dtype()
            layout = like.layout if self.chance(80) else self.pick(LAYOUTS)
            keywords[name] = self.tensor(shape if self.chance(80) else self.shape(), dtype, layout)
        return keywords


def call(op: str, *args: Any, **keywords: Any) -> Call:
    """A call; lists become tuples."""
    return Call(op, tuple(map(_frozen, args)), tuple((name, _frozen(one)) for name, one in keywords.items()))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def named(dtype: str) -> Name:
    """A dtype as an argument."""
    return Name(dtype)


def placed(layout: str) -> Name:
    """A layout as an argument."""
    return Name(f"{layout}_LAYOUT")


__all__ = [
    "COUNTED", "DTYPES", "FEW", "FLOATS", "LAYOUTS", "SIZES", "Call", "Keywords", "Name", "Same", "Source", "Space",
    "Tensor", "View", "call", "named", "placed",
]  # fmt: skip

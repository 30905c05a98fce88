"""Axes and types of the tensor level.

An axis is a name, not a number: two axes of equal size are different axes, and an op that joins tensors joins them by
name. A dimension is one axis or a *written product* of axes, outermost first: ``(heads head_dim)`` is a layout as
much as a size, and ``hidden`` is a different axis even where the numbers agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union

from ttmlc.ir import scalar
from ttmlc.ir.scalar import Apply, Const, Dynamic, Scalar


class Role(Enum):
    """What an axis is for. Only batch and tokens have sizes that a call decides."""

    BATCH = "batch"
    TOKENS = "tokens"
    FEATURES = "features"
    LABELS = "labels"
    UNIT = "unit"


@dataclass(frozen=True, slots=True)
class Axis:
    """A named axis. ``size`` is a scalar over the config, a dynamic size, or the number of labels."""

    name: str
    size: Scalar
    role: Role

    @property
    def is_dynamic(self) -> bool:
        """Whether a call decides the size."""
        return isinstance(self.size, Dynamic)


@dataclass(frozen=True, slots=True)
class Product:
    """An ordered product of axes, outermost first: ``(heads head_dim)``."""

    factors: tuple[Axis, ...]

    @property
    def size(self) -> Scalar:
        """The product of the factors' sizes."""
        return scalar.product(tuple(factor.size for factor in self.factors))


@dataclass(frozen=True, slots=True)
class Sum:
    """Dimensions one behind the other, as a joint projection makes them: ``{(heads head_dim) + (kv head_dim)}``."""

    parts: tuple[Union[Axis, Product], ...]

    @property
    def size(self) -> Scalar:
        """The sum of the parts' sizes, as a multiple where they are equal."""
        return total(tuple(part.size for part in self.parts))


def total(sizes: tuple[Scalar, ...]) -> Scalar:
    """The sum of ``sizes``: 3 * heads * head_dim rather than the same term thrice."""
    first = sizes[0]
    if len(set(sizes)) == 1 and len(sizes) > 1:
        terms = first.args if isinstance(first, Apply) and first.op == "*" else (first,)
        return scalar.product((Const(len(sizes)), *terms))
    result = first
    for size in sizes[1:]:
        result = scalar.apply("+", result, size)
    return result


Dim = Union[Axis, Product, Sum]

BATCH = Axis("B", Dynamic("B"), Role.BATCH)
TOKENS = Axis("S", Dynamic("S"), Role.TOKENS)
ONE = Axis("1", Const(1), Role.UNIT)


def factors(dim: Dim) -> tuple[Axis, ...]:
    """The axes that ``dim`` is made of; those of a sum once each."""
    if isinstance(dim, Sum):
        return tuple(dict.fromkeys(axis for part in dim.parts for axis in factors(part)))
    return dim.factors if isinstance(dim, Product) else (dim,)


def dim_text(dim: Dim) -> str:
    """``dim`` as a spec writes it."""
    if isinstance(dim, Sum):
        return f"{{{' + '.join(map(dim_text, dim.parts))}}}"
    return f"({' '.join(axis.name for axis in dim.factors)})" if isinstance(dim, Product) else dim.name


class DType(Enum):
    """What a tensor-level value holds. How many bits it takes is the device's matter, decided by lowering."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dtype and the dims, outermost first."""

    dtype: DType
    dims: tuple[Dim, ...]

    def axes(self) -> tuple[Axis, ...]:
        """All axes, with products taken apart."""
        return tuple(axis for dim in self.dims for axis in factors(dim))

    def __str__(self) -> str:
        return f"{self.dtype.value}[{', '.join(map(dim_text, self.dims))}]"


class Layout(Enum):
    """How ttnn stores a tensor: 32 x 32 tiles over the last two dims, or plain rows."""

    TILE = "tile"
    ROW_MAJOR = "row_major"


@dataclass(frozen=True, slots=True)
class DeviceType:
    """A type of the ttnn level: dtype label, logical shape, layout.

    ``dtype`` is a name of ttnn's ("bfloat16", "uint32"). ``shape`` holds scalars: what a device sees is sizes.
    """

    dtype: str
    shape: tuple[Scalar, ...]
    layout: Layout

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(scalar.text, self.shape))}] {self.layout.value}"


NO_WINDOW = Const(None)
"""Of an attention whose queries see all keys that nothing else hides."""


@dataclass(frozen=True, slots=True)
class MaskType:
    """The device form of a validity mask over tokens: additive, or none, with causality kept beside it.

    ``causal`` and ``window`` are those of the attention that reads the mask; masks that differ in them are different
    values. A ``window`` of none hides nothing.
    """

    causal: Scalar
    window: Scalar = NO_WINDOW

    def __str__(self) -> str:
        window = "" if self.window == NO_WINDOW else f", window={scalar.text(self.window)}"
        return f"mask{{causal={scalar.text(self.causal)}{window}}}"


@dataclass(frozen=True, slots=True)
class RotaryType:
    """The device form of the angles of tokens, [B, S, half]: their cosines and sines, as what turns heads by them."""

    half: Scalar

    def __str__(self) -> str:
        return f"rotary{{half={scalar.text(self.half)}}}"


@dataclass(frozen=True, slots=True)
class SavedType:
    """What the forward of ``block`` keeps for its backward, as one value of whoever calls it."""

    block: str

    def __str__(self) -> str:
        return f"saved{{{self.block}}}"


Type = Union[TensorType, DeviceType, MaskType, RotaryType, SavedType]

"""ttnn's dtypes, layouts and memory configurations, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DataType(Enum):
    """A dtype label. What a tensor's values are held in depends on its numerics."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    BFLOAT8_B = "bfloat8_b"
    BFLOAT4_B = "bfloat4_b"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT16 = "uint16"
    UINT8 = "uint8"

    # By identity, which every member has alone: that of enum hashes the name, in Python, for each tensor of each call.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"DataType.{self.name}"

    @property
    def is_float(self) -> bool:
        """Whether values are real numbers."""
        return self in FLOATS

    @property
    def is_block(self) -> bool:
        """Whether sixteen values share an exponent, which only tiles can hold."""
        return self in BLOCKS

    @property
    def is_signed(self) -> bool:
        """Whether values below zero can be held."""
        return self in FLOATS or self is DataType.INT32


bfloat16 = DataType.BFLOAT16
float32 = DataType.FLOAT32
bfloat8_b = DataType.BFLOAT8_B
bfloat4_b = DataType.BFLOAT4_B
uint32 = DataType.UINT32
int32 = DataType.INT32
uint16 = DataType.UINT16
uint8 = DataType.UINT8

BLOCKS = frozenset({bfloat8_b, bfloat4_b})
FLOATS = frozenset({bfloat16, float32}) | BLOCKS
CAST = frozenset({bfloat16, float32, bfloat8_b})
"""What an elementwise op may be given and write, each as another of them."""
INTEGERS = frozenset({uint32, int32, uint16, uint8})
COUNTED = FLOATS | {uint32, int32}
"""What most elementwise ops take."""


class Layout(Enum):
    """Tiles of 32 x 32 over the last two dims, or rows."""

    ROW_MAJOR = 0
    TILE = 1

    def __repr__(self) -> str:
        return f"Layout.{self.name}"


TILE_LAYOUT = Layout.TILE
ROW_MAJOR_LAYOUT = Layout.ROW_MAJOR
TILE_SIZE = 32


class BufferType(Enum):
    """Which memory a buffer lies in."""

    DRAM = 0
    L1 = 1


class TensorMemoryLayout(Enum):
    """How a tensor is spread over banks; only interleaved is modelled."""

    INTERLEAVED = 0


class StorageType(Enum):
    """Where a tensor's values are."""

    HOST = 0
    DEVICE = 1


@dataclass(frozen=True)
class MemoryConfig:
    """Where a tensor lives."""

    memory_layout: TensorMemoryLayout = TensorMemoryLayout.INTERLEAVED
    buffer_type: BufferType = BufferType.DRAM

    def is_sharded(self) -> bool:
        """Whether the tensor is cut over cores; the emulator has none that is."""
        return False


DRAM_MEMORY_CONFIG = MemoryConfig()
L1_MEMORY_CONFIG = MemoryConfig(buffer_type=BufferType.L1)

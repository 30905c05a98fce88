"""ttnn's dtypes, layouts, memory and kernel configurations, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DataType(Enum):
    """A dtype label. What a tensor's values are held in depends on the device's numerics."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    BFLOAT8_B = "bfloat8_b"
    BFLOAT4_B = "bfloat4_b"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT16 = "uint16"
    UINT8 = "uint8"

    def __repr__(self) -> str:
        return f"DataType.{self.name}"

    @property
    def is_float(self) -> bool:
        """Whether values are real numbers."""
        return self in FLOATS

    @property
    def is_block(self) -> bool:
        """Whether sixteen values share an exponent, which only tiles can hold."""
        return self in (DataType.BFLOAT8_B, DataType.BFLOAT4_B)


FLOATS = frozenset({DataType.BFLOAT16, DataType.FLOAT32, DataType.BFLOAT8_B, DataType.BFLOAT4_B})

bfloat16 = DataType.BFLOAT16
float32 = DataType.FLOAT32
bfloat8_b = DataType.BFLOAT8_B
bfloat4_b = DataType.BFLOAT4_B
uint32 = DataType.UINT32
int32 = DataType.INT32
uint16 = DataType.UINT16
uint8 = DataType.UINT8


class Layout(Enum):
    """Tiles of 32 x 32 over the last two dims, or rows."""

    ROW_MAJOR = 0
    TILE = 1


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


@dataclass(frozen=True)
class MemoryConfig:
    """Where a tensor lives."""

    memory_layout: TensorMemoryLayout = TensorMemoryLayout.INTERLEAVED
    buffer_type: BufferType = BufferType.DRAM


DRAM_MEMORY_CONFIG = MemoryConfig()
L1_MEMORY_CONFIG = MemoryConfig(buffer_type=BufferType.L1)


class MathFidelity(Enum):
    """How many passes a multiplication takes."""

    LoFi = 0
    HiFi2 = 2
    HiFi3 = 3
    HiFi4 = 4


@dataclass(frozen=True)
class CoreGrid:
    """A rectangle of cores."""

    y: int
    x: int


@dataclass(frozen=True)
class DeviceComputeKernelConfig:
    """How a kernel computes. The emulator models HiFi4 with float32 accumulation."""

    math_fidelity: MathFidelity = MathFidelity.LoFi
    math_approx_mode: bool = True
    fp32_dest_acc_en: bool = False
    packer_l1_acc: bool = False
    dst_full_sync_en: bool = False


class UnaryOpType(Enum):
    """Elementwise functions that may be fused into another op."""

    RELU = "relu"
    GELU = "gelu"
    SILU = "silu"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    SQUARE = "square"
    NEG = "neg"
    ABS = "abs"


class GeluVariant(Enum):
    """The erf form, the tanh form, or a lookup table."""

    Accurate = 0
    Tanh = 1
    FastLut = 2

"""What a call may be told about how to compute: cores, fidelity, fused functions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class MathFidelity(Enum):
    """How many passes a multiplication takes; HiFi4 uses every bit of a bfloat16."""

    LoFi = 0
    HiFi2 = 2
    HiFi3 = 3
    HiFi4 = 4


class ThrottleLevel(Enum):
    """How far a matmul is slowed to save power; speed is not modelled."""

    NO_THROTTLE = 0


@dataclass(frozen=True, kw_only=True)
class CoreGrid:
    """A rectangle of cores."""

    x: int
    y: int

    @property
    def num_cores(self) -> int:
        """How many cores there are."""
        return self.x * self.y


@dataclass(kw_only=True)
class WormholeComputeKernelConfig:
    """How a kernel computes. The emulator models HiFi4 with float32 accumulation."""

    math_fidelity: MathFidelity = MathFidelity.LoFi
    math_approx_mode: bool = True
    fp32_dest_acc_en: bool = False
    packer_l1_acc: bool = False
    dst_full_sync_en: bool = False
    throttle_level: ThrottleLevel = ThrottleLevel.NO_THROTTLE


DeviceComputeKernelConfig = WormholeComputeKernelConfig


class GeluVariant(Enum):
    """The erf form, the tanh form, or a lookup table."""

    Accurate = 0
    Tanh = 1
    FastLut = 2


UnaryOpType = Enum(
    "UnaryOpType",
    "ABS ACOS ADD_UNARY_SFPU ASIN ATAN CEIL COS COSH DIV_UNARY_SFPU ELU EQZ ERF ERFC EXP EXP2 EXPM1 FLOOR FRAC GELU "
    "GELU_TANH GEZ GTZ HARDSIGMOID HARDSWISH HARDTANH IDENTITY ISFINITE ISINF ISNAN LEAKY_RELU LEZ LOG LOG10 LOG1P "
    "LOG2 LOGICAL_NOT_UNARY LOGSIGMOID LTZ MISH MUL_UNARY_SFPU NEG NEZ POWER RDIV RECIP RELU RELU6 ROUND RSQRT RSUB "
    "SELU SIGMOID SIGN SILU SIN SINH SOFTPLUS SOFTSIGN SQRT SQUARE SUB_UNARY_SFPU TAN TANH TANHSHRINK TRUNC",
)
"""Elementwise functions that may be fused into another op; ttnn has some more."""


class UnaryWithParam:
    """A fused function with its parameters, as in ``UnaryWithParam(UnaryOpType.MUL_UNARY_SFPU, 0.125)``."""

    def __init__(self, op_type: UnaryOpType | tuple[UnaryOpType, float], *params: float) -> None:
        if isinstance(op_type, tuple):
            op_type, *rest = op_type
            params = (*rest, *params)
        if not isinstance(op_type, UnaryOpType):
            raise TypeError(
                f"__init__(): incompatible function arguments: a UnaryOpType is needed, not {op_type!r}"
            )
        self.op_type = op_type
        self.params = [float(param) for param in params]

    def __repr__(self) -> str:
        params = f", params={self.params}" if self.params else ""
        return f"UnaryWithParam(op_type=UnaryOpType::{self.op_type.name}{params})"

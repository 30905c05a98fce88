"""The elementwise functions: what each computes, on which dtypes, and by which names ttnn calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import FLOATS, DataType
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.padding import Padding, after
from ttmlc_runtime.emulator.refusal import check, fatal, unmodelled
from ttmlc_runtime.emulator.settings import UnaryOpType, UnaryWithParam

INT32 = frozenset({DataType.INT32})
SIGNED = FLOATS | INT32
COUNTS = SIGNED | {DataType.UINT32}


@dataclass(frozen=True)
class Function:
    """An elementwise function, with its parameters after the operand."""

    compute: Callable[..., Array]
    dtypes: frozenset[DataType] = FLOATS
    total: bool = True
    """Whether it makes numbers of all numbers; a logarithm does not."""
    defaults: tuple[float, ...] | None = ()
    """Its parameters where none are given; None where they must be."""


def _flag(test: Callable[[Array], Any]) -> Callable[[Array], Array]:
    return lambda x: test(x).astype(x.dtype)


def _fused(name: str) -> Callable[[Array], Array]:
    return lambda x: kernels.mapped(name, x)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Array, alpha: Any) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)


UNARY: dict[str, Function] = {
    "abs": Function(np.abs, COUNTS),
    "acos": Function(np.arccos, total=False),
    "asin": Function(np.arcsin, total=False),
    "atan": Function(np.arctan),
    "ceil": Function(np.ceil),
    "cos": Function(np.cos),
    "cosh": Function(np.cosh),
    "elu": Function(_elu, defaults=(1.0,)),
    "eqz": Function(_flag(lambda x: x == 0), COUNTS),
    "erf": Function(_fused("erf")),
    "erfc": Function(lambda x: x.dtype.type(1) - kernels.erf(x)),
    "exp": Function(_fused("exp")),
    "exp2": Function(np.exp2),
    "expm1": Function(np.expm1),
    "floor": Function(np.floor),
    "frac": Function(lambda x: x - np.trunc(x)),
    "gelu": Function(_fused("gelu")),
    "gelu_tanh": Function(_fused("gelu_tanh")),
    "gez": Function(_flag(lambda x: x >= 0), SIGNED),
    "gtz": Function(_flag(lambda x: x > 0), SIGNED),
    "hardsigmoid": Function(_hard_sigmoid),
    "hardswish": Function(lambda x: x * _hard_sigmoid(x)),
    "hardtanh": Function(lambda x, low, high: np.clip(x, low, high), defaults=(-1.0, 1.0)),
    "identity": Function(np.copy, COUNTS),
    "isfinite": Function(_flag(np.isfinite)),
    "isinf": Function(_flag(np.isinf)),
    "isnan": Function(_flag(np.isnan)),
    "leaky_relu": Function(lambda x, slope: np.where(x >= 0, x, x * slope), defaults=None),
    "lez": Function(_flag(lambda x: x <= 0), SIGNED),
    "log": Function(np.log, total=False),
    "log10": Function(np.log10, total=False),
    "log1p": Function(np.log1p, total=False),
    "log2": Function(np.log2, total=False),
    "log_sigmoid": Function(lambda x: -_softplus(-x)),
    "logical_not": Function(_flag(lambda x: x == 0), COUNTS),
    "ltz": Function(_flag(lambda x: x < 0), SIGNED),
    "mish": Function(lambda x: x * np.tanh(_softplus(x))),
    "neg": Function(np.negative, SIGNED),
    "nez": Function(_flag(lambda x: x != 0), COUNTS),
    "reciprocal": Function(lambda x: x.dtype.type(1) / x, total=False),
    "relu": Function(lambda x: np.maximum(x, 0), COUNTS),
    "relu6": Function(lambda x: np.clip(x, 0, 6), COUNTS),
    "round": Function(np.rint),
    "rsqrt": Function(lambda x: x.dtype.type(1) / np.sqrt(x), total=False),
    "selu": Function(lambda x: x.dtype.type(1.0507009873554805) * _elu(x, x.dtype.type(1.6732632423543772))),
    "sigmoid": Function(_fused("sigmoid")),
    "sign": Function(np.sign),
    "silu": Function(_fused("silu")),
    "sin": Function(np.sin),
    "sinh": Function(np.sinh),
    "softplus": Function(_softplus),
    "softsign": Function(lambda x: x / (x.dtype.type(1) + np.abs(x))),
    "sqrt": Function(np.sqrt, total=False),
    "square": Function(np.square, COUNTS),
    "tan": Function(np.tan),
    "tanh": Function(_fused("tanh")),
    "tanhshrink": Function(lambda x: x - np.tanh(x)),
    "trunc": Function(np.trunc),
}
"""By the name of the op."""

WITH_SCALAR: dict[str, Function] = {
    "add_unary_sfpu": Function(np.add, defaults=None),
    "sub_unary_sfpu": Function(np.subtract, defaults=None),
    "mul_unary_sfpu": Function(np.multiply, defaults=None),
    "div_unary_sfpu": Function(np.divide, defaults=None, total=False),
    "rsub": Function(lambda x, s: s - x, defaults=None),
    "rdiv": Function(lambda x, s: s / x, defaults=None, total=False),
    "power": Function(np.power, defaults=None, total=False),
}
"""Those that only occur fused."""

OP_TYPES: dict[str, str] = {
    "recip": "reciprocal",
    "logsigmoid": "log_sigmoid",
    "logical_not_unary": "logical_not",
}
"""Members of UnaryOpType that are not called as their op is."""

ACTIVATIONS: dict[str, str] = {
    **{
        name: name
        for name in (
            "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "exp", "square", "sqrt", "rsqrt", "log", "abs",
            "softplus", "relu6", "mish", "hardsigmoid", "cos", "sin",
        )
    },
    "recip": "reciprocal",
}  # fmt: skip
"""The strings that matmul's ``activation=`` takes."""
LOOKED_UP = ("gelu_approx", "sigmoid_approx")
"""Strings it takes too, for functions read from a table of the device's."""


@dataclass(frozen=True)
class Applied:
    """A function with its parameters, ready to be applied."""

    name: str
    function: Function
    params: tuple[float, ...] = ()

    def __call__(self, x: Array) -> Array:
        """The function of every element, in the type of ``x``."""
        with np.errstate(all="ignore"):
            values = self.function.compute(x, *(x.dtype.type(param) for param in self.params))
        return np.asarray(values, x.dtype)

    def padding(self, padding: Padding) -> Padding:
        """What becomes of the padding of tiles."""
        return after(lambda x: self(np.asarray(x)), [padding], total=self.function.total)


def of_type(activation: object, op: str) -> Applied:
    """The function of a UnaryOpType or UnaryWithParam.

    Raises:
        TypeError: it is neither.
        RuntimeError: a parameter is missing.
    """
    kind: object = activation
    params: tuple[float, ...] = ()
    if isinstance(activation, UnaryWithParam):
        kind, params = activation.op_type, tuple(activation.params)
    if not isinstance(kind, UnaryOpType):
        raise TypeError(
            f"{op}(): incompatible function arguments: an activation is a ttnn.UnaryOpType or ttnn.UnaryWithParam, "
            f"not {activation!r}"
        )
    lower = kind.name.lower()
    name = OP_TYPES.get(lower, lower)
    function = UNARY.get(name) or WITH_SCALAR[name]
    if not params:
        check(
            function.defaults is not None,
            f"{op}: {kind.name} needs a parameter",
            "Pass a ttnn.UnaryWithParam",
        )
        params = function.defaults or ()
    return Applied(name, function, tuple(params))


def of_string(activation: str, op: str) -> Applied:
    """The function of a string, as matmul takes it.

    Raises:
        RuntimeError: ttnn knows no such string, or the emulator has no such table.
    """
    if activation in LOOKED_UP:
        raise unmodelled(f"{op}: activation={activation!r}, a lookup table,")
    if activation not in ACTIVATIONS:
        raise fatal(f"{op}: Unknown unary op: {activation}", f"ttnn has {', '.join(ACTIVATIONS)}")
    name = ACTIVATIONS[activation]
    return Applied(name, UNARY[name], UNARY[name].defaults or ())


def applied(
    activations: Sequence[object] | None, array: Array, padding: Padding, op: str
) -> tuple[Array, Padding]:
    """``array`` and its padding after a chain of functions."""
    for activation in activations or ():
        function = of_type(activation, op)
        array, padding = function(array), function.padding(padding)
    return array, padding

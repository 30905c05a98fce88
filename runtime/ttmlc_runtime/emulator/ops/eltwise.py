"""Elementwise ops of one tensor: ttnn.relu and its family, typecast, clamp, unary_chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import CAST, FLOATS, MemoryConfig
from ttmlc_runtime.emulator.functions import UNARY, Applied, applied
from ttmlc_runtime.emulator.ops.result import result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import after
from ttmlc_runtime.emulator.refusal import check, unmodelled
from ttmlc_runtime.emulator.settings import GeluVariant
from ttmlc_runtime.emulator.tensor import Tensor

Unary = Callable[..., Tensor]


def _check_output(x: Tensor, output: Tensor | None, op_name: str) -> None:
    """Refuse a tensor to write into that ttnn's kernel does not take."""
    if output is not None:
        check(
            output.layout is x.layout,
            f"{op_name}: Output format (tile/row-major) must match input when preallocated",
        )
        check(
            output.dtype is x.dtype or (output.dtype in CAST and x.dtype in CAST),
            f"{op_name}: an output tensor of {output.dtype!r} does not go with an input of {x.dtype!r}",
            "Mixed floating-point output is limited to BFLOAT16, FLOAT32, and BFLOAT8_B",
        )


def _computed(
    function: Applied, x: Tensor, memory: MemoryConfig | None, output: Tensor | None, op_name: str
) -> Tensor:
    _check_output(x, output, op_name)
    values, padding = function(x.array), function.padding(x.padding)
    return result(values, x, padding=padding, memory=memory, output=output, op=op_name)


APPROXIMATED = ("erf", "exp", "log", "log10", "log1p", "log2", "mish", "rsqrt", "sqrt", "tanh")
"""Functions that ttnn has a faster form of, by ``fast_and_approximate_mode``; it is not modelled."""


def _unary(name: str, computes: str | None = None) -> Unary:
    function = UNARY[computes or name]
    ignored = ("fast_and_approximate_mode",) if name in APPROXIMATED else ()

    @op(name, ignored=ignored, input_tensor=Operand(function.dtypes))
    def call(
        input_tensor: Tensor,
        *,
        memory_config: MemoryConfig | None = None,
        output_tensor: Tensor | None = None,
    ) -> Tensor:
        ready = Applied(name, function, function.defaults or ())
        return _computed(ready, input_tensor, memory_config, output_tensor, f"ttnn.{name}")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{name}(x), element by element."
    return call


abs_, acos, asin, atan, ceil = _unary("abs"), _unary("acos"), _unary("asin"), _unary("atan"), _unary("ceil")
cos, cosh, eqz, erf, erfc = _unary("cos"), _unary("cosh"), _unary("eqz"), _unary("erf"), _unary("erfc")
exp, exp2, expm1, floor, frac = (
    _unary("exp"),
    _unary("exp2"),
    _unary("expm1"),
    _unary("floor"),
    _unary("frac"),
)
gez, gtz, hardsigmoid, hardswish = _unary("gez"), _unary("gtz"), _unary("hardsigmoid"), _unary("hardswish")
identity, isfinite, isinf, isnan = _unary("identity"), _unary("isfinite"), _unary("isinf"), _unary("isnan")
lez, log, log10, log1p, log2 = _unary("lez"), _unary("log"), _unary("log10"), _unary("log1p"), _unary("log2")
log_sigmoid, logical_not, ltz, mish = (
    _unary("log_sigmoid"),
    _unary("logical_not"),
    _unary("ltz"),
    _unary("mish"),
)
neg, nez, reciprocal, relu, relu6 = (
    _unary("neg"),
    _unary("nez"),
    _unary("reciprocal"),
    _unary("relu"),
    _unary("relu6"),
)
rsqrt, selu, sigmoid, sign, silu = (
    _unary("rsqrt"),
    _unary("selu"),
    _unary("sigmoid"),
    _unary("sign"),
    _unary("silu"),
)
sin, sinh, softplus, softsign = _unary("sin"), _unary("sinh"), _unary("softplus"), _unary("softsign")
sqrt, square, tan, tanh = _unary("sqrt"), _unary("square"), _unary("tan"), _unary("tanh")
tanhshrink, trunc, swish = _unary("tanhshrink"), _unary("trunc"), _unary("swish", "silu")


@op("gelu", input_tensor=Operand(FLOATS))
def gelu(
    input_tensor: Tensor,
    *,
    variant: GeluVariant = GeluVariant.Accurate,
    fast_and_approximate_mode: bool | None = None,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """GELU: the erf form, or the tanh form with ``variant=GeluVariant.Tanh``."""
    if fast_and_approximate_mode is not None and variant is not GeluVariant.Accurate:
        raise TypeError(
            "ttnn.gelu(): incompatible function arguments: variant= and fast_and_approximate_mode= exclude each other"
        )
    if fast_and_approximate_mode or variant is GeluVariant.FastLut:
        raise unmodelled("ttnn.gelu: the lookup table")
    name = "gelu" if variant is GeluVariant.Accurate else "gelu_tanh"
    return _computed(Applied(name, UNARY[name]), input_tensor, memory_config, output_tensor, "ttnn.gelu")


@op("leaky_relu", input_tensor=Operand(FLOATS))
def leaky_relu(
    input_tensor: Tensor,
    negative_slope: float,
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """X, or negative_slope * x below 0."""
    ready = Applied("leaky_relu", UNARY["leaky_relu"], (float(negative_slope),))
    return _computed(ready, input_tensor, memory_config, output_tensor, "ttnn.leaky_relu")


@op("unary_chain", input_tensor=Operand(FLOATS))
def unary_chain(
    input_tensor: Tensor,
    ops_chain: Sequence[Any],
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """Several functions one after the other, rounded once."""
    name = "ttnn.unary_chain"
    check(len(ops_chain) > 0, f"{name}: needs a function at least")
    _check_output(input_tensor, output_tensor, name)
    values, padding = applied(ops_chain, input_tensor.array, input_tensor.padding, name)
    return result(values, input_tensor, padding=padding, memory=memory_config, output=output_tensor, op=name)


@op("clamp", input_tensor=Operand(FLOATS))
def clamp(
    input_tensor: Tensor,
    min: float | None = None,  # noqa: A002  # ttnn's own name
    max: float | None = None,  # noqa: A002  # likewise
    *,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """X, no less than ``min`` and no more than ``max``."""
    check(min is not None or max is not None, "ttnn.clamp: only one of 'min' or 'max' can be None")
    check(
        min is None or max is None or isinstance(min, int) == isinstance(max, int),
        f"ttnn.clamp: bounds {min!r} and {max!r} must both be floats or both integers",
    )

    def compute(x: Any) -> Any:
        x = x if min is None else np.maximum(x, x.dtype.type(min))
        return x if max is None else np.minimum(x, x.dtype.type(max))

    padding = after(compute, [input_tensor.padding], total=True)
    return result(
        np.array(compute(input_tensor.array)), input_tensor, padding=padding, memory=memory_config,
        output=output_tensor, op="ttnn.clamp",
    )  # fmt: skip

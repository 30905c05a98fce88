"""Elementwise ops: functions of one tensor, and of two that broadcast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttmlc_runtime.emulator import kernels
from ttmlc_runtime.emulator.dtypes import DataType, GeluVariant, Layout, MemoryConfig, UnaryOpType
from ttmlc_runtime.emulator.ops.table import op
from ttmlc_runtime.emulator.refusal import check
from ttmlc_runtime.emulator.tensor import Array, Tensor, on_device, result

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: kernels.bias_activation(x.reshape(-1, x.shape[-1]).copy(), None, "gelu").reshape(
        x.shape
    ),
    "gelu_tanh": lambda x: kernels.apply("gelu_tanh", x),
    "silu": lambda x: kernels.apply("silu", x),
    "tanh": np.tanh,
    "sigmoid": kernels.sigmoid,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "square": np.square,
    "neg": np.negative,
    "abs": np.abs,
    "erf": kernels.erf,
}


def _unary(name: str) -> Callable[..., Tensor]:
    @op(name)
    def function(
        input_tensor: Tensor,
        *,
        memory_config: MemoryConfig | None = None,
        output_tensor: Tensor | None = None,
        fast_and_approximate_mode: bool = False,
    ) -> Tensor:
        x = on_device(input_tensor, "input_tensor", f"ttnn.{name}")
        check(x.dtype.is_float, f"ttnn.{name}: input cannot be {x.dtype.name}")
        with np.errstate(all="ignore"):
            return result(FUNCTIONS[name](x.array), x, memory=memory_config)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}(x), element by element."
    return function


relu, silu, tanh, sigmoid = _unary("relu"), _unary("silu"), _unary("tanh"), _unary("sigmoid")
exp, log, sqrt, rsqrt, reciprocal = (
    _unary("exp"),
    _unary("log"),
    _unary("sqrt"),
    _unary("rsqrt"),
    _unary("reciprocal"),
)
square, neg, abs_, erf = _unary("square"), _unary("neg"), _unary("abs"), _unary("erf")


@op("gelu")
def gelu(
    input_tensor: Tensor,
    *,
    variant: GeluVariant = GeluVariant.Accurate,
    fast_and_approximate_mode: bool = False,
    memory_config: MemoryConfig | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """GELU: the erf form, or the tanh form with ``variant=GeluVariant.Tanh``."""
    x = on_device(input_tensor, "input_tensor", "ttnn.gelu")
    check(x.dtype.is_float, f"ttnn.gelu: input cannot be {x.dtype.name}")
    check(
        variant is not GeluVariant.FastLut and not fast_and_approximate_mode,
        "ttnn.gelu: the lookup table is not modelled",
    )
    return result(
        FUNCTIONS["gelu" if variant is GeluVariant.Accurate else "gelu_tanh"](x.array),
        x,
        memory=memory_config,
    )


def _fused(array: Array, activations: Sequence[UnaryOpType], op_name: str) -> Array:
    for activation in activations:
        if not isinstance(activation, UnaryOpType):
            raise TypeError(f"{op_name}(): activations are UnaryOpType, not {type(activation).__name__}")
        array = FUNCTIONS[activation.value](array)
    return array


def _binary(name: str, function: Callable[[Any, Any], Any], public: str) -> Callable[..., Tensor]:
    @op(name)
    def call(
        input_tensor_a: Tensor,
        input_tensor_b: Tensor | float,
        *,
        fast_and_approximate_mode: bool = True,
        dtype: DataType | None = None,
        memory_config: MemoryConfig | None = None,
        output_tensor: Tensor | None = None,
        activations: Sequence[UnaryOpType] = (),
        input_tensor_a_activations: Sequence[UnaryOpType] = (),
        input_tensor_b_activations: Sequence[UnaryOpType] = (),
    ) -> Tensor:
        a = on_device(input_tensor_a, "input_tensor_a", f"ttnn.{name}")
        left = _fused(a.array, input_tensor_a_activations, f"ttnn.{name}")
        layout = a.layout
        right: Any
        if isinstance(input_tensor_b, Tensor):
            b = on_device(input_tensor_b, "input_tensor_b", f"ttnn.{name}")
            check(
                a.dtype.is_float == b.dtype.is_float,
                f"ttnn.{name}: {a.dtype.name} and {b.dtype.name} do not go together",
            )
            right = _fused(b.array, input_tensor_b_activations, f"ttnn.{name}")
            _broadcasts(left.shape, right.shape, name)
            layout = Layout.TILE if Layout.TILE in (a.layout, b.layout) else layout
        else:
            right = left.dtype.type(input_tensor_b)
        with np.errstate(all="ignore"):
            y = _fused(np.asarray(function(left, right), left.dtype), activations, f"ttnn.{name}")
        return result(y, a, dtype, layout=layout, memory=memory_config)

    call.__name__ = call.__qualname__ = public
    call.__doc__ = f"{name}(a, b), element by element; b may be a number."
    return call


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...], name: str) -> None:
    for left, right in zip(reversed(a), reversed(b), strict=False):
        check(
            left == right or 1 in (left, right),
            f"ttnn.{name}: Invalid subtile broadcast type: {list(a)} and {list(b)}",
        )


add = _binary("add", np.add, "add")
subtract = _binary("subtract", np.subtract, "subtract")
multiply = _binary("multiply", np.multiply, "multiply")
div = _binary("div", np.divide, "div")
eq, ne, lt, le, gt, ge = (
    _binary(name, function, name)
    for name, function in (
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("lt", np.less),
        ("le", np.less_equal),
        ("gt", np.greater),
        ("ge", np.greater_equal),
    )
)


@op("where")
def where(
    predicate: Tensor,
    true_value: Tensor | float,
    false_value: Tensor | float,
    *,
    memory_config: MemoryConfig | None = None,
) -> Tensor:
    """true_value where predicate is not zero, else false_value."""
    condition = on_device(predicate, "predicate", "ttnn.where")
    values = [
        v.array if isinstance(v, Tensor) else condition.array.dtype.type(v) for v in (true_value, false_value)
    ]
    like = next((v for v in (true_value, false_value) if isinstance(v, Tensor)), condition)
    check(
        like.dtype is condition.dtype or not like.dtype.is_float or like is condition,
        "ttnn.where: predicate and values must have one dtype",
    )
    return result(np.where(condition.array != 0, *values), like, memory=memory_config)

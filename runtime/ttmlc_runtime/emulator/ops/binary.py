"""Elementwise ops of two tensors, which broadcast: add and its family, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.dtypes import CAST, COUNTED, FLOATS, DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.functions import applied
from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.ops.result import result
from ttmlc_runtime.emulator.ops.table import Operand, op
from ttmlc_runtime.emulator.padding import FINITE, WILD, Padding, after, is_finite
from ttmlc_runtime.emulator.refusal import check, fatal
from ttmlc_runtime.emulator.tensor import Tensor

Binary = Callable[..., Tensor]


@dataclass(frozen=True)
class Rule:
    """A function of two tensors."""

    compute: Callable[[Any, Any], Any]
    dtypes: frozenset[DataType] = COUNTED
    total: bool = True
    """Whether it makes numbers of all numbers; a quotient does not."""
    mixed: bool = True
    """Whether two float dtypes go together."""
    quotient: bool = False
    """Whether two integers make a float32."""
    number_first: bool = False
    """Whether the first of the two may be the number."""
    promotes: bool = False
    """Whether integers and a float make a float32."""
    one_tensor: bool = False
    """Whether with a number ttnn calls an op of one tensor, which has fewer keywords."""


def _test(compute: Callable[[Any, Any], Any]) -> Rule:
    return Rule(lambda a, b: compute(a, b).astype(np.result_type(a, b)))


def _truth(compute: Callable[[Any, Any], Any]) -> Rule:
    return _test(lambda a, b: compute(a != 0, b != 0))


RULES: dict[str, Rule] = {
    "add": Rule(np.add, number_first=True),
    "subtract": Rule(np.subtract, number_first=True),
    "multiply": Rule(np.multiply, number_first=True, promotes=True),
    "divide": Rule(np.divide, COUNTED - {DataType.UINT32}, total=False, quotient=True, number_first=True),
    "rsub": Rule(lambda a, b: b - a),
    "maximum": Rule(np.maximum, mixed=False, one_tensor=True),
    "minimum": Rule(np.minimum, mixed=False, one_tensor=True),
    "squared_difference": Rule(lambda a, b: np.square(a - b)),
    "pow": Rule(np.power, FLOATS, total=False, mixed=False, number_first=True, one_tensor=True),
    "eq": _test(np.equal),
    "ne": _test(np.not_equal),
    "lt": _test(np.less),
    "le": _test(np.less_equal),
    "gt": _test(np.greater),
    "ge": _test(np.greater_equal),
    "logical_and": _truth(np.logical_and),
    "logical_or": _truth(np.logical_or),
    "logical_xor": _truth(np.logical_xor),
}


def broadcast(op_name: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that ``shapes`` broadcast to, as in numpy."""
    try:
        return np.broadcast_shapes(*(tuple(shape) for shape in shapes))
    except ValueError:
        shown = ", ".join(str(list(shape)) for shape in shapes)
        raise fatal(f"{op_name}: Invalid subtile broadcast type: {shown} do not broadcast") from None


def joint_padding(
    compute: Callable[..., Any], operands: Sequence[tuple[Sequence[int] | None, Padding]], *, total: bool
) -> Padding:
    """The padding of a result; where operands broadcast, padding meets elements, and only finiteness is known."""
    shapes = {tuple(shape) for shape, _ in operands if shape is not None}
    paddings = [padding for _, padding in operands]
    if len(shapes) == 1:
        return after(compute, paddings, total=total)
    return FINITE if total and all(map(is_finite, paddings)) else WILD


def _same_kind(a: Tensor, b: Tensor, mixed: bool, op_name: str) -> None:
    if not ((mixed and a.dtype.is_float and b.dtype.is_float) or a.dtype is b.dtype):
        raise fatal(
            f"{op_name}: is_dtype_combination_supported: {a.dtype!r} and {b.dtype!r} do not go together",
            "Convert one: ttnn.typecast",
        )


def _scalar(value: Any, like: Tensor, op_name: str) -> Any:
    whole = float(value).is_integer()
    check(
        like.dtype.is_float or (whole and (value >= 0 or like.dtype.is_signed)),
        f"{op_name}: a scalar {value!r} does not fit {like.dtype!r}",
    )
    return like.array.dtype.type(value)


def _check_output(op_name: str, tensors: Sequence[Tensor], output: Tensor | None, *, alone: bool) -> None:
    """Refuse to write into a tensor where ttnn cannot: its kernel for rows makes new ones."""
    if output is None:
        return
    if alone:
        check(
            output.layout is tensors[0].layout,
            f"{op_name}: Output format (tile/row-major) must match input when preallocated",
        )
        cast = {output.dtype, tensors[0].dtype}
        check(
            len(cast) == 1 or cast <= CAST,
            f"{op_name}: an output tensor of {output.dtype!r} does not go with an input of {tensors[0].dtype!r}",
            "Mixed floating-point output is limited to BFLOAT16, FLOAT32, and BFLOAT8_B",
        )
        return
    check(
        any(tensor.layout is Layout.TILE for tensor in tensors),
        f"{op_name}: Optional output tensor with Row Major input is not supported right now",
        "Convert it: ttnn.to_layout(tensor, ttnn.TILE_LAYOUT)",
    )


def _computed(
    op_name: str,
    rule: Rule,
    a: Any,
    b: Any,
    dtype: DataType | None,
    memory: MemoryConfig | None,
    output: Tensor | None,
    chains: tuple[Sequence[Any], Sequence[Any], Sequence[Any]],
) -> Tensor:
    tensors = [value for value in (a, b) if isinstance(value, Tensor)]
    if not tensors or not (isinstance(a, Tensor) or rule.number_first):
        which = "one of the two" if rule.number_first else "the first"
        raise TypeError(f"{op_name}(): incompatible function arguments: {which} must be a ttnn.Tensor")
    like = tensors[0]
    alone = rule.one_tensor and len(tensors) == 1 and isinstance(a, Tensor)
    if alone and op_name == "ttnn.pow" and (dtype is not None or any(chains)):
        raise TypeError(
            f"{op_name}(): incompatible function arguments: dtype= and activations= need two tensors"
        )
    _check_output(op_name, tensors, output, alone=alone)
    if len(tensors) == 2:
        _same_kind(a, b, rule.mixed, op_name)
    promoted = rule.promotes and not like.dtype.is_float and any(isinstance(value, float) for value in (a, b))
    check(
        promoted or not rule.quotient or like.dtype is not DataType.UINT32,
        f"{op_name}: Input tensor A dtype {like.dtype!r} is not supported for binary operation DIV",
        "Convert it: ttnn.typecast",
    )
    values: list[Any] = []
    paddings: list[tuple[Sequence[int] | None, Padding]] = []
    for value, chain in zip((a, b), chains[:2], strict=True):
        if isinstance(value, Tensor):
            array, padding = applied(chain, value.array, value.padding, op_name)
            values.append(array)
            paddings.append((value.shape, padding))
        else:
            values.append(like.numerics.compute.type(value) if promoted else _scalar(value, like, op_name))
            paddings.append((None, float(value)))
    broadcast(op_name, *(np.shape(value) for value in values))
    label, compute = dtype, rule.compute
    if promoted or (rule.quotient and not like.dtype.is_float):
        label = dtype or DataType.FLOAT32
        values = [np.asarray(value, like.numerics.compute) for value in values]
    with np.errstate(all="ignore"):
        y: Array = np.asarray(compute(*values))
    padding = joint_padding(compute, paddings, total=rule.total)
    y, padding = applied(chains[2], y, padding, op_name)
    layout = Layout.TILE if any(tensor.layout is Layout.TILE for tensor in tensors) else Layout.ROW_MAJOR
    return result(
        y,
        like,
        label,
        layout=layout,
        padding=padding,
        memory=memory,
        output=output,
        broadcast=True,
        op=op_name,
    )


def _binary(name: str, of: str | None = None) -> Binary:
    rule, op_name = RULES[of or name], f"ttnn.{name}"
    operand = Operand(rule.dtypes)

    @op(name, ignored=("use_legacy",), input_tensor_a=operand, input_tensor_b=operand)
    def call(
        input_tensor_a: Tensor | float,
        input_tensor_b: Tensor | float,
        *,
        fast_and_approximate_mode: bool = True,  # the emulator divides exactly
        dtype: DataType | None = None,
        memory_config: MemoryConfig | None = None,
        output_tensor: Tensor | None = None,
        activations: Sequence[Any] = (),
        input_tensor_a_activations: Sequence[Any] = (),
        input_tensor_b_activations: Sequence[Any] = (),
    ) -> Tensor:
        chains = (input_tensor_a_activations, input_tensor_b_activations, activations)
        return _computed(
            op_name, rule, input_tensor_a, input_tensor_b, dtype, memory_config, output_tensor, chains
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"{name}(a, b), element by element; either may be a number. Rounded once, after ``activations``."
    )
    return call


def _in_place(name: str, of: str) -> Binary:
    rule, op_name = RULES[of], f"ttnn.{name}"
    operand = Operand(rule.dtypes)

    @op(name, input_tensor_a=operand, input_tensor_b=operand)
    def call(
        input_tensor_a: Tensor,
        input_tensor_b: Tensor | float,
        *,
        activations: Sequence[Any] = (),
        input_tensor_a_activations: Sequence[Any] = (),
        input_tensor_b_activations: Sequence[Any] = (),
    ) -> Tensor:
        chains = (input_tensor_a_activations, input_tensor_b_activations, activations)
        return _computed(op_name, rule, input_tensor_a, input_tensor_b, None, None, input_tensor_a, chains)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"a = {of}(a, b), for every alias of a to see."
    return call


add, subtract, multiply, divide = _binary("add"), _binary("subtract"), _binary("multiply"), _binary("divide")
sub, mul, div = _binary("sub", "subtract"), _binary("mul", "multiply"), _binary("div", "divide")
rsub, maximum, minimum = _binary("rsub"), _binary("maximum"), _binary("minimum")
squared_difference, pow_ = _binary("squared_difference"), _binary("pow")
eq, ne, lt, le, gt, ge = (_binary(name) for name in ("eq", "ne", "lt", "le", "gt", "ge"))
logical_and, logical_or, logical_xor = (_binary(f"logical_{name}") for name in ("and", "or", "xor"))
add_, subtract_, multiply_ = (
    _in_place("add_", "add"),
    _in_place("subtract_", "subtract"),
    _in_place("multiply_", "multiply"),
)

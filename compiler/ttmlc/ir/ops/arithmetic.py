"""Elementwise ops: arithmetic joined by axis name, functions of one tensor, activations, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import (
    align,
    batch_first,
    broadcast,
    check_rate,
    floating,
    per_element,
    rules,
    tensor,
)
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, TensorType, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

IDENTITY = "linear"
"""Hugging Face's name for no activation."""
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "sigmoid", IDENTITY)


class Elementwise(TensorOp):
    """Pointwise on every axis."""

    flops = 1

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, self.flops)


class Binary(Elementwise):
    """Two tensors joined by axis name; ``scalar`` stands for an absent ``b``."""

    operands = ("a", "b?")
    attributes = {"scalar": AttributeSpec()}
    function: Callable[[Any, Any], Any]

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        a = tensor(types[0], "a")
        if types[1] is None:
            if "scalar" not in attributes:
                raise Refusal(f"{self.name} needs a second tensor or a scalar", at="b")
            return (a,)
        b = tensor(types[1], "b")
        dtype = a.dtype
        if {a.dtype, b.dtype} == {DType.INT, DType.BOOL}:  # what is true counts one
            dtype = DType.INT
        elif a.dtype is not b.dtype:
            raise Refusal(
                f"{self.name} cannot join {a.dtype.value} and {b.dtype.value}",
                at="b",
                label=f"is {b}",
                related=(("a", f"is {a}"),),
            )
        dims = broadcast([("a", a), ("b", b)])
        return (TensorType(dtype, batch_first(dims) if dtype is DType.INT else dims),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        a, b = call.types[:2]
        (result,) = call.results
        assert isinstance(a, TensorType) and isinstance(result, TensorType)
        left = align(arrays[0], a.dims, result.dims)
        if isinstance(b, TensorType):
            return (type(self).function(left, align(arrays[1], b.dims, result.dims)),)
        return (type(self).function(left, call.value("scalar")),)


Gradient = Callable[[Adjoint], Sequence[Union[Value, None]]]


def _binary(name: str, function: Callable[[Any, Any], Any], gradient: Gradient, doc: str) -> None:
    members = {
        "name": name,
        "function": staticmethod(function),
        "gradient": lambda self, adjoint: gradient(adjoint),
        "__doc__": doc,
    }
    register(type(name.title(), (Binary,), members))


def _add(a: Adjoint) -> Sequence[Value | None]:
    return [a.fitted(a.grad, operand) for operand in a.operation.operands]


def _subtract(a: Adjoint) -> Sequence[Value | None]:
    x, *rest = a.operation.operands
    negative = [a.fitted(a.add("multiply", (a.grad,), {"scalar": Const(-1)}), b) for b in rest]
    return [a.fitted(a.grad, x), *negative]


def _multiply(a: Adjoint) -> Sequence[Value | None]:
    x, *rest = a.operation.operands
    if not rest:
        return [a.add("multiply", (a.grad,), {"scalar": a.operation.scalar("scalar")})]
    (y,) = rest
    return [a.fitted(a.add("multiply", (a.grad, y)), x), a.fitted(a.add("multiply", (a.grad, x)), y)]


def _divide(a: Adjoint) -> Sequence[Value | None]:
    x, *rest = a.operation.operands
    if not rest:
        return [a.add("divide", (a.grad,), {"scalar": a.operation.scalar("scalar")})]
    (y,) = rest
    scaled = a.add("divide", (a.grad, y))
    # d(x / y) / dy = -(x / y) / y
    second = a.add("multiply", (a.add("multiply", (scaled, a.operation.result)),), {"scalar": Const(-1)})
    return [a.fitted(scaled, x), a.fitted(second, y)]


_binary("add", lambda a, b: a + b, _add, "y = a + b, joined by axis name.")
_binary("subtract", lambda a, b: a - b, _subtract, "y = a - b, joined by axis name.")
_binary("multiply", lambda a, b: a * b, _multiply, "y = a * b, joined by axis name.")
_binary("divide", lambda a, b: a / b, _divide, "y = a / b, joined by axis name.")


class Unary(Elementwise):
    """A function of each element."""

    operands = ("x",)
    function: Callable[[Any], Any]

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (floating(types[0], "x"),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        return (type(self).function(arrays[0]),)


def _exp(x: Any) -> Any:
    import numpy as np

    return np.exp(x)


def _rsqrt(x: Any) -> Any:
    import numpy as np

    return 1 / np.sqrt(x)


def _unary(name: str, function: Callable[[Any], Any], gradient: Gradient, doc: str) -> None:
    members = {
        "name": name,
        "function": staticmethod(function),
        "gradient": lambda self, adjoint: gradient(adjoint),
        "__doc__": doc,
    }
    register(type(name.title(), (Unary,), members))


def _exp_gradient(a: Adjoint) -> Sequence[Value | None]:
    return [a.add("multiply", (a.grad, a.operation.result))]


def _rsqrt_gradient(a: Adjoint) -> Sequence[Value | None]:
    y = a.operation.result  # x ** -1/2, whose derivative is -1/2 x ** -3/2
    cube = a.add("multiply", (y, a.add("multiply", (y, y))))
    return [a.add("multiply", (a.add("multiply", (a.grad, cube)),), {"scalar": Const(-0.5)})]


_unary("exp", _exp, _exp_gradient, "y = exp(x).")
_unary("rsqrt", _rsqrt, _rsqrt_gradient, "y = 1 / sqrt(x).")


@register
class Activate(Elementwise):
    """y = f(x), where ``kind`` names f as Hugging Face does, or is the config field that does.

    gelu is the erf form; gelu_new and gelu_pytorch_tanh are the tanh form; linear is x itself.
    """

    name = "activate"
    operands = ("x",)
    attributes = {"kind": AttributeSpec(required=True)}
    flops = 8

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        kind = attributes["kind"]
        if isinstance(kind, Const) and kind.value not in ACTIVATIONS:
            raise Refusal(
                f"{kind.value!r} is no activation", at="kind", hint=f"Known: {', '.join(ACTIVATIONS)}."
            )
        return (floating(types[0], "x"),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        return (activation(str(call.value("kind")), arrays[0]),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        operands = (adjoint.grad, adjoint.operation.operands[0])
        return [adjoint.add("activate_gradient", operands, {"kind": adjoint.operation.scalar("kind")})]


def activation(kind: str, x: Any) -> Any:
    """Apply the activation that Hugging Face calls ``kind`` (definitions of torch.nn.functional)."""
    import numpy as np

    if kind == "gelu":
        return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))
    if kind in ("gelu_new", "gelu_pytorch_tanh"):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if kind == "relu":
        return np.maximum(x, 0)
    if kind in ("silu", "swish"):
        return x / (1 + np.exp(-x))
    if kind == "tanh":
        return np.tanh(x)
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if kind == IDENTITY:
        return x
    raise ValueError(f"no activation is called {kind!r}; known: {', '.join(ACTIVATIONS)}")


@register
class Where(Elementwise):
    """y = x where ``condition``, else the scalar ``otherwise``."""

    name = "where"
    operands = ("condition", "x")
    attributes = {"otherwise": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        condition, x = tensor(types[0], "condition"), tensor(types[1], "x")
        if condition.dtype is not DType.BOOL:
            raise Refusal("'condition' must be bool", at="condition", label=f"is {condition}")
        return (TensorType(x.dtype, broadcast([("x", x), ("condition", condition)])),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        condition, x = call.types[:2]
        (result,) = call.results
        assert (
            isinstance(condition, TensorType) and isinstance(x, TensorType) and isinstance(result, TensorType)
        )
        otherwise: Any = call.value("otherwise")
        chosen = np.where(
            align(arrays[0], condition.dims, result.dims),
            align(arrays[1], x.dims, result.dims),
            otherwise,
        )
        return (chosen.astype(arrays[1].dtype),)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        condition, x = adjoint.operation.operands
        seen = adjoint.add("where", (condition, adjoint.grad), {"otherwise": Const(0)})
        return [None, adjoint.fitted(seen, x)]


@register
class Dropout(Elementwise):
    """Zero elements with probability ``p`` and scale the rest by 1 / (1 - p); the identity in inference.

    What is zeroed is decided by the call's seed and ``site``, its number in the block: the backward drops the same.
    """

    name = "dropout"
    operands = ("x",)
    attributes = {"p": AttributeSpec(required=True), "site": AttributeSpec(False, Const(0))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        check_rate(attributes, "p")
        return (floating(types[0], "x"),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        return (arrays[0],)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        given = {name: adjoint.operation.scalar(name) for name, _ in adjoint.operation.attributes}
        return [adjoint.add("dropout", (adjoint.grad,), given)]

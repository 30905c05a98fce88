"""Ops that only a backward has: what rules of gradients are made of where no other op says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Operation, Value
from ttmlc.ir.op import Adjoint, Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, register
from ttmlc.ir.ops.common import align, elements, floating, per_element, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, DType, TensorType, Type, dim_text, factors

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call

ONCE = "a gradient's own gradient is not taken"


class GradientOp(TensorOp):
    """Shared by these."""

    no_gradient = ONCE
    flops = 2

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, self.flops)


@register
class Gradient(GradientOp):
    """Hand ``value`` over as the gradient of ``param``: a parameter, or several that are joined. Makes no value."""

    name = "gradient"
    operands = ("param", "value")

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        param, value = floating(types[0], "param"), floating(types[1], "value")
        if value != param:
            raise Refusal(f"a gradient of type {value} does not fit {param}", at="value")
        return ()

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        (param, _) = operation.operands
        assert param is not None and isinstance(param.type, TensorType)
        return dict.fromkeys(param.type.axes(), AxisRule.POINTWISE)

    def cost(self, operation: Operation) -> Cost:
        return Cost(Const(0), Const(0), Const(0))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        call.frame.collect(call.operation, arrays[1])
        return ()


@register
class LinearInputGradient(GradientOp):
    """dx = dy @ weight: the gradient of a linear's input; ``weight`` as the linear reads it."""

    name = "linear_input_gradient"
    operands = ("dy", "weight")
    attributes = {"stored_in_out": AttributeSpec(False, Const(False))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        dy, weight = floating(types[0], "dy"), floating(types[1], "weight")
        makes, takes = reversed(weight.dims) if attributes["stored_in_out"] == Const(True) else weight.dims
        if dy.dims[-1] != makes:
            raise Refusal(f"'dy' must end in {dim_text(makes)!r}", at="dy", label=f"is {dy}")
        return (TensorType(DType.FLOAT, (*dy.dims[:-1], takes)),)

    def cost(self, operation: Operation) -> Cost:
        dy, made = operation.operands[0], operation.result.type
        assert dy is not None and isinstance(dy.type, TensorType) and isinstance(made, TensorType)
        work = scalar.apply("*", elements(made.dims), dy.type.dims[-1].size)
        return traffic(operation, scalar.apply("*", Const(2), work))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        dy, weight = arrays
        return (dy @ (weight.T if call.value("stored_in_out") else weight),)


@register
class LinearWeightGradient(GradientOp):
    """dw = dy^T x, summed over everything before the features; in the order in which ``weight`` is stored."""

    name = "linear_weight_gradient"
    operands = ("dy", "x", "weight")
    attributes = {"stored_in_out": AttributeSpec(False, Const(False))}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        dy, x, weight = (floating(types[i], name) for i, name in enumerate(("dy", "x", "weight")))
        made = (dy.dims[-1], x.dims[-1])
        if attributes["stored_in_out"] == Const(True):
            made = made[::-1]
        if dy.dims[:-1] != x.dims[:-1] or weight.dims != made:
            raise Refusal(f"'dy' {dy} and 'x' {x} do not make the gradient of {weight}", at="dy")
        return (weight,)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        read = rules(operation)
        made = operation.result.type
        assert isinstance(made, TensorType)
        return {axis: rule if axis in made.axes() else AxisRule.REDUCES for axis, rule in read.items()}

    def cost(self, operation: Operation) -> Cost:
        x, made = operation.operands[1], operation.result.type
        assert x is not None and isinstance(x.type, TensorType) and isinstance(made, TensorType)
        work = scalar.apply("*", elements(made.dims), elements(x.type.dims[:-1]))
        return traffic(operation, scalar.apply("*", Const(2), work))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        dy, x, _ = arrays
        made = dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        return (made.T if call.value("stored_in_out") else made,)


@register
class EmbeddingGradient(GradientOp):
    """dtable = the rows of dy added up by id; the row ``skip`` gets none, as torch's padding_idx."""

    name = "embedding_gradient"
    operands = ("dy", "ids", "table")
    attributes = {"skip": AttributeSpec()}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        dy, ids, table = floating(types[0], "dy"), tensor(types[1], "ids"), floating(types[2], "table")
        if dy.dims != (*ids.dims, table.dims[1]):
            raise Refusal("'dy' must be a row for each id", at="dy", label=f"is {dy}")
        return (table,)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        dy, ids, table = arrays
        made = np.zeros_like(table)
        np.add.at(made, ids.reshape(-1), dy.reshape(-1, dy.shape[-1]))
        skip = call.value("skip")
        if skip is not None:
            made[int(skip)] = 0
        return (made,)


class Stated(GradientOp):
    """The result type says how."""

    operands: tuple[str, ...] = ("x",)
    states_types = True

    def dims(self, call: Call) -> tuple[TensorType, TensorType]:
        """The types of the operand and the result."""
        x, made = call.types[0], call.results[0]
        assert isinstance(x, TensorType) and isinstance(made, TensorType)
        return x, made


@register
class SumTo(Stated):
    """y = x summed over the dimensions that y lacks: the gradient of what was repeated along them."""

    name = "sum_to"

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x, made = floating(operands[0], "x"), floating(results[0], "y")
        if not set(made.dims) <= set(x.dims):
            raise Refusal(f"{x} does not sum to {made}", at="x")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x, made = self.dims(call)
        places = tuple(place for place, dim in enumerate(x.dims) if dim not in made.dims)
        kept = [dim for dim in x.dims if dim in made.dims]
        return (np.transpose(arrays[0].sum(axis=places), [kept.index(dim) for dim in made.dims]),)


@register
class RepeatTo(Stated):
    """y = x repeated along the dimensions that it lacks: the gradient of a sum over them."""

    name = "repeat_to"

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x, made = floating(operands[0], "x"), floating(results[0], "y")
        if not set(x.dims) <= set(made.dims):
            raise Refusal(f"{x} does not repeat to {made}", at="x")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x, made = self.dims(call)
        shape = [call.size(dim.size) for dim in made.dims]
        return (np.broadcast_to(align(arrays[0], x.dims, made.dims), shape),)


@register
class Spread(Stated):
    """y = x at index 0 of the axis ``over``, and 0 elsewhere: the gradient of ``first``."""

    name = "spread"
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x, made = floating(operands[0], "x"), floating(results[0], "y")
        rest = [dim for dim in made.dims if dim not in x.dims]
        if len(rest) != 1 or tuple(dim for dim in made.dims if dim in x.dims) != x.dims:
            raise Refusal(f"{x} is not the first of {made}", at="x")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        _, made = self.dims(call)
        place = next(i for i, dim in enumerate(made.dims) if dim_text(dim) == call.text("over"))
        result = np.zeros([call.size(dim.size) for dim in made.dims], arrays[0].dtype)
        result[(slice(None),) * place + (0,)] = arrays[0]
        return (result,)


@register
class Place(Stated):
    """y = x at ``index`` of the axis ``over``, and 0 elsewhere: the gradient of ``pick``."""

    name = "place"
    operands = ("x", "index")
    attributes = {"over": AttributeSpec(required=True, takes="string")}

    def check_types(self, operands: Sequence[Type | None], results: Sequence[Type]) -> None:
        x, index, made = floating(operands[0], "x"), tensor(operands[1], "index"), floating(results[0], "y")
        at = len(index.dims)
        if index.dims != made.dims[:at] or made.dims[:at] + made.dims[at + 1 :] != x.dims:
            raise Refusal(f"{x} is not picked from {made}", at="x")

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        _, made = self.dims(call)
        x, index = arrays
        place = index.ndim
        result = np.zeros([call.size(dim.size) for dim in made.dims], x.dtype)
        index = index.reshape(index.shape + (1,) * (result.ndim - place))
        np.put_along_axis(result, index, np.expand_dims(x, place), axis=place)
        return (result,)


@register
class ActivateGradient(GradientOp):
    """dx = dy * f'(x), where ``kind`` names f as in ``activate``."""

    name = "activate_gradient"
    operands = ("dy", "x")
    attributes = {"kind": AttributeSpec(required=True)}
    flops = 12

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (_alike(types[0], types[1]),)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        dy, x = arrays
        return (dy * slope(str(call.value("kind")), x),)


def slope(kind: str, x: Any) -> Any:
    """The derivative of the activation that Hugging Face calls ``kind``."""
    import math

    import numpy as np

    from ttmlc.ir.ops.arithmetic import IDENTITY, activation

    if kind == "gelu":
        cdf = 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))
        return cdf + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    if kind in ("gelu_new", "gelu_pytorch_tanh"):
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)
    if kind == "relu":
        return (x > 0).astype(x.dtype)
    if kind == IDENTITY:
        return np.ones_like(x)
    y = activation(kind, x)
    if kind == "tanh":
        return 1 - y**2
    s = activation("sigmoid", x)
    return s * (1 - s) if kind == "sigmoid" else s + y * (1 - s)


@register
class SoftmaxGradient(GradientOp):
    """dx = y * (dy - sum(dy * y)) over the last dimension, y being the softmax."""

    name = "softmax_gradient"
    operands = ("dy", "y")
    flops = 4

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        return (_alike(types[0], types[1]),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        assert isinstance(operation.result.type, TensorType)
        return rules(operation, mixes=factors(operation.result.type.dims[-1]))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        dy, y = arrays
        return (y * (dy - (dy * y).sum(-1, keepdims=True)),)


@register
class LayerNormStatistics(TensorOp):
    """y, mean, rstd = a layer norm, and for each row what its gradient needs: mean and 1 / sqrt(variance + eps)."""

    name = "layer_norm_statistics"
    operands = ("x", "weight", "bias?")
    attributes = {"eps": AttributeSpec(required=True)}

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x = floating(types[0], "x")
        for name, type_ in (("weight", types[1]), ("bias", types[2])):
            if type_ is not None and floating(type_, name).dims != x.dims[-1:]:
                raise Refusal(f"{name!r} must have the last dimension of 'x'", at=name, label=f"is {type_}")
        row = TensorType(DType.FLOAT, x.dims[:-1])
        return (x, row, row)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        made = operation.results[0].type
        assert isinstance(made, TensorType)
        return rules(operation, mixes=factors(made.dims[-1]))

    def cost(self, operation: Operation) -> Cost:
        return per_element(operation, 8)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        x, weight, bias = arrays
        mean = x.mean(-1)
        rstd = 1 / np.sqrt(x.var(-1) + call.value("eps"))
        y = (x - mean[..., None]) * rstd[..., None] * weight
        return (y if bias is None else y + bias, mean, rstd)

    def gradient(self, adjoint: Adjoint) -> Sequence[Value | None]:
        x, weight, *bias = adjoint.operation.operands
        assert x is not None and weight is not None
        _, mean, rstd = adjoint.operation.results
        dy = adjoint.grads[0]
        names = (f"d{x.name}", "dweight", "dbias")[: 2 + (len(bias) > 0)]
        biased = {"biased": Const(True)} if bias and bias[0] is not None else {}
        return adjoint.add_all("layer_norm_gradient", (dy, x, mean, rstd, weight), biased, names=names)


@register
class LayerNormGradient(GradientOp):
    """dx, dweight, and dbias where ``biased``: the gradients of a layer norm whose statistics were kept."""

    name = "layer_norm_gradient"
    operands = ("dy", "x", "mean", "rstd", "weight")
    attributes = {"biased": AttributeSpec(False, Const(False))}
    flops = 10

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        x, weight = _alike(types[0], types[1]), floating(types[4], "weight")
        return (x, weight, weight) if attributes["biased"] == Const(True) else (x, weight)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        made = operation.results[0].type
        assert isinstance(made, TensorType)
        return rules(operation, mixes=factors(made.dims[-1]))

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        dy, x, mean, rstd, weight = arrays
        normal = (x - mean[..., None]) * rstd[..., None]
        scaled = dy * weight
        across = (scaled * normal).mean(-1, keepdims=True)
        dx = (scaled - scaled.mean(-1, keepdims=True) - normal * across) * rstd[..., None]
        rows = tuple(range(dy.ndim - 1))
        dweight = (dy * normal).sum(rows)
        return (dx, dweight, dy.sum(rows)) if call.value("biased") else (dx, dweight)


def _alike(dy: Type | None, x: Type | None) -> TensorType:
    first, second = floating(dy, "dy"), floating(x, "x")
    if first != second:
        raise Refusal(f"the gradient {first} is not of the type of {second}", at="dy")
    return second

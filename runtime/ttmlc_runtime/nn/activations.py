"""Activations that stand alone: what could not be fused into the matmul before it."""

from __future__ import annotations

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.nn.fields import fused


def activate(x: types.Tensor, name: str) -> types.Tensor:
    """The activation that Hugging Face calls ``name``, element by element; ``x`` itself for "linear".

    Raises:
        ConfigError: there is no such activation.
    """
    kind = fused(name)
    if kind is None:
        return x
    if kind == "gelu":
        return ttnn.gelu(x)
    if kind == "gelu_tanh":
        return ttnn.gelu(x, variant=ttnn.GeluVariant.Tanh)
    result: types.Tensor = getattr(ttnn, kind)(x)
    return result


def activate_backward(dy: types.Tensor, x: types.Tensor, name: str) -> types.Tensor:
    """The gradient of ``activate(x, name)``: ``dy`` times the derivative at x, which is what went in.

    One program; three for silu, which ttnn's own takes six for.

    Raises:
        ConfigError: there is no such activation.
    """
    kind, types_of = fused(name), ttnn.UnaryOpType
    if kind is None:
        return dy
    if kind == "relu":
        return ttnn.multiply(dy, x, input_tensor_b_activations=[types_of.GTZ])
    if kind == "silu":
        # s + x s (1 - s) for s = sigmoid(x), as s (1 + x sigmoid(-x)): nothing cancels, and no s is kept.
        rest = ttnn.multiply(x, x, input_tensor_b_activations=[types_of.NEG, types_of.SIGMOID])
        plus_one = ttnn.UnaryWithParam(types_of.ADD_UNARY_SFPU, 1.0)
        slope = ttnn.multiply(
            rest, x, input_tensor_a_activations=[plus_one], input_tensor_b_activations=[types_of.SIGMOID]
        )
        return ttnn.multiply(dy, slope)
    if kind in ("gelu", "gelu_tanh"):
        variant = ttnn.GeluVariant.Accurate if kind == "gelu" else ttnn.GeluVariant.Tanh
        return ttnn.gelu_bw(dy, x, variant=variant)[0]
    made: list[types.Tensor] = getattr(ttnn, f"{kind}_bw")(dy, x)
    return made[0]

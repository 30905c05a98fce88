"""Activations that stand alone: what could not be fused into the matmul before it."""

from __future__ import annotations

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.nn.fields import fused


def activate(x: types.Tensor, name: str) -> types.Tensor:
    """The activation that Hugging Face calls ``name``, element by element.

    Raises:
        ConfigError: there is no such activation.
    """
    kind = fused(name)
    if kind == "gelu":
        return ttnn.gelu(x)
    if kind == "gelu_tanh":
        return ttnn.gelu(x, variant=ttnn.GeluVariant.Tanh)
    result: types.Tensor = getattr(ttnn, kind)(x)
    return result

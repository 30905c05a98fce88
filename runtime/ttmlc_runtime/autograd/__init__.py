"""Autograd: a tape of whole blocks, each with a backward of its own. See docs/autograd.md."""

from ttmlc_runtime.autograd.function import Context, Function
from ttmlc_runtime.autograd.mode import enable_grad, is_recording, no_grad, recording
from ttmlc_runtime.autograd.scalars import Combination, number
from ttmlc_runtime.autograd.tape import (
    Differentiable,
    Handle,
    Leaf,
    Saved,
    Variable,
    apply,
    backward,
)

__all__ = [
    "Combination", "Context", "Differentiable", "Function", "Handle", "Leaf", "Saved", "Variable",
    "apply", "backward", "enable_grad", "is_recording", "no_grad", "number", "recording",
]  # fmt: skip

"""A user's own function on the tape: a forward and a backward that call ttnn."""

from __future__ import annotations

from typing import Any, ClassVar

from ttmlc_runtime import emulator as types
from ttmlc_runtime.autograd.tape import Gradient, Handle, Leaf, Saved, Variable, apply


class Context(Saved):
    """What one call's forward hands to its backward: what it saves, and any attribute."""

    saved: tuple[Any, ...] = ()
    needs: tuple[bool, ...]
    """For each argument, whether a gradient of it will be used; for the others, give None."""
    scalar: bool
    """Whether the output is a single number with a float for a gradient; forward may say otherwise than the class."""

    def save(self, *values: Any) -> None:
        """Keep tensors for backward, as ``saved``."""
        self.saved = values


class Function:
    """The base of functions with a backward by hand, called as ``Scale.apply(x, 3.0)``::

    class Scale(nn.Function):
        @staticmethod
        def forward(ctx, x, by):            # device tensors
            ctx.by = by
            return ttnn.multiply(x, by)

        @staticmethod
        def backward(ctx, dy):              # a gradient for each output, and one returned for each argument
            return ttnn.multiply(dy, ctx.by), None
    """

    scalar: ClassVar[bool] = False
    """Whether the output is a loss: a single number, whose gradient is a float."""

    @staticmethod
    def forward(ctx: Context, *arguments: Any) -> Any:
        """A device tensor or a tuple of them, from device tensors and whatever else ``apply`` was given."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *gradients: Gradient) -> Any:
        """The gradient of each argument, None where it has none, from the gradient of each output."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """Call it: with handles (nn.Activation) it gives handles, with variables and tensors the like of those.

        A handle's logical shape goes to the outputs that have its device shape; others have their own.
        """
        outputs = apply(_Call(cls, arguments), arguments)
        handles = [argument for argument in arguments if isinstance(argument, Handle)]
        if not handles:
            return outputs
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        held = tuple(_held(output, handles) for output in several)
        return held if isinstance(outputs, tuple) else held[0]


class _Call:
    """One call of a Function, as the tape wants it."""

    storages = ()

    def __init__(self, function: type[Function], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self.name = function.__name__
        given = (argument.value if isinstance(argument, Handle) else argument for argument in arguments)
        self._needs = tuple(isinstance(a, (Variable, Leaf)) and a.requires_grad for a in given)

    def forward(self, *arguments: Any) -> tuple[Any, Context]:
        """The function's, with a new context."""
        ctx = Context(needs=self._needs, scalar=self._function.scalar)
        return self._function.forward(ctx, *arguments), ctx

    def backward(self, saved: Context, *gradients: Gradient) -> Any:
        """The function's."""
        return self._function.backward(saved, *gradients)


def _held(output: Variable | types.Tensor, handles: list[Handle]) -> Handle:
    shape = tuple(output.shape)
    alike = (handle.shape for handle in handles if tuple(handle.value.shape) == shape)
    return handles[0].around(output, next(alike, shape))

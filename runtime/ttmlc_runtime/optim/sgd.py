"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import ConfigError
from ttmlc_runtime.optim.optimizer import Group, Optimizer, State, fused, number
from ttmlc_runtime.optim.places import Handle

ttnn = choose()

BUFFER = "momentum_buffer"


class SGD(Optimizer):
    """p = p - lr g, where with momentum g is a sum of gradients in which older ones fade.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the step's length.
        momentum: what part of the sum stays at each step.
        dampening: what part of a gradient does not go into it.
        weight_decay: times the parameter, added to the gradient.
        nesterov: look ahead by ``momentum`` times the sum.

    Raises:
        ConfigError: see Optimizer; or nesterov without momentum, or with dampening.
    """

    tensors = (BUFFER,)

    def __init__(
        self,
        params: Iterable[Handle] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        *,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def check(self, options: Group) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            number(options, name, 0.0)
        number(options, "dampening", float("-inf"))
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ConfigError("nesterov needs a momentum and no dampening")

    def update(
        self, values: types.Tensor, gradient: types.Tensor, state: State, options: Group
    ) -> types.Tensor:
        momentum, kept = options["momentum"], state.tensors
        if options["weight_decay"]:
            scaled = [fused("MUL_UNARY_SFPU", options["weight_decay"])]
            gradient = ttnn.add(values, gradient, input_tensor_a_activations=scaled)
        direction = gradient
        if momentum:
            fading = [fused("MUL_UNARY_SFPU", momentum)]
            if BUFFER in kept:
                ttnn.add(
                    kept[BUFFER],
                    gradient,
                    input_tensor_a_activations=fading,
                    input_tensor_b_activations=[fused("MUL_UNARY_SFPU", 1 - options["dampening"])],
                    output_tensor=kept[BUFFER],
                )
            else:
                kept[BUFFER] = ttnn.typecast(gradient, self.label(values))  # a copy, without dampening
            direction = kept[BUFFER]
            if options["nesterov"]:
                direction = ttnn.add(kept[BUFFER], gradient, input_tensor_a_activations=fading)
        if direction.dtype != values.dtype:
            direction = ttnn.typecast(direction, values.dtype)
        return ttnn.mac(direction, -options["lr"], values)

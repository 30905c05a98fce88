"""Adam, with weight decay apart from the gradient (AdamW) or in it (Adam).

Where the device rounds, five or six programs a storage, of which only numbers that are free to change do::

    m = lerp(m, g, 1 - beta1)                       v = beta2 v + (1 - beta2) g^2
    d = sqrt(v) + eps sqrt(1 - beta2^t)             p = (1 - lr decay) p
    p = p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / d

which is PyTorch's formula with both sides of its fraction times sqrt(1 - beta2^t); one more where tiles are not filled.
Elsewhere it is ttnn's own op.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import ConfigError
from ttmlc_runtime.optim.optimizer import Group, Optimizer, State, fused, number
from ttmlc_runtime.optim.places import Handle, padded_with_zeros, rounds

ttnn = choose()

FIRST, SECOND, LARGEST = "exp_avg", "exp_avg_sq", "max_exp_avg_sq"


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), weight decay added to the gradient.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the step's length.
        betas: how much of the averages of the gradient and of its square stays at each step.
        eps: added to the root of the latter.
        weight_decay: times the parameter, added to the gradient.
        amsgrad: divide by the largest average of squares so far.

    Raises:
        ConfigError: see Optimizer.
    """

    tensors = (FIRST, SECOND, LARGEST)
    decoupled = False

    def __init__(
        self,
        params: Iterable[Handle] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad},
        )

    def check(self, options: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            number(options, name, 0.0)
        if len(options["betas"]) != 2:
            raise ConfigError(f"betas are {options['betas']!r} and must be two numbers")
        for place, beta in enumerate(options["betas"]):
            number({"beta": beta}, "beta", 0.0, 1.0, f"betas[{place}]")

    def update(
        self, values: types.Tensor, gradient: types.Tensor, state: State, options: Group
    ) -> types.Tensor:
        kept = state.tensors
        wanted = self.tensors if options["amsgrad"] else (FIRST, SECOND)
        for name in wanted:
            if name not in kept:
                kept[name] = ttnn.zeros_like(values, dtype=self.label(values))
        if values.dtype == ttnn.float32 or rounds(values) or options["amsgrad"]:
            return self._composed(values, gradient, state, options)
        if gradient.dtype != values.dtype:  # a label: the device is exact
            gradient = ttnn.typecast(gradient, values.dtype)
        step = ttnn.moreh_adamw if self.decoupled else ttnn.moreh_adam
        step(
            values, gradient, kept[FIRST], kept[SECOND], lr=options["lr"], beta1=options["betas"][0],
            beta2=options["betas"][1], eps=options["eps"], weight_decay=options["weight_decay"], step=state.step,
            param_out=values, exp_avg_out=kept[FIRST], exp_avg_sq_out=kept[SECOND],
        )  # fmt: skip
        return values

    def _composed(
        self, values: types.Tensor, gradient: types.Tensor, state: State, options: Group
    ) -> types.Tensor:
        kept, square = state.tensors, ttnn.UnaryOpType.SQUARE
        lr, decay, (beta1, beta2) = options["lr"], options["weight_decay"], options["betas"]
        first, root = 1 - beta1**state.step, math.sqrt(1 - beta2**state.step)
        if decay and not self.decoupled:
            gradient = ttnn.add(values, gradient, input_tensor_a_activations=[fused("MUL_UNARY_SFPU", decay)])
        gradient = padded_with_zeros(gradient)  # or a root of it, or a quotient, need not be a number
        ttnn.lerp(kept[FIRST], gradient, 1 - beta1, output_tensor=kept[FIRST])
        ttnn.add(
            kept[SECOND],
            gradient,
            input_tensor_a_activations=[fused("MUL_UNARY_SFPU", beta2)],
            input_tensor_b_activations=[square, fused("MUL_UNARY_SFPU", 1 - beta2)],
            output_tensor=kept[SECOND],
        )
        squares = kept[SECOND]
        if options["amsgrad"]:
            squares = ttnn.maximum(kept[LARGEST], squares, output_tensor=kept[LARGEST])
        below = ttnn.add(squares, options["eps"] * root, input_tensor_a_activations=[ttnn.UnaryOpType.SQRT])
        if decay and self.decoupled:
            ttnn.multiply(values, 1 - lr * decay, output_tensor=values)
        return ttnn.addcdiv(values, kept[FIRST], below, value=-lr * root / first, output_tensor=values)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Parameters of one dim or none (biases, norms) do not decay: they are in a group of their own with
    ``weight_decay`` 0, unless a group has a ``weight_decay`` of its own, or ``decay_all`` is set.

    Args:
        params: as of Adam.
        lr: the step's length.
        betas: as of Adam.
        eps: as of Adam.
        weight_decay: at each step, what part of a parameter goes for each unit of ``lr``.
        amsgrad: as of Adam.
        decay_all: whether parameters of one dim decay as well, as in PyTorch.

    Raises:
        ConfigError: see Optimizer.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Handle] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        amsgrad: bool = False,
        decay_all: bool = False,
    ) -> None:
        self.decay_all = decay_all
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad=amsgrad)

    def _split(self, group: Group, given: Group) -> list[Group]:
        return [group] if self.decay_all else without_decay(group, given)


def without_decay(group: Group, given: Group) -> list[Group]:
    """``group``, and apart from it its parameters of one dim or none, which do not decay where it is not ``given``."""
    if "weight_decay" in given or not group["weight_decay"]:
        return [group]
    matrices = [one for one in group["params"] if len(one.shape) > 1]
    vectors = [one for one in group["params"] if len(one.shape) <= 1]
    parts = [{**group, "params": matrices}, {**group, "params": vectors, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]] or [group]

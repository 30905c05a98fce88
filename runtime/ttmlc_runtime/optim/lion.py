"""Lion: steps of one length, in the direction of a sign."""

from __future__ import annotations

from collections.abc import Iterable

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import ConfigError
from ttmlc_runtime.optim.adam import FIRST, without_decay
from ttmlc_runtime.optim.optimizer import Group, Optimizer, State, fused, number
from ttmlc_runtime.optim.places import Handle

ttnn = choose()


class Lion(Optimizer):
    """Evolved sign momentum (Chen et al., 2023): half the memory of Adam.

    At each step p = (1 - lr decay) p - lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g. Parameters
    of one dim or none do not decay, as in AdamW.

    Args:
        params: parameters, or dicts with "params" and options of their own.
        lr: the step's length; a third to a tenth of AdamW's.
        betas: see above.
        weight_decay: at each step, what part of a parameter goes for each unit of ``lr``.
        decay_all: whether parameters of one dim decay as well.

    Raises:
        ConfigError: see Optimizer.
    """

    tensors = (FIRST,)

    def __init__(
        self,
        params: Iterable[Handle] | Iterable[Group],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        decay_all: bool = False,
    ) -> None:
        self.decay_all = decay_all
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay})

    def _split(self, group: Group, given: Group) -> list[Group]:
        return [group] if self.decay_all else without_decay(group, given)

    def check(self, options: Group) -> None:
        for name in ("lr", "weight_decay"):
            number(options, name, 0.0)
        if len(options["betas"]) != 2:
            raise ConfigError(f"betas are {options['betas']!r} and must be two numbers")
        for place, beta in enumerate(options["betas"]):
            number({"beta": beta}, "beta", 0.0, 1.0, f"betas[{place}]")

    def update(
        self, values: types.Tensor, gradient: types.Tensor, state: State, options: Group
    ) -> types.Tensor:
        kept, lr, (beta1, beta2) = state.tensors, options["lr"], options["betas"]
        if FIRST not in kept:
            kept[FIRST] = ttnn.zeros_like(values, dtype=self.label(values))
        direction = ttnn.add(
            kept[FIRST],
            gradient,
            input_tensor_a_activations=[fused("MUL_UNARY_SFPU", beta1)],
            input_tensor_b_activations=[fused("MUL_UNARY_SFPU", 1 - beta1)],
            activations=[ttnn.UnaryOpType.SIGN],
        )
        ttnn.lerp(kept[FIRST], gradient, 1 - beta2, output_tensor=kept[FIRST])
        if options["weight_decay"]:
            ttnn.multiply(values, 1 - lr * options["weight_decay"], output_tensor=values)
        return ttnn.mac(direction, -lr, values)

"""Losses weighed and added by the host: ``(loss_a + 0.1 * loss_b) / 4`` runs no program and compiles none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime.autograd.tape import Edge, Node, Outlet, Saved, Variable, raw
from ttmlc_runtime.backend import choose
from ttmlc_runtime.weights.storage import to_host

ttnn = choose()

Term = tuple[float, "Variable | types.Tensor"]


class Combination(Variable):
    """A weighted sum of scalars and a number; a device tensor is made only where one is asked for."""

    def __init__(self, terms: Sequence[Term], constant: float = 0.0) -> None:
        self.terms: list[Term] = []
        self.constant = constant
        for weight, value in terms:
            if isinstance(value, Combination):  # flat, however long a sum is made term by term
                self.terms.extend((weight * inner, term) for inner, term in value.terms)
                self.constant += weight * value.constant
            else:
                self.terms.append((weight, value))
        edges = [value.edge if isinstance(value, Variable) else None for _, value in self.terms]
        edge = None
        if any(edges):
            outlet = Outlet.of(raw(self.terms[0][1]), True)
            edge = Edge(Node(_Weighing([weight for weight, _ in self.terms]), Saved(), edges, (outlet,)), 0)
        self._made: types.Tensor | None = None
        self.edge = edge

    @property
    def tensor(self) -> types.Tensor:
        """The sum on the device, made when first asked for."""
        if self._made is None:
            weight, value = self.terms[0]
            total = ttnn.multiply(raw(value), weight)
            for weight, value in self.terms[1:]:
                total = ttnn.add(total, ttnn.multiply(raw(value), weight))
            self._made = ttnn.add(total, self.constant) if self.constant else total
        return self._made


class _Weighing:
    """The function of a weighted sum, whose gradients are its weights."""

    name, storages = "a weighted sum of losses", ()

    def __init__(self, weights: list[float]) -> None:
        self._weights = weights

    def forward(self, *arguments: Any) -> tuple[Any, Saved]:
        """Not used: no program runs."""
        raise NotImplementedError

    def backward(self, saved: Saved, *gradients: Any) -> tuple[float, ...]:
        """The weights, times the sum's own gradient."""
        return tuple(weight * gradients[0] for weight in self._weights)


def number(value: Variable | types.Tensor) -> float:
    """A scalar's value on the host."""
    if isinstance(value, Combination):
        return value.constant + sum(weight * number(term) for weight, term in value.terms)
    return float(to_host(raw(value)).reshape(-1)[0])

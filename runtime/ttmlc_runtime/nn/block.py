"""Blocks: parts of a model with an inference program and, where it is emitted, a forward and a backward."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ttmlc_runtime.autograd import Handle, Saved, apply, is_recording, recording
from ttmlc_runtime.autograd.tape import raw
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.nn.observing import observer
from ttmlc_runtime.nn.scope import Holder, Registry, Scope
from ttmlc_runtime.weights.storage import Storage

Gradients = tuple[Any, ...]
"""What a backward returns: a gradient for each argument of the block, None where there is none."""


@dataclass(frozen=True)
class Call:
    """A call of a model that is under way: which of the recorded ones it is, and how often each block drew a seed."""

    registry: Registry
    step: int
    drawn: Counter[str] = field(default_factory=Counter)


_call: ContextVar[Call | None] = ContextVar("call", default=None)


class Block:
    """A part of a model, made under a scope.

    Called, it runs ``infer``, or where calls are recorded ``forward``, which goes on the tape with ``backward``.
    """

    config: Any
    kernels: Kernels

    def __init__(self, at: Scope, c: Any) -> None:
        self.config, self.kernels, self._at = c, at.kernels, at

    def __call__(self, *arguments: Any) -> Any:
        """Variables, tensors, masks, ids and None, by position: the program that the mode asks for."""
        seen = observer()
        return self.run(*arguments) if seen is None else seen(self, arguments)

    def run(self, *arguments: Any) -> Any:
        """As a call, past whoever observes it."""
        if is_recording(self._at.registry.training):
            return apply(self, arguments)
        return self.infer(*(raw(a.value if isinstance(a, Handle) else a) for a in arguments))

    def infer(self, *arguments: Any) -> Any:
        """The inference program; where none is emitted, the forward without what it saves."""
        return self.forward(*arguments)[0]

    def forward(self, *arguments: Any) -> tuple[Any, Saved]:
        """The training program: what ``infer`` gives, a tensor or a tuple of tensors, and what backward needs."""
        raise NotImplementedError(f"{self.name} has no training program: compile its spec with training")

    def backward(self, saved: Any, *gradients: Any) -> Any:
        """Accumulate the gradients of the storages; give one for each argument, None where there is none."""
        raise NotImplementedError(f"{self.name} has no backward")

    def seed(self) -> int | None:
        """What dropout begins with in this call; None where nothing is dropped.

        It depends on the run's seed, on which recorded call of the model it is, on the block's path, and, where the
        block is called several times in it, on which of those. Forward asks once, and saves it for backward.
        """
        registry, call = self._at.registry, _call.get()
        if not registry.training:
            return None
        step, turn = registry.step, 0
        if call is not None and call.registry is registry:
            step, turn = call.step, call.drawn[self._at.path]
            call.drawn[self._at.path] += 1
        digest = hashlib.blake2b(f"{registry.seed} {step} {self._at.path} {turn}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "little")

    @property
    def path(self) -> str:
        """The path in the checkpoint under which it made its parameters."""
        return self._at.path

    @property
    def name(self) -> str:
        """What error messages call it."""
        return f"{type(self).__name__} at {self._at.path!r}"

    @functools.cached_property
    def storages(self) -> tuple[Storage, ...]:
        """Those of its holders, and of the blocks in it."""
        return tuple(dict.fromkeys(_storages(vars(self).values())))


def blocks_of(whole: Any) -> Iterator[tuple[str, Block]]:
    """The blocks that a model or a block calls, under their attributes' names: ``attention``, ``layer.0``."""
    for name, value in vars(whole).items():
        if isinstance(value, Block):
            yield name, value
        elif isinstance(value, (list, tuple)):
            yield from ((f"{name}.{at}", one) for at, one in enumerate(value) if isinstance(one, Block))


def _storages(values: Iterable[Any]) -> Iterator[Storage]:
    for value in values:
        if isinstance(value, Holder):
            yield from value.storages.values()
        elif isinstance(value, Block):
            yield from value.storages
        elif isinstance(value, (list, tuple)):
            yield from _storages(value)


@contextmanager
def _under_way(registry: Registry) -> Iterator[None]:
    call = _call.get()
    if call is not None and call.registry is registry:  # a call in a call of the same model
        yield
        return
    records = is_recording(registry.training)
    if records:
        registry.check_training()
    token = _call.set(Call(registry, registry.next_step() if records else registry.step))
    try:
        with recording(records):
            yield
    finally:
        _call.reset(token)


def model_call(call: Callable[..., Any]) -> Callable[..., Any]:
    """A model's ``__call__`` that sets the mode for its blocks and counts the recorded calls."""

    @functools.wraps(call)
    def counted(model: Any, *arguments: Any, **keywords: Any) -> Any:
        with _under_way(model._registry):
            return call(model, *arguments, **keywords)

    return counted

"""The tape: one node for every recorded call of a block or a Function, and the walk back over them.

    y = apply(block, (x, mask))         block.forward(x, mask) -> y, saved       a node: block, saved, where x came from
    backward(loss)                      block.backward(saved, dy) -> dx, None    newest node first

A variable knows its node and a node the nodes before it; no node knows a variable, so what is not ``saved`` dies
when the caller lets go of it, and what is saved dies as soon as its backward has run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ttmlc_runtime import emulator as types
from ttmlc_runtime.autograd.mode import is_recording, no_grad
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights.gradients import Removable, added, one_pass
from ttmlc_runtime.weights.storage import Storage, to_host

ttnn = choose()

Gradient = Any
"""A device tensor, of the shape of what it is the gradient of; of a scalar, a float: scaling a loss runs no program."""
Hook = Callable[[Gradient], Gradient | None]
UNRECORDED = (
    "nothing was recorded to go back over: the model was in eval mode (as every new or loaded one is), or inside "
    "no_grad(), or everything is frozen. Call model.train() before the forward, or with nn.enable_grad(): around it, "
    "and leave some parameter with requires_grad"
)


class Saved:
    """What a forward keeps for its backward, by name: ``Saved(x=x, seed=seed).x``."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"nothing was saved as {name!r}; saved are: {', '.join(self.__dict__) or 'none'}"
        )


class Differentiable(Protocol):
    """What goes on the tape: a block, or one call of a Function."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def storages(self) -> Sequence[Storage]:
        """Those it reads by itself, and accumulates gradients of."""

    def forward(self, *arguments: Any) -> tuple[Any, Saved]:
        """A tensor or a tuple of tensors, and what backward needs."""

    def backward(self, saved: Any, *gradients: Gradient) -> Any:
        """A gradient, or None, for each argument, from one for each output."""


class Edge(NamedTuple):
    """An output of a node: where an argument came from, and where its gradient goes."""

    node: Node
    place: int


@dataclass(frozen=True)
class Leaf:
    """A storage as an argument; its gradient is accumulated there."""

    storage: Storage

    @property
    def requires_grad(self) -> bool:
        """Whether the storage is trainable."""
        return self.storage.primary.trainable


class Outlet(NamedTuple):
    """What is to be known of an output when its gradient comes, or does not."""

    shape: tuple[int, ...]
    dtype: types.DataType
    layout: types.Layout
    device: types.Device | None
    scalar: bool

    @classmethod
    def of(cls, tensor: types.Tensor, scalar: bool) -> Outlet:
        """That of ``tensor``."""
        return cls(tuple(tensor.shape), tensor.dtype, tensor.layout, tensor.device(), scalar)

    def zeros(self) -> Gradient:
        """The gradient of an output that nothing read."""
        if self.scalar:
            return 0.0
        return ttnn.zeros(list(self.shape), dtype=self.dtype, layout=self.layout, device=self.device)

    def checked(self, gradient: Gradient, whose: str) -> Gradient:
        """``gradient``, where it can be one of this output.

        Raises:
            AutogradError: it is of another shape, or no tensor (of a scalar: no number).
        """
        if self.scalar and isinstance(gradient, ttnn.Tensor) and gradient.logical_volume() == 1:
            gradient = to_host(gradient).item()
        if isinstance(gradient, ttnn.Tensor) == self.scalar:
            wanted = "a number, as that of every scalar" if self.scalar else "a device tensor"
            raise AutogradError(f"{whose} must be {wanted}, not a {type(gradient).__name__}")
        if not self.scalar and tuple(gradient.shape) != self.shape:
            raise AutogradError(f"{whose} is {list(gradient.shape)}, and the value {list(self.shape)}")
        return float(gradient) if self.scalar else gradient


class Node:
    """A recorded call. Without a function it is where a variable begins."""

    _numbers = itertools.count()

    def __init__(
        self,
        function: Differentiable | None,
        saved: Any,
        sources: Sequence[Edge | Leaf | None],
        outlets: Sequence[Outlet],
        read: Iterable[Storage] = (),
    ) -> None:
        self.number = next(self._numbers)  # above those of all nodes that it reads
        self.name = "a variable" if function is None else function.name
        self.function, self.saved = function, saved
        self.sources, self.outlets = tuple(sources), tuple(outlets)
        self.hooks: dict[int, tuple[int, Hook]] = {}
        self.versions = [(storage, storage.version) for storage in read]
        kept = _tensors(vars(saved).values()) if isinstance(saved, Saved) else ()
        self.writes = [(tensor, _writes(tensor)) for tensor in kept]
        self.released = False

    def check(self) -> None:
        """Refuse what no longer is as it was when the call was recorded.

        That a saved tensor was written in place is seen on the emulator alone: ttnn counts no writes.
        """
        if self.released:
            raise AutogradError(
                f"backward() came a second time to {self.name}, which let go of what it saved after the first: "
                "run the forward again, or say retain_graph=True the first time"
            )
        for storage, version in self.versions:
            if storage.version != version:
                raise AutogradError(
                    f"{storage.name} changed between the forward and the backward of {self.name}: step() (or loading) "
                    "came before backward(). Call backward() first, or run the forward again"
                )
        for tensor, writes in self.writes:
            if not tensor.is_allocated():
                raise AutogradError(f"a tensor that {self.name} saved for its backward was deallocated")
            if _writes(tensor) != writes:
                raise AutogradError(
                    f"a tensor that {self.name} saved for its backward was written in place since: write to a copy"
                )

    def release(self) -> None:
        """Let go of all but the name."""
        if self.function is not None:
            self.function, self.saved, self.sources, self.released = None, None, (), True
            self.versions, self.writes, self.hooks = [], [], {}


class Variable:
    """A device tensor in a recorded program, and the node that made it."""

    def __init__(self, tensor: types.Tensor, edge: Edge | None = None) -> None:
        self._tensor = tensor
        self.edge = edge

    @classmethod
    def begin(cls, tensor: types.Tensor) -> Variable:
        """A variable that no function made: a hook on it sees the gradient of an input."""
        return cls(tensor, Edge(Node(None, None, (), (Outlet.of(tensor, False),)), 0))

    @property
    def tensor(self) -> types.Tensor:
        """The device tensor."""
        return self._tensor

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient comes back to it."""
        return self.edge is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The device tensor's."""
        return tuple(self.tensor.shape)

    def backward(self, gradient: Gradient = None, retain_graph: bool = False) -> None:
        """See ``backward``."""
        backward(self, gradient, retain_graph)

    def register_hook(self, hook: Hook) -> Removable:
        """Call ``hook`` with the whole gradient in each backward pass; what it returns, if not None, takes its place.

        Raises:
            AutogradError: no gradient comes back to this variable.
        """
        if self.edge is None:
            raise AutogradError(f"no gradient comes here: {UNRECORDED}")
        return Removable(self.edge.node.hooks, (self.edge.place, hook))

    def __repr__(self) -> str:
        made = "" if self.edge is None else f", made by {self.edge.node.name}"
        return f"Variable(shape={list(self.shape)}{made})"


class Handle:
    """What users hold of a value: an nn.Activation. Its ``value`` is what the tape sees."""

    value: Variable | types.Tensor
    shape: tuple[int, ...]

    def around(self, value: Variable | types.Tensor, shape: tuple[int, ...]) -> Handle:
        """Another of its kind."""
        raise NotImplementedError


def apply(function: Differentiable, arguments: Sequence[Any]) -> Any:
    """Run ``function.forward`` and put it on the tape, where something in it requires a gradient.

    Args:
        function: a block, or one call of a Function.
        arguments: variables, leaves and handles of either are recorded and handed on as device tensors; whatever
            else there is (tensors, masks, ids, None) is handed on as it is.

    Returns:
        What forward does: variables where it was recorded, device tensors elsewhere.
    """
    given = [argument.value if isinstance(argument, Handle) else argument for argument in arguments]
    with no_grad():  # what forward calls is for its own backward to undo
        outputs, saved = function.forward(*map(raw, given))
    sources = [_source(argument) for argument in given]
    trains = any(sources) or any(storage.primary.trainable for storage in function.storages)
    if not (trains and is_recording()):
        return outputs
    read = (*function.storages, *(leaf.storage for leaf in given if isinstance(leaf, Leaf)))
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    scalar = getattr(saved, "scalar", False)
    node = Node(function, saved, sources, [Outlet.of(tensor, scalar) for tensor in several], read)
    made = tuple(Variable(tensor, Edge(node, place)) for place, tensor in enumerate(several))
    return made if isinstance(outputs, tuple) else made[0]


def backward(variable: Any, gradient: Gradient = None, retain_graph: bool = False) -> None:
    """Go back from ``variable`` and accumulate the gradients of all storages that it came from.

    Everything is checked before anything is accumulated. What was saved is let go as it is used, unless
    ``retain_graph``.

    Args:
        variable: a Variable, or a handle of one.
        gradient: its own gradient; 1 where it is a single number.
        retain_graph: whether backward may come here again.

    Raises:
        AutogradError: nothing was recorded, something changed since, or a gradient is missing or does not fit.
    """
    variable = variable.value if isinstance(variable, Handle) else variable
    if not isinstance(variable, Variable) or variable.edge is None:
        raise AutogradError(UNRECORDED)
    nodes = _newest_first(variable.edge.node)
    for node in nodes:
        node.check()
    pending = {variable.edge: _first(variable.edge, gradient)}
    with no_grad(), one_pass():
        for node in nodes:
            if not retain_graph:
                node.writes = []  # so that a backward may let go of what it saved as it goes
            _go_through(node, pending)
            if not retain_graph:
                node.release()


def _first(edge: Edge, gradient: Gradient) -> Gradient:
    """The gradient that a backward pass begins with."""
    outlet = edge.node.outlets[edge.place]
    if gradient is not None:
        gradient = gradient.value if isinstance(gradient, Handle) else gradient
        return outlet.checked(raw(gradient), "the gradient given to backward()")
    if outlet.scalar:
        return 1.0
    if math.prod(outlet.shape) != 1:
        raise AutogradError(
            f"backward() of a value of {list(outlet.shape)} needs a gradient of that shape: it begins by itself only "
            "at a single number, such as a loss"
        )
    return ttnn.ones(list(outlet.shape), dtype=outlet.dtype, layout=outlet.layout, device=outlet.device)


def _newest_first(start: Node) -> list[Node]:
    """All nodes that ``start`` came from, and itself: each before those that it read."""
    found, waiting = {start}, [start]
    while waiting:
        for source in waiting.pop().sources:
            if isinstance(source, Edge) and source.node not in found:
                found.add(source.node)
                waiting.append(source.node)
    return sorted(found, key=lambda node: -node.number)


def _go_through(node: Node, pending: dict[Edge, Gradient]) -> None:
    """Turn the gradients of a node's outputs into those of what it read."""
    gradients = [pending.pop(Edge(node, place), None) for place in range(len(node.outlets))]
    for place, hook in [*node.hooks.values()]:
        if gradients[place] is not None and (other := hook(gradients[place])) is not None:
            gradients[place] = node.outlets[place].checked(other, f"what a hook on {node.name} returned")
    if node.function is None or all(gradient is None for gradient in gradients):
        return
    for place, outlet in enumerate(node.outlets):
        if gradients[place] is None:
            gradients[place] = outlet.zeros()
    given = node.function.backward(node.saved, *gradients)
    results = given if isinstance(given, tuple) else (given,)
    if len(results) != len(node.sources):
        raise AutogradError(
            f"the backward of {node.name} gave {len(results)} gradients for {len(node.sources)} arguments: give one "
            "for each, None where there is none"
        )
    for place, (source, gradient) in enumerate(zip(node.sources, results, strict=True)):
        if source is None or gradient is None:
            continue
        if isinstance(source, Leaf):
            # A storage keeps what it is given, and two storages must not share a buffer that steps write to.
            shared = any(gradient is other for other in (*results[:place], *gradients))
            source.storage.accumulate(ttnn.clone(gradient) if shared else gradient)
            continue
        outlet = source.node.outlets[source.place]
        gradient = outlet.checked(gradient, f"gradient {place} from the backward of {node.name}")
        if (before := pending.get(source)) is not None:
            gradient = before + gradient if outlet.scalar else added(before, gradient)
        pending[source] = gradient


def raw(value: Any) -> Any:
    """The device tensor of a variable or a leaf; anything else as it is."""
    if isinstance(value, Leaf):
        return value.storage.tensor
    return value.tensor if isinstance(value, Variable) else value


def _source(argument: Any) -> Edge | Leaf | None:
    """Where the gradient of an argument goes; None where none is needed."""
    if isinstance(argument, Leaf):
        return argument if argument.requires_grad else None
    return argument.edge if isinstance(argument, Variable) else None


def _tensors(values: Iterable[Any]) -> Iterator[types.Tensor]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _tensors(value)
        elif isinstance(value, Saved):  # of a block inside
            yield from _tensors(vars(value).values())
        elif isinstance(value, ttnn.Tensor):
            yield value


def _writes(tensor: types.Tensor) -> int:
    return getattr(tensor, "writes", 0)

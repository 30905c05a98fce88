"""One step of an entry of a model, in the phases that ``verify`` counts apart, with inputs made up for it."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from ttmlc_runtime.errors import InputError

Data = dict[str, Any]
Given = dict[str, np.ndarray[Any, Any]]
Phases = dict[str, Callable[[], None]]

ENTRIES = ("forward", "train", "generate", "prefill", "decode")
GENERATES = ENTRIES[2:]
"""Those of a model that generates."""
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "lion": "Lion"}
"""Those that a training step may end with, and their classes; "none" ends it behind the backward."""
STEPS = 2
"""How many tokens come after prompts, at most."""
MASKS = ("attention_mask", "mask")
"""What an optional input over keys is called."""
KIND = re.compile(r"(int|float|bool)\[([^\]]*)\]")
DTYPES = {"int": np.int64, "float": np.float32, "bool": np.bool_}


class Forward:
    """The inference program."""

    def __init__(self, model: Any, given: Given) -> None:
        self.model, self.given = model, given

    def phases(self) -> Phases:
        """What is done, in order."""
        return {"forward": self._forward}

    def _forward(self) -> None:
        self.model(**self.given)


class Generation:
    """The logits after prompts, those after one more token a row, or both.

    One more token alone comes after the prompts in the first step, and after the token before it in the others.
    """

    def __init__(self, model: Any, given: Given, entry: str) -> None:
        from ttmlc_runtime.generation import Prompt

        ids = given[model.next_token.ids]
        self.prompt, self.decoder = Prompt(ids, np.ones_like(ids), STEPS), model.decoding()
        self.entry = entry
        self._cache: Any = None

    def phases(self) -> Phases:
        """What is done, in order."""
        phases = {"prompt": self._prompt, "token": self._token}
        return {"generate": phases, "prefill": {"prompt": self._prompt}, "decode": {"token": self._after}}[
            self.entry
        ]

    def _prompt(self) -> None:
        self._cache = None
        _, self._cache = self.decoder.prefill(self.prompt)

    def _token(self) -> None:
        self.decoder.decode(self.prompt.ids[:, -1], self._cache)

    def _after(self) -> None:
        if self._cache is None:
            self._prompt()
        self._token()


class Training:
    """Forward, backward and an optimizer's step; afterwards nothing is left but weights and the optimizer's state.

    The backward begins at the loss, at the sum of several, or where a model has none with ones for its last output.
    """

    def __init__(self, model: Any, given: Given, optimizer: str) -> None:
        from ttmlc_runtime import optim

        self.model, self.given = model.train(), given
        self.optimizer: Any = None
        if optimizer != "none":
            self.optimizer = getattr(optim, OPTIMIZERS[optimizer])(model.parameters(), lr=1e-3)
        self._end: Any = None

    def phases(self) -> Phases:
        """What is done, in order."""
        if self.optimizer is None:
            return {"forward": self._forward, "backward": self._backward_alone}
        return {"forward": self._forward, "backward": self._backward, "optimizer": self._optimizer}

    def _forward(self) -> None:
        output = self.model(**self.given)
        found = output.to_tuple()
        losses = [value for value in found if not value.shape]
        self._end = functools.reduce(operator.add, losses) if losses else found[-1]

    def _backward(self) -> None:
        from ttmlc_runtime import ttnn

        end, self._end = self._end, None
        if not end.shape:
            end.backward()
            return
        ones = np.ones(tuple(end.tensor.shape), np.float32)
        end.backward(ttnn.Tensor(ones, end.tensor.dtype, self.model.device, ttnn.TILE_LAYOUT))

    def _backward_alone(self) -> None:
        self._backward()
        self._forget()

    def _optimizer(self) -> None:
        self.optimizer.step()
        self._forget()

    def _forget(self) -> None:
        self.model.zero_grad()


Step = Forward | Generation | Training


def check(kind: Any, request: Mapping[str, Any]) -> None:
    """Refuse a request for what there is not.

    Raises:
        InputError: the batch, the length, the entry or the optimizer cannot be had.
    """
    batch, seq, entry, optimizer = (request[name] for name in ("batch", "seq", "entry", "optimizer"))
    if batch < 1 or seq < 1:
        raise InputError(f"batch {batch} and seq {seq} must be at least 1")
    if entry not in ENTRIES:
        raise InputError(f"{kind.__name__} has no entry {entry!r}; it has {', '.join(ENTRIES)}")
    if entry in GENERATES and not hasattr(kind, "next_token"):
        raise InputError(f"{kind.__name__} does not generate: none of its outputs is about the next token")
    if optimizer not in (*OPTIMIZERS, "none"):
        raise InputError(f"there is no optimizer {optimizer!r}; there are {', '.join(OPTIMIZERS)} and none")


def step(model: Any, given: Given, request: Mapping[str, Any]) -> Step:
    """One step of the entry that is asked for."""
    if request["entry"] == "forward":
        return Forward(model, given)
    if request["entry"] in GENERATES:
        return Generation(model, given, request["entry"])
    return Training(model, given, request["optimizer"])


def inputs(kind: Any, config: Any, request: Mapping[str, Any]) -> Iterator[Given]:
    """What the entry may be called with: where labels may be of several kinds, one after the other.

    A request that says ``optional`` is for every input that may be left out.

    Which of them a model takes depends on its config, and the model itself knows best: it refuses the others.

    Raises:
        InputError: the class says of its labels what cannot be read.
    """
    batch, seq = request["batch"], request["seq"]
    sizes = {"B": batch, "S": seq}
    shape: tuple[int, ...] = (batch, seq)
    if kind.over:  # rows in twos, where they are even
        each = 2 if batch % 2 == 0 else 1
        shape = (batch // each, each, seq)
        sizes |= dict(zip(kind.over, shape, strict=False))
    given: Given = {}
    for name, parameter in list(inspect.signature(kind.__call__).parameters.items())[1:]:
        optional = request.get("optional", False) and name not in (*MASKS, *kind.labels)
        if parameter.default is inspect.Parameter.empty or optional:
            other = kind.beside.get(name)
            given[name] = np.zeros(shape, np.int64) if other is None else _zeros(other, config, sizes)
        elif name in MASKS and request["mask"]:
            given[name] = np.ones(shape, np.int64)
    labels: Mapping[str, str] = kind.labels if request["entry"] == "train" else {}
    for chosen in product(*(kinds.split("|") for kinds in labels.values())):
        yield {
            **given,
            **{name: _zeros(one, config, sizes) for name, one in zip(labels, chosen, strict=True)},
        }


def _zeros(kind: str, config: Any, sizes: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """Labels of a kind, such as ``int[B, S]``: class 0, position 0, the number 0, which are always there."""
    found = KIND.fullmatch(kind.strip())
    if found is None:
        raise InputError(f"labels {kind.strip()!r} are no kind such as int[B, S]")

    def size(term: str) -> int:
        if term.isdigit():
            return int(term)
        value = sizes.get(term, getattr(config, term, None))
        if not isinstance(value, int):
            raise InputError(f"labels {kind.strip()!r} have a size {term!r}, which the config does not say")
        return value

    dims = [dim for dim in map(str.strip, found.group(2).split(",")) if dim]
    shape = [math.prod(size(term.strip()) for term in dim.split("*")) for dim in dims]
    return np.zeros(shape, DTYPES[found.group(1)])

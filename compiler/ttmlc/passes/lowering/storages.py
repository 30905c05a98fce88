"""Parameters become storages when it is known who reads them: the reader decides layout and direction.

A linear reads [in, out] in tiles, an embedding reads rows, a norm a vector. One parameter read in two ways gets two
storages, so a tied embedding is one more resident form and no special case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Attribute, Form, Function, Operation, Value
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, Product, TensorType, factors
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import Padding

# What a block or a model has of its own.
OWN = frozenset(
    {
        "backward",
        "build",
        "config",
        "device",
        "dtype",
        "eval",
        "forward",
        "from_pretrained",
        "infer",
        "kernels",
    }
    | {
        "load_checkpoint",
        "load_state_dict",
        "name",
        "named_parameters",
        "num_parameters",
        "parameters",
        "policy",
    }
    | {
        "prefix",
        "renames",
        "report",
        "requires_grad_",
        "rng_state",
        "save_pretrained",
        "seed",
        "stale",
        "state_dict",
    }
    | {"storages", "train", "training", "unfilled", "zero_grad"}
)


class Storages:
    """The storages of one function, made on demand and named after the checkpoint."""

    def __init__(self, function: Function, padding: Padding, build: Callable[[], Builder]) -> None:
        self._padding = padding
        self._build = build
        self._params: dict[str, Operation] = {}
        self._made: dict[tuple[str, str], Value] = {}
        self._holders = holder_names([op.text("at") for op in function.walk() if op.op == "param"])

    def declare(self, param: Operation) -> None:
        """Remember a parameter until something reads it."""
        self._params[param.result.name] = param

    def weight(self, linear: Operation, value: Value | None) -> Value:
        """A weight as a linear reads it: [in, out]."""
        turned = linear.get("stored_in_out") != Const(True)
        return self._storage(value, "turned" if turned else "straight", turned=turned)

    def vector(self, value: Value | None) -> Value | None:
        """A bias or a norm's weight; None where there is none."""
        return None if value is None else self._storage(value, "straight")

    def table(self, value: Value | None) -> Value:
        """A table as an embedding reads it."""
        return self._storage(value, "rows", rows=True)

    def _storage(self, value: Value | None, form: str, *, turned: bool = False, rows: bool = False) -> Value:
        assert value is not None and isinstance(value.type, TensorType)
        param = self._params.get(value.name)
        if param is None:
            raise cannot(None, f"{value.name!r} is read as a weight but is not a parameter of this block")
        made = self._made.get((value.name, form))
        if made is not None:
            return made
        chain: Attribute = self._chain(param, value.type)
        shape = tuple(self._padding.size(dim) for dim in value.type.dims)
        if turned:
            chain, shape = Form("transpose", (chain,)), shape[::-1]
        path = param.text("at")
        holder, slot = self._holders[path], path.rpartition(".")[2]
        if any(name == value.name for name, _ in self._made):
            holder = f"{holder}_{form}"
        made = self._build().add(
            "storage",
            (),
            {"holder": holder, "slot": slot, "chain": chain, "shape": shape, "rows": Const(rows)},
            name=f"{holder}_{slot}",
            span=param.span,
        )
        self._made[value.name, form] = made
        return made

    def _chain(self, param: Operation, type_: TensorType) -> Form:
        shape = tuple(dim.size for dim in type_.dims)
        init = param.get("init")
        assert isinstance(init, Form)
        names = (param.text("at"), *_strings(param.get("also")))
        arguments: list[Attribute] = [names, shape, init]
        if param.get("zero_row") is not None:
            arguments.append(param.scalar("zero_row"))
        chain = Form("parameter", tuple(arguments))
        for place, dim in enumerate(type_.dims):
            for outer, axis, inner in _split(dim):
                if axis.name in self._padding.padded:
                    sizes = (outer, axis.size, inner)
                    chain = Form("pad", (chain, Const(place), sizes, self._padding.padded[axis.name]))
        return chain


def _strings(value: Attribute | None) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, tuple) else ()


def _split(dim: Axis | Product) -> Iterator[tuple[Scalar, Axis, Scalar]]:
    """Each axis of ``dim`` with the size of what is outside it and inside it."""
    axes = factors(dim)
    for place, axis in enumerate(axes):
        outer = scalar.product(tuple(a.size for a in axes[:place]))
        inner = scalar.product(tuple(a.size for a in axes[place + 1 :]))
        yield outer, axis, inner


def snake(word: str) -> str:
    """``LayerNorm`` -> ``layer_norm``: a word of a checkpoint as a plain Python name."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower()
    return re.sub(r"[^a-z0-9]+", "_", split).strip("_")


def holder_names(paths: list[str]) -> dict[str, str]:
    """A short name for each path's owner: its last words, as many as make it unique in the block.

    {"intermediate.dense.weight", "output.dense.weight", "output.LayerNorm.weight"} are kept as
    ``intermediate_dense``, ``output_dense`` and ``layer_norm``. Names that a block has anyway are not taken.
    """
    owners = {
        path: tuple(word for word in path.split(".")[:-1] if "{" not in word) or (path,) for path in paths
    }
    distinct = sorted(set(owners.values()))
    names: dict[tuple[str, ...], str] = {}
    for words in distinct:
        count = 1
        while count < len(words) and sum(other[-count:] == words[-count:] for other in distinct) > 1:
            count += 1
        name = "_".join(filter(None, map(snake, words[-count:])))
        name = name if re.match("[a-z]", name) and name not in OWN else f"p_{name}"
        while name in names.values():
            name += "_"
        names[words] = name
    return {path: names[words] for path, words in owners.items()}

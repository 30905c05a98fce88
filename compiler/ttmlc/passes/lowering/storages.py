"""Parameters become storages when it is known who reads them: the reader decides layout and direction.

A linear reads [in, out] in tiles, an embedding reads rows, a norm a vector. One parameter read in two ways gets two
storages, so a tied embedding is one more resident form and no special case.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Attribute, Form, Function, Operation, Value
from ttmlc.ir.ops.structure import paths
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import Axis, Dim, Sum, TensorType, factors
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.lowering.resident import Padding
from ttmlc.source import Span

OWN = frozenset(
    """
    backward beside build config decoding device dtype eval forward from_pretrained generate infer kernels labels
    load_checkpoint load_state_dict name named_parameters next_token num_parameters over parameters path policy prefix
    renames report requires_grad_ rng_state run save_pretrained seed stale state_dict storages stream train training
    unfilled zero_grad
    """.split()
)
"""What a block or a model has of its own."""
HOLDERS = frozenset({"absent", "accumulate", "dtype", "layout", "self", "storages", "trainable"})
"""What a holder has of its own, and what making one takes."""


class Storages:
    """The storages of a block, made on demand and named after the checkpoint.

    ``block`` is the function as it runs in inference: its forward and backward read the same storages, and so ask here
    for them under the same names. ``outermost`` is where parameters stand that are given to blocks, whichever body
    calls those.
    """

    def __init__(
        self,
        block: Function,
        padding: Padding,
        build: Callable[[], Builder],
        outermost: Callable[[], Builder],
    ) -> None:
        self._padding = padding
        self._build = build
        self._outermost = outermost
        self._makers: dict[str, Operation] = {}
        self._arguments: dict[str, TensorType] = {}
        self._made: dict[tuple[str, str], Value] = {}
        params = [operation for operation in block.walk() if operation.op == "param"]
        own = [_last_path(param) for param in params]
        self._holders = holder_names(own)
        self._slots = slot_names(own, self._holders)
        self._forms = forms(block)

    def declare(self, operation: Operation) -> None:
        """Remember a parameter, or several that are joined, until something reads it."""
        self._makers[operation.result.name] = operation

    def argument(self, value: Value) -> None:
        """A parameter that is given to the block at construction."""
        assert isinstance(value.type, TensorType)
        self._arguments[value.name] = value.type

    def weight(self, linear: Operation, value: Value | None) -> tuple[Value, bool]:
        """A weight as a linear reads it, and whether that is [out, in]: so where it is shared, else [in, out]."""
        assert value is not None
        stored_in_out = linear.get("stored_in_out") == Const(True)
        if self._is_shared(value):
            return self._storage(value, "straight"), not stored_in_out
        return self._storage(value, "straight" if stored_in_out else "turned"), False

    def vector(self, value: Value | None) -> Value | None:
        """A bias or a norm's weight; None where there is none."""
        return None if value is None else self._storage(value, "straight")

    def table(self, value: Value | None) -> Value:
        """A table as an embedding reads it."""
        return self._storage(value, "rows")

    def read_as(self, value: Value | None) -> Value:
        """The storage that takes the gradient of a parameter: the one that the block reads first."""
        assert value is not None
        form = self._forms[value.name][0]
        return self._storage(value, "straight" if form == "turned" and self._is_shared(value) else form)

    def shared(self, value: Value, span: Span | None) -> Value:
        """A parameter as a block is given it at construction."""
        param = self._makers.get(value.name)
        if param is None or param.get("made") != "elsewhere" or not isinstance(value.type, TensorType):
            raise cannot(
                span, f"{value.name!r} is given to a block and made by none", "Read it in the model too."
            )
        made = self._made.get((value.name, "shared"))
        if made is None:
            shape = tuple(dim.size for dim in value.type.dims)
            given: dict[str, Attribute] = {"at": param.text("at"), "shape": shape}
            made = self._outermost().add("parameter", (), given, name=value.name, span=param.span)
            self._made[value.name, "shared"] = made
        return made

    def _is_shared(self, value: Value) -> bool:
        """Whether other blocks hold the parameter too, in the order in which the checkpoint has it."""
        param = self._makers.get(value.name)
        return value.name in self._arguments or (
            param is not None and param.op == "param" and bool(param.operands)
        )

    def _storage(self, value: Value | None, form: str) -> Value:
        assert value is not None and isinstance(value.type, TensorType)
        made = self._made.get((value.name, form))
        if made is not None:
            return made
        maker = self._makers.get(value.name)
        chain = self._chain(value, form == "turned")
        shape = tuple(self._padding.size(dim) for dim in value.type.dims)
        holder, slot = self._place(value)
        known = self._forms.get(value.name, [form])
        if len(known) > 1 and form in known[1:]:
            holder = f"{holder}_{form}"
        made = self._build().add(
            "storage",
            (),
            {
                "holder": holder,
                "slot": slot,
                "chain": chain,
                "shape": shape[::-1] if form == "turned" else shape,
                "rows": Const(form == "rows"),
            },
            name=f"{holder}_{slot}",
            span=None if maker is None else maker.span,
        )
        if maker is not None and maker.op == "join":
            self._build().operations[-1] = replace(self._build().operations[-1], by=JOINED)
        self._made[value.name, form] = made
        return made

    def _place(self, value: Value) -> tuple[str, str]:
        """The holder and the slot of a value: of joined ones, of all of them."""
        maker = self._makers.get(value.name)
        if maker is None:
            return snake(value.name), "weight"
        if maker.op == "join":
            places = [self._place(part) for part in maker.operands if part is not None]
            return "_".join(holder for holder, _ in places), places[0][1]
        path = _last_path(maker)
        return self._holders[path], self._slots[path]

    def _chain(self, value: Value, turned: bool) -> Attribute:
        """What lies in the storage; of joined ones, one part behind the other along what each makes."""
        if value.name in self._arguments:
            return Form("argument", (value.name,))
        maker = self._makers.get(value.name)
        if maker is None:
            raise cannot(None, f"{value.name!r} is read as a weight but is not a parameter of this block")
        if maker.op == "join":
            joined = [part for part in maker.operands if part is not None]
            only = self._makers[joined[0].name].get("only")
            chains = [self._chain(part, turned) for part in joined]
            if only is None:
                return Form("concat", tuple(chains))
            inner = [chain.args[1] for chain in chains if isinstance(chain, Form)]
            return Form("select", (only, Form("concat", tuple(inner)), Form("none")))
        assert isinstance(value.type, TensorType)
        own: Attribute = self._own(maker, value.type)
        if maker.get("only") is not None:
            return Form("select", (maker.scalar("only"), own, Form("none")))
        if maker.operands and maker.operands[0] is not None:
            other = self._chain(maker.operands[0], False)
            if isinstance(other, Form) and other.name == "argument" and isinstance(maker.get("at"), str):
                other = Form(
                    "argument", (*other.args, maker.text("at"))
                )  # files may hold it here a second time
            condition = maker.scalar("when")
            if isinstance(condition, Const):
                return other if condition.value else own
            return Form("select", (condition, other, own))
        return Form("transpose", (own,)) if turned else own

    def _own(self, param: Operation, type_: TensorType) -> Form:
        shape = tuple(dim.size for dim in type_.dims)
        init = param.get("init")
        assert isinstance(init, Form)
        names = (param.get("at") or "", *(_strings(param.get("also")) or self._other(param)))
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

    def _other(self, param: Operation) -> tuple[Attribute, ...]:
        """Where a flag chooses the path: while it holds, files may hold the parameter under the other one too."""
        at = param.get("at")
        if not isinstance(at, Form) or not all(isinstance(path, str) for path in at.args[1:]):
            return ()
        taken = {path for other in self._makers.values() if other is not param for path in _all_paths(other)}
        return () if at.args[2] in taken else (Form("select", (*at.args[:1], at.args[2], "")),)


JOINED = "join-projections"


def forms(block: Function) -> dict[str, list[str]]:
    """How ``block`` reads each of its parameters, in order: a linear turns it, an embedding wants rows."""
    found: dict[str, list[str]] = {}
    joined: dict[str, list[str]] = {}

    def note(value: Value | None, form: str) -> None:
        if value is None:
            return
        known = found.setdefault(value.name, [])
        if form not in known:
            known.append(form)
        for part in joined.get(value.name, []):
            found.setdefault(part, []).append(form)

    for operation in block.walk():
        if operation.op == "join":
            joined[operation.result.name] = [part.name for part in operation.operands if part is not None]
        elif operation.op == "linear":
            straight = operation.get("stored_in_out") == Const(True)
            note(operation.operands[1], "straight" if straight else "turned")
            for bias in operation.operands[2:]:
                note(bias, "straight")
        elif operation.op == "embedding":
            note(operation.operands[1], "rows")
        elif operation.op in ("layer_norm", "rms_norm"):
            for vector in operation.operands[1:]:
                note(vector, "straight")
    return found


def _last_path(param: Operation) -> str:
    """The path that names a parameter's holder: the last, where a flag decides between several."""
    return list(paths(param.get("at") or ""))[-1]


def _all_paths(param: Operation) -> list[str]:
    return [] if param.get("at") is None else [*paths(param.get("at") or ""), *_strings(param.get("also"))]


def _strings(value: Attribute | None) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, tuple) else ()


def _split(dim: Dim) -> Iterator[tuple[Scalar, Axis, Scalar]]:
    """Each axis of ``dim`` with the size of what is outside it and inside it."""
    assert not isinstance(dim, Sum), "parts are padded before they are joined"
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
        name = name if re.match("[a-z]", name) and name not in OWN and name[:5] != "turn_" else f"p_{name}"
        while name in names.values():
            name += "_"
        names[words] = name
    return {path: names[words] for path, words in owners.items()}


def slot_names(paths: list[str], holders: Mapping[str, str]) -> dict[str, str]:
    """What each parameter is called in its holder: the last word of its path, as a plain name that is free there."""
    names: dict[str, str] = {}
    taken: set[tuple[str, str]] = set()
    for path in paths:
        word = path.rpartition(".")[2]
        plain = word if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", word) else snake(word)
        if not re.match("[A-Za-z]", plain) or plain in HOLDERS or keyword.iskeyword(plain):
            plain = f"p_{plain}"
        while path not in names and (holders[path], plain) in taken:
            plain += "_"
        names.setdefault(path, plain)
        taken.add((holders[path], plain))
    return names

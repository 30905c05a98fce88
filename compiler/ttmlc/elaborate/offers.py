"""Heads that a family offers become models: the base written out under its prefix, then the head's own statements.

    offers TinyModel at "tiny":
        SequenceClassification                   =>     model TinyForSequenceClassification(..., labels?)

A head that reads what the language has and the compiler has not is declined with the reason, which is no error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ttmlc.elaborate.functions import Elaborator
from ttmlc.elaborate.making import join
from ttmlc.elaborate.names import class_name, path
from ttmlc.elaborate.problems import (
    DECLARED_TWICE,
    MISFIT,
    MISSING_ARGUMENT,
    NOT_YET,
    RESERVED_NAME,
    UNKNOWN_NAME,
    UNKNOWN_OPTION,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import Scope
from ttmlc.elaborate.values import Base, Meaning, Number, Poison, Tensor, describe
from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import Attribute, Function, Input, Kind, Operation, Region, Value
from ttmlc.ir.ops.batches import OUTER, over
from ttmlc.ir.ops.structure import map_paths
from ttmlc.ir.types import BATCH, Axis, TensorType
from ttmlc.language import tree
from ttmlc.source import Span

BATCHED = frozenset({"merge_batch", "split_batch"})
"""Ops that a head over an axis adds to its base: they go again where nothing reads them."""


@dataclass(frozen=True)
class DeclinedHead:
    """An offered head that is checked by name only: its class, why it is not compiled, and where that is."""

    name: str
    head: str
    reason: str
    at: Span = field(compare=False)


@dataclass(frozen=True)
class BaseModel:
    """A model that heads stand on, and its parameters and chosen inputs by name."""

    function: Function
    owned: dict[str, Value]


def head_class(model: str, offer: tree.Offer) -> str:
    """The name of the class that an offered head becomes.

    Raises:
        DiagnosticError: the offer gives it a name that it cannot have.
    """
    if offer.alias is not None:
        return class_name(offer.alias)
    return f"{model.removesuffix('Model')}For{offer.head.text}"


def prefixes_of(file: tree.File, model: str, offer: tree.Offer | None = None) -> tuple[str, ...]:
    """What may stand before the names of a base in checkpoints with a head: that of ``offer`` first, then all others.

    Raises:
        DiagnosticError: one of them is no checkpoint path.
    """
    first: list[tree.Literal | None] = []
    others: list[tree.Literal | None] = []
    for offers in file.items:
        if isinstance(offers, tree.Offers) and offers.model.text == model:
            others += [offers.at, *offers.also]
            for one in offers.offers:
                others += [one.at, *one.also]
                if one is offer:
                    first = [one.at, *one.also] if one.at is not None else [offers.at, *offers.also]
    return tuple(dict.fromkeys(path(at) for at in (*first, *others) if at is not None))


def check_holes(offer: tree.Offer, head: tree.Head) -> dict[str, tree.Option]:
    """What an offer fills in, by hole.

    Raises:
        DiagnosticError: the head has no such hole, or one that must be filled is not.
    """
    holes = {hole.name.text: hole for hole in head.holes}
    filled: dict[str, tree.Option] = {}
    for option in offer.options:
        word = option.name.text
        if word not in holes:
            raise problem(
                UNKNOWN_OPTION,
                f"head {head.name.text!r} has no hole {word!r}",
                option.name.span,
                hint=nearest(word, holes),
            )
        if word in filled:
            related = ((filled[word].span, "given here already"),)
            raise problem(MISSING_ARGUMENT, f"{word!r} is given twice", option.span, related=related)
        filled[word] = option
    for name, hole in holes.items():
        if hole.default is None and name not in filled:
            raise problem(
                MISSING_ARGUMENT,
                f"head {head.name.text!r} needs {name!r} filled in",
                offer.head.span,
                related=((hole.span, "the hole"),),
                hint=f"Write {head.name.text}({name}=...).",
            )
    return filled


class HeadElaborator(Elaborator):
    """One offered head on its way; ``scope`` is that of the head's file."""

    def head(
        self,
        name: str,
        node: tree.Head,
        offer: tree.Offer,
        prefixes: tuple[str, ...],
        base: BaseModel,
        family: Scope,
    ) -> Function:
        """The head as a function.

        Args:
            name: its class.
            node: the head.
            offer: what the family fills in.
            prefixes: where the base's parameters may stand in a checkpoint with a head; at the first they are written.
            base: the model that it stands on.
            family: the scope of the file that offers it, in which holes are filled.

        Raises:
            DiagnosticError: it is wrong, or cannot be compiled yet.
        """
        self.of_model = True
        filled = check_holes(offer, node)
        inputs = list(base.function.inputs)
        taken = {given.value.name for given in inputs}
        many = None
        if node.over is not None:
            many = over(node.over.text)
            self._once_for_each(node, base, taken | {param.name.text for param in node.params})
            inputs = [_repeated(given, many) for given in inputs]
        for param in node.params:
            if param.name.text in taken:
                message = f"the base has an input {param.name.text!r} already"
                raise problem(DECLARED_TWICE, message, param.name.span)
        self.build = Builder(Names(taken))
        self.inputs = {given.value.name: given for given in inputs}
        inputs += [given for given in map(self._param, node.params) if given is not None]
        self.values[node.base.text] = meaning = self._base(base, "".join(prefixes[:1]), offer.span, many)
        self.defaults(node.params)
        for hole in node.holes:
            with self.problems.kept():
                self._hole(hole, filled.get(hole.name.text), meaning, family, node.base)
        outputs = self._body(node.body, node.name)
        read = {v for o in self.build.operations for v in o.reads()} | {value for _, value in outputs}
        operations = tuple(o for o in self.build.operations if o.op not in BATCHED or o.result in read)
        return Function(name, Kind.MODEL, tuple(inputs), operations, outputs, offer.span, prefixes=prefixes)

    @staticmethod
    def _once_for_each(head: tree.Head, base: BaseModel, inputs: set[str]) -> None:
        """Refuse a base that cannot run once for each of the head's axis, and inputs that are called as its sizes."""
        assert head.over is not None
        if head.over.text in inputs:
            raise problem(DECLARED_TWICE, f"{head.over.text!r} is declared already", head.over.span)
        if OUTER in inputs:
            message = f"an input cannot be called {OUTER!r} in a head over an axis"
            raise problem(RESERVED_NAME, message, head.over.span)
        values = [given.value for given in base.function.inputs] + [
            value for _, value in base.function.outputs
        ]
        for value in values:
            if not isinstance(value.type, TensorType) or value.type.dims[:1] != (BATCH,):
                message = f"a base with {value.name!r}, {value.type}, over an axis is not compiled yet"
                raise problem(NOT_YET, message, head.over.span)

    def _base(self, base: BaseModel, prefix: str, span: Span, many: tuple[Axis, Axis] | None) -> Base:
        """Write the base's operations out, their paths under ``prefix``.

        Of a head over an axis it reads its inputs with their batch as one, and what it gives is split again.
        """
        function = base.function
        given = {one.value: one.value for one in function.inputs}
        if many is not None:
            given = {
                value: self.build.add(
                    "merge_batch", (self.inputs[value.name].value,), name=value.name, span=span
                )
                for value in given
            }
        written = _Written(self.build.names, given)
        self.build.operations += [
            under(written.operation(operation), prefix) for operation in function.operations
        ]
        self.claim_all(self.build.operations, "", span)
        members = {name: written.values[value] for name, value in (*base.owned.items(), *function.outputs)}
        if many is not None:
            for name, value in function.outputs:
                assert isinstance(value.type, TensorType)
                type_ = TensorType(value.type.dtype, (*many, *value.type.dims[1:]))
                members[name] = self.build.add(
                    "split_batch", (written.values[value],), types=(type_,), name=name, span=span
                )
        members = {
            **{one.value.name: self.inputs[one.value.name].value for one in function.inputs},
            **members,
        }
        return Base(function.name, tuple((name, Tensor(value, span)) for name, value in members.items()))

    def _hole(
        self, hole: tree.Param, option: tree.Option | None, base: Base, family: Scope, name: tree.Name
    ) -> None:
        """Give a hole its meaning: what the family says, else its default."""
        word = hole.name.text
        if word in self.values:
            raise problem(DECLARED_TWICE, f"{word!r} is declared twice", hole.name.span)
        self.values[word] = Poison()
        if option is None:
            assert hole.default is not None
            meaning = self.named(hole.default, word)
            self.values[word] = self.fitting(hole, meaning, hole.default.span)
            return
        values: dict[str, Meaning] = {"base": base}
        if any(isinstance(part, tree.Reference) and part.name.text == "super" for part in tree.walk(option)):
            if hole.default is None:
                related = ((hole.span, "the hole"),)
                message = "there is no 'super' here: the hole has no default"
                raise problem(UNKNOWN_NAME, message, option.value.span, related=related)
            values["super"] = self.expression(hole.default)
        home, outer = self.scope, self.values
        self.scope, self.values = family, values
        try:
            meaning = self.fitting(hole, self.named(option.value, word), option.value.span, home)
        finally:
            self.scope, self.values = home, outer
        if hole.default is not None and not hole.types:
            self._like(meaning, self.expression(hole.default), hole, option)
        self.values[word] = meaning

    def _like(self, meaning: Meaning, default: Meaning, hole: tree.Param, option: tree.Option) -> None:
        """Refuse what is of another kind than the default of a hole without a type."""
        kinds = [_kind(meaning), _kind(default)]
        if kinds[0] != kinds[1]:
            raise problem(
                MISFIT,
                f"{hole.name.text!r} is of another kind",
                option.value.span,
                f"is {describe(meaning)}",
                related=((hole.span, f"is {describe(default)}"),),
            )


def _repeated(given: Input, many: tuple[Axis, Axis]) -> Input:
    """An input of the base as a head over an axis takes it: one for each of the axis."""
    type_ = given.value.type
    assert isinstance(type_, TensorType)
    return replace(given, value=Value(given.value.name, TensorType(type_.dtype, (*many, *type_.dims[1:]))))


def _kind(meaning: Meaning) -> str:
    if isinstance(meaning, Number):
        return "float" if meaning.kind == "int" else meaning.kind
    return type(meaning).__name__


@dataclass
class _Written:
    """Operations of one function written into another, every value under a name that is free there."""

    names: Names
    values: dict[Value, Value]

    def value(self, old: Value) -> Value:
        """``old``, made anew."""
        self.values[old] = Value(self.names.fresh(old.name), old.type)
        return self.values[old]

    def operation(self, old: Operation) -> Operation:
        """``old`` with its operands looked up and its results made anew."""
        operands = tuple(None if value is None else self.values[value] for value in old.operands)
        body = None
        if old.body is not None:
            arguments = tuple(map(self.value, old.body.arguments))
            operations = tuple(map(self.operation, old.body.operations))
            body = Region(arguments, operations, tuple(self.values[value] for value in old.body.yields))
        return replace(old, operands=operands, results=tuple(map(self.value, old.results)), body=body)


def under(operation: Operation, prefix: str) -> Operation:
    """``operation`` with the checkpoint paths that it makes under ``prefix``.

    What stands in the body of a ``repeat`` stands under the path of that already.
    """
    if not prefix or operation.op not in ("param", "call", "repeat", "when"):
        return operation
    if operation.op == "when":  # it has no path of its own
        assert operation.body is not None
        inner = tuple(under(one, prefix) for one in operation.body.operations)
        return replace(operation, body=replace(operation.body, operations=inner))

    def moved(path: str) -> str:
        return join(prefix, path)

    attributes: dict[str, Attribute] = dict(operation.attributes)
    attributes["at"] = map_paths(attributes.get("at", ""), moved)
    also = attributes.get("also")
    if isinstance(also, tuple):
        attributes["also"] = tuple(moved(str(path)) for path in also)
    return replace(operation, attributes=tuple(sorted(attributes.items())))


__all__ = ["BaseModel", "DeclinedHead", "HeadElaborator", "check_holes", "head_class", "under"]

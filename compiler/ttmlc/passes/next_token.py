"""Find the output that predicts the next token, so that the model generates.

    model M(%ids, %labels?)                      model M(%ids, %labels?)
      %logits = call(%ids) {block = "Body"}        %logits = call(%ids) {block = "Body"}
      %moved = next(%labels) {over = "S"}    =>    %moved = next(%labels) {over = "S"}
      %loss = cross_entropy(%logits, %moved)       %loss = cross_entropy(%logits, %moved)
      return loss = %loss, logits = %logits        predicts !next("logits", "ids", "", "", vocab, none, true, false)
                                                   return loss = %loss, logits = %logits

An output predicts the next token where a loss compares it with the next labels, and its classes are the tokens that
the model looks up. That is of use where nothing before it brings later tokens to earlier ones: by the ops' own rules
for the axis of tokens, only attention that is causal may mix it, and what the host counts may accumulate along it.
Where the config decides whether attention is causal, the model asks.

``!next`` holds the names of the output and of the inputs of tokens, of their mask and of their positions (empty where
there is none), how many tokens there are, how many positions (``none`` where nothing ends them), whether attention
is causal, and whether keys and values may be cached: where nothing but attention through that mask, those positions,
or a count in their place that goes on from what a cache carries, and what is computed token by token is on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ttmlc.ir import scalar
from ttmlc.ir.module import Form, Function, Input, Kind, Level, Module, Operation
from ttmlc.ir.op import TABLE, AxisRule
from ttmlc.ir.ops.integers import HOST, on_host
from ttmlc.ir.ops.structure import Structure
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import DType, Role, TensorType
from ttmlc.passes.base import Declined, Outcome, Pass
from ttmlc.passes.counts import Counts
from ttmlc.passes.prune import keep_live


@dataclass(frozen=True)
class NextToken(Pass):
    """See the module."""

    name = "next-token"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        declined: list[Declined] = []

        def one(function: Function) -> Function:
            if function.kind is not Kind.MODEL:
                return function
            found = _predicted(function)
            if found is None:
                return function
            said = _say(module, function, *found)
            if isinstance(said, Form):
                return replace(function, predicts=said)
            declined.append(
                Declined(self.name, f"{function.name} does not generate: {said[0]}", said[1].span)
            )
            return function

        return Outcome(module.map_functions(one), tuple(declined))


def _predicted(function: Function) -> tuple[str, Operation] | None:
    """The output, by name, that a loss compares with the next labels, and that loss."""
    makers = {value: operation for operation in function.operations for value in operation.results}
    names = {value: name for name, value in function.outputs}
    for operation in function.operations:
        if operation.op != "cross_entropy":
            continue
        logits, labels = operation.operands
        maker = makers.get(labels) if labels is not None else None
        if maker is None or maker.op != "next" or logits not in names:
            continue
        type_ = logits.type
        assert isinstance(type_, TensorType)
        tokens = [axis for axis in type_.axes() if axis.role is Role.TOKENS]
        rows = len(type_.dims) == 3 and type_.dims[1:2] == tuple(tokens)
        if rows and maker.text("over") == tokens[0].name:
            return names[logits], operation
    return None


@dataclass
class _Walk:
    """What is computed on the way to a value, calls included: lookups of inputs, and what mixes tokens."""

    module: Module
    looked_up: dict[str, list[Scalar]] = field(default_factory=dict)
    """Of each input, the sizes of the tables that it is looked up in."""
    causal: Scalar = field(default=Const(True))
    mixing: Operation | None = None
    """The first operation that brings tokens together and is no causal attention."""
    masks: set[str] = field(default_factory=set)
    """The inputs through which attention sees; "" where it sees through no input."""
    hosted: set[str] = field(default_factory=set)
    """The inputs that the host computes from; "" where it computes what a cache does not carry."""
    carried: bool = False
    """Whether anything goes on from what a cache carries."""
    counts: Counts = field(default_factory=Counts)

    def walk(self, operations: Sequence[Operation], inputs: Mapping[str, str]) -> None:
        roots = dict(inputs)
        for operation in _flat(operations):
            self.counts.see(operation)
            source = operation.operands[0] if operation.op == "relabel" else None
            if source is not None and source.name in roots:  # the same mask, over the keys
                roots[operation.result.name] = roots[source.name]
            if operation.op == "call":
                block = self.module.function(operation.text("block"))
                pairs = zip(block.inputs, operation.operands, strict=False)
                known = {
                    given.value.name: roots[value.name]
                    for given, value in pairs
                    if value is not None and value.name in roots
                }
                self.walk(keep_live(block.operations, list(block.wanted)), known)
            elif not isinstance(TABLE[operation.op], Structure):
                self._one(operation, roots)

    def _one(self, operation: Operation, roots: Mapping[str, str]) -> None:
        if operation.op == "embedding":
            ids, table = operation.operands
            assert ids is not None and table is not None and isinstance(table.type, TensorType)
            if ids.name in roots:
                self.looked_up.setdefault(roots[ids.name], []).append(table.type.dims[0].size)
        if operation.op == "attention":
            mask = operation.operands[3] if len(operation.operands) > 3 else None
            self.masks.add("" if mask is None else roots.get(mask.name, ""))
        rules = TABLE.tensor(operation.op).axes(operation)
        over_tokens = {rule for axis, rule in rules.items() if axis.role is Role.TOKENS}
        if operation.op in HOST and on_host(operation):
            self._host(operation, over_tokens, roots)
        if not over_tokens & {AxisRule.MIXES, AxisRule.REDUCES}:
            return
        causal = operation.get("causal") if operation.op == "attention" else Const(False)
        causal = Const(False) if causal is None else causal
        assert not isinstance(causal, (str, Form, tuple))
        if causal == Const(False):
            self.mixing = self.mixing or operation
        elif causal != Const(True) and causal not in _parts(self.causal):
            self.causal = scalar.apply("and", self.causal, causal)

    def _host(self, operation: Operation, over_tokens: set[AxisRule], roots: Mapping[str, str]) -> None:
        """What the host computes for a token alone as it does among the others, and from which inputs."""
        self.hosted |= {roots[value.name] for value in operation.reads() if value.name in roots}
        goes_on = TABLE.tensor(operation.op).carries and _last(operation)
        if goes_on and AxisRule.ACCUMULATES in over_tokens:
            self.carried = True
        elif not over_tokens <= {AxisRule.POINTWISE}:
            self.hosted.add("")


def _last(operation: Operation) -> bool:
    """Whether what it makes is [B, S]."""
    type_ = operation.result.type
    return isinstance(type_, TensorType) and [axis.role for axis in type_.axes()] == [Role.BATCH, Role.TOKENS]


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        yield operation
        if operation.body is not None:
            yield from _flat(operation.body.operations)


def _parts(condition: Scalar) -> list[Scalar]:
    """What a condition is an "and" of."""
    if isinstance(condition, scalar.Apply) and condition.op == "and":
        return [part for arg in condition.args for part in _parts(arg)]
    return [condition]


def _say(module: Module, function: Function, output: str, loss: Operation) -> Form | tuple[str, Operation]:
    """``!next(...)``, or why there is none and where."""
    logits = loss.operands[0]
    assert logits is not None and isinstance(logits.type, TensorType)
    operations = keep_live(function.operations, [logits])
    walk = _Walk(module)
    walk.walk(operations, {given.value.name: given.value.name for given in function.inputs})
    read = {value.name for operation in operations for value in operation.reads()}
    inputs = [given for given in function.inputs if given.value.name in read]
    vocab = logits.type.dims[-1].size
    ids = [given for given in inputs if given.default is None and not given.optional and not _is_mask(given)]
    if len(ids) != 1 or vocab not in walk.looked_up.get(ids[0].value.name, ()):
        return "what it predicts is not looked up by its one input without a default", loss
    if walk.mixing is not None:
        what = "attention that is not causal" if walk.mixing.op == "attention" else f"{walk.mixing.op!r}"
        return f"{what} brings later tokens to earlier ones", walk.mixing
    positions = next((given.value.name for given in inputs if given.default == Form("position")), "")
    ends = walk.looked_up.get(positions, ()) if positions else walk.counts.ends
    longest = ends[0] if ends else Const(None)
    mask = next((given.value.name for given in inputs if _is_mask(given)), "")
    places = sum(given.default == Form("position") for given in inputs)
    placed = places == 1 or (places == 0 and walk.carried)
    cached = Const(placed and not walk.hosted & {"", mask} and bool(mask) and walk.masks == {mask})
    names = (output, ids[0].value.name, mask, positions)
    return Form("next", (*names, vocab, longest, walk.causal, cached))


def _is_mask(given: Input) -> bool:
    type_ = given.value.type
    return (
        isinstance(type_, TensorType) and type_.dtype is DType.BOOL and given.default in (Const(True), None)
    )

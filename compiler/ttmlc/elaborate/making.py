"""A function in the making: what its expressions may read, and how they add operations and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ttmlc.elaborate.names import path, value_name
from ttmlc.elaborate.problems import BAD_PATH, MISFIT, NOT_YET, Problems, problem
from ttmlc.elaborate.scope import Scope
from ttmlc.elaborate.values import Meaning, Paths, Tensor, Text
from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Attribute, Form, Function, Input, Operation, Value
from ttmlc.ir.op import TABLE, Refusal
from ttmlc.ir.ops.loss import Loss
from ttmlc.ir.ops.structure import paths
from ttmlc.ir.scalar import Scalar
from ttmlc.ir.types import BATCH, TOKENS, TensorType
from ttmlc.source import Diagnostic, DiagnosticError, Span


@dataclass
class Making:
    """One function on its way; ``of_block`` where it may stand in a repeat of its callers.

    ``values`` are its names; ``wanted`` is the name that the statement gives the expression at hand; ``paths`` are
    the checkpoint paths that are taken, ``owned`` what heads may read by name: parameters, and inputs that are made of
    others; ``done`` are the blocks that can be called, ``failed`` those that cannot and why; ``holding`` are the
    conditions that hold where the expression stands, and ``counted`` the sizes that its own repeats count, by index.
    """

    scope: Scope
    problems: Problems
    done: dict[str, Function]
    build: Builder = field(default_factory=Builder)
    values: dict[str, Meaning] = field(default_factory=dict)
    indices: tuple[str, ...] = ()
    counted: dict[str, str] = field(default_factory=dict)
    of_block: bool = False
    wanted: str = ""
    paths: dict[str, Span] = field(default_factory=dict)
    owned: dict[str, Value] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    failed: dict[str, list[Diagnostic]] = field(default_factory=dict)
    holding: tuple[Scalar, ...] = ()

    def path_of(self, text: Text) -> str:
        """A string as a checkpoint path."""
        at = path(text.node, self.indices)
        if "{" in at:
            hint = "The repeat's own 'at' has it, and stands before this path."
            raise problem(NOT_YET, "an index is not compiled yet in this path", text.node.span, hint=hint)
        return at

    def paths_of(self, meaning: Text | Paths) -> Attribute:
        """A string, or a choice of some, as what ``at`` of a parameter may be."""
        if isinstance(meaning, Text):
            return self.path_of(meaning)
        yes, no = self.paths_of(meaning.yes), self.paths_of(meaning.no)
        return Form("select", (meaning.condition, yes, no))

    def parameter(
        self,
        at: Attribute,
        type_: TensorType,
        init: Form,
        span: Span,
        zero_row: Scalar | None = None,
        also: Sequence[str] = (),
        name: str = "",
        shared: Tensor | None = None,
        when: Scalar | None = None,
        only: Scalar | None = None,
    ) -> Tensor:
        """Make a parameter at a checkpoint path of this block.

        It is ``shared`` where ``when`` holds, and there is none where ``only`` does not.
        """
        dynamic = [axis.name for axis in type_.axes() if axis in (BATCH, TOKENS)]
        if dynamic:
            message = f"a parameter has a size of its own, and {dynamic[0]!r} is another at each call"
            raise problem(MISFIT, message, span, f"would be {type_}")
        for each in paths(at):
            self._claim(each, span)
        attributes: dict[str, Attribute] = {"at": at, "init": init}
        if zero_row is not None:
            attributes["zero_row"] = zero_row
        if also:
            attributes["also"] = tuple(also)
        if when is not None:
            attributes["when"] = when
        if only is not None:
            attributes["only"] = only
        wished = name or value_name(next(paths(at)), 2)
        operands = () if shared is None else (shared.value,)
        value = self.build.add("param", operands, attributes, name=wished, span=span, types=(type_,))
        return Tensor(value, span)

    def claim_block(self, function: Function, at: str, span: Span) -> None:
        """Take the paths of the parameters that a call of ``function`` at ``at`` makes."""
        self.claim_all(function.operations, at, span)

    def claim_all(self, operations: Sequence[Operation], at: str, span: Span) -> None:
        """Take the paths of the parameters of ``operations``, which stand under ``at``."""
        for operation in operations:
            own = operation.get("at") or ""
            if operation.op == "param":
                for each in paths(own):
                    self._claim(join(at, each), span)
            elif operation.op == "call":
                self.claim_block(self.done[operation.text("block")], join(at, str(own)), span)
            elif operation.body is not None:
                self.claim_all(operation.body.operations, join(at, str(own)), span)

    def _claim(self, at: str, span: Span) -> None:
        if at in self.paths:
            related = ((self.paths[at], "made here already"),)
            raise problem(BAD_PATH, f"two parameters would lie at {at!r}", span, related=related)
        self.paths[at] = span

    def loss(
        self,
        op: str,
        logits: Tensor,
        labels: Tensor,
        attributes: Mapping[str, Attribute],
        span: Span,
        name: str,
    ) -> Tensor:
        """Add a loss; one of the types that the labels may have must fit it."""
        made = self.apply(op, [logits, labels], attributes, span, name=name)
        declaration, type_, own = TABLE[op], logits.value.type, labels.value.type
        assert isinstance(declaration, Loss) and isinstance(type_, TensorType) and isinstance(own, TensorType)
        full = {key: spec.default for key, spec in declaration.attributes.items() if spec.default is not None}
        try:
            declaration.check(type_, labels.alternatives or (own,), {**full, **attributes})
        except Refusal as refusal:
            raise self._told(op, refusal, [logits, labels], span) from None
        return made

    def apply(
        self,
        op: str,
        operands: Sequence[Tensor | None],
        attributes: Mapping[str, Attribute],
        span: Span,
        *,
        name: str,
    ) -> Tensor:
        """Add an op; what it refuses is told where the operand at fault stands."""
        values = [None if operand is None else operand.value for operand in operands]
        try:
            return Tensor(self.build.add(op, values, attributes, name=name, span=span), span)
        except Refusal as refusal:
            raise self._told(op, refusal, operands, span) from None

    def _told(
        self, op: str, refusal: Refusal, operands: Sequence[Tensor | None], span: Span
    ) -> DiagnosticError:
        names = TABLE[op].operand_names()
        spans = {
            name: operand.span for name, operand in zip(names, operands, strict=False) if operand is not None
        }
        related = tuple((spans[name], label) for name, label in refusal.related if name in spans)
        at = spans.get(refusal.at, span)
        return problem(
            MISFIT, f"'{op}': {refusal.message}", at, refusal.label, related=related, hint=refusal.hint
        )


def join(*parts: str) -> str:
    """A checkpoint path of those of its ``parts`` that are not empty."""
    return ".".join(part for part in parts if part)

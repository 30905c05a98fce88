"""Derive the backward of every block, source to source.

    block Norm(%x)                         forward Norm.forward(%x)
      %g = param                             %g = param
      %y = layer_norm(%x, %g)        =>      %y, %mean, %rstd = layer_norm_statistics(%x, %g)
      return y = %y                          saved %x, %mean, %rstd
                                             return y = %y
                                           backward Norm.backward(%x, %mean, %rstd, %dy)
                                             %g = param
                                             %dx, %dg = layer_norm_gradient(%dy, %x, %mean, %rstd, %g)
                                             gradient(%g, %dg)
                                             return x = %dx

The forward is the block with composites expanded that have no gradient of their own, and with every value that its
backward reads given beside its results. What is cheap to say again (a parameter, another name of an axis) is said
again in the backward. Gradients are typed like any value; integers, masks and parameters that nothing reads cost
nothing. A model needs no backward: it is a sequence of blocks, which the runtime's tape turns around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.module import Function, Input, Kind, Level, Module, Operation, Value
from ttmlc.ir.op import TABLE, Adjoint, Refusal
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import DType, SavedType, TensorType
from ttmlc.passes.base import Outcome, Pass
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.source import Span

SAID_AGAIN = ("param", "join", "relabel")
"""Ops that the backward repeats rather than reading what they made."""


@dataclass(frozen=True)
class Autodiff(Pass):
    """See the module."""

    name = "autodiff"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        made: list[Function] = []
        done: dict[str, Function] = {}
        for function in module.functions:  # callees come before their callers
            made.append(function)
            if function.kind is Kind.BLOCK:
                pair = differentiate(function, done)
                done.update({one.name: one for one in pair})
                made += pair
        return Outcome(replace(module, functions=tuple(made)))


def differentiate(function: Function, done: dict[str, Function]) -> tuple[Function, Function]:
    """The forward and the backward of a block; ``done`` holds those of the blocks that it calls."""
    forward = _Forward(function, done)
    forward.run()
    backward = _Backward(function, forward, done)
    outputs = backward.run()
    saved = backward.saved()
    parameters = tuple(given for given in function.inputs if given.parameter)
    inputs = (*parameters, *(Input(value) for value in (*saved, *backward.cotangents)))
    return (
        replace(
            function,
            name=f"{function.name}.forward",
            kind=Kind.FORWARD,
            operations=tuple(forward.build.operations),
            outputs=tuple((name, forward.values.get(value.name, value)) for name, value in function.outputs),
            saved=saved,
        ),
        Function(
            f"{function.name}.backward",
            Kind.BACKWARD,
            inputs,
            tuple(backward.build.operations),
            outputs,
            function.span,
            saved,
        ),
    )


@dataclass
class _Forward:
    """The block once more, in the form that training needs."""

    function: Function
    done: dict[str, Function]
    values: dict[str, Value] = field(default_factory=dict)
    sites: int = 0

    def run(self) -> None:
        taken = {given.value.name for given in self.function.inputs}
        taken |= {value.name for operation in self.function.walk() for value in operation.results}
        self.build = Builder(Names(taken))
        for operation in self.function.operations:
            self.operation(operation)

    def operation(self, operation: Operation) -> None:
        """Add ``operation``, expanded where it has to be."""
        if operation.body is not None:
            raise cannot(
                operation.span, "a repeat inside a block has no backward yet", "Repeat in the model."
            )
        operands = tuple(None if v is None else self.values.get(v.name, v) for v in operation.operands)
        operation = replace(operation, operands=operands)
        declaration = TABLE.tensor(operation.op)
        if operation.op == "call":
            self._call(operation)
        elif declaration.has_training_form or (declaration.composite and not declaration.has_gradient):
            self._expand(operation, training=declaration.has_training_form)
        else:
            if operation.op == "dropout":
                self.sites += 1
                given = {**dict(operation.attributes), "site": Const(self.sites)}
                operation = replace(operation, attributes=tuple(sorted(given.items())))
            self.build.operations.append(operation)

    def _expand(self, operation: Operation, *, training: bool) -> None:
        for value in operation.results:
            self.build.names.release(value.name)
        inner = Builder(self.build.names)
        declaration = TABLE.tensor(operation.op)
        (declaration.for_training if training else declaration.expand)(operation, inner)
        last = inner.operations[-1]
        if last.results[0].name != operation.results[0].name:
            self.build.names.fresh(operation.results[0].name)
            renamed = (Value(operation.results[0].name, last.results[0].type), *last.results[1:])
            inner.operations[-1] = replace(last, results=renamed)
        for made in inner.operations:
            self.operation(replace(made, span=operation.span))
        final = self.build.operations[-1].results[0]
        if final.type != operation.results[0].type:
            final = self.build.add(
                "rearrange",
                (final,),
                types=(operation.results[0].type,),
                name=final.name,
                span=operation.span,
            )
        self.values[operation.results[0].name] = final

    def _call(self, operation: Operation) -> None:
        saved = self.build.names.fresh(f"saved_{operation.results[0].name}")
        results = (*operation.results, Value(saved, SavedType(operation.text("block"))))
        self.build.operations.append(replace(operation, results=results))


@dataclass
class _Backward:
    """The operations of the forward from last to first, each turned into the gradients of what it read."""

    function: Function
    forward: _Forward
    done: dict[str, Function]
    grads: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        operations = self.forward.build.operations
        self.makers = {value.name: operation for operation in operations for value in operation.results}
        taken = {given.value.name for given in self.function.inputs} | set(self.makers)
        self.build = Builder(Names(taken))
        self.cotangents: list[Value] = []
        self.again: dict[str, Operation] = {}

    def run(self) -> tuple[tuple[str, Value], ...]:
        """Build it; the gradients of the inputs by name."""
        for _, value in self.function.outputs:
            final = self.forward.values.get(value.name, value)
            cotangent = Value(self.build.names.fresh(f"d{value.name}"), final.type)
            self.cotangents.append(cotangent)
            self._add(final, cotangent, self.function.span)
        for operation in reversed(self.forward.build.operations):
            self._operation(operation)
        outputs: list[tuple[str, Value]] = []
        for given in self.function.inputs:
            grad = self.grads.get(given.value.name)
            if given.parameter:
                self._hand_over(given.value, self.function.span)
            elif grad is not None:
                outputs.append((given.value.name, grad))
        self._say_again()
        return tuple(outputs)

    def saved(self) -> tuple[Value, ...]:
        """What the backward reads of the forward, in the order in which the forward makes it."""
        made = {value.name for operation in self.build.operations for value in operation.results}
        made |= {value.name for value in self.cotangents}
        made |= {given.value.name for given in self.function.inputs if given.parameter}
        read = {
            value.name: value
            for op in self.build.operations
            for value in op.reads()
            if value.name not in made
        }
        order = [given.value.name for given in self.function.inputs] + list(self.makers)
        return tuple(sorted(read.values(), key=lambda value: order.index(value.name)))

    def _add(self, value: Value, grad: Value, span: Span | None) -> None:
        """Take ``grad`` as a part of the gradient of ``value``."""
        before = self.grads.get(value.name)
        if before is not None:
            grad = self.build.add("add", (before, grad), name=f"d{value.name}", span=span)
        self.grads[value.name] = grad

    def _operation(self, operation: Operation) -> None:
        if operation.op in ("param", "join"):
            # Of a parameter that another one stands for under a condition, the storage knows whose the gradient is.
            self._hand_over(operation.result, operation.span)
            return
        grads = tuple(self.grads.get(value.name) for value in operation.results)
        if all(grad is None for grad in grads):
            return
        before = len(self.build.operations)
        if operation.op == "call":
            found = self._call(operation, grads)
        else:
            declaration = TABLE.tensor(operation.op)
            if declaration.no_gradient:
                return
            adjoint = Adjoint(operation, grads, self.build, lambda value: self.makers.get(value.name))
            try:
                found = declaration.gradient(adjoint)
            except Refusal as refusal:
                raise cannot(operation.span, refusal.message, refusal.hint) from None
        # A rule gives a gradient for each operand; what nobody needs is dropped again with what only it reads.
        wanted = []
        for value, grad in zip(operation.operands, found, strict=True):
            if value is not None and grad is not None and self._needs(value):
                wanted.append((value, grad))
        self._drop_dead(before, [grad for _, grad in wanted])
        for value, grad in wanted:
            self._add(value, grad, operation.span)

    def _needs(self, value: Value) -> bool:
        """Whether a gradient of ``value`` leads anywhere."""
        return isinstance(value.type, TensorType) and value.type.dtype is DType.FLOAT

    def _drop_dead(self, start: int, wanted: list[Value]) -> None:
        live = {value.name for value in wanted}
        kept: list[Operation] = []
        for operation in reversed(self.build.operations[start:]):
            if any(value.name in live for value in operation.results) or not operation.results:
                live.update(value.name for value in operation.reads())
                kept.append(operation)
        self.build.operations[start:] = reversed(kept)

    def _hand_over(self, value: Value, span: Span | None) -> None:
        """Hand the gradient of a parameter over; of joined ones at once."""
        grad = self.grads.pop(value.name, None)
        if grad is not None:
            # The gradient goes where it is ready, so that what it reads can be let go of.
            made = (place for place, one in enumerate(self.build.operations) if grad in one.results)
            at = max(made, default=-1) + 1
            sink = Operation("gradient", (value, grad), (), (), None, span)
            self.build.operations.insert(at, sink)

    def _call(self, operation: Operation, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """The gradients of a call: a call of the block's backward."""
        backward = self.done[f"{operation.text('block')}.backward"]
        *results, saved = operation.results
        given: list[Value] = [saved]
        for value, grad in zip(results, grads, strict=False):
            given.append(
                grad
                if grad is not None
                else self.build.add(
                    "zeros", (), types=(value.type,), name=f"d{value.name}", span=operation.span
                )
            )
        block = self.done[f"{operation.text('block')}.forward"]
        wanted = [name for name, _ in backward.outputs]
        names = [
            f"d{value.name}"
            for value, taken in zip(operation.operands, block.inputs, strict=True)
            if value is not None and taken.value.name in wanted
        ]
        made = self.build.add_all(
            "call_backward",
            given,
            dict(operation.attributes),
            names=names,
            types=[value.type for _, value in backward.outputs],
            span=operation.span,
        )
        by_name = dict(zip(wanted, made.results, strict=True))
        return [by_name.get(taken.value.name) for taken in block.inputs]

    def _say_again(self) -> None:
        """Put what is cheap before its first reader."""
        again: list[Operation] = []
        seen: set[str] = set()

        def need(value: Value) -> None:
            maker = self.makers.get(value.name)
            if maker is None or maker.op not in SAID_AGAIN or value.name in seen:
                return
            seen.add(value.name)
            for operand in maker.operands:
                if operand is not None:
                    need(operand)
            again.append(maker)

        for operation in self.build.operations:
            for value in operation.reads():
                need(value)
        self.build.operations[:0] = again

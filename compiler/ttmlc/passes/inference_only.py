"""Leave out what only training needs: losses, and the inputs that they alone read.

    model M(%ids, %labels?)                        model M(%ids)
      %y = call(%ids) {block = "Body"}               %y = call(%ids) {block = "Body"}
      %loss = cross_entropy(%y, %labels)     =>      return logits = %y
      return loss = %loss, logits = %y

A model that returns losses alone is refused: nothing of it would be left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ttmlc.ir.module import Function, Kind, Level, Module, Value
from ttmlc.ir.types import TensorType
from ttmlc.passes.base import Outcome, Pass
from ttmlc.passes.lowering.refusal import cannot
from ttmlc.passes.prune import keep_live


@dataclass(frozen=True)
class InferenceOnly(Pass):
    """See the module."""

    name = "inference-only"
    takes = gives = Level.TENSOR

    def run(self, module: Module) -> Outcome:
        return Outcome(module.map_functions(_model))


def _model(function: Function) -> Function:
    if function.kind is not Kind.MODEL:
        return function
    outputs = tuple((name, value) for name, value in function.outputs if not _is_loss(value))
    if not outputs:
        message = f"{function.name} returns losses alone, which are left out where it is not to be trained"
        raise cannot(function.span, message, "Compile it with training.")
    if outputs == function.outputs:
        return function
    operations = keep_live(function.operations, [value for _, value in outputs])
    read = {value.name for operation in operations for value in operation.reads()}
    inputs = tuple(given for given in function.inputs if not given.optional or given.value.name in read)
    return replace(function, inputs=inputs, operations=operations, outputs=outputs)


def _is_loss(value: Value) -> bool:
    return isinstance(value.type, TensorType) and not value.type.dims

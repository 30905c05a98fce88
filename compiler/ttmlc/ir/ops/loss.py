"""Losses: logits and labels to one number, as torch's functions of these names compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ttmlc.ir import scalar
from ttmlc.ir.module import Attribute, Operation
from ttmlc.ir.op import Attributes, AttributeSpec, AxisRule, Cost, Refusal, TensorOp, Unfit, register
from ttmlc.ir.ops.common import elements, floating, rules, tensor, traffic
from ttmlc.ir.scalar import Const
from ttmlc.ir.types import Axis, Dim, DType, TensorType, Type

if TYPE_CHECKING:
    from ttmlc.ir.evaluate import Call


class Loss(TensorOp):
    """float[]. Every axis is reduced.

    ``labels`` may be an input with alternatives, of which its value has the first as its type. So ``infer`` asks only
    that the labels' dimensions are the logits'; that one of the alternatives fits is for :meth:`check`, which
    elaboration and the verifier call with all of them. An array of another alternative is ``Unfit``.
    """

    operands = ("logits", "labels")
    flops = 4
    no_gradient = "it stays in the model, and the runtime's function of its name has the backward"

    def fits(self, logits: TensorType, labels: TensorType, attributes: Attributes) -> bool:
        """Whether labels of this type are what the loss is of."""
        raise NotImplementedError

    def wanted(self, logits: TensorType, attributes: Attributes) -> str:
        """The type of labels that fits, in words."""
        raise NotImplementedError

    def check(self, logits: TensorType, labels: Sequence[TensorType], attributes: Attributes) -> None:
        """Refuse labels of which no alternative fits."""
        if not any(self.fits(logits, alternative, attributes) for alternative in labels):
            raise Refusal(
                f"needs labels of type {self.wanted(logits, attributes)}",
                at="labels",
                label=f"is {' | '.join(map(str, labels))}",
                related=(("logits", f"is {logits}"),),
            )

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        logits, labels = floating(types[0], "logits"), tensor(types[1], "labels")
        if not set(labels.dims) <= set(logits.dims):
            raise Refusal(
                "'labels' has a dimension that 'logits' has not",
                at="labels",
                label=f"is {labels}",
                related=(("logits", f"is {logits}"),),
            )
        return (TensorType(DType.FLOAT, ()),)

    def axes(self, operation: Operation) -> dict[Axis, AxisRule]:
        return rules(operation)

    def cost(self, operation: Operation) -> Cost:
        logits = operation.operands[0]
        assert logits is not None and isinstance(logits.type, TensorType)
        return traffic(operation, scalar.apply("*", elements(logits.type.dims), Const(self.flops)))


@register
class CrossEntropy(Loss):
    """The mean of -log softmax(logits)[label] over the labels that are not ``ignore``; NaN where all are.

    ``over`` is the classes' axis; ``labels`` are int of the logits' other dimensions, in their order.
    """

    name = "cross_entropy"
    attributes = {
        "over": AttributeSpec(required=True, takes="string"),
        "ignore": AttributeSpec(False, Const(-100)),
    }

    @staticmethod
    def _others(logits: TensorType, over: Attribute) -> tuple[Dim, ...]:
        return tuple(dim for dim in logits.dims if not (isinstance(dim, Axis) and dim.name == over))

    def fits(self, logits: TensorType, labels: TensorType, attributes: Attributes) -> bool:
        return labels == TensorType(DType.INT, self._others(logits, attributes["over"]))

    def wanted(self, logits: TensorType, attributes: Attributes) -> str:
        return str(TensorType(DType.INT, self._others(logits, attributes["over"])))

    def infer(self, types: Sequence[Type | None], attributes: Attributes) -> tuple[Type, ...]:
        logits, over = floating(types[0], "logits"), attributes["over"]
        if len(self._others(logits, over)) == len(logits.dims):
            raise Refusal(f"'logits' has no dimension {over!r}", at="logits", label=f"is {logits}")
        return super().infer(types, attributes)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        type_, over = call.types[0], call.text("over")
        assert isinstance(type_, TensorType)
        place = next(i for i, dim in enumerate(type_.dims) if isinstance(dim, Axis) and dim.name == over)
        logits, labels = np.moveaxis(arrays[0], place, -1), arrays[1]
        if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:-1]:
            raise Unfit(f"cross_entropy takes whole labels {list(logits.shape[:-1])}, not {_shown(labels)}")
        counted = labels != call.value("ignore")
        logits, labels = logits[counted], labels[counted]
        if ((labels < 0) | (labels >= logits.shape[-1])).any():
            raise Unfit(f"labels lie in [0, {logits.shape[-1]}), and one is {labels.min()} or {labels.max()}")
        if not len(labels):
            return (logits.dtype.type("nan"),)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=-1))
        chosen = np.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]
        return ((log_sums - chosen).mean(),)


@register
class BinaryCrossEntropy(Loss):
    """The mean of the cross entropy of sigmoid(logits) with labels between 0 and 1 (torch's ``..._with_logits``).

    ``labels`` are float of the logits' dimensions.
    """

    name = "binary_cross_entropy"
    flops = 6

    def fits(self, logits: TensorType, labels: TensorType, attributes: Attributes) -> bool:
        return labels == logits

    def wanted(self, logits: TensorType, attributes: Attributes) -> str:
        return str(logits)

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        import numpy as np

        logits, labels = arrays
        if labels.dtype.kind != "f" or labels.shape != logits.shape:
            raise Unfit(f"binary_cross_entropy takes float labels {list(logits.shape)}, not {_shown(labels)}")
        # max(x, 0) - x y + log(1 + exp(-|x|)): the form that no large logit overflows.
        each = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
        return (each.mean(),)


@register
class MeanSquaredError(Loss):
    """The mean of (logits - labels)^2.

    ``labels`` have the logits' dimensions, or all but the last where that has one entry: [B, 1] with [B], which is
    Hugging Face's squeeze. Whole labels are taken as numbers.
    """

    name = "mean_squared_error"
    flops = 3

    def fits(self, logits: TensorType, labels: TensorType, attributes: Attributes) -> bool:
        return labels.dtype is not DType.BOOL and labels.dims in (logits.dims, logits.dims[:-1])

    def wanted(self, logits: TensorType, attributes: Attributes) -> str:
        return f"{logits} or {TensorType(DType.FLOAT, logits.dims[:-1])}"

    def reference(self, arrays: Sequence[Any], call: Call) -> tuple[Any, ...]:
        logits, labels = arrays
        if logits.shape[-1] == 1 and labels.shape == logits.shape[:-1]:
            labels = labels[..., None]
        if labels.dtype.kind not in "fiu" or labels.shape != logits.shape:
            raise Unfit(
                f"mean_squared_error takes labels {list(logits.shape)}, or without the last where that is 1, "
                f"not {_shown(labels)}"
            )
        return (((logits - labels) ** 2).mean(),)


def _shown(array: Any) -> str:
    return f"{array.dtype} {list(array.shape)}"


LOSSES = tuple(kind.name for kind in (CrossEntropy, BinaryCrossEntropy, MeanSquaredError))

"""The tensor-level ops; importing this package declares them."""

from ttmlc.ir.ops import (
    apart,
    arithmetic,
    attention,
    batches,
    gradients,
    integers,
    joint,
    labels,
    linear,
    loss,
    norm,
    shape,
    structure,
)

__all__ = [
    "apart",
    "arithmetic",
    "attention",
    "batches",
    "gradients",
    "integers",
    "joint",
    "labels",
    "linear",
]
__all__ += ["loss", "norm", "shape", "structure"]

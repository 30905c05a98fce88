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
    rms_norm,
    rotary,
    shape,
    structure,
)

__all__ = ["apart", "arithmetic", "attention", "batches", "gradients", "integers", "joint", "labels"]
__all__ += ["linear", "loss", "norm", "rms_norm", "rotary", "shape", "structure"]

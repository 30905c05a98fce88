"""The tensor-level ops; importing this package declares them."""

from ttmlc.ir.ops import arithmetic, attention, gradients, joint, linear, loss, norm, shape, structure

__all__ = ["arithmetic", "attention", "gradients", "joint", "linear", "loss", "norm", "shape", "structure"]

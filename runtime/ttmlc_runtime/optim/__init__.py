"""Optimizers: PyTorch's formulas on what the device holds, with float32 masters where it rounds."""

from ttmlc_runtime.optim.adam import Adam, AdamW
from ttmlc_runtime.optim.clip import clip_grad_norm
from ttmlc_runtime.optim.lion import Lion
from ttmlc_runtime.optim.optimizer import Optimizer
from ttmlc_runtime.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Lion", "Optimizer", "clip_grad_norm"]

"""Training: what stands between a model, an optimizer and a run of many hours."""

from ttmlc_runtime.train.state import load_training_state, save_training_state

__all__ = ["load_training_state", "save_training_state"]

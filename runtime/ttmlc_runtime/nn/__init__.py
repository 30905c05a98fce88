"""What every generated module has in common: configs, scopes, inputs, outputs, the numerics policy, models."""

from ttmlc_runtime.nn.activations import activate, activate_backward
from ttmlc_runtime.nn.config import Config, require
from ttmlc_runtime.nn.devices import close_device, close_devices, device, open_device, open_mesh
from ttmlc_runtime.nn.fields import (
    REQUIRED,
    activation,
    choice,
    flag,
    fused,
    integer,
    rate,
    real,
    size,
    token,
)
from ttmlc_runtime.nn.functional import (
    dropout,
    embedding_backward,
    layer_norm,
    layer_norm_backward,
    masked_scores,
    softmax_backward,
)
from ttmlc_runtime.nn.inputs import Inputs, Integers, Mask
from ttmlc_runtime.nn.kernels import HIFI2, HIFI4, Compute, Kernels, Policy
from ttmlc_runtime.nn.model import Block, Model
from ttmlc_runtime.nn.outputs import Activation, Output
from ttmlc_runtime.nn.scope import Holder, Registry, Scope

__all__ = [
    "HIFI2", "HIFI4", "REQUIRED", "Activation", "Block", "Compute", "Config", "Holder", "Inputs", "Integers",
    "Kernels", "Mask", "Model", "Output", "Policy", "Registry", "Scope", "activate", "activate_backward",
    "activation", "choice", "close_device", "close_devices", "device", "dropout", "embedding_backward", "flag",
    "fused", "integer", "layer_norm", "layer_norm_backward", "masked_scores", "open_device", "open_mesh", "rate",
    "real", "require", "size", "softmax_backward", "token",
]  # fmt: skip

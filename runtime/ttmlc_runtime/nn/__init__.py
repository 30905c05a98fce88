"""What every generated module has in common: configs, scopes, inputs, outputs, the numerics policy, models."""

from ttmlc_runtime.nn.activations import activate
from ttmlc_runtime.nn.config import Config, require
from ttmlc_runtime.nn.devices import close_devices, device, open_device
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
from ttmlc_runtime.nn.inputs import Inputs, Integers, Mask
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.nn.model import Block, Model
from ttmlc_runtime.nn.outputs import Activation, Output
from ttmlc_runtime.nn.scope import Holder, Registry, Scope

__all__ = [
    "REQUIRED", "Activation", "Block", "Config", "Holder", "Inputs", "Integers", "Kernels", "Mask", "Model", "Output",
    "Registry", "Scope", "activate", "activation", "choice", "close_devices", "device", "flag", "fused", "integer",
    "open_device",
    "rate", "real", "require", "size", "token",
]  # fmt: skip

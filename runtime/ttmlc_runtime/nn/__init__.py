"""What every generated module has in common: configs, scopes, inputs, outputs, the numerics policy, models."""

from ttmlc_runtime.autograd import Function, Saved, Variable, enable_grad, is_recording, no_grad
from ttmlc_runtime.nn.activations import activate, activate_backward
from ttmlc_runtime.nn.block import Block, Gradients, blocks_of
from ttmlc_runtime.nn.cache import Cache
from ttmlc_runtime.nn.config import Config, require
from ttmlc_runtime.nn.devices import close_device, close_devices, device, open_device, open_mesh
from ttmlc_runtime.nn.elementwise_losses import binary_cross_entropy_with_logits, mse_loss
from ttmlc_runtime.nn.fields import (
    REQUIRED,
    activation,
    choice,
    exactly,
    flag,
    fused,
    integer,
    rate,
    real,
    size,
    token,
)
from ttmlc_runtime.nn.functional import (
    both,
    causal_mask,
    causal_window,
    dropout,
    embedding_backward,
    join_heads,
    layer_norm,
    layer_norm_backward,
    masked_scores,
    rms_norm_backward,
    rows,
    softmax_backward,
    split_heads,
    spread,
)
from ttmlc_runtime.nn.heads import clamp_labels, first, next_labels, reshape, weighed
from ttmlc_runtime.nn.inputs import Inputs, Integers, Labels, Mask, is_bool, is_float, is_int
from ttmlc_runtime.nn.kernels import HIFI2, HIFI4, Compute, Kernels, Policy
from ttmlc_runtime.nn.losses import cross_entropy, span_loss
from ttmlc_runtime.nn.model import Model
from ttmlc_runtime.nn.observing import Observer, observed
from ttmlc_runtime.nn.outputs import Activation, Output
from ttmlc_runtime.nn.parameter import Gradient, Parameter
from ttmlc_runtime.nn.rotary import Array, Rotary, Table, rotary, rotary_backward
from ttmlc_runtime.nn.scope import Holder, Registry, Scope

__all__ = [
    "HIFI2", "HIFI4", "REQUIRED", "Activation", "Array", "Block", "Cache", "Compute", "Config", "Function", "Gradient",
    "Gradients", "Holder", "Inputs", "Integers", "Kernels", "Labels", "Mask", "Model", "Observer", "Output",
    "Parameter", "Policy", "Registry", "Rotary", "Saved", "Scope", "Table", "Variable", "activate", "activate_backward",
    "activation", "binary_cross_entropy_with_logits", "blocks_of", "both", "causal_mask", "causal_window", "choice",
    "clamp_labels", "close_device", "close_devices", "cross_entropy", "device", "dropout", "embedding_backward",
    "enable_grad", "exactly", "first", "flag", "fused", "integer", "is_bool", "is_float", "is_int", "is_recording",
    "join_heads", "layer_norm", "layer_norm_backward", "masked_scores", "mse_loss", "next_labels", "no_grad",
    "observed", "open_device", "open_mesh", "rate", "real", "require", "reshape", "rms_norm_backward", "rotary",
    "rotary_backward", "rows", "size", "softmax_backward", "span_loss", "split_heads", "spread", "token", "weighed",
]  # fmt: skip

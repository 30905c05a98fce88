"""Weights: parameters under Hugging Face's names, chains, and safetensors files. Never a pickle."""

from ttmlc_runtime.weights.chain import Chain, Concat, Leaf, concat, gather
from ttmlc_runtime.weights.load import LoadReport, Misshapen
from ttmlc_runtime.weights.parameter import Parameter, normal, ones, zeros
from ttmlc_runtime.weights.storage import Storage

__all__ = [
    "Chain",
    "Concat",
    "Leaf",
    "LoadReport",
    "Misshapen",
    "Parameter",
    "Storage",
    "concat",
    "gather",
    "normal",
    "ones",
    "zeros",
]

"""Weights: parameters under Hugging Face's names, chains, and safetensors files. Never a pickle."""

from ttmlc_runtime.weights.chain import Chain, Leaf, Parameter, concat, gather, normal, ones, zeros
from ttmlc_runtime.weights.load import LoadReport, Misshapen

__all__ = [
    "Chain",
    "Leaf",
    "LoadReport",
    "Misshapen",
    "Parameter",
    "concat",
    "gather",
    "normal",
    "ones",
    "zeros",
]

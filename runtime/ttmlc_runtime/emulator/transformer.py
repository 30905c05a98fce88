"""The ops of ``ttnn.transformer`` that are modelled."""

from __future__ import annotations

from ttmlc_runtime.emulator.ops.attention import scaled_dot_product_attention
from ttmlc_runtime.emulator.ops.heads import concatenate_heads, split_query_key_value_and_split_heads

__all__ = ["concatenate_heads", "scaled_dot_product_attention", "split_query_key_value_and_split_heads"]


def __getattr__(name: str) -> object:
    raise AttributeError(f"the emulator does not model ttnn.transformer.{name}: see docs/emulator.md")

"""The ops of ``ttnn.experimental`` that are modelled."""

from __future__ import annotations

from ttmlc_runtime.emulator.ops.dropout import dropout
from ttmlc_runtime.emulator.ops.heads import nlp_concat_heads, nlp_create_qkv_heads

__all__ = ["dropout", "nlp_concat_heads", "nlp_create_qkv_heads"]


def __getattr__(name: str) -> object:
    raise AttributeError(f"the emulator does not model ttnn.experimental.{name}: see docs/emulator.md")

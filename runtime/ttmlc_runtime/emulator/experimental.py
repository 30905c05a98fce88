"""The ops of ``ttnn.experimental`` that are modelled."""

from __future__ import annotations

from ttmlc_runtime.emulator.ops.dropout import dropout
from ttmlc_runtime.emulator.ops.heads import nlp_concat_heads, nlp_create_qkv_heads
from ttmlc_runtime.emulator.ops.rotary import rotary_embedding_hf

__all__ = ["dropout", "nlp_concat_heads", "nlp_create_qkv_heads", "rotary_embedding_hf"]


def __getattr__(name: str) -> object:
    raise AttributeError(f"the emulator does not model ttnn.experimental.{name}: see docs/emulator.md")

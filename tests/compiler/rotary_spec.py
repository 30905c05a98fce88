"""A small causal model with rotary positions."""

from __future__ import annotations

from pathlib import Path

from ttmlc.api import compile_text
from ttmlc.source import SourceFile

SPEC = '''"""A small causal model with rotary positions."""
use rope

config Turned for "turned":
    vocab: size = 40 from vocab_size
    hidden: size = 64 from hidden_size
    layers: size = 2 from num_hidden_layers
    heads: size = 2 from num_attention_heads
    positions: size = 256 from max_position_embeddings
    eps: float = 1e-5 from layer_norm_eps
    std: float = 0.2 from initializer_range
    rope: Rope from rope_scaling | rope_parameters
    head_dim = hidden / heads
    require hidden % heads == 0, "heads must divide hidden"

defaults:
    linear, embedding, param: init=normal(std)
    layer_norm: eps=eps

block Attention(x: [B, S, hidden], mask: bool[B, S], angles: [B, S, half]):
    q = linear(x, (heads head_dim), at="q_proj") as [B, heads, S, head_dim]
    k = linear(x, (heads head_dim), at="k_proj") as [B, heads, S, head_dim]
    v = linear(x, (heads head_dim), at="v_proj") as [B, heads, S, head_dim]
    a = attention(rotary(q, angles), rotary(k, angles), v, mask=mask, causal=true)
    return linear(a as [B, S, (heads head_dim)], hidden, at="o_proj")

block Layer(x: [B, S, hidden], mask: bool[B, S], angles: [B, S, half]):
    return x + Attention(layer_norm(x, at="ln"), mask, angles, at="self_attn")

model TurnedModel(input_ids: int[B, S], attention_mask: bool[B, S] = 1, position_ids: int[B, S] = position(S)):
    param word: [vocab, hidden] at "embed_tokens.weight"
    angles = position_ids * inv_freq
    h = word[input_ids]
    repeat i in layers at "layers.{i}":
        h = Layer(h, attention_mask, angles)
    return last_hidden_state=layer_norm(h, at="norm")
'''


def compiled(folder: Path, config: Path | None = None, text: str = SPEC) -> Path:
    """The emitted module, generic or for a config.json, written into ``folder``."""
    made = compile_text(SourceFile("turned.spec", text), folder / "turned.spec", config=config)
    path = folder / "turned.py"
    path.write_text(made.text)
    return path

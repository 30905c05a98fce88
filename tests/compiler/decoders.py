"""A pre-norm causal decoder with grouped queries, and the same in a few lines of torch."""

from __future__ import annotations

import functools
import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ttmlc.api import compile_text
from ttmlc.source import SourceFile

from tests.modules import imported

SPEC = '''"""A pre-norm causal decoder with grouped queries and a gated feed-forward."""
use heads

config Decoder for "decoder":
    vocab: size = 99 from vocab_size
    hidden: size = 96 from hidden_size
    layers: size = 2 from num_hidden_layers
    heads: size = 3 from num_attention_heads
    kv: size = 1, null = heads from num_key_value_heads
    head_dim: size = hidden / heads from head_dim
    inner: size = 64 from intermediate_size
    positions: size = 140 from max_position_embeddings
    act: activation = silu from hidden_act
    eps: float = 1e-6 from rms_norm_eps
    std: float = 0.2 from initializer_range
    bias: bool = false from attention_bias
    o_bias: bool = bias
    mlp_bias: bool = false from mlp_bias
    p_attn: rate = 0 from attention_dropout
    p_head: rate = 0.1 from classifier_dropout
    windowed: bool = true from use_sliding_window
    reach: size? = 4096 from sliding_window if windowed
    pad: token? = none from pad_token_id
    tie: bool = false from tie_word_embeddings
    axis heads = (kv group)

defaults:
    linear, embedding, param: init=normal(std)
    rms_norm: eps=eps

block Attention(x: [B, S, hidden], mask: bool[B, S]):
    q = rms_norm(linear(x, (heads head_dim), bias=bias, at="q_proj") as [B, heads, S, head_dim], at="q_norm")
    k = rms_norm(linear(x, (kv head_dim), bias=bias, at="k_proj") as [B, kv, S, head_dim], at="k_norm")
    v = linear(x, (kv head_dim), bias=bias, at="v_proj") as [B, kv, S, head_dim]
    a = attention(q, k, v, mask=mask, causal=true, window=reach, dropout=p_attn)
    return linear(a as [B, S, (heads head_dim)], hidden, bias=o_bias, at="o_proj")

block FeedForward(x: [B, S, hidden]):
    u = act(linear(x, inner, bias=mlp_bias, at="gate_proj")) * linear(x, inner, bias=mlp_bias, at="up_proj")
    return linear(u, hidden, bias=mlp_bias, at="down_proj")

block Layer(h: [B, S, hidden], mask: bool[B, S]):
    a = h + Attention(rms_norm(h, at="input_layernorm"), mask, at="self_attn")
    return a + FeedForward(rms_norm(a, at="post_attention_layernorm"), at="mlp")

block Logits(x: [B, S, hidden], word: [vocab, hidden]):
    return linear(x, vocab, weight=word if tie, bias=false, at="lm_head")

model DecoderModel(input_ids: int[B, S], attention_mask: bool[B, S] = 1, position_ids: int[B, S] = position(S)):
    param word: [vocab, hidden] at "embed_tokens.weight", pad=pad
    h = word[input_ids] + embedding(position_ids, positions, hidden, at="embed_positions")
    repeat i in layers at "layers.{i}":
        h = Layer(h, attention_mask)
    return last_hidden_state=rms_norm(h, at="norm")

offers DecoderModel at "model":
    CausalLM(logits=Logits(base.last_hidden_state, base.word)) as DecoderForCausalLM
'''
PLAIN = re.sub(r"rms_norm\((linear\(.*\) as \[.*\]), at=\"._norm\"\)", r"\1", SPEC)
"""Without norms of queries and keys."""


@functools.cache
def written(text: str = SPEC, preset: tuple[tuple[str, Any], ...] = ()) -> Path:
    """The module of a spec, in a folder of its own; of ``preset`` where it is built for these fields."""
    folder = Path(tempfile.mkdtemp(prefix="decoders"))
    given = None
    if preset:
        given = folder / "decoder-one.yaml"
        lines = [f"  {name}: {str(value).lower()}" for name, value in preset]
        given.write_text("\n".join(["model: decoder", "config:", *lines]) + "\n")
    file = SourceFile("decoder.spec", text)
    compiled = compile_text(file, folder / "decoder.spec", preset=given)
    path = folder / f"decoder_{abs(hash((text, preset)))}.py"
    path.write_text(compiled.text)
    return path


@functools.cache
def made(text: str = SPEC, preset: tuple[tuple[str, Any], ...] = ()) -> Any:
    """The module itself."""
    return imported(written(text, preset))


def seen(c: Any, mask: torch.Tensor) -> torch.Tensor:
    """Which keys each query sees: bool [B, 1, S, S]."""
    place = torch.arange(mask.shape[1])
    query, key = place[:, None], place[None]
    shown = key <= query
    if c.reach is not None:
        shown &= key > query - c.reach
    return shown & mask[:, None, None, :]


def logits(c: Any, held: Mapping[str, torch.Tensor], ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the model with its head computes, said once more."""
    batch, tokens = ids.shape
    shown = seen(c, mask)

    def norm(x: torch.Tensor, at: str) -> torch.Tensor:
        if at not in held:
            return x
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + c.eps) * held[at]

    def linear(x: torch.Tensor, at: str) -> torch.Tensor:
        y = x @ held[f"{at}.weight"].T
        return y + held[f"{at}.bias"] if f"{at}.bias" in held else y

    h = held["model.embed_tokens.weight"][ids] + held["model.embed_positions.weight"][:tokens]
    for i in range(c.layers):
        at = f"model.layers.{i}"
        x = norm(h, f"{at}.input_layernorm.weight")

        def heads(name: str, count: int, x: torch.Tensor = x, at: str = at) -> torch.Tensor:
            y = linear(x, f"{at}.self_attn.{name}_proj").reshape(batch, tokens, count, c.head_dim)
            return norm(y, f"{at}.self_attn.{name}_norm.weight").transpose(1, 2)

        q, k, v = (heads(name, count) for name, count in (("q", c.heads), ("k", c.kv), ("v", c.kv)))
        k, v = (one.repeat_interleave(c.heads // c.kv, 1) for one in (k, v))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(c.head_dim)).masked_fill(~shown, -1e9)
        a = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, tokens, -1)
        h = h + linear(a, f"{at}.self_attn.o_proj")
        x = norm(h, f"{at}.post_attention_layernorm.weight")
        u = torch.nn.functional.silu(linear(x, f"{at}.mlp.gate_proj")) * linear(x, f"{at}.mlp.up_proj")
        h = h + linear(u, f"{at}.mlp.down_proj")
    head = held["model.embed_tokens.weight"] if c.tie else held["lm_head.weight"]
    return norm(h, "model.norm.weight") @ head.T

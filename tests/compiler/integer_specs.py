"""A small causal encoder: positions counted from its ids, a classifier of the last real token, a choice among texts."""

from __future__ import annotations

CAUSAL = '''"""A small causal encoder."""
use heads

config Tiny for "tiny":
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    heads: size = 1 from num_heads
    places: size = 140 from places
    std: float = 0.3 from std
    p_head: rate = 0.0 from p
    fill: token = 3 from fill
    pad: token? = 3 from pad_token_id
    head_dim = hidden / heads

defaults:
    linear, embedding, param: init=normal(0.5)
    layer_norm: eps=1e-5

block Attend(x: [B, S, hidden], mask: bool[B, S]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    k = linear(x, (heads head_dim), at="k") as [B, heads, S, head_dim]
    v = linear(x, (heads head_dim), at="v") as [B, heads, S, head_dim]
    a = attention(q, k, v, mask=mask, causal=true) as [B, S, (heads head_dim)]
    return layer_norm(x + linear(a, hidden, at="o"), at="n")

model TinyModel(input_ids: int[B, S], mask: bool[B, S] = 1, position_ids: int[B, S] = running(input_ids != fill, S) * (input_ids != fill) + fill):
    param word: [vocab, hidden] at "word.weight"
    h = word[input_ids] + embedding(position_ids, places, hidden, at="places", pad=fill)
    return last_hidden_state=Attend(h, mask, at="attend")

head Choose(base over choices, chosen: int[B, choices] = size(S) - 1, labels?: int[B]):
    token = pick(base.last_hidden_state, S, chosen)
    logits = linear(token, 1, at="out") as [B, choices]
    return loss=cross_entropy(logits, labels, over=choices), logits=logits

offers TinyModel at "tiny":
    SequenceClassification(pooled=last_real(base.last_hidden_state, base.input_ids), p=0, at="score", bias=false)
    Choose
'''  # noqa: E501  # a statement is one line

MADE = """config Made for "made":
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    heads: size = 1 from num_heads
    fill: token = 3 from fill
    head_dim = hidden / heads

defaults:
    linear, embedding, param: init=normal(0.5)

model MadeModel(ids: int[B, S], mask: bool[B, S] = ids != fill, best: int[B] = argmax(ids, S)):
    param word: [vocab, hidden] at "word.weight"
    h = word[ids]
    q = linear(h, (heads head_dim), at="q") as [B, heads, S, head_dim]
    a = attention(q, q, q, mask=mask, causal=true) as [B, S, (heads head_dim)]
    b = attention(q, q, q, mask=(ids != 5), causal=true) as [B, S, (heads head_dim)]
    g = word[where(ids == 9, best, size(S) - 1)]
    return h=linear(a + b, hidden, at="o"), best=pick(g, S, best), last=last(h, S), second=pick(h, S, 1)

head Next(base, labels?: int[B, S]):
    logits = linear(base.h, vocab, at="lm")
    own = cross_entropy(logits, where(base.ids == fill, -100, next(base.ids, S)), over=vocab)
    return own=own, loss=cross_entropy(logits, labels, over=vocab), logits=logits

offers MadeModel at "made":
    Next
"""

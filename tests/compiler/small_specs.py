"""Small specs that use one feature of the language each."""

from __future__ import annotations

HEAD = """config Small for "small":
    vocab: size = 19 from vocab_size
    hidden: size = 64 from hidden_size
    heads: size = 2 from num_heads
    layers: size = 2 from num_layers
    act: activation = gelu from act
    causal: bool = false from is_decoder
    reach: size = 5 from reach
    kind[i in layers]: full | sliding = sliding if i % 2 == 0 else full from kinds
    loud[i in layers]: bool = i > 0 from loud
    share[i in layers]: float = (i + 1) * 0.25 from shares
    head_dim = hidden / heads

axis qkv: q | k | v

defaults:
    linear, embedding, param: init=normal(0.5)
    layer_norm: eps=1e-5

block Attend(x: [B, S, hidden], mask: bool[B, S]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    k = linear(x, (heads head_dim), at="k") as [B, heads, S, head_dim]
    v = linear(x, (heads head_dim), at="v") as [B, heads, S, head_dim]
    return attention(q, k, v, mask=mask, causal=causal) as [B, S, (heads head_dim)]

block Two(x: [B, S, hidden]):
    a = tanh(linear(x, hidden, at="a"))
    return first_one=a, second_one=a * x

block Inner(x: [B, S, hidden]):
    return linear(x, hidden, at="w", bias=false)

block Outer(x: [B, S, hidden]):
    return x + Inner(act(Inner(x, at="one")), at="two")

"""
NUMBERED = """block Numbered(x: [B, S, hidden]):
    return x * (i + 2) + Inner(x, at="in") / (i + 1 if causal else 2 ** i)

block Nested(x: [B, S, hidden]):
    return Numbered(tanh(x), at="deep")

"""
"""Blocks that read the index of the repeat that they stand in."""
SLIDING = """block Sliding(x: [B, S, hidden], mask: bool[B, S]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    a = attention(q, q, q, mask=mask, causal=true, window=reach if kind[i] == sliding else none)
    return linear(a as [B, S, (heads head_dim)], hidden, at="o") * share[i]

block Unmasked(x: [B, S, hidden]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    a = attention(q, q, q, causal=true, window=2 if loud[i] else reach if kind[i] == sliding else none)
    return linear(a as [B, S, (heads head_dim)], hidden, at="o")

"""
"""Blocks that read fields by layer."""
BODIES = {
    "an activation of a sum": "h = act(h + linear(h, hidden, at=\"a\"))\nreturn h=h",
    "tanh form": "h = gelu_new(h)\nreturn h=h",
    "an activation or none": (
        "u = linear(h, hidden, at=\"a\")\nh = act(u) if causal else u\n"
        "return h=h, g=relu(h) if heads == 2 else tanh(h) if causal else h"
    ),
    "silu and relu": "h = silu(h) - relu(h)\nreturn h=h",
    "arithmetic": "h = (h + h) * h / (h * h + h) - h\nreturn h=h",
    "a block with two results": "t = Two(h, at=\"t\")\nreturn h=t.first_one + t.second_one, g=t.second_one",
    "blocks in blocks": "h = Outer(h, at=\"o\")\nreturn h=h",
    "one block twice": "h = Inner(Inner(h, at=\"a\"), at=\"b\")\nreturn h=h",
    "a stored order": "h = linear(h, hidden, at=\"a\", stored=[in, out])\nreturn h=h",
    "the first token": "return h=h, p=tanh(linear(first(h, S), hidden, at=\"p\"))",
    "tokens that the host picks": (
        "h = h + word[where(ids < types, ids, types)]\n"
        "return h=h, p=linear(pick(h, S, argmax(ids, S)), hidden, at=\"p\"), end=last(h, S)"
    ),
    "a mask": "h = linear(Attend(h, mask, at=\"att\"), hidden, at=\"o\")\nreturn h=h",
    "attention in the model": (
        "q = linear(h, (heads head_dim), at=\"q\") as [B, heads, S, head_dim]\n"
        "a = attention(q, q, q, causal=true, scale=0.3) as [B, S, (heads head_dim)]\n"
        "return h=linear(a, hidden, at=\"o\")"
    ),
    "attention with and without a bias": (
        "q = linear(h, (heads head_dim), at=\"q\", bias=false) as [B, heads, S, head_dim]\n"
        "k = linear(h, (heads head_dim), at=\"k\") as [B, heads, S, head_dim]\n"
        "a = attention(q, k, k, mask=mask) as [B, S, (heads head_dim)]\nreturn h=linear(a, hidden, at=\"o\")"
    ),
    "heads that are returned": (
        "q = linear(h, (heads head_dim), at=\"q\") as [B, heads, S, head_dim]\n"
        "a = attention(q, q, q, mask=mask)\nreturn a=a, h=a as [B, S, (heads head_dim)]"
    ),
    "a repeat": "repeat i in layers at \"layer.{i}\":\n    h = Outer(h, at=\"x\")\nreturn h=h",
    "a repeat that carries two": (
        "g = h\nrepeat i in layers at \"layer.{i}\":\n    g = Inner(h, at=\"g\")\n    h = h + g\nreturn h=h, g=g"
    ),
    "two repeats": (
        "repeat i in layers at \"a.{i}\":\n    h = Inner(h)\n"
        "repeat j in heads at \"b.{j}\":\n    h = Inner(h)\nreturn h=h"
    ),
    "one table, two lookups": "h = h + word[types]\nreturn h=h",
    "a norm of a sum that is kept": "s = h + linear(h, hidden, at=\"a\")\nn = layer_norm(s, at=\"n\")\nreturn n=n, s=s",
    "views before a repeat": (
        "h = layer_norm(h + word[types] + word[types], at=\"n\")\n"
        "repeat i in layers at \"layer.{i}\":\n    h = Inner(h, at=\"a\")\n    h = Outer(h, at=\"b\")\nreturn h=h"
    ),
    "one projection, cut by labels": (
        "q, k, v = linear(h, (qkv heads head_dim), at=\"c\", stored=[in, out]) as [qkv, B, heads, S, head_dim]\n"
        "a = attention(q, k, v, mask=mask, scale=1.0 / heads) as [B, S, (heads head_dim)]\n"
        "return h=linear(a, hidden, at=\"o\", stored=[in, out])"
    ),
    "one projection, cut by labels, of which one is read twice": (
        "q, k, v = linear(h, (qkv heads head_dim), at=\"c\") as [qkv, B, heads, S, head_dim]\n"
        "a = attention(q, k, k, mask=mask) + v\nreturn h=a as [B, S, (heads head_dim)]"
    ),
    "a repeat with parameters of its own": (
        "repeat i in layers at \"layer.{i}\":\n    h = h + Inner(layer_norm(h, at=\"n\"), at=\"w\")\nreturn h=h"
    ),
    "the index of a repeat": (
        "repeat i in layers at \"layer.{i}\":\n    h = Numbered(h, at=\"a\")\n    h = Inner(h, at=\"b\")\nreturn h=h"
    ),
    "the index of a repeat, deeper down": (
        "repeat i in layers at \"layer.{i}\":\n    h = h + Nested(h, at=\"n\") * (i + 1)\nreturn h=h"
    ),
    "windows by layer": (
        "repeat i in layers at \"layer.{i}\":\n    h = h + Sliding(h, mask, at=\"s\")\nreturn h=h"
    ),
    "windows by layer, and no mask": (
        "repeat i in layers at \"layer.{i}\":\n    h = h + Unmasked(h, at=\"s\") * share[i]\nreturn h=h"
    ),
    "an optional input": (
        "e = h + word[types]\nif given(more):\n    e = e + word[more]\nh = e + h\nreturn h=linear(h, hidden, at=\"a\")"
    ),
    "an optional input with a table of its own": (
        "if given(more):\n    h = h + embedding(more, vocab, hidden, at=\"more\")\n    h = Inner(h, at=\"w\")\n"
        "return h=linear(h, hidden, at=\"a\")"
    ),
    "a value that is made and not read": "unused = linear(h, hidden, at=\"unused\")\nreturn h=h",
}  # fmt: skip


def spec(body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    more = ", more?: int[B, S]" if "more" in body else ""
    numbered = NUMBERED + SLIDING if "repeat i " in body else ""
    return (
        f"{HEAD}{numbered}model SmallModel(ids: int[B, S], mask: bool[B, S] = 1, types: int[B, S] = 3{more}):\n"
        f'    param word: [vocab, hidden] at "word.weight"\n    h = word[ids]\n{lines}'
    )

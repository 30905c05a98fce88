"""One storage chain for weights that are tied, fused over grouped queries, padded and split over two devices.

    python docs/adr/sketches/storage_chain.py      # loads, saves, compares bits; the runtime and numpy are enough

(A sketch, written by hand: see docs/adr/0003-a-parameter-is-not-a-buffer.md. It is what a build for tp=2 of a small
model would hold: vocab 50, hidden 96, heads 6, kv 2, head_dim 48.)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ttmlc_runtime.weights import Chain, Leaf, Parameter, concat, gather, normal
from ttmlc_runtime.weights.parameter import Array

TP = 2
VOCAB, HIDDEN, HEADS, KV, HEAD_DIM = 50, 96, 6, 2, 48
WHOLE_VOCAB = 64  # tiles of 32 on each of two devices
WHOLE_HEAD = 64  # rotary takes 32 or a multiple of 64
HALF, WHOLE_HALF = HEAD_DIM // 2, WHOLE_HEAD // 2
SCALE = HEAD_DIM**-0.5  # said to attention, which would take the padded width


def parameter(name: str, *shape: int) -> Chain:
    """A parameter under its Hugging Face name, in the checkpoint's layout."""
    return Leaf(Parameter(name, shape, normal(0.02)))


@dataclass(frozen=True)
class Form:
    """A tensor on the devices: a chain, and the dimension of it that is split over them."""

    chain: Chain
    split: int

    def parts(self) -> tuple[Chain, ...]:
        """The chain of each device."""
        return self.chain.shards(self.split, TP)


# Tied. The storage is rows of the vocabulary, for lookups; the head's form is derived from it. Both are split along
# the vocabulary, so that a device makes its part of the second from its part of the first.
word = parameter("model.embed_tokens.weight", VOCAB, HIDDEN).padded(0, (1, VOCAB, 1), to=WHOLE_VOCAB)
embed_tokens = Form(word, split=0)  # [(vocab), hidden], rows
lm_head = Form(word.T, split=1)  # [hidden, (vocab)], tiles: derived

# Fused and padded. Columns are (tp (q, k, v) heads head_dim). Rotary pairs the two halves of a head, so that each half
# is padded; v meets only the output projection, which is padded alike.
q = parameter("model.layers.0.self_attn.q_proj.weight", HEADS * HEAD_DIM, HIDDEN)
k = parameter("model.layers.0.self_attn.k_proj.weight", KV * HEAD_DIM, HIDDEN)
v = parameter("model.layers.0.self_attn.v_proj.weight", KV * HEAD_DIM, HIDDEN)
o = parameter("model.layers.0.self_attn.o_proj.weight", HIDDEN, HEADS * HEAD_DIM)

q = q.padded(0, (HEADS * 2, HALF, 1), to=WHOLE_HALF).T.reshaped(HIDDEN, TP, HEADS // TP * WHOLE_HEAD)
k = k.padded(0, (KV * 2, HALF, 1), to=WHOLE_HALF).T.reshaped(HIDDEN, TP, KV // TP * WHOLE_HEAD)
v = v.padded(0, (KV, HEAD_DIM, 1), to=WHOLE_HEAD).T.reshaped(HIDDEN, TP, KV // TP * WHOLE_HEAD)
q_k_v_proj = Form(concat(q, k, v).reshaped(HIDDEN, (HEADS + 2 * KV) * WHOLE_HEAD), split=1)
o_proj = Form(o.padded(1, (HEADS, HEAD_DIM, 1), to=WHOLE_HEAD).T, split=0)  # rows are (heads head_dim)

STORAGES = {"embed_tokens": embed_tokens, "q_k_v_proj": q_k_v_proj, "o_proj": o_proj}
DERIVED = {"lm_head": (lm_head, "embed_tokens")}

Devices = list[dict[str, Array]]  # for each device its part of each tensor


def load(parameters: Mapping[str, Array]) -> Devices:
    """What each device holds, from a checkpoint's tensors; derived forms are made where they lie."""
    parts = {name: form.parts() for name, form in STORAGES.items()}
    devices = [{name: parts[name][d].forward(parameters) for name in parts} for d in range(TP)]
    refresh(devices)
    return devices


def refresh(devices: Devices) -> None:
    """Make the derived forms again, after loading and after each step of an optimizer: a transpose on the device."""
    for held in devices:
        for name, (_, source) in DERIVED.items():
            held[name] = held[source].T


def save(devices: Devices) -> dict[str, Array]:
    """The checkpoint's tensors, from the storages alone: a derived form holds nothing of its own."""
    return {name: array for form in STORAGES.items() for name, array in _gathered(*form, devices).items()}


def gradients(devices: Devices) -> dict[str, Array]:
    """Gradients by parameter, from what the backward left on each device.

    A storage's gradient has its layout, and a derived form's is brought into it before they are added: once, there.
    """
    added: Devices = [{name: held[name] for name in STORAGES} for held in devices]
    for mine, held in zip(added, devices, strict=True):
        for name, (_, source) in DERIVED.items():
            mine[source] = mine[source] + held[name].T
    return save(added)


def _gathered(name: str, form: Form, devices: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return gather(form.parts(), [held[name] for held in devices])


def main() -> int:
    """Random bits through the chain and back; the exit code."""
    bits = np.random.default_rng(0)
    parameters = {
        leaf.name: bits.integers(0, 1 << 32, leaf.shape, np.uint32).view(np.float32)
        for form in STORAGES.values()
        for leaf in form.chain.parameters()
    }
    devices = load(parameters)
    saved = save(devices)
    same = {name: array.tobytes() == saved[name].tobytes() for name, array in parameters.items()}
    for name, form in STORAGES.items():
        shape = "x".join(map(str, devices[0][name].shape))
        sys.stdout.write(f"{name:12} {shape:>8} a device  = {form.chain}, dim {form.split} split\n")
    sys.stdout.write(f"{sum(same.values())} of {len(parameters)} parameters came back bit for bit\n")
    return 0 if all(same.values()) and set(saved) == set(parameters) else 1


if __name__ == "__main__":
    sys.exit(main())

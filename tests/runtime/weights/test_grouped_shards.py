"""One model's weights with every complication at once, loaded and saved bit for bit.

Grouped queries fused with their keys and values so that each of two devices holds its own, heads padded to tiles,
rotary rows taken in turns, a vocabulary padded to whole tiles on both devices, and an embedding that is tied to the
output: one parameter, two resident forms on each device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights import Chain, concat, normal

TP = 2
"""Devices."""


@dataclass(frozen=True, kw_only=True)
class GroupedConfig(nn.Config):
    vocab: int = nn.size(70, "vocab_size")
    hidden: int = nn.size(48, "hidden_size")
    heads: int = nn.size(12, "num_attention_heads")
    kv: int = nn.size(4, "num_key_value_heads")
    head_dim: int = nn.size(20, "head_dim")
    layers: int = nn.size(2, "num_hidden_layers")


def wide(size: int, of: int = 32) -> int:
    return -(-size // of) * of


class Grouped(nn.Model[GroupedConfig]):
    """Only the weights: nothing is computed here."""

    Config = GroupedConfig
    groups = TP
    """Queries, keys and values lie together for each device; or, with config.kv, for each key's group."""

    def build(self, at: nn.Scope, c: GroupedConfig) -> None:
        padded = wide(c.head_dim)

        def heads(name: str, count: int, rotary: bool) -> Chain:
            chain = at.parameter(name, (count * c.head_dim, c.hidden), normal(0.02)).T
            if rotary:
                chain = chain.interleaved(1, (count, 2, c.head_dim // 2))
            chain = chain.padded(1, (count, c.head_dim, 1), to=padded)
            return chain.reshaped(c.hidden, self.groups, count // self.groups * padded)

        word = at.parameter("embed_tokens.weight", (c.vocab, c.hidden), normal(0.02))
        rows = word.padded(0, (1, c.vocab, 1), to=wide(c.vocab, 32 * TP))
        self.embedding = [
            at.store(weight=shard, layout=ttnn.ROW_MAJOR_LAYOUT) for shard in rows.shards(0, TP)
        ]
        self.head = [at.store(weight=shard) for shard in rows.T.shards(1, TP)]
        self.qkv, self.out = [], []
        for i in range(c.layers):
            prefix = f"layers.{i}.self_attn"
            query = heads(f"{prefix}.q_proj.weight", c.heads, rotary=True)
            key = heads(f"{prefix}.k_proj.weight", c.kv, rotary=True)
            value = heads(f"{prefix}.v_proj.weight", c.kv, rotary=False)
            fused = concat(query, key, value).reshaped(c.hidden, (c.heads + 2 * c.kv) * padded)
            self.qkv.append([at.store(weight=shard) for shard in fused.shards(1, TP)])
            out = at.parameter(f"{prefix}.o_proj.weight", (c.hidden, c.heads * c.head_dim), normal(0.02)).T
            rows = out.padded(0, (c.heads, c.head_dim, 1), to=padded)
            self.out.append([at.store(weight=shard) for shard in rows.shards(0, TP)])


class GroupedByKey(Grouped):
    groups = GroupedConfig().kv


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder whose float32 tensors hold every kind of bits but NaNs, which no checkpoint has."""
    config = GroupedConfig()
    generator = np.random.default_rng(0)
    arrays = {}
    for name, parameter in Grouped(config, dtype="float32").named_parameters():
        values = generator.integers(0, 1 << 32, parameter.shape, np.uint32).view(np.float32)
        arrays[name] = np.where(np.isnan(values), np.float32(-0.0), values)
    save_file(arrays, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"vocab_size": 70, "tie_word_embeddings": true}')
    return tmp_path, arrays


@pytest.mark.parametrize("model_class", [Grouped, GroupedByKey])
@pytest.mark.parametrize("shard_size", [1 << 30, 4000])
def test_load_then_save_gives_the_same_bits(
    checkpoint: tuple[Path, dict[str, np.ndarray]],
    tmp_path: Path,
    model_class: type[Grouped],
    shard_size: int,
) -> None:
    folder, arrays = checkpoint
    model = model_class.from_pretrained(folder, dtype="float32")
    names = model.save_pretrained(tmp_path / "again", max_shard_size=shard_size)
    saved: dict[str, Any] = {}
    for name in names:
        if name.endswith(".safetensors"):
            saved.update(load_file(tmp_path / "again" / name))
    assert len(names) > 2 or shard_size > 4000
    assert saved.keys() == arrays.keys()
    for name, wanted in arrays.items():
        assert saved[name].tobytes() == wanted.tobytes(), name


def test_each_device_holds_its_own_heads(checkpoint: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, arrays = checkpoint
    c = GroupedConfig()
    model = Grouped.from_pretrained(folder, dtype="float32")
    padded, q, kv = wide(c.head_dim), c.heads // TP, c.kv // TP
    value = arrays["layers.1.self_attn.v_proj.weight"].reshape(c.kv, c.head_dim, c.hidden)
    query = arrays["layers.1.self_attn.q_proj.weight"].reshape(c.heads, c.head_dim, c.hidden)
    for place, holder in enumerate(model.qkv[1]):
        held = holder.storages["weight"].host()
        assert held.shape == (c.hidden, (q + 2 * kv) * padded)
        split = held.reshape(c.hidden, q + 2 * kv, padded)
        assert not split[:, :, c.head_dim :].any()
        for head in range(kv):
            mine = split[:, q + kv + head, : c.head_dim]
            assert mine.tobytes() == np.ascontiguousarray(value[place * kv + head].T).tobytes()
        first = query[place * q].reshape(2, c.head_dim // 2, c.hidden)  # rotary rows: halves taken in turns
        assert split[:, 0, 0].tobytes() == first[0, 0].tobytes()
        assert split[:, 0, 1].tobytes() == first[1, 0].tobytes()
        assert split[:, 0, 2].tobytes() == first[0, 1].tobytes()


def test_a_tied_embedding_has_two_forms_and_one_parameter(
    checkpoint: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, arrays = checkpoint
    c = GroupedConfig()
    model = Grouped.from_pretrained(folder, dtype="float32")
    word = np.zeros((128, c.hidden), np.float32)
    word[: c.vocab] = arrays["embed_tokens.weight"]
    for place in range(TP):
        rows = word[place * 64 : place * 64 + 64]
        assert model.embedding[place].storages["weight"].host().tobytes() == rows.tobytes()
        head = np.ascontiguousarray(rows.T)
        assert model.head[place].storages["weight"].host().tobytes() == head.tobytes()
    names = [name for name, _ in model.named_parameters()]
    assert names.count("embed_tokens.weight") == 1


def test_a_shard_that_is_missing_is_noticed_on_saving(tmp_path: Path) -> None:
    class Half(nn.Model[GroupedConfig]):
        Config = GroupedConfig

        def build(self, at: nn.Scope, c: GroupedConfig) -> None:
            first, _ = at.parameter("w", (c.hidden, c.hidden), normal(0.02)).shards(0, TP)
            self.w = at.store(weight=first)

    model = Half(dtype="float32")
    with pytest.raises(WeightsError, match="w: 1152 of its 2304 elements are in none of the parts"):
        model.save_pretrained(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []

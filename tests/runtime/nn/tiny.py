"""A small model written as the compiler would emit it, one with a head over it, and folders of their weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import save_file
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.weights import concat, normal, ones, zeros


@dataclass(frozen=True, kw_only=True)
class TinyConfig(nn.Config):
    model_type: ClassVar[str] = "tiny"
    vocab: int = nn.size(11, "vocab_size")
    hidden: int = nn.size(32, "hidden_size")
    layers: int = nn.size(2, "num_layers")
    pad: int | None = nn.token(3, "pad_token_id", nullable=True)


@dataclass(frozen=True)
class TinyOutput(nn.Output):
    left: nn.Activation
    right: nn.Activation


class Tiny(nn.Model[TinyConfig]):
    Config = TinyConfig
    prefix = "tiny"
    stale = ("position_ids",)
    renames: ClassVar[dict[str, str]] = {"norm.gamma": "norm.weight"}

    def build(self, at: nn.Scope, c: TinyConfig) -> None:
        word = at.parameter("word.weight", (c.vocab, c.hidden), normal(0.02), zero_row=c.pad)
        self.word = at.store(weight=word, layout=ttnn.ROW_MAJOR_LAYOUT)
        self.pairs = [self.pair(at / f"layer.{i}", c) for i in range(c.layers)]
        self.norm = at.store(weight=at.parameter("norm.weight", (c.hidden,), ones))

    def pair(self, at: nn.Scope, c: TinyConfig) -> nn.Holder:
        square = (c.hidden, c.hidden)
        return at.store(
            weight=concat(
                at.parameter("left.weight", square, normal(0.02)).T,
                at.parameter("right.weight", square, normal(1)).T,
            ),
            bias=concat(
                at.parameter("left.bias", (c.hidden,), zeros), at.parameter("right.bias", (c.hidden,), zeros)
            ),
        )

    def __call__(self, input_ids: Any) -> TinyOutput:
        given = nn.Inputs(self.device, input_ids)
        ids = given.ids("input_ids", input_ids, below=self.config.vocab)
        x = ttnn.embedding(ids, self.word.weight, layout=ttnn.TILE_LAYOUT)
        y = ttnn.linear(x, self.pairs[0].weight, bias=self.pairs[0].bias, **self.kernels.matmul)
        shape = (*given.shape, 2 * self.config.hidden)
        return TinyOutput(
            left=nn.Activation(y, shape), right=nn.Activation(x, (*given.shape, self.config.hidden))
        )


class TinyHead(nn.Model[TinyConfig]):
    Config = TinyConfig
    prefix = ("tiny", "base")

    def build(self, at: nn.Scope, c: TinyConfig) -> None:
        self.word = at.store(weight=at.parameter("tiny.word.weight", (c.vocab, c.hidden), normal(0.02)))
        self.score = at.store(
            weight=at.parameter("score.weight", (2, c.hidden), normal(0.02), also=("classifier.weight",)).T
        )


NAMES = [
    "word.weight", "layer.0.left.weight", "layer.0.right.weight", "layer.0.left.bias", "layer.0.right.bias",
    "layer.1.left.weight", "layer.1.right.weight", "layer.1.left.bias", "layer.1.right.bias", "norm.weight",
]  # fmt: skip


def random_values(seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal(parameter.shape).astype(dtype)
        for name, parameter in Tiny().named_parameters()
    }


def folder_of(path: Path, arrays: dict[str, np.ndarray], **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    save_file(arrays, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "tiny", **config}))
    return path

"""A small model written as the compiler will emit it, its loss by hand, and the same in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.weights import concat, normal

TILES = ttnn.TILE_LAYOUT


def on_device(array: Any, device: Any, layout: Any = TILES) -> Any:
    """An array as a tensor of bfloat16, which an exact device holds exactly."""
    kind = np.float64 if getattr(device, "numerics", "") == "float64" else np.float32
    return ttnn.Tensor(np.asarray(array, kind), ttnn.bfloat16, device, layout)


def host(tensor: Any) -> np.ndarray[Any, Any]:
    """A device tensor's exact values."""
    return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()


def rows(x: Any) -> Any:
    """[B, 1, S, H] -> [1, 1, B*S, H], so that a matmul sums over the batch too."""
    return ttnn.reshape(x, (1, 1, x.shape[0] * x.shape[2], x.shape[3]))


def weight_grad(x: Any, dy: Any) -> Any:
    """[1, 1, in, out]."""
    return ttnn.matmul(rows(x), rows(dy), transpose_a=True, dtype=ttnn.float32)


def bias_grad(dy: Any) -> Any:
    """[1, 1, 1, out]."""
    return ttnn.sum(rows(dy), dim=2, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class SmallConfig(nn.Config):
    model_type: ClassVar[str] = "small"
    vocab: int = nn.size(12, "vocab_size")
    hidden: int = nn.size(32, "hidden_size")
    layers: int = nn.size(2, "num_layers")


class Lookup(nn.Block):
    """Rows of the word matrix."""

    def __init__(self, at: nn.Scope, c: SmallConfig, word: Any) -> None:
        super().__init__(at, c)
        self.word = at.store(weight=word, layout=ttnn.ROW_MAJOR_LAYOUT)

    def infer(self, ids: Any) -> Any:
        x = ttnn.embedding(ids, self.word.weight, layout=TILES)
        return ttnn.reshape(x, (x.shape[0], 1, x.shape[1], x.shape[2]))

    def forward(self, ids: Any) -> tuple[Any, nn.Saved]:
        return self.infer(ids), nn.Saved(ids=ids)

    def backward(self, saved: nn.Saved, dx: Any) -> tuple[None]:
        chosen = host(saved.ids).reshape(-1).astype(int)
        onehot = on_device(np.eye(self.config.vocab)[chosen][None, None], dx.device())
        self.word.accumulate(weight=ttnn.matmul(onehot, rows(dx), transpose_a=True))
        return (None,)


class Gate(nn.Block):
    """x + tanh(left(x)) * right(x), the two projections in one storage."""

    def __init__(self, at: nn.Scope, c: SmallConfig) -> None:
        super().__init__(at, c)
        square = (c.hidden, c.hidden)
        self.both = at.store(
            weight=concat(*(at.parameter(f"{side}.weight", square, normal(0.2)).T for side in SIDES)),
            bias=concat(*(at.parameter(f"{side}.bias", (c.hidden,), normal(0.2)) for side in SIDES)),
        )
        self.seeds: list[int | None] = []
        self.programs: list[str] = []

    def infer(self, x: Any, mask: nn.Mask | None = None) -> Any:
        self.programs.append("infer")
        return self._both(x)[0]

    def forward(self, x: Any, mask: nn.Mask | None = None) -> tuple[Any, nn.Saved]:
        self.programs.append("forward")
        self.seeds.append(self.seed())
        y, t, right = self._both(x)
        return y, nn.Saved(x=x, t=t, right=right)

    def _both(self, x: Any) -> Any:
        pre = ttnn.linear(x, self.both.weight, bias=self.both.bias, **self.kernels.matmul)
        left, right = ttnn.split(pre, self.config.hidden, dim=3)
        t = ttnn.tanh(left)
        return ttnn.add(x, ttnn.multiply(t, right)), t, right

    def backward(self, saved: nn.Saved, dy: Any) -> tuple[Any, None]:
        slope = ttnn.rsub(ttnn.multiply(saved.t, saved.t), 1.0)
        dleft = ttnn.multiply(ttnn.multiply(dy, saved.right), slope)
        dpre = ttnn.concat([dleft, ttnn.multiply(dy, saved.t)], dim=3)
        if self.both.trainable:
            self.both.accumulate(weight=weight_grad(saved.x, dpre), bias=bias_grad(dpre))
        return ttnn.add(dy, ttnn.matmul(dpre, self.both.weight, transpose_b=True)), None


SIDES = ("left", "right")


class Unembed(nn.Block):
    """Scores of the words, by the same matrix as the lookup."""

    def __init__(self, at: nn.Scope, c: SmallConfig, word: Any) -> None:
        super().__init__(at, c)
        self.word = at.store(weight=word)

    def infer(self, x: Any) -> Any:
        return ttnn.matmul(x, self.word.weight, transpose_b=True)

    def forward(self, x: Any) -> tuple[Any, nn.Saved]:
        return self.infer(x), nn.Saved(x=x)

    def backward(self, saved: nn.Saved, dy: Any) -> tuple[Any]:
        self.word.accumulate(weight=weight_grad(dy, saved.x))
        return (ttnn.matmul(dy, self.word.weight),)


class Squares(nn.Function):
    """The sum of the squares of what differs from a target, a scalar."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any, target: Any) -> Any:
        ctx.save(ttnn.subtract(x, target))
        return ttnn.sum(ttnn.multiply(*ctx.saved, *ctx.saved))

    @staticmethod
    def backward(ctx: Any, dloss: float) -> Any:
        assert isinstance(dloss, float)
        return ttnn.multiply(ctx.saved[0], 2 * dloss), None


@dataclass(frozen=True)
class SmallOutput(nn.Output):
    loss: nn.Activation | None
    logits: nn.Activation


class Small(nn.Model[SmallConfig]):
    Config = SmallConfig

    def build(self, at: nn.Scope, c: SmallConfig) -> None:
        word = at.parameter("word.weight", (c.vocab, c.hidden), normal(1))
        self.lookup = Lookup(at / "word", c, word)
        self.gates = [Gate(at / f"layer.{i}", c) for i in range(c.layers)]
        self.unembed = Unembed(at / "word", c, word)

    def __call__(self, ids: Any, target: Any = None) -> SmallOutput:
        """Integers [B, S] -> logits [B, S, vocab]."""
        given = nn.Inputs(self.device, ids)
        x = self.lookup(given.ids("ids", ids, below=self.config.vocab))
        mask = given.mask("mask", None)
        for gate in self.gates:
            x = gate(x, mask)
        logits = nn.Activation(self.unembed(x), (*given.shape, self.config.vocab))
        if target is None:
            return SmallOutput(None, logits)
        B, S, V = logits.shape
        wanted = on_device(np.asarray(target).reshape(B, 1, S, V), self.device)
        return SmallOutput(Squares.apply(logits, wanted), logits)


def batch(count: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """ids [count, 32] and targets [count, 32, vocab]."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 12, (count, 32)), generator.standard_normal((count, 32, 12))


def small(**options: Any) -> Small:
    """A model in training that computes in float64."""
    return Small(**{"device": nn.open_device("float64"), **options}).train()


def gradients(model: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Of every parameter that has one."""
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def in_torch(model: Small, ids: Any, target: Any) -> tuple[float, dict[str, np.ndarray[Any, Any]]]:
    """The loss and the gradients that PyTorch's autograd computes in float64."""
    import torch

    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    x = p["word.weight"][torch.tensor(ids)]
    for i in range(model.config.layers):
        left, right = (x @ p[f"layer.{i}.{side}.weight"].T + p[f"layer.{i}.{side}.bias"] for side in SIDES)
        x = x + torch.tanh(left) * right
    loss = ((x @ p["word.weight"].T - torch.tensor(target)) ** 2).sum()
    loss.backward()
    return float(loss.detach()), {name: value.grad.numpy() for name, value in p.items()}


CLOSE = 1e-10
"""Relative to a gradient's norm: the project's bar for gradients in float64; sums differ in their order alone."""


def agree(found: dict[str, np.ndarray[Any, Any]], wanted: dict[str, np.ndarray[Any, Any]]) -> None:
    """These gradients are those, name by name."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        assert np.linalg.norm(found[name] - value) <= CLOSE * np.linalg.norm(value), name

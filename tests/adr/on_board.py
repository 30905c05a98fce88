"""Jobs for the real ttnn on a mock board: run a sketch of docs/adr, and say what it did."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ttmlc_runtime.mockboard import Capture, banks_of, capture, open_board

SKETCHES = Path(__file__).resolve().parents[2] / "docs/adr/sketches"


class Kernels:
    """A numerics policy by role: four passes a multiplication, no approximations, float32 sums."""

    def __init__(self, ttnn: Any, device: Any) -> None:
        config = ttnn.init_device_compute_kernel_config(
            device.arch(),
            math_fidelity=ttnn.MathFidelity.HiFi4,
            math_approx_mode=False,
            fp32_dest_acc_en=True,
            packer_l1_acc=True,
        )
        self._ttnn, self._device = ttnn, device
        self.norm = self.softmax = self.reduce = self.rotary = self.attention = self.split_matmul = {
            "compute_kernel_config": config
        }
        self.matmul = {"compute_kernel_config": config, "core_grid": device.core_grid}
        self.gradient = {**self.matmul, "dtype": ttnn.float32}

    def core_a_row(self, rows: int, width: int) -> Any:
        """L1, one core for each row: where the head split of a decode step puts its results."""
        ttnn = self._ttnn
        grid = self._device.compute_with_storage_grid_size()
        return ttnn.create_sharded_memory_config(
            shape=(32, width),
            core_grid=ttnn.num_cores_to_corerangeset(rows, grid, True),
            strategy=ttnn.ShardStrategy.HEIGHT,
            use_height_and_width_as_shard_shape=True,
        )


class Board:
    """A device, and what a call on it does."""

    def __init__(self, name: str, mesh: tuple[int, int] | None = None) -> None:
        import ttmlc_runtime
        import ttnn

        from tests.adr import runtime_to_be

        self.ttnn: Any = ttnn
        self.device = open_board(ttnn, name, mesh)
        self.kernels = Kernels(ttnn, self.device)
        sys.modules.update(runtime_to_be.modules(ttnn))
        assert ttmlc_runtime.ttnn is ttnn
        self.scope = runtime_to_be.Scope(self.device, self.kernels, self._storage, constants=self.constant)

    def zeros(self, *shape: int, layout: Any = None) -> Any:
        """Zeros on every chip."""
        ttnn = self.ttnn
        return ttnn.zeros(
            list(shape), dtype=ttnn.bfloat16, layout=layout or ttnn.TILE_LAYOUT, device=self.device
        )

    def constant(self, value: float) -> Any:
        ttnn = self.ttnn
        return ttnn.full(
            [1, 1, 1, 1], value, dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=self.device
        )

    def _storage(self, chain: Any, split: int | None, layout: Any) -> Any:
        """A chip's part of a storage; its values are of no account here."""
        shape = list(chain.shape)
        if split is not None:
            chips = self.device.get_num_devices()
            assert shape[split] % (chips * 32) == 0, (shape, split)
            shape[split] //= chips
        return self.zeros(*shape, layout=layout)

    def captured(self, call: Callable[[], Any]) -> tuple[Any, Capture]:
        """The result, and what ran, for each chip."""
        return capture(self.ttnn, call, banks=banks_of(self.ttnn, self.device))


def load(name: str) -> ModuleType:
    """The sketch as a module."""
    spec = importlib.util.spec_from_file_location(name, SKETCHES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def llama_layer_tp8(request: dict[str, Any]) -> dict[str, Any]:
    """One layer forward and backward on eight chips."""
    board = Board("t3000", (1, 8))
    sketch = load("llama_layer_tp8")
    config = sketch.LlamaConfig()
    config.placement.check(board.device, config.fingerprint)
    layer = sketch.Layer(board.scope / "layers.0")
    table = [board.zeros(1, 1, 2048, 128) for _ in range(3)]
    angles = sys.modules["ttmlc_runtime.rotary"].Angles(*table)
    mask = type("Mask", (), {"additive": board.zeros(1, 1, 2048, 2048)})
    h = board.zeros(1, 1, 2048, 4096)
    (y, saved), forward = board.captured(lambda: layer.forward(h, mask, angles))
    kept = {name: list(tensor.shape) for name, tensor in _named(saved)}
    dh, backward = board.captured(lambda: layer.backward(y, saved, mask, angles))
    grads = {
        name.rpartition("/")[2].removeprefix("layers.0."): list(holder.grads["weight"].shape)
        for name, holder in board.scope.holders.items()
    }
    return {
        "shapes": {"y": list(y.shape), "dh": list(dh.shape)},
        "kept_bytes": sum(2 * math.prod(shape) for shape in kept.values()),  # bfloat16
        "programs": {"forward": kinds(forward), "backward": kinds(backward)},
        "peak_bytes": {"forward": forward.peak_dram_bytes, "backward": backward.peak_dram_bytes},
        "grads": grads,
        "parts_as_in_the_chain": _parts(board),
    }


def kinds(ran: Capture) -> list[str]:
    """The kinds of the programs, in order."""
    return [program.kind for program in ran.programs]


def _parts(board: Board) -> int:
    """How many chips get from ttnn's own mapper what the chain's shards say; on the host, where numbers are real."""
    from ttmlc_runtime.weights import Leaf, Parameter, concat, zeros

    ttnn = board.ttnn
    values = {
        name: np.random.default_rng(len(name))
        .integers(0, 255, (rows, 64))
        .astype(np.float32)  # exact in bfloat16
        for name, rows in (("query", 512), ("key", 256), ("value", 256))
    }
    leaves = [Leaf(Parameter(name, array.shape, zeros)) for name, array in values.items()]
    chain = concat(*(leaf.T.reshaped(64, 8, leaf.shape[0] // 8) for leaf in leaves)).reshaped(64, 1024)
    mapper = ttnn.shard_tensor_to_mesh_mapper(board.device, 1)
    whole = ttnn.Tensor(chain.forward(values), ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, mesh_mapper=mapper)
    parts = [ttnn.to_dtype(part, ttnn.float32).to_numpy() for part in ttnn.get_device_tensors(whole)]
    wanted = [part.forward(values) for part in chain.shards(1, 8)]
    return sum(np.array_equal(one, other) for one, other in zip(parts, wanted, strict=True))


def _named(saved: Any, before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in vars(saved).items():
        inside = hasattr(value, "tensors")
        found += _named(value, f"{before}{name}.") if inside else [(before + name, value)]
    return found


def llama_decode_step(request: dict[str, Any]) -> dict[str, Any]:
    """A prefill of two rows and some steps, on one chip, two layers of a small model."""
    board = Board("n150")
    sketch = load("llama_decode_step")
    config = sketch.LlamaConfig(
        vocab=512, hidden=256, layers=2, heads=8, kv=2, head_dim=64, inner=512, positions=256
    )
    model = sketch.LlamaForCausalLM.__new__(sketch.LlamaForCausalLM)
    model.config, model.device, model.kernels = config, board.device, board.kernels
    model.build(board.scope, config)
    sketch.greedy(model, [[1, 2, 3], [4] * 40], 2)  # compiles everything
    entries = board.device.num_program_cache_entries()
    found = sketch.greedy(model, [[7] * 17, [5] * 50], 3)  # other lengths of the same number of tiles
    grown = board.device.num_program_cache_entries() - entries
    cache = model.cache(2, 60)
    _, prefill = board.captured(lambda: model.prefill([1] * 33, 0, cache))
    step = sketch.Step([33, 20], board.device)
    ids = step.ids([1, 2])
    logits, decode = board.captured(lambda: model.decode(ids, step, cache))
    layer = model.self_attn[0]
    x = board.zeros(1, 1, 2, 256)
    rows = board.ttnn.to_memory_config(board.zeros(1, 2, 1, 64), board.kernels.core_a_row(2, 64))
    angles = sketch.Angles(cos=rows, sin=rows)
    _, attention = board.captured(lambda: layer.decode(x, angles, cache[0], step))
    _, forward = board.captured(lambda: model.mlp[0](x))
    refused = None
    try:
        model.cache(33, 60)
    except ValueError as error:
        refused = str(error)
    return {
        "logits": list(logits.shape),
        "tokens": [len(tokens) for tokens in found],
        "programs": {
            "prefill": kinds(prefill),
            "decode": kinds(decode),
            "attention_decode": kinds(attention),
            "feed_forward": kinds(forward),
        },
        "new_programs_for_other_lengths": grown,
        "cache": list(cache[0].k.shape),
        "refused": refused,
    }  # fmt: skip


def refusals(request: dict[str, Any]) -> dict[str, Any]:
    """What ttnn says of calls that the sketches take care not to make, and of what the records name instead."""
    board = Board("n150")
    ttnn, zeros, experimental = board.ttnn, board.zeros, board.ttnn.experimental
    attention = ttnn.transformer.scaled_dot_product_attention
    decode = ttnn.transformer.scaled_dot_product_attention_decode
    place = ttnn.zeros([4], dtype=ttnn.int32, layout=ttnn.ROW_MAJOR_LAYOUT, device=board.device)
    narrow, odd, cache = zeros(2, 4, 40, 64), zeros(2, 4, 64, 96), zeros(4, 2, 200, 64)
    rotated, by_row = zeros(2, 4, 64, 64), zeros(2, 1, 64, 64)
    calls: dict[str, Callable[[], Any]] = {
        "33 rows in a decode step": lambda: experimental.nlp_create_qkv_heads_decode(
            zeros(1, 1, 33, 768), num_heads=8, num_kv_heads=2
        ),
        "a cache of 200 tokens": lambda: decode(zeros(1, 4, 8, 64), cache, cache, cur_pos_tensor=place),
        "rotary on a head_dim of 96": lambda: experimental.rotary_embedding_hf(
            odd, zeros(1, 1, 64, 96), zeros(1, 1, 64, 96)
        ),
        "attention on a head_dim of 48": lambda: attention(*[zeros(1, 4, 64, 48)] * 3, is_causal=True),
        "a mask of one row for all queries": lambda: attention(
            narrow, narrow, narrow, attn_mask=zeros(2, 1, 1, 40), is_causal=False
        ),
        "a mask beside causality": lambda: attention(
            narrow, narrow, narrow, attn_mask=zeros(2, 1, 40, 40), is_causal=True
        ),
        "a mask of every query and key, its tiles filled": lambda: attention(
            narrow,
            narrow,
            narrow,
            attn_mask=ttnn.fill_implicit_tile_padding(zeros(2, 1, 40, 40), -1e9),
            is_causal=False,
        ),
        "composed rotary with angles that differ by row": lambda: ttnn.mac(
            experimental.rotate_half(rotated), by_row, ttnn.multiply(rotated, by_row)
        ),
        "angles that differ by row": lambda: experimental.rotary_embedding_hf(rotated, by_row, by_row),
    }
    said = {}
    for what, call in calls.items():
        try:
            call()
            said[what] = "accepted"
        except RuntimeError as error:
            said[what] = str(error)
    return {"programs": {}, "refusals": said}

"""Rotary positions, from config.json to the device, against Transformers: tables, values, gradients, configs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import ConfigError, InputError

from tests.compiler.rotary_spec import SPEC, compiled
from tests.modules import imported

torch = pytest.importorskip("torch", reason="the reference computes with it")
LENGTHS = (1, 7, 31, 33, 130)
PUBLISHED = {
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}
"""What the published config of a model of a billion parameters says of its positions."""


@pytest.fixture(scope="module")
def generic(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return imported(compiled(tmp_path_factory.mktemp("generic")))


def theirs(config: Any) -> Any:
    """Transformers' config of the same positions."""
    from transformers import LlamaConfig

    held = config.to_hugging_face()
    kept = {key: value for key, value in held.items() if key.startswith(("rope", "partial"))}
    kept = {
        key: held[key] for key in ("hidden_size", "num_attention_heads", "max_position_embeddings")
    } | kept
    return LlamaConfig(**kept, num_hidden_layers=1, intermediate_size=8, vocab_size=8)


def ulps(a: Any, b: Any) -> int:
    assert a.dtype == b.dtype == np.float32
    assert a.shape == b.shape
    return int(np.abs(a.view(np.int32).astype(np.int64) - b.view(np.int32)).max())


# Tables


@pytest.mark.parametrize("kind", ["default", "linear", "llama3"])
@pytest.mark.parametrize("theta", [10000.0, 500000.0])
def test_the_table_is_that_of_transformers(kind: str, theta: float, generic: Any) -> None:
    """A power may be off by one bit of float32; all else is done in the same order."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    for width in (32, 64, 96, 128):
        given = {"rope_kind": kind, "rope_theta": theta, "rope_factor": 8.0, "rope_trained": 8192}
        config = generic.TurnedConfig(hidden=2 * width, positions=65536, **given)
        wanted = LlamaRotaryEmbedding(theirs(config)).inv_freq.numpy()
        assert ulps(generic.inv_freq(config), wanted) <= 1, width


def test_the_published_table(generic: Any) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = generic.TurnedConfig.from_hugging_face(PUBLISHED)
    wanted, scale = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(**PUBLISHED, head_dim=64))
    assert scale == 1
    assert ulps(generic.inv_freq(config), wanted.numpy()) <= 1
    assert len({*np.round(generic.inv_freq(config) * 500000 ** (np.arange(32) / 32), 3)}) > 2, (
        "nothing is mixed"
    )


def test_a_specialised_table_is_the_generic_one(generic: Any, tmp_path: Path) -> None:
    values = {**PUBLISHED, "hidden_size": 128, "num_attention_heads": 2}
    (tmp_path / "config.json").write_text(json.dumps(values))
    module = imported(compiled(tmp_path, tmp_path / "config.json"), "special")
    config = module.TurnedConfig.from_hugging_face(values)
    table = module.inv_freq(config)
    assert ulps(table, generic.inv_freq(generic.TurnedConfig.from_hugging_face(values))) == 0
    text = (tmp_path / "turned.py").read_text()
    assert "rope_kind ==" not in text, "what decides is known"
    assert "def inv_freq(_: TurnedConfig)" in text


# Values and gradients


class Weighed(nn.Function):
    """The sum of a value's elements, each with a weight."""

    scalar = True

    @staticmethod
    def forward(ctx: Any, x: Any, by: Any) -> Any:
        ctx.save(by)
        return ttnn.sum(ttnn.multiply(x, by))

    @staticmethod
    def backward(ctx: Any, dy: float) -> Any:
        return ttnn.multiply(ctx.saved[0], dy), None


def reference(config: Any, weights: dict[str, Any], ids: Any, mask: Any, positions: Any) -> Any:
    """The same model in torch, turned by Transformers' own code."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    batch, tokens = ids.shape
    h = weights["embed_tokens.weight"][torch.tensor(ids)]
    cos, sin = LlamaRotaryEmbedding(theirs(config))(h, torch.tensor(positions))
    seen = torch.tensor(mask, dtype=torch.bool)[:, None, None, :] & torch.ones(tokens, tokens).tril().bool()
    hidden = torch.zeros(batch, 1, tokens, tokens, dtype=h.dtype).masked_fill(~seen, -1e9)

    def norm(x: Any, at: str) -> Any:
        weight, bias = weights[f"{at}.weight"], weights[f"{at}.bias"]
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, config.eps)

    def linear(x: Any, at: str) -> Any:
        return torch.nn.functional.linear(x, weights[f"{at}.weight"], weights[f"{at}.bias"])

    for layer in range(config.layers):
        at = f"layers.{layer}"
        x = norm(h, f"{at}.ln")
        q, k, v = (
            linear(x, f"{at}.self_attn.{name}_proj").view(batch, tokens, config.heads, -1).transpose(1, 2)
            for name in "qkv"
        )
        if config.rope_fraction == 1:
            q, k = apply_rotary_pos_emb(q, k, cos, sin)
        scores = torch.softmax(q @ k.mT / config.head_dim**0.5 + hidden, -1)
        a = (scores @ v).transpose(1, 2).reshape(batch, tokens, -1)
        h = h + linear(a, f"{at}.self_attn.o_proj")
    return norm(h, "norm")


def compare(module: Any, config: Any, tokens: int, by_row: bool) -> None:
    """Values of the model and gradients of every parameter, in float32."""
    model = module.TurnedModel(config, seed=1, dtype="float32").train()
    rng = np.random.default_rng(tokens)
    ids = rng.integers(0, config.vocab, (3, tokens))
    positions = np.broadcast_to(np.arange(tokens), ids.shape)
    if by_row:
        positions = np.stack([np.arange(tokens), rng.permutation(tokens) + 90, np.arange(tokens) * 7])
    mask = np.ones_like(ids)
    weights = {
        name: torch.tensor(np.array(value), requires_grad=True) for name, value in model.state_dict().items()
    }
    wanted = reference(config, weights, ids, mask, positions)
    by = rng.normal(size=wanted.shape).astype(np.float32)
    (wanted * torch.tensor(by)).sum().backward()
    made = model(ids, position_ids=positions if by_row else None).last_hidden_state
    scale = float(wanted.detach().abs().max())
    assert np.abs(made.numpy() - wanted.detach().numpy()).max() < 2e-5 * scale
    weighing = ttnn.Tensor(by[:, None], ttnn.bfloat16, model.device, ttnn.TILE_LAYOUT)
    Weighed.apply(made, weighing).backward()
    for name, parameter in model.named_parameters():
        slope, found = weights[name].grad.numpy(), parameter.grad.numpy()
        # A gradient that is nothing but rounding (of a key's bias) is held to those of the other parameters.
        assert np.abs(found - slope).max() < 1e-4 * max(1.0, np.abs(slope).max()), name


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("width", [32, pytest.param(64, marks=pytest.mark.deep), 96])
def test_the_model_is_that_of_transformers(width: int, tokens: int, by_row: bool, generic: Any) -> None:
    compare(generic, generic.TurnedConfig(hidden=2 * width, layers=1 + (tokens < 64)), tokens, by_row)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_padded_heads_are_turned_by_their_own_halves(tokens: int, tmp_path: Path) -> None:
    values = {"hidden_size": 48, "num_attention_heads": 2, "rope_scaling": {"type": "linear", "factor": 2.0}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    module = imported(compiled(tmp_path, tmp_path / "config.json"), "padded")
    config = module.TurnedConfig.from_hugging_face(values)
    assert config.to_hugging_face()["rope_scaling"]["rope_type"] == "linear"
    compare(module, config, tokens, tokens == 33)


@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_the_module_computes_what_the_reference_does(fraction: float, generic: Any, tmp_path: Path) -> None:
    """And a fraction of each head stays as it is."""
    made = compile_text(SourceFile("turned.spec", SPEC), tmp_path / "turned.spec")
    pruned = next(stage.module for stage in made.stages if stage.name == "prune")
    model = generic.TurnedModel(generic.TurnedConfig(rope_fraction=fraction), seed=1, dtype="float64")
    ids = np.random.default_rng(2).integers(0, 40, (2, 33))
    positions = np.stack([np.arange(33), np.arange(33)[::-1]])
    wanted = evaluate(
        pruned,
        "TurnedModel",
        {"rope_fraction": fraction},
        model.state_dict(),
        {"input_ids": ids, "position_ids": positions},
    )["last_hidden_state"]
    found = model(ids, position_ids=positions).last_hidden_state.numpy()
    # The device's angles are float32, as Transformers': of 33 they are off by 2e-6.
    assert np.abs(found - wanted).max() < 1e-5
    turned = replace(model.config, rope_fraction=1.0 if fraction < 1 else 0.5)
    other = generic.TurnedModel(turned, seed=1, dtype="float64")
    assert np.abs(other(ids, position_ids=positions).last_hidden_state.numpy() - wanted).max() > 1e-3


@pytest.mark.parametrize("positions", [[[-1, 0, 1]], [[0, 1, 1 << 24]], [[0.0, 1.0, 2.0]], [[0, 1]]])
def test_positions_are_integers_that_float32_tells_apart(positions: Any, generic: Any) -> None:
    with pytest.raises(InputError, match="position_ids"):
        generic.TurnedModel(dtype="float32")([[1, 2, 3]], position_ids=positions)


# Configs


def agree(config: Any, values: dict[str, Any]) -> None:
    """Transformers reads what we write as it read what we read."""
    from transformers import LlamaConfig

    kept = ["rope_type", "rope_theta"]
    before, after = (
        LlamaConfig(**json.loads(json.dumps(one))).rope_parameters
        for one in (values, config.to_hugging_face())
    )
    kept += ["factor"] if before["rope_type"] != "default" else []
    if before["rope_type"] == "llama3":
        kept += ["low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]
    assert {name: after.get(name) for name in kept} == {name: before.get(name) for name in kept}
    read = type(config).from_hugging_face(config.to_hugging_face())
    assert read == config
    assert read.to_hugging_face() == config.to_hugging_face()


LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({}, {"rope_kind": "default", "rope_theta": 10000.0}),
        ({"rope_theta": 5e5}, {"rope_kind": "default", "rope_theta": 5e5}),
        ({"rope_theta": 5e5, "rope_scaling": None}, {"rope_theta": 5e5}),
        ({"rope_theta": 5e5, "rope_scaling": {}, "rope_parameters": None}, {"rope_theta": 5e5}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, {"rope_theta": 5e5}),
        ({"rope_theta": 7.0, "rope_parameters": {"rope_theta": 5e5}}, {"rope_theta": 5e5}),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, {"rope_kind": "linear", "rope_factor": 2.0}),
        ({"rope_theta": 3.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, {"rope_theta": 3.0}),
        (
            {
                "rope_scaling": {"rope_type": "linear", "factor": 2.0},
                "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
            },
            {"rope_kind": "linear", "rope_theta": 10000.0},
        ),
        (
            {
                "rope_scaling": {},
                "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 2.0},
            },
            {"rope_kind": "linear", "rope_factor": 3.0, "rope_theta": 2.0},
        ),
        (
            {"max_position_embeddings": 99, "rope_parameters": {"rope_type": "llama3", **LLAMA3}},
            {"rope_kind": "llama3", "rope_trained": 99},
        ),
        (PUBLISHED, {"rope_kind": "llama3", "rope_trained": 8192, "rope_theta": 5e5, "rope_factor": 32.0}),
    ],
)
def test_positions_are_read_as_transformers_reads_them(
    values: dict[str, Any], fields: dict[str, Any], generic: Any
) -> None:
    config = generic.TurnedConfig.from_hugging_face(values)
    assert {name: getattr(config, name) for name in fields} == fields
    agree(config, {"max_position_embeddings": 256, **values})


def test_what_is_changed_is_written(generic: Any) -> None:
    read = generic.TurnedConfig.from_hugging_face(PUBLISHED)
    changed = read.replace(rope_kind="default", rope_theta=10000.0)
    again = generic.TurnedConfig.from_hugging_face(changed.to_hugging_face())
    assert (again.rope_kind, again.rope_theta) == ("default", 10000.0)
    plain = read.replace(
        rope_kind="default", rope_theta=10000.0, rope_factor=1.0, rope_trained=read.positions
    )
    assert "rope_scaling" not in plain.to_hugging_face()
    assert "rope_theta" not in plain.to_hugging_face()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, r"rope_scaling\.rope_type.*'yarn'.*linear"),
        ({"rope_parameters": {"type": "dynamic"}}, "rope_kind.*'dynamic'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope_kind.*'longrope'"),
        ({"rope_scaling": {"factor": 2.0, "mrope_section": [1]}}, r"rope_scaling\.mrope_section"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, r"rope_parameters\.full_attention"),
        ({"rope_scaling": "linear"}, "rope_scaling"),
        ({"rope_parameters": {"rope_theta": "big"}}, "rope_theta.*finite number"),
        ({"rope_parameters": {"rope_theta": -1}}, "theta"),
        ({"rope_parameters": {"rope_type": "llama3", "low_freq_factor": 4.0}}, "low_freq_factor"),
        ({"partial_rotary_factor": 2.0}, "turn more features"),
        ({"partial_rotary_factor": 0.1}, "2 must divide"),
    ],
)
def test_other_positions_are_refused_by_name(values: dict[str, Any], message: str, generic: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        generic.TurnedConfig.from_hugging_face(values)


def test_a_dictionary_that_is_replaced_whole_is_not_read(generic: Any) -> None:
    values = {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"mscale": 1.0}}
    config = generic.TurnedConfig.from_hugging_face(values)
    assert config.rope_factor == 2.0
    assert "rope_parameters" not in config.to_hugging_face()


def test_a_model_saves_its_positions(generic: Any, tmp_path: Path) -> None:
    model = generic.TurnedModel(generic.TurnedConfig(rope_theta=5e5), dtype="float32")
    model.save_pretrained(tmp_path / "saved")
    read = generic.TurnedModel.from_pretrained(tmp_path / "saved", dtype="float32")
    assert read.config == model.config
    assert "inv_freq" not in {*model.state_dict()}
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["rope_theta"] == 5e5


# Text


def test_what_is_printed_parses_back_at_every_stage(tmp_path: Path) -> None:
    for stage in compile_text(SourceFile("turned.spec", SPEC), tmp_path / "turned.spec").stages:
        assert parse_module(print_module(stage.module)) == stage.module, stage.name


def test_the_projections_are_joined_behind_the_turning(tmp_path: Path) -> None:
    """Wherever the turning stands."""
    early = SPEC.replace("    k = linear", "    q = rotary(q, angles)\n    k = linear", 1).replace(
        "rotary(q, angles), rotary(k", "q, rotary(k"
    )
    for text in (SPEC, early):
        made = compile_text(SourceFile("turned.spec", text), tmp_path / "turned.spec").text
        assert "q_proj_k_proj_v_proj" in made
        assert made.count("nn.rotary(") == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("position_ids * inv_freq", "inv_freq * position_ids"),
        ("h = word[input_ids]\n", "h = word[input_ids]\n    other = position_ids * inv_freq\n"),
    ],
)
def test_other_ways_to_say_it(old: str, new: str, tmp_path: Path) -> None:
    text = SPEC.replace(old, new)
    assert text != SPEC
    assert "given.rotary" in compile_text(SourceFile("turned.spec", text), tmp_path / "turned.spec").text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rotary(q, angles)", "rotary(q, x)", "angles do nothing but turn heads|turned by the angles"),
        ("rotary(q, angles)", "rotary(x, angles)", "must be .B, heads, S, head_dim."),
        ("position_ids * inv_freq", "position_ids * 2", "E02"),
        ("mask, angles, at=", "mask, angles * 2, at=", "E0401.*turned by the angles"),
        ("Rope from rope_scaling", "Rope? from rope_scaling", "a group is read from its keys"),
        ("    rope: Rope from rope_scaling | rope_parameters\n", "", "there is no field 'rope.fraction'"),
        ("rope: Rope from", "rope_kind: int = 1 from k\n    rope: Rope from", "is declared twice"),
        ("from hidden_size", "from .hidden_size", "this config is no group"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_place(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = SPEC.replace(old, new)
    assert text != SPEC
    with pytest.raises(DiagnosticError, match=message):
        compile_text(SourceFile("turned.spec", text), tmp_path / "turned.spec")

"""Grouped queries, windows, RMS norms, gated feed-forwards, biases by flag: against torch, forward and backward."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ttmlc.api import compile_text
from ttmlc.ir.evaluate import evaluate
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import ConfigError

from tests.compiler.decoders import PLAIN, SPEC, logits, made, seen

ONE = {"kv": 1}
ALL = {"kv": 3}
PAIRS = {"heads": 6, "kv": 2, "head_dim": 32}
BIASED = {"bias": True, "mlp_bias": True}
CASES = [
    ({**ONE, "reach": None}, 1, ""),
    ({**ONE, "reach": None}, 7, "right"),
    ({**ALL, "reach": 4}, 31, "left"),
    ({**ALL, "reach": None}, 33, ""),
    ({**PAIRS, "reach": 1}, 33, "right"),
    ({**PAIRS, "reach": 4, **BIASED}, 7, "left"),
    ({**PAIRS, "reach": 40, "tie": True}, 130, "right"),
    ({**ONE, "reach": 40, "tie": True, "o_bias": True, "pad": 3}, 33, "left"),
    ({**PAIRS, "reach": None}, 31, ""),
]
FAR = 1e-11
"""A few roundings of float64, through two layers."""


def padded(tokens: int, side: str) -> np.ndarray[Any, Any]:
    """A mask [2, tokens] whose second row is a third shorter."""
    mask = np.ones((2, tokens), bool)
    if side:
        place = slice(0, tokens // 3) if side == "left" else slice(tokens - tokens // 3, tokens)
        mask[1, place] = False
    return mask


def build(fields: dict[str, Any], text: str = SPEC, dtype: str = "float64", **options: Any) -> Any:
    module = made(text, **options)
    return module.DecoderForCausalLM(module.DecoderConfig(**fields), seed=1, dtype=dtype)


def compared(model: Any, tokens: int, side: str, far: float) -> None:
    """Logits, loss and every gradient, where a row sees any key."""
    c, rng = model.config, np.random.default_rng(3)
    ids, mask = rng.integers(0, c.vocab, (2, tokens)), padded(tokens, side)
    labels = np.where(mask, ids, -100)
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith(("norm.weight", "bias")):  # which begin as ones and zeros
            state[name] = (value + rng.normal(0, 0.3, value.shape)).astype(value.dtype)
    model.load_state_dict(state)
    held = {name: torch.tensor(value, requires_grad=True) for name, value in state.items()}
    wanted = logits(c, held, torch.tensor(ids), torch.tensor(mask))
    inferred = model.eval()(ids, attention_mask=mask if side else None).logits.numpy()
    output = model.train()(ids, attention_mask=mask if side else None, labels=labels)
    shown = seen(c, torch.tensor(mask)).any(-1)[:, 0].numpy()
    for found in (inferred, output.logits.numpy()):
        assert np.isfinite(found).all()
        assert np.abs(found - wanted.detach().numpy())[shown].max() < far
    if tokens == 1:
        return
    # The loss reads what a padded query predicts only where its next token has a label, as torch does.
    labels[:, 1:][~shown[:, :-1]] = -100
    output = model(ids, attention_mask=mask if side else None, labels=labels)
    loss = torch.nn.functional.cross_entropy(
        wanted[:, :-1].reshape(-1, c.vocab), torch.tensor(labels[:, 1:]).reshape(-1), ignore_index=-100
    )
    loss.backward()
    output.loss.backward()
    assert abs(float(output.loss.numpy()) - float(loss.detach())) < far
    taken = 0
    for name, parameter in model.named_parameters():
        slope = held[name].grad
        assert slope is not None, name
        assert parameter.grad is not None, name
        slope = slope.numpy().copy()
        if name.endswith("embed_tokens.weight") and c.pad is not None and not c.tie:
            slope[c.pad] = 0
        if not (name.endswith("embed_tokens.weight") and c.pad is not None):
            difference = np.abs(parameter.grad.numpy() - slope).max()
            assert difference < far * max(1.0, np.abs(slope).max()), name
        taken += 1
    assert taken == len(state)


@pytest.mark.parametrize(("fields", "tokens", "side"), CASES)
def test_it_is_what_torch_makes_of_it(fields: dict[str, Any], tokens: int, side: str) -> None:
    compared(build(fields), tokens, side, FAR)


@pytest.mark.parametrize(("fields", "tokens", "side"), CASES[3:7])
def test_it_is_so_without_norms_of_the_heads(fields: dict[str, Any], tokens: int, side: str) -> None:
    compared(build(fields, PLAIN), tokens, side, FAR)


def test_it_is_so_in_float32() -> None:
    compared(build({**PAIRS, "reach": 4}, dtype="float32"), 33, "right", 2e-4)


def test_in_bfloat16_the_loss_is_near() -> None:
    """And every gradient points where the exact one does."""
    exact, rough = (build({**PAIRS, "reach": 4}, dtype=dtype).train() for dtype in ("float64", "bfloat16"))
    ids = np.random.default_rng(3).integers(0, 99, (2, 33))
    rough.load_state_dict(exact.state_dict())
    for model in (exact, rough):
        model(ids, labels=ids).loss.backward()
    for (name, one), (_, other) in zip(exact.named_parameters(), rough.named_parameters(), strict=True):
        a, b = (np.asarray(held.grad.numpy(), np.float64).ravel() for held in (one, other))
        assert a @ b > 0.98 * np.linalg.norm(a) * np.linalg.norm(b), name


# Builds for one config

SMALL = (("heads", 6), ("kv", 2), ("head_dim", 40), ("reach", 4), ("bias", True), ("o_bias", False))


@pytest.mark.parametrize("text", [SPEC, PLAIN], ids=["norms of heads", "none"])
def test_heads_that_do_not_fill_tiles_are_padded_for_one_config(text: str) -> None:
    """The mean square of a norm over them is that of what the parameters hold."""
    compared(build(dict(SMALL), text, preset=SMALL), 33, "right", FAR)


def test_norms_over_padded_heads_may_round_behind_their_weight() -> None:
    text = SPEC.replace('at="q_norm")', 'at="q_norm", round=after_weight)')
    assert text != SPEC
    compared(build(dict(SMALL), text, preset=SMALL), 7, "", FAR)


@pytest.mark.parametrize("flag", [True, False])
def test_a_build_for_one_config_decides_the_biases(flag: bool) -> None:
    fields = (("kv", 3), ("bias", flag), ("o_bias", flag), ("mlp_bias", flag), ("reach", 4))
    model = build(dict(fields), preset=fields)
    compared(model, 7, "", FAR)
    names = [name for name in model.state_dict() if name.endswith("bias")]
    assert len(names) == (2 * 7 if flag else 0)
    text = Path(made(SPEC, fields).__file__ or "").read_text()
    assert ("bias=self." in text) == flag
    assert "if c.bias" not in text


def test_a_generic_build_has_heads_of_whole_tiles() -> None:
    with pytest.raises(ConfigError, match="head_dim 40 is no multiple of 32"):
        made().DecoderConfig(kv=3, head_dim=40)


def test_a_layer_norm_over_padded_heads_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Less its mean, what fills them up is no zeros any more."""
    text = re.sub(r"rms_norm\((.*), at=\"q_norm\"\)", r'layer_norm(\1, eps=eps, at="q_norm")', SPEC)
    assert text != SPEC
    preset = tmp_path / "decoder-odd.yaml"
    preset.write_text("model: decoder\nconfig:\n  kv: 3\n  head_dim: 40\n")
    with pytest.raises(
        DiagnosticError, match="'head_dim', which is padded to 64, would take its mean over"
    ) as told:
        compile_text(SourceFile("decoder.spec", text), tmp_path / "decoder.spec", preset=preset)
    assert "Choose a head_dim that is a multiple of 32, or an RMS norm" in str(told.value)


# What is emitted


def method(text: str, block: str, name: str) -> str:
    body = text.split(f"class {block}(nn.Block)")[1].split("\nclass ")[0]
    return body.split(f"    def {name}(")[1].split("\n    def ")[0]


def test_one_matmul_makes_queries_keys_and_values() -> None:
    text = Path(made().__file__).read_text()
    for name in ("infer", "forward"):
        body = method(text, "Attention", name)
        assert body.count("ttnn.linear(") == 2
        assert "num_heads=c.heads, num_kv_heads=c.kv" in body
    assert "repeat" not in method(text, "Attention", "forward")


def test_what_has_its_biases_under_one_flag_is_joined_and_else_not(tmp_path: Path) -> None:
    other = SPEC.replace('(kv head_dim), bias=bias, at="v_proj"', '(kv head_dim), bias=o_bias, at="v_proj"')
    assert other != SPEC
    compiled = compile_text(SourceFile("decoder.spec", other), tmp_path / "decoder.spec")
    assert method(compiled.text, "Attention", "infer").count("ttnn.linear(") == 4
    said = [one.reason for stage in compiled.stages for one in stage.declined]
    assert "the projections have their biases under different conditions" in said


def test_the_gated_feed_forward_applies_its_activation_in_the_matmul() -> None:
    body = method(Path(made().__file__).read_text(), "FeedForward", "infer")
    assert body.count("activation=nn.fused(c.act)") == 1
    assert body.count("ttnn.linear(") == 3


def test_a_bias_that_is_not_there_costs_nothing() -> None:
    body = method(Path(made().__file__).read_text(), "FeedForward", "backward")
    assert body.count("ttnn.sum(") == body.count("if c.mlp_bias") == 3


def test_a_norm_rounds_where_the_spec_says(tmp_path: Path) -> None:
    """Before the weight in two calls; behind it in one."""
    after = SPEC.replace("rms_norm: eps=eps", "rms_norm: eps=eps, round=after_weight")
    text = compile_text(SourceFile("decoder.spec", after), tmp_path / "decoder.spec").text
    assert "multiply" not in method(text, "Norm", "infer")
    assert "weight=self.norm.weight" in method(text, "Norm", "infer")
    before = method(Path(made().__file__).read_text(), "Norm", "infer")
    assert "ttnn.multiply(" in before
    assert "weight=self" not in before


def test_what_is_normalised_is_rounded_before_the_weight_or_with_it() -> None:
    """As torch does either: the numbers are bfloat16's."""
    device = nn.open_device("bfloat16")
    rng = np.random.default_rng(0)
    x, w = (torch.tensor(rng.normal(size=size), dtype=torch.bfloat16) for size in ((1, 1, 32, 64), (64,)))
    on_x, on_w = (ttnn.Tensor(one.float().numpy(), ttnn.bfloat16, device, ttnn.TILE_LAYOUT) for one in (x, w))
    normal = ttnn.rms_norm(on_x, epsilon=1e-6)
    both = [ttnn.multiply(normal, on_w), ttnn.rms_norm(on_x, weight=on_w, epsilon=1e-6)]
    exact = x.float() / torch.sqrt((x.float() ** 2).mean(-1, keepdim=True) + 1e-6)
    wanted = [(exact.bfloat16() * w), (exact * w.float()).bfloat16()]
    assert not torch.equal(*wanted)
    for found, right in zip(both, wanted, strict=True):
        values = ttnn.to_dtype(found.cpu(), ttnn.float32).to_numpy()
        assert (values != right.float().numpy()).mean() < 0.01


# Configs


def test_a_key_is_read_only_where_its_condition_holds() -> None:
    config = made().DecoderConfig
    windowed = {"use_sliding_window": True, "sliding_window": 77, "num_key_value_heads": None}
    assert config.from_hugging_face(windowed).reach == 77
    assert config.from_hugging_face({**windowed, "use_sliding_window": False}).reach is None
    assert config.from_hugging_face({"num_key_value_heads": None}).reach == 4096
    assert config.from_hugging_face({**windowed, "sliding_window": None}).reach is None
    assert config(kv=3, windowed=False, reach=5).reach is None


@pytest.mark.parametrize("fields", [{}, {"reach": None}, {"reach": 9}, {"windowed": False}, {"pad": 4}])
def test_what_is_written_is_read_again(fields: dict[str, Any]) -> None:
    config = made().DecoderConfig(kv=3, **fields)
    assert type(config).from_hugging_face(config.to_hugging_face()) == config


def test_sizes_follow_from_others_or_are_given() -> None:
    config = made().DecoderConfig
    assert config.from_hugging_face({"num_key_value_heads": None, "head_dim": None}).head_dim == 32
    assert config.from_hugging_face({"num_key_value_heads": None}).kv == 3
    assert config(kv=1, hidden=100, head_dim=64).group == 3
    with pytest.raises(ConfigError, match="head_dim has no default here: 3 does not divide 100"):
        config(kv=3, hidden=100)
    with pytest.raises(ConfigError, match="kv must divide heads"):
        config(kv=2)


# The reference


def test_the_reference_is_what_torch_makes_of_it(tmp_path: Path) -> None:
    compiled = compile_text(SourceFile("decoder.spec", SPEC), tmp_path / "decoder.spec")
    fields = {**PAIRS, "reach": 4, "bias": True}
    model = build(fields)
    state, ids = model.state_dict(), np.random.default_rng(0).integers(0, 99, (2, 9))
    mask = padded(9, "right")
    stage = next(stage.module for stage in compiled.stages if stage.name == "join-projections")
    found = evaluate(stage, "DecoderForCausalLM", fields, state, {"input_ids": ids, "attention_mask": mask})
    held = {name: torch.tensor(value) for name, value in state.items()}
    wanted = logits(model.config, held, torch.tensor(ids), torch.tensor(mask)).numpy()
    assert np.abs(found["logits"] - wanted)[mask].max() < FAR

"""GPT-2: what bites in its sources, held to Transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from generated.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from tests.runtime.nn import families
from tests.runtime.nn.families import FAMILIES, VOCAB, seen
from tests.runtime.nn.pairs import run_theirs, tensors

FAMILY = FAMILIES["gpt2"]
IDS = np.random.default_rng(1).integers(0, VOCAB, (2, 9))
CLOSE = 1e-5
"""A part of the range of outputs: float32 sums of up to 384 products, in two orders."""


def small(head: str = "the decoder", **options: Any) -> Any:
    """Transformers' model of one layer."""
    return families.theirs(FAMILY, FAMILY.heads[head], n_layer=1, **options)


def read(model: Any, folder: Path, **options: Any) -> Any:
    return families.ours(FAMILY, model, folder, **options)


def agrees(model: Any, made: Any, **inputs: Any) -> None:
    wanted = run_theirs(model.double(), {**inputs, "attention_mask": seen(inputs)}).logits
    output = made(**inputs)
    for name, value in wanted.items():
        assert np.abs(output[name].numpy() - value).max() <= CLOSE * np.ptp(value), name


def test_weights_are_written_as_they_were_read_and_no_weight_is_turned(tmp_path: Path) -> None:
    model = small("next words, tied")
    made = read(model, tmp_path)
    assert {storage.chain for storage in made._registry.storages if "c_attn" in str(storage.chain)}
    assert not [str(storage.chain) for storage in made._registry.storages if ".T" in str(storage.chain)]
    wanted = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    del wanted["lm_head.weight"]  # tied: the file holds it once
    found = made.state_dict()
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    made.save_pretrained(tmp_path / "back")
    back = type(model).from_pretrained(tmp_path / "back")
    for name, value in back.state_dict().items():
        assert np.array_equal(value.numpy(), model.state_dict()[name].detach().numpy()), name


def test_a_projection_holds_queries_keys_and_values_as_whole_blocks(tmp_path: Path) -> None:
    """Zeros in the last third of the columns leave no values, so that attention adds its bias alone."""
    model = small()
    with families.torch.no_grad():
        model.h[0].attn.c_attn.weight[:, 192:] = 0
        model.h[0].attn.c_attn.bias[192:] = 0
    made = read(model, tmp_path)
    agrees(model, made, input_ids=IDS)
    other = IDS.copy()
    other[:, 0] = (other[:, 0] + 1) % VOCAB
    a, b = (made(ids).last_hidden_state.numpy() for ids in (IDS, other))
    assert np.array_equal(a[:, 1:], b[:, 1:]), "no token sees another"


def test_token_types_are_looked_up_among_the_words(tmp_path: Path) -> None:
    model = small()
    made = read(model, tmp_path)
    agrees(model, made, input_ids=IDS, token_type_ids=IDS[::-1].copy())
    assert [name for name, _ in made.named_parameters() if "type" in name] == []
    plain, zeros = (made(IDS, **given) for given in ({}, {"token_type_ids": np.zeros_like(IDS)}))
    assert np.abs(plain.last_hidden_state.numpy() - zeros.last_hidden_state.numpy()).max() > 0.01


def test_the_table_of_words_is_on_the_device_once_for_lookups(tmp_path: Path) -> None:
    made = read(small(), tmp_path)
    holders = [storage for storage in made._registry.storages if "wte.weight" in storage.names]
    assert len(holders) == 1
    tied = read(small("next words, tied"), tmp_path)
    forms = [storage for storage in tied._registry.storages if "transformer.wte.weight" in storage.names]
    assert len(forms) == 2, "in rows to look up, in tiles to multiply by"
    assert len({storage.primary for storage in forms}) == 1


def test_a_base_checkpoint_has_no_prefix_and_old_ones_have_buffers(tmp_path: Path) -> None:
    read(small(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert "wte.weight" in tensors
    tensors["h.0.attn.bias"] = np.tril(np.ones((1, 1, 140, 140), np.float32))
    tensors["h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    base = GPT2Model.from_pretrained(tmp_path, dtype="float32", strict=True)
    head = GPT2LMHeadModel.from_pretrained(tmp_path, dtype="float32", strict=True)
    words = base.state_dict()["wte.weight"]
    assert np.array_equal(head.state_dict()["transformer.wte.weight"], words)


def test_sizes_that_are_left_out_or_null_have_the_familys_defaults() -> None:
    found = GPT2Config.from_hugging_face({"model_type": "gpt2", "n_embd": 64, "n_head": 2, "n_inner": None})
    assert (found.inner, found.eps, found.act) == (256, 1e-5, "gelu_new")
    assert (found.p_head, found.pad, found.positions) == (0.1, None, 1024)
    also = GPT2Config.from_hugging_face({"model_type": "gpt2", "hidden_size": 64, "num_attention_heads": 2})
    assert (also.hidden, also.heads) == (64, 2)
    assert found.to_hugging_face()["n_embd"] == 64


def test_all_keys_that_transformers_writes_are_known() -> None:
    values = families.transformers.GPT2Config().to_dict()
    found = GPT2Config.from_hugging_face(values)
    assert (found.hidden, found.layers, found.heads, found.vocab) == (768, 12, 12, 50257)


def test_padding_on_the_left_moves_no_position(tmp_path: Path) -> None:
    """A plain call counts positions from the first column, as Transformers does, whatever the mask hides."""
    model = small()
    made = read(model, tmp_path)
    mask = np.ones_like(IDS)
    mask[1, :4] = 0
    inputs = {"input_ids": IDS, "attention_mask": mask}
    with families.torch.no_grad():
        wanted = model(**tensors(inputs)).last_hidden_state.numpy()
    found = made(**inputs).last_hidden_state.numpy()
    shown = mask.astype(bool)
    assert np.abs(found - wanted)[shown].max() <= CLOSE * np.ptp(wanted[shown])


def test_later_tokens_change_nothing(tmp_path: Path) -> None:
    made = read(small(), tmp_path)
    whole, part = (made(ids).last_hidden_state.numpy() for ids in (IDS, IDS[:, :5]))
    assert np.abs(whole[:, :5] - part).max() <= CLOSE * np.ptp(whole)


def test_each_layer_may_divide_its_scores_by_its_number(tmp_path: Path) -> None:
    plain, by_layer = (
        families.ours(
            FAMILY,
            families.theirs(
                FAMILY, FAMILY.heads["the decoder"], n_layer=3, scale_attn_by_inverse_layer_idx=flag
            ),
            tmp_path / str(flag),
        )
        for flag in (False, True)
    )
    a, b = (made(IDS).last_hidden_state.numpy() for made in (plain, by_layer))
    assert np.abs(a - b).max() > 0.01
    assert [layer.attention.turn_i for layer in by_layer.layer] == [0, 1, 2]


def test_initial_weights_are_as_the_family_says() -> None:
    """Rows that add to the residual stream begin smaller, by the root of twice the number of layers."""
    made = GPT2Model(GPT2Config(hidden=96, heads=3, layers=8, vocab=99, positions=33), dtype="float32")
    found = made.state_dict()
    for name, std in (
        ("attn.c_attn", 0.02),
        ("mlp.c_fc", 0.02),
        ("attn.c_proj", 0.005),
        ("mlp.c_proj", 0.005),
    ):
        values = found[f"h.3.{name}.weight"]
        # A sample of 9216 normal numbers or more has its deviation within 4 parts of its own error, 0.7 %.
        assert values.std() == pytest.approx(std, rel=0.03), name

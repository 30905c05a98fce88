"""RoBERTa: what bites in its sources, held to Transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import InputError

from generated import roberta
from tests.runtime.nn import families
from tests.runtime.nn.families import FAMILIES, VOCAB
from tests.runtime.nn.pairs import run_ours, run_theirs, tensors

FAMILY = FAMILIES["roberta"]
PAD = FAMILY.sizes["pad_token_id"]
IDS = np.random.default_rng(2).integers(PAD + 1, VOCAB, (2, 9))
CLOSE = 1e-5
"""A part of the range of outputs: float32 sums of up to 130 products, in two orders."""


def pair(folder: Path, head: str = "the encoder", **options: Any) -> tuple[Any, Any]:
    """Transformers' model of one layer, and ours with its weights."""
    model = families.theirs(FAMILY, FAMILY.heads[head], num_hidden_layers=1, **options)
    return model, families.ours(FAMILY, model, folder)


def apart(model: Any, made: Any, inputs: Mapping[str, Any]) -> float:
    """The largest difference of what the two give, as part of the range."""
    with families.torch.no_grad():
        wanted = model(**tensors(dict(inputs), families.torch.float32))
    output = made(**inputs)
    return max(
        float(np.abs(output[name].numpy() - value.numpy()).max() / np.ptp(value.numpy()))
        for name, value in wanted.items()
    )


def padded() -> np.ndarray[Any, Any]:
    """Ids with padding inside and at both ends."""
    ids = IDS.copy()
    ids[0, 6:] = PAD
    ids[1, :2] = ids[1, 5] = PAD
    return ids


def test_512_tokens_need_514_rows_of_positions() -> None:
    ids = np.full((1, 512), PAD + 1)
    small = {"hidden": 64, "heads": 2, "layers": 1, "inner": 64, "vocab": VOCAB, "pad": 1}
    fits = roberta.RobertaModel(roberta.RobertaConfig(positions=514, **small), dtype="float32")
    assert fits(ids).last_hidden_state.shape == (1, 512, 64)
    short = roberta.RobertaModel(roberta.RobertaConfig(positions=513, **small), dtype="float32")
    with pytest.raises(InputError, match="513"):
        short(ids)
    assert short(ids[:, :511]).last_hidden_state.shape == (1, 511, 64)


def test_positions_count_ids_that_are_no_padding_whatever_the_mask_says(tmp_path: Path) -> None:
    model, made = pair(tmp_path)
    for ids in (IDS, padded()):
        for mask in (None, np.ones_like(ids), (ids != PAD).astype(np.int64)):
            given = {"input_ids": ids} if mask is None else {"input_ids": ids, "attention_mask": mask}
            assert apart(model, made, given) <= CLOSE
    # A mask that hides the first tokens moves none of the others.
    hidden = np.ones_like(IDS)
    hidden[:, :3] = 0
    first = np.cumsum(np.ones_like(IDS), 1) + PAD
    a, b = (made(IDS, attention_mask=hidden, **more) for more in ({}, {"position_ids": first}))
    assert np.array_equal(a.last_hidden_state.numpy(), b.last_hidden_state.numpy())


def test_the_row_of_padding_gets_no_gradient_from_lookups_of_words_and_positions(tmp_path: Path) -> None:
    model, made = pair(tmp_path)
    inputs = {"input_ids": padded(), "attention_mask": np.ones_like(IDS)}
    wanted = run_theirs(model.double(), inputs).gradients
    with nn.enable_grad():
        found = run_ours(made, inputs).gradients
    for name in ("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"):
        assert not wanted[name][PAD].any()
        assert not found[name][PAD].any(), name
        assert found[name][PAD + 1 :].any(), name
    begun = roberta.RobertaModel(roberta.RobertaConfig(hidden=64, heads=2, layers=1, pad=PAD)).state_dict()
    assert not begun["embeddings.position_embeddings.weight"][PAD].any(), "and begins as zeros"


def test_the_head_of_masked_words_is_gelu_whatever_the_layers_apply(tmp_path: Path) -> None:
    for act in ("relu", "gelu_new"):
        model, made = pair(tmp_path / act, "masked words, tied", hidden_act=act)
        assert apart(model, made, {"input_ids": IDS}) <= CLOSE


def test_multiple_choice_drops_with_the_layers_rate_and_the_classifier_with_its_own() -> None:
    sizes = {"hidden": 64, "heads": 2, "layers": 1, "inner": 64, "vocab": VOCAB, "positions": 40}
    rates = {"p_attn": 0.0, "p": 0.0, "p_head": 0.9}
    ids = np.stack([IDS, IDS[::-1]], 1)

    def drops(kind: Any, ids: Any, **other: float) -> bool:
        model = kind(roberta.RobertaConfig(**sizes, **{**rates, **other}), dtype="float32", seed=1)
        trained, still = (model.train(flag)(ids).logits.numpy() for flag in (True, False))
        return bool(np.abs(trained - still).max() > 1e-6)

    assert not drops(roberta.RobertaForMultipleChoice, ids)
    assert drops(roberta.RobertaForMultipleChoice, ids, p=0.9, p_head=0.0)
    assert drops(roberta.RobertaForSequenceClassification, IDS)
    assert drops(roberta.RobertaForTokenClassification, IDS)


def test_the_classifier_reads_the_first_token_and_has_no_pooler(tmp_path: Path) -> None:
    model, made = pair(tmp_path, "a class")
    assert apart(model, made, {"input_ids": padded()}) <= CLOSE
    assert [name for name, _ in made.named_parameters() if name.startswith("classifier.")] == [
        "classifier.dense.weight",
        "classifier.dense.bias",
        "classifier.out_proj.weight",
        "classifier.out_proj.bias",
    ]
    assert [name for name, _ in made.named_parameters() if "pooler" in name] == []


def test_keys_that_transformers_writes_are_known() -> None:
    found = roberta.RobertaConfig.from_hugging_face(families.transformers.RobertaConfig().to_dict())
    assert (found.hidden, found.layers, found.heads, found.vocab, found.pad) == (768, 12, 12, 50265, 1)
    # Null is no token here: positions cannot be counted without one.
    unsaid = roberta.RobertaConfig.from_hugging_face({"model_type": "roberta", "pad_token_id": None})
    assert unsaid.pad == 1


def test_a_folder_written_by_us_is_read_by_transformers(tmp_path: Path) -> None:
    model, made = pair(tmp_path / "theirs", "masked words, tied")
    made.save_pretrained(tmp_path / "ours")
    back = type(model).from_pretrained(tmp_path / "ours")
    for name, value in back.state_dict().items():
        assert np.array_equal(value.numpy(), model.state_dict()[name].detach().numpy()), name

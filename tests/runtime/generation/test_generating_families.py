"""Every emitted model that generates: its text is that of Transformers' model with the same weights."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import generation
from ttmlc_runtime.errors import InputError

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")

VOCAB = 60
ENDLESS = {"vocab_size": VOCAB, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
POST_NORM = {
    **ENDLESS,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 160,
    "initializer_range": 0.3,
    "is_decoder": True,
}
PRE_NORM = {**ENDLESS, "n_embd": 64, "n_head": 2, "n_layer": 2, "n_positions": 160, "initializer_range": 0.3}
GROUPED = {
    **ENDLESS,
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
    "initializer_range": 0.3,
}
SLIDING = {
    "use_sliding_window": True,
    "sliding_window": 5,
    "layer_types": ["sliding_attention", "full_attention"],
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", POST_NORM),
    "gpt2": ("GPT2", PRE_NORM),
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 8}),
    "qwen2": ("Qwen2", {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {**GROUPED, **SLIDING, "head_dim": 32}),
    "roberta": ("Roberta", {**POST_NORM, "pad_token_id": 1}),
}
COUNTED = {"roberta"}
"""Those that count their tokens' places themselves. Transformers' ``generate`` gives its models places from 0 on, and
so another text than its own forward would: it is kept from that, and from its cache, which counts padding."""
Array = np.ndarray[Any, Any]


def generating(name: str) -> list[type[Any]]:
    """The classes of an emitted module that generate."""
    module = importlib.import_module(f"generated.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, generation.Model)]


def pair(name: str) -> tuple[Any, Any]:
    """The emitted model, and Transformers' with the same weights."""
    (kind,) = generating(name)
    words, sizes = MODELS[name]
    ours = kind(kind.Config.from_hugging_face({"model_type": name, **sizes}), seed=4, dtype="float32")
    theirs = getattr(transformers, kind.__name__)(getattr(transformers, f"{words}Config")(**sizes)).eval()
    state = {key: torch.from_numpy(np.array(value)) for key, value in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(re.search("decoder|lm_head|position_ids", key) for key in missing), missing
    theirs.tie_weights()
    theirs.generation_config = transformers.GenerationConfig()
    if name in COUNTED:
        theirs._prepare_position_ids_for_generation = lambda inputs, given: None
    return ours, theirs


def batch(rows: int, tokens: int) -> tuple[Array, Array]:
    """Prompts padded on the left; the first is whole."""
    rng = np.random.default_rng(0)
    begins = rng.integers(0, tokens, rows)
    begins[0] = 0
    mask = (np.arange(tokens) >= begins[:, None]).astype(np.int64)
    return rng.integers(1, VOCAB, (rows, tokens)) * mask, mask


def compared(name: str, rows: int, tokens: int, new: int, **options: Any) -> None:
    ours, theirs = pair(name)
    ids, mask = batch(rows, tokens)
    expected = theirs.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=new,
        pad_token_id=0,
        use_cache=name not in COUNTED,
        **options,
    )
    found = ours.generate(ids, mask, max_new_tokens=new, **options)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected.numpy())


def test_every_emitted_model_that_generates_is_compared() -> None:
    shipped = sorted(path.stem for path in (Path(__file__).parents[3] / "generated").glob("*.py"))
    assert [name for name in shipped if generating(name)] == list(MODELS)


@pytest.mark.parametrize(("rows", "tokens"), [(1, 4), (3, 29)], ids=["one", "ragged, over a tile"])
@pytest.mark.parametrize("name", MODELS)
def test_text_is_that_of_transformers(name: str, rows: int, tokens: int) -> None:
    compared(name, rows, tokens, 6, repetition_penalty=1.3)


def test_counted_places_are_those_that_transformers_would_be_given() -> None:
    """With a cache on both sides, and prompts padded with the token that is not counted."""
    ours, theirs = pair("roberta")
    ids, mask = batch(3, 29)
    ids = np.where(mask == 1, np.maximum(ids, 2), 1)
    places = torch.from_numpy(np.cumsum(mask, axis=-1) * mask + 1)
    expected = theirs.generate(
        torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), position_ids=places, max_new_tokens=6
    )
    assert not (expected == 1)[:, 29:].any(), "what is not counted does not come"
    np.testing.assert_array_equal(ours.generate(ids, mask, max_new_tokens=6), expected.numpy())


def test_counted_places_end_before_padding_has_its_own() -> None:
    """Of 160 rows two are below the first token's; the whole text fills them, with a cache and without."""
    ours, _ = pair("roberta")
    ids = batch(1, 150)[0] + 2
    texts = [
        ours.generate(ids % VOCAB + 2 * (ids >= VOCAB), max_new_tokens=9, use_cache=kept)
        for kept in (True, False)
    ]
    np.testing.assert_array_equal(*texts)
    with pytest.raises(
        InputError, match="a prompt of 150 tokens and 10 new ones do not fit into the model's 158 pos"
    ):
        ours.generate(ids % VOCAB, max_new_tokens=10)


@pytest.mark.deep
@pytest.mark.parametrize("name", MODELS)
def test_long_texts_are_those_of_transformers(name: str) -> None:
    """128 steps, over four tiles and more."""
    compared(name, 3, 9, 128)

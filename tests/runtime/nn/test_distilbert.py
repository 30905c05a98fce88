"""DistilBERT, which extends another family: what its config says. Its heads are in the table of families."""

from __future__ import annotations

import pytest
from ttmlc_runtime.errors import ConfigError

from generated import distilbert


def test_what_a_head_drops_is_told_by_its_own_keys() -> None:
    """``p`` of each dropout is the field of that name, so that a rate of nearly 1 leaves nearly nothing."""
    config = distilbert.DistilBertConfig.from_hugging_face(
        {"model_type": "distilbert", "qa_dropout": 0.5, "seq_classif_dropout": 0.25, "dropout": 0.125}
    )
    assert (config.p_qa, config.p_head, config.p) == (0.5, 0.25, 0.125)


def test_what_it_does_not_do_is_refused_by_name() -> None:
    values = {"model_type": "distilbert", "sinusoidal_pos_embds": True}
    with pytest.raises(ConfigError, match="sinusoidal_pos_embds"):
        distilbert.DistilBertConfig.from_hugging_face(values)
    # The size that only the token types read is gone.
    with pytest.raises(ConfigError, match="type_vocab_size"):
        distilbert.DistilBertConfig.from_hugging_face({"model_type": "distilbert", "type_vocab_size": 2})

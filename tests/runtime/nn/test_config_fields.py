"""Configs: every key of a config.json is read, declared harmless, or refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sample(nn.Config):
    model_type: ClassVar[str] = "sample"
    fixed: ClassVar[dict[str, object]] = {"position_embedding_type": "absolute", "rope.kind": "plain"}
    harmless: ClassVar[tuple[str, ...]] = ("use_cache", "summary_*")

    hidden: int = nn.size(64, "hidden_size", "n_embd")
    heads: int = nn.size(4, "num_heads")
    head_dim: int = nn.size(lambda c: c.hidden // c.heads, "head_dim", null=lambda c: c.hidden // c.heads)
    p: float = nn.rate(0.1, "dropout")
    p_head: float = nn.rate(lambda c: c.p, "classifier_dropout")
    pad: int | None = nn.token(0, "pad_token_id", nullable=True)
    window: int | None = nn.size(4096, "sliding_window", nullable=True)
    eps: float = nn.real(1e-5, "layer_norm_eps")
    theta: float = nn.real(10000.0, "rope.theta", "rope_theta")
    labels: int = nn.size(2, "num_labels", "len(id2label)")
    act: str = nn.activation("gelu", "hidden_act")
    kind: str | None = nn.choice(
        None, "problem_type", one_of=("regression", "multi_label_classification"), nullable=True
    )
    shift: int = nn.integer(0, "shift")
    tie: bool = nn.flag(True, "tie_word_embeddings")

    def check(self) -> None:
        nn.require(self.hidden % self.heads == 0, "heads must divide hidden")


def read(**values: Any) -> Sample:
    return Sample.from_hugging_face({"model_type": "sample", **values})


def test_fields_are_read_from_their_keys() -> None:
    config = read(hidden_size=96, num_heads=3, dropout=0, hidden_act="gelu_new", rope={"theta": 5})
    assert (config.hidden, config.heads, config.head_dim, config.p, config.act) == (
        96,
        3,
        32,
        0.0,
        "gelu_new",
    )
    assert config.theta == 5.0


def test_the_first_key_that_is_there_counts() -> None:
    assert read(n_embd=32).hidden == 32
    assert read(n_embd=32, hidden_size=16).hidden == 16
    assert read(hidden_size=None, n_embd=32).hidden == 32
    assert read(rope_theta=7, rope={"theta": 8}).theta == 8.0
    assert read(id2label={"0": "a", "1": "b", "2": "c"}).labels == 3
    assert read(num_labels=50, id2label={"0": "a"}).labels == 50


def test_absent_and_null_are_different() -> None:
    assert read().pad == 0
    assert read(pad_token_id=None).pad is None
    assert read().window == 4096
    assert read(sliding_window=None).window is None
    assert read(hidden_size=None).hidden == 64  # null where none may be: the default
    assert read(head_dim=None, hidden_size=96, num_heads=3).head_dim == 32  # null has a meaning of its own


def test_a_default_may_read_the_fields_before_it() -> None:
    assert read(dropout=0.3).p_head == 0.3
    assert read(dropout=0.3, classifier_dropout=None).p_head == 0.3
    assert Sample(hidden=96, heads=3).head_dim == 32


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("hidden_size", 0, "a whole number of at least 1"),
        ("hidden_size", -1, "a whole number of at least 1"),
        ("hidden_size", True, "a whole number of at least 1"),
        ("hidden_size", 64.0, "a whole number of at least 1"),
        ("hidden_size", "64", "a whole number of at least 1"),
        ("hidden_size", 1 << 31, "a whole number of at least 1"),
        ("hidden_size", [64], "a whole number of at least 1"),
        ("dropout", 1, "a rate in"),
        ("dropout", -0.1, "a rate in"),
        ("dropout", False, "a rate in"),
        ("dropout", float("nan"), "a rate in"),
        ("layer_norm_eps", "1e-5", "a finite number"),
        ("layer_norm_eps", float("inf"), "a finite number"),
        ("layer_norm_eps", 10**400, "a finite number"),
        ("pad_token_id", -1, "a token"),
        ("hidden_act", "gelu_nwe", r"one of .*did you mean 'gelu_new'\?"),
        ("hidden_act", ["gelu"], "one of "),
        (
            "problem_type",
            "regresion",
            r"one of regression, multi_label_classification; did you mean 'regression'\?",
        ),
        ("problem_type", {}, "one of regression"),
        ("tie_word_embeddings", 1, "true or false"),
        ("shift", 0.5, "a whole number"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_key(key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read(**{key: value})
    assert repr(key) in str(caught.value)
    assert repr(value) in str(caught.value)


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    config = Sample(hidden=np.int64(96), heads=np.uint8(3))  # type: ignore[arg-type]  # what a sweep gives
    assert type(config.hidden) is int


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"'hiden_size' = 3, which may change.*did you mean 'hidden_size'\?"
    ):
        read(hiden_size=3)


def test_an_unknown_key_inside_an_object_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'rope\.factor' = 8"):
        read(rope={"theta": 5, "factor": 8})
    with pytest.raises(ConfigError, match=r"rope\.kind = 'yarn', and Sample is written for 'plain'"):
        read(rope={"kind": "yarn"})
    with pytest.raises(ConfigError, match="'rope' = 3"):
        read(rope=3)
    assert read(rope={"kind": "plain"}).theta == 10000.0
    assert read(rope=None).theta == 10000.0


def test_a_fixed_key_must_have_its_value() -> None:
    assert read(position_embedding_type="absolute")
    assert read(position_embedding_type=None)
    with pytest.raises(
        ConfigError, match="position_embedding_type = 'relative', and Sample is written for 'absolute'"
    ):
        read(position_embedding_type="relative")


def test_nought_is_not_false() -> None:
    with pytest.raises(ConfigError, match="'is_encoder_decoder' = 0"):
        read(is_encoder_decoder=0)


def test_writing_does_not_change_the_config() -> None:
    config = read(rope={"theta": 5}).replace(theta=6.0)
    config.to_hugging_face()
    assert config.extra["rope"] == {"theta": 5}


def test_harmless_keys_pass() -> None:
    assert read(
        use_cache=True, summary_type="x", _name_or_path="y", architectures=["Z"], torch_dtype="float16"
    )
    with pytest.raises(ConfigError, match="'use_cach'"):
        read(use_cach=True)


@pytest.mark.parametrize(
    ("key", "inert", "other"),
    [("is_decoder", False, True), ("add_cross_attention", False, True), ("is_encoder_decoder", False, True),
     ("pruned_heads", {}, {"0": [1]}), ("quantization_config", None, {"bits": 4})],
)  # fmt: skip
def test_a_key_that_every_model_has_is_refused_where_it_would_matter(
    key: str, inert: object, other: object
) -> None:
    assert read(**{key: inert})
    with pytest.raises(ConfigError, match=repr(key)):
        read(**{key: other})


def test_another_models_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="of a 'other' model, and Sample reads 'sample'"):
        Sample.from_hugging_face({"model_type": "other"})
    assert Sample.from_hugging_face({}).hidden == 64  # old files do not say


def test_a_requirement_is_told_in_the_specs_words() -> None:
    with pytest.raises(ConfigError, match=r"^heads must divide hidden$"):
        Sample(hidden=65)
    with pytest.raises(ConfigError, match=r"^config\.json: heads must divide hidden$"):
        read(hidden_size=65)


def test_an_unknown_field_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"Sample has no field 'hiden'; did you mean 'hidden'\?"):
        Sample(hiden=3)  # type: ignore[call-arg]  # that is the point
    with pytest.raises(ConfigError, match=r"no field 'xyz'$"):
        Sample(xyz=3)  # type: ignore[call-arg]  # the wrong name is what is tested


def test_a_field_without_default_must_be_given() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Needy(nn.Config):
        vocab: int = nn.size(nn.REQUIRED, "vocab_size")

    assert Needy(vocab=3).vocab == 3
    with pytest.raises(ConfigError, match=r"needs vocab, in config\.json 'vocab_size'"):
        Needy()


def test_writing_gives_what_was_read() -> None:
    values = {
        "model_type": "sample", "hidden_size": 96, "num_heads": 3, "use_cache": True, "pad_token_id": None,
        "architectures": ["Old"], "rope": {"theta": 5.0, "kind": "plain"},
        "id2label": {"0": "no", "1": "yes", "2": "so"}, "label2id": {"no": 0, "yes": 1, "so": 2},
    }  # fmt: skip
    config = Sample.from_hugging_face(json.loads(json.dumps(values)))
    found = config.to_hugging_face()
    assert {key: found[key] for key in values} == values
    assert Sample.from_hugging_face(json.loads(json.dumps(found))) == config


def test_writing_a_changed_config_writes_the_change() -> None:
    config = read(n_embd=32, rope={"theta": 5}, id2label={"0": "a", "1": "b"}).replace(
        hidden=64, theta=6.0, labels=3
    )
    found = config.to_hugging_face()
    assert (found["hidden_size"], found["rope"]["theta"]) == (64, 6.0)
    assert found["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert Sample.from_hugging_face(found) == config


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 2),
        ({"num_labels": 2}, 2),
        ({"num_labels": 1}, 1),
        ({"num_labels": 7}, 7),
        ({"id2label": {"0": "no", "1": "yes", "2": "so"}, "label2id": {"no": 0, "yes": 1, "so": 2}}, 3),
        ({"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}, 2),
        ({"id2label": None, "label2id": None}, 2),
        # What older versions saved: the count, and the two names that they gave every model.
        ({"num_labels": 50, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, 50),
        ({"num_labels": None, "id2label": {"0": "only"}}, 1),
    ],
)
def test_transformers_reads_the_number_of_classes_that_is_written(values: dict[str, Any], count: int) -> None:
    transformers = pytest.importorskip("transformers", reason="it is what reads the file")
    assert read(**values).labels == count
    written = json.loads(json.dumps(read(**values).to_hugging_face()))
    assert transformers.PretrainedConfig.from_dict(written).num_labels == count
    assert Sample.from_hugging_face(written).labels == count
    names = values.get("id2label")
    if names and len(names) == count:  # a user's own names stay
        assert written["id2label"] == names
        assert written.get("label2id") == values.get("label2id")
    # And what Transformers writes of that reads the same here.
    again = transformers.PretrainedConfig.from_dict(written).to_dict()
    assert Sample.from_hugging_face({**json.loads(json.dumps(again)), "model_type": "sample"}).labels == count


def test_two_classes_are_written_as_transformers_writes_them() -> None:
    assert "id2label" not in read().to_hugging_face()
    assert read(id2label={"0": "a"}).replace(labels=2).to_hugging_face()["id2label"] == {
        "0": "LABEL_0",
        "1": "LABEL_1",
    }


def test_no_kind_of_problem_is_null_in_the_file() -> None:
    transformers = pytest.importorskip("transformers", reason="it is what reads the file")
    for kind in (None, "regression"):
        written = read(problem_type=kind).to_hugging_face()
        assert transformers.PretrainedConfig.from_dict(written).problem_type == kind
        assert Sample.from_hugging_face(written).kind == kind
    with pytest.raises(ConfigError, match="'problem_type'"):
        read(problem_type="auto")


def test_names_of_classes_do_not_let_other_keys_in() -> None:
    with pytest.raises(ConfigError, match=r"'id2labels'.*did you mean 'id2label'\?"):
        read(id2labels={"0": "a"})
    with pytest.raises(ConfigError, match="a whole number of at least 1"):
        read(id2label={})


def test_null_is_written_back_while_it_stands_for_the_value() -> None:
    config = read(dropout=0.3, classifier_dropout=None, head_dim=None, pad_token_id=None)
    found = config.to_hugging_face()
    assert (found["classifier_dropout"], found["head_dim"], found["pad_token_id"]) == (None, None, None)
    changed = config.replace(p_head=0.5, head_dim=8, pad=1).to_hugging_face()
    assert (changed["classifier_dropout"], changed["head_dim"], changed["pad_token_id"]) == (0.5, 8, 1)


def test_configs_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Sample().hidden = 3  # type: ignore[misc]  # that is the point
    assert Sample() == Sample()
    assert hash(Sample()) == hash(Sample(extra={"a": 1}))


def test_a_specialised_build_refuses_other_sizes() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Built(Sample):
        built_for: ClassVar[dict[str, object]] = {"hidden": 96, "heads": 3}
        fingerprint: ClassVar[str] = "0123456789ab"
        hidden: int = nn.size(96, "hidden_size")
        heads: int = nn.size(3, "num_heads")

    assert Built().hidden == 96
    assert Built.from_hugging_face({"hidden_size": 96, "num_heads": 3}).heads == 3
    with pytest.raises(
        ConfigError, match=r"compiled for hidden 96 \(not 192\).*generic build \(build 0123456789ab: "
    ) as e:
        Built.from_hugging_face({"hidden_size": 192, "num_heads": 3})
    assert "heads 3 (not" not in str(e.value)


@dataclass(frozen=True, kw_only=True)
class Layered(nn.Config):
    layers: int = nn.size(3, "num_layers")
    late: int = nn.integer(2, "late")
    kind: tuple[str, ...] = nn.choice(
        lambda c, i: "sliding" if i >= c.late else "full",
        "kinds",
        one_of=("full", "sliding"),
        each=lambda c: c.layers,
    )
    share: tuple[float, ...] = nn.real(0.5, "shares", each=lambda c: c.layers)


def test_a_field_may_have_a_value_for_each_of_another() -> None:
    found = Layered()
    assert (found.kind, found.share) == (("full", "full", "sliding"), (0.5, 0.5, 0.5))
    assert Layered(late=0, layers=2).kind == ("sliding", "sliding")
    given = {"num_layers": 2, "kinds": ["sliding", "full"], "shares": [1, 0.25]}
    read = Layered.from_hugging_face(given)
    assert (read.kind, read.share) == (("sliding", "full"), (1.0, 0.25))
    assert read == Layered(layers=2, kind=["sliding", "full"], share=(1, 0.25))
    assert hash(read) == hash(read.replace(kind=["sliding", "full"]))
    assert {**given, "late": 2, "model_type": ""} == json.loads(json.dumps(read.to_hugging_face()))
    assert Layered.from_hugging_face(read.to_hugging_face()) == read
    null = Layered.from_hugging_face({"kinds": None})
    assert null == Layered()
    assert null.to_hugging_face()["kinds"] is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kinds": ["full"]}, r"kind \(key 'kinds'\) has 1 values and must have 3"),
        ({"kinds": ["full"] * 4}, r"kind \(key 'kinds'\) has 4 values and must have 3"),
        ({"kinds": []}, "has 0 values and must have 3"),
        ({"kinds": "full"}, r"kind \(key 'kinds'\) is 'full' and must be a list of 3 values"),
        ({"kinds": {"0": "full"}}, "must be a list of 3 values"),
        (
            {"kinds": ["full", "slidng", "full"]},
            r"kind\[1\] \(key 'kinds'\) is 'slidng' and must be one of full, sliding; did you mean 'sliding'\?",
        ),
        ({"kinds": ["full", None, "full"]}, r"kind\[1\] .* is None and must be one of"),
        ({"shares": [1, 2, True]}, r"share\[2\] \(key 'shares'\) is True and must be a finite number"),
    ],
)
def test_what_such_a_field_cannot_be_is_told(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"config.json: .*{words}"):
        Layered.from_hugging_face(values)


def test_fused_gives_ttnns_name() -> None:
    assert nn.fused("gelu") == "gelu"
    assert nn.fused("gelu_new") == nn.fused("gelu_pytorch_tanh") == "gelu_tanh"
    assert nn.fused("swish") == "silu"
    assert nn.fused("linear") is None
    with pytest.raises(ConfigError, match=r"'gelu_nw' is not known; did you mean 'gelu_new'\?"):
        nn.fused("gelu_nw")


def test_every_key_that_transformers_writes_is_known() -> None:
    """What a bare config of Transformers 5 holds changes nothing that a model computes."""
    transformers = pytest.importorskip("transformers", reason="the keys come from there")
    values = transformers.PretrainedConfig().to_dict()
    values["model_type"] = "sample"
    assert Sample.from_hugging_face(values)


# What Transformers 4 wrote into every config.json that was saved with all its defaults.
V4_DEFAULTS: dict[str, object] = {
    "return_dict": True, "output_hidden_states": False, "output_attentions": False, "torchscript": False,
    "torch_dtype": "float32", "use_bfloat16": False, "tf_legacy_loss": False, "pruned_heads": {},
    "tie_word_embeddings": True, "chunk_size_feed_forward": 0, "is_encoder_decoder": False, "is_decoder": False,
    "cross_attention_hidden_size": None, "add_cross_attention": False, "tie_encoder_decoder": False, "max_length": 20,
    "min_length": 0, "do_sample": False, "early_stopping": False, "num_beams": 1, "num_beam_groups": 1,
    "diversity_penalty": 0.0, "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0,
    "repetition_penalty": 1.0, "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None, "num_return_sequences": 1, "output_scores": False, "return_dict_in_generate": False,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "remove_invalid_values": False,
    "exponential_decay_length_penalty": None, "suppress_tokens": None, "begin_suppress_tokens": None,
    "architectures": None, "finetuning_task": None, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "tokenizer_class": None, "prefix": None, "bos_token_id": None,
    "pad_token_id": None, "eos_token_id": None, "sep_token_id": None, "decoder_start_token_id": None,
    "task_specific_params": None, "problem_type": None, "_name_or_path": "", "transformers_version": "4.40.0",
    "model_type": "sample",
}  # fmt: skip


def test_every_key_that_transformers_4_wrote_is_known() -> None:
    assert Sample.from_hugging_face(V4_DEFAULTS)


def test_keys_that_only_transformers_2_wrote_are_known() -> None:
    assert Sample.from_hugging_face({"output_past": True, "eos_token_ids": 0, "model_type": "sample"})

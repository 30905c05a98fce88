"""What is emitted: fresh, the same everywhere, plain to read, and sound."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ttmlc.api import compile_spec, compile_text
from ttmlc.emit.python import WIDTH, Arg, Call, Raw, expression, layout
from ttmlc.ir.scalar import Apply, Const, Field
from ttmlc.source import SourceFile
from ttmlc.specs import models
from ttmlc_runtime import nn
from ttmlc_runtime.errors import ConfigError

from tests.modules import load

ROOT = Path(__file__).resolve().parents[2]
BERT = ROOT / "specs/models/bert.spec"
GENERATED = ROOT / "generated/bert.py"


@pytest.mark.parametrize("spec", models(), ids=lambda path: path.stem)
def test_the_checked_in_module_is_fresh(spec: Path) -> None:
    there = (ROOT / f"generated/{spec.stem}.py").read_text()
    assert there == compile_spec(spec).text, "run `make generated` and review the difference"


PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.1[0-9]*/bin/python3"))


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_equal_input_gives_equal_bytes_under_any_hash_seed(seed: str) -> None:
    code = (
        "import sys, pathlib, ttmlc.api as a; print(a.compile_spec(pathlib.Path(sys.argv[1])).text, end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(BERT)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == GENERATED.read_text()


def test_a_module_does_not_grow_with_its_layers() -> None:
    small, large = (compile_spec(BERT, preset=f"bert-{size}").text.splitlines() for size in ("tiny", "large"))
    # Three programs a block, and a model for each head, told once however many layers it has.
    assert len(small) == len(large) <= 1800


def test_every_line_is_readable() -> None:
    for line in GENERATED.read_text().splitlines():
        assert len(line) <= WIDTH, line
        assert line.isascii()


def test_the_spec_line_stands_above_what_it_became() -> None:
    text = GENERATED.read_text()
    spec = BERT.read_text().splitlines()
    quoted = re.findall(r"# bert\.spec:(\d+)  (.*)", text)
    assert len(quoted) >= 12
    for number, said in quoted:
        assert spec[int(number) - 1].strip().startswith(said.removesuffix(" ..."))


def test_every_checkpoint_name_can_be_searched_for() -> None:
    text = GENERATED.read_text()
    for name in (
        "self.query.weight",
        "output.LayerNorm.bias",
        "dense.weight",
        "word_embeddings.weight",
        "bert.embeddings.word_embeddings.weight",
    ):
        assert f'"{name}"' in text
    for scope in ("embeddings", "pooler", "bert.pooler", "cls.predictions"):
        assert f'at / "{scope}"' in text


def test_decisions_are_visible() -> None:
    text = GENERATED.read_text()
    for rule in ("join-projections", "fuse-heads", "fuse-activation", "fuse-residual"):
        assert f"decided: {rule}" in text


# Builds


def test_a_generic_build_checks_what_it_relies_on(tmp_path: Path) -> None:
    module = load(compile_spec(BERT).text, tmp_path / "generic_bert.py")
    with pytest.raises(ConfigError, match="head_dim 48 is no multiple of 32: --preset or --config"):
        module.BertConfig(hidden=96, heads=2)
    with pytest.raises(ConfigError, match="heads must divide hidden"):
        module.BertConfig(hidden=96, heads=5)


def test_a_specialised_build_serves_its_own_config_alone(tmp_path: Path) -> None:
    module = load(compile_spec(BERT, preset="bert-tiny").text, tmp_path / "tiny_bert.py")
    assert module.BertConfig().hidden == 128
    with pytest.raises(ConfigError, match=r"was compiled for hidden 128 \(not 256\)"):
        module.BertConfig(hidden=256)
    assert module.BertConfig.fingerprint in compile_spec(BERT, preset="bert-tiny").text
    assert module.BertConfig.fingerprint not in compile_spec(BERT, preset="bert-small").text


def test_both_builds_compute_the_same(tmp_path: Path) -> None:
    generic = load(compile_spec(BERT).text, tmp_path / "bert_g.py")
    special = load(compile_spec(BERT, preset="bert-tiny").text, tmp_path / "bert_s.py")
    config = generic.BertConfig(layers=2, hidden=128, heads=2, inner=512)
    ids = np.random.default_rng(0).integers(0, 30522, (2, 33))
    a = generic.BertModel(config, seed=3, dtype="float32")(ids)
    b = special.BertModel(seed=3, dtype="float32")(ids)
    assert np.array_equal(a.last_hidden_state.numpy(), b.last_hidden_state.numpy())


def test_without_training_a_head_gives_its_logits(tmp_path: Path) -> None:
    whole = load(compile_spec(BERT).text, tmp_path / "bert_whole.py")
    module = load(compile_spec(BERT, train=False).text, tmp_path / "bert_inference.py")
    sizes = {"layers": 1, "hidden": 32, "heads": 1, "inner": 32, "vocab": 9}
    model = module.BertForSequenceClassification(module.BertConfig(**sizes), dtype="float32", seed=1)
    other = whole.BertForSequenceClassification(whole.BertConfig(**sizes), dtype="float32", seed=1)
    ids = np.zeros((2, 3), int)
    out = model(ids)
    assert out.keys() == ("logits",)
    assert np.array_equal(out.logits.numpy(), other(ids).logits.numpy())
    with pytest.raises(TypeError, match="unexpected keyword argument 'labels'"):
        model(ids, labels=np.array([0, 1]))
    with pytest.raises(NotImplementedError, match="compile its spec with training"):
        model.train()(ids)


ODD = "model: bert\nconfig: {layers: 1, hidden: 144, heads: 3, inner: 96, vocab: 99, positions: 40}\n"


def test_padded_heads_compute_what_transformers_computes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="parity is measured where torch is")
    from transformers import BertConfig, BertModel

    preset = tmp_path / "odd.yaml"
    preset.write_text(ODD)
    module = load(compile_spec(BERT, preset=str(preset)).text, tmp_path / "bert_odd.py")
    torch.manual_seed(0)
    theirs = BertModel(
        BertConfig(
            vocab_size=99,
            hidden_size=144,
            num_hidden_layers=1,
            num_attention_heads=3,
            intermediate_size=96,
            max_position_embeddings=40,
        )
    ).eval()
    model = module.BertModel(dtype="float64")
    state = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    model.load_state_dict(state)
    ids = np.random.default_rng(1).integers(0, 99, (2, 31))
    with torch.no_grad():
        wanted = theirs.double()(torch.from_numpy(ids)).last_hidden_state.numpy()
    assert np.abs(model(ids).last_hidden_state.numpy() - wanted).max() < 1e-10
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in state.items())


def test_padded_heads_learn_what_transformers_learns(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="parity is measured where torch is")
    from transformers import BertConfig, BertForSequenceClassification

    preset = tmp_path / "odd.yaml"
    preset.write_text(ODD)
    module = load(compile_spec(BERT, preset=str(preset)).text, tmp_path / "bert_odd_trained.py")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99,
        hidden_size=144,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=96,
        max_position_embeddings=40,
        attn_implementation="eager",
    )
    theirs = BertForSequenceClassification(config).double().eval()
    model = module.BertForSequenceClassification(dtype="float64")
    model.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    rng = np.random.default_rng(1)
    ids, labels = rng.integers(0, 99, (3, 31)), np.array([0, 1, 1])
    mask = (np.arange(31) < np.array([[31], [20], [7]])).astype(np.int64)
    wanted = theirs(
        torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), labels=torch.from_numpy(labels)
    )
    wanted.loss.backward()
    with nn.enable_grad():
        found = model(ids, attention_mask=mask, labels=labels)
        found.loss.backward()
    # Both compute in float64: gradients here are below 1, and orders of sums leave some 1e-14 of that.
    assert abs(float(found.loss) - wanted.loss.item()) < 1e-10
    parameters = dict(model.named_parameters())
    assert parameters.keys() == dict(theirs.named_parameters()).keys()
    for name, reference in theirs.named_parameters():
        assert reference.grad is not None
        assert np.abs(parameters[name].grad.numpy() - reference.grad.numpy()).max() < 1e-10, name


def test_a_config_json_specialises_as_from_pretrained_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"model_type": "bert", "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}'
    )
    module = load(compile_spec(BERT, config=path).text, tmp_path / "bert_c.py")
    assert (module.BertConfig().hidden, module.BertConfig().layers) == (64, 1)
    model = module.BertForTokenClassification(dtype="float32").train()
    ids = np.arange(12).reshape(2, 6)
    model(ids, labels=ids % 2).loss.backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


# Nothing of a spec becomes code


def test_prose_cannot_end_its_docstring() -> None:
    hostile = BERT.read_text().replace(
        "BERT: a post-norm", "BERT\\\\: \\N{DIGIT ONE} {x} %s a post-norm\\", 1
    )
    module = ast.parse(compile_text(SourceFile("bert.spec", hostile), BERT).text)
    assert isinstance(module.body[0], ast.Expr)
    assert len([node for node in module.body if isinstance(node, ast.Expr)]) == 1


def test_prose_of_more_than_a_line_ends_in_dots() -> None:
    long = BERT.read_text().replace("BERT: a post-norm", f"BERT: {'a very ' * 20}post-norm", 1)
    first, second = compile_text(SourceFile("bert.spec", long), BERT).text.splitlines()[:2]
    assert first.startswith('"""BERT: a very')
    assert first.endswith(" very ...")
    assert (len(first) <= 110, second) == (True, "")


def test_messages_of_a_spec_stay_text() -> None:
    hostile = BERT.read_text().replace(
        '"heads must divide hidden"', '"{self.__class__} \\" + exit() + \\" \\\\"'
    )
    text = compile_text(SourceFile("bert.spec", hostile), BERT).text
    (call,) = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "nn.require"
        and "% self.heads" in ast.unparse(node.args[0])
    ]
    assert isinstance(call.args[1], ast.Constant)
    assert call.args[1].value == '{self.__class__} " + exit() + " \\'


def test_inputs_that_must_be_given_stand_before_those_that_need_not() -> None:
    """As Python has it, whatever the order of the spec is."""
    spec = BERT.read_text().replace(
        "position_ids: int[B, S] = position(S)", "position_ids: int[B, S] = position(S), more: int[B, S]"
    )
    text = compile_text(SourceFile("bert.spec", spec), BERT, train=False).text
    calls = re.findall(r"def __call__\((.*?)\) ->", text, re.DOTALL)
    assert calls
    for call in calls:
        names = re.findall(r"(\w+):", call)
        assert names[:2] == ["input_ids", "more"]


# Python as data


def test_a_call_breaks_as_a_formatter_would() -> None:
    short = Call("f", (Arg(Raw("a")), Arg(Raw("b"), "key")))
    assert layout("y = ", short, 4) == ["    y = f(a, key=b)"]
    wide = Call("f", (Arg(Raw("a" * 60)), Arg(Raw("b" * 40))))
    assert layout("y = ", wide, 4) == ["    y = f(", f"        {'a' * 60}, {'b' * 40}", "    )"]
    wider = Call("f", (Arg(Raw("a" * 60)), Arg(Raw("b" * 60), "**")))
    assert layout("", wider, 0) == ["f(", f"    {'a' * 60},", f"    **{'b' * 60},", ")"]


def test_a_comment_that_does_not_fit_is_left_out() -> None:
    assert layout("y = ", Raw("x" * 100), 0, comment="a comment")[0].endswith("x")


def test_scalars_are_written_with_the_brackets_they_need() -> None:
    a, b = Field("a"), Field("b")
    assert expression(Apply("*", (Apply("+", (a, b)), Const(2))), "c") == "(c.a + c.b) * 2"
    assert expression(Apply("-", (a, Apply("-", (b, Const(1))))), "c") == "c.a - (c.b - 1)"
    assert expression(Apply("**", (a, Const(-0.5))), "c") == "c.a**-0.5"
    assert expression(Apply("select", (a, Const(1), Const(None))), "self") == "(1 if self.a else None)"


@pytest.mark.parametrize(
    "path",
    [
        "config.weight",
        "kernels.weight",
        "__class__.weight",
        "a-b.weight",
        "0.weight",
        "attention.layout",
        "x.class",
        "plain",
    ],
)
def test_any_checkpoint_path_gives_a_sound_module(path: str, tmp_path: Path) -> None:
    spec = BERT.read_text().replace("embeddings.word_embeddings.weight", path)
    module = load(compile_text(SourceFile("bert.spec", spec), BERT).text, tmp_path / "bert_p.py")
    model = module.BertModel(
        module.BertConfig(vocab=9, hidden=32, heads=1, layers=1, inner=32), dtype="float32"
    )
    assert path in model.state_dict()
    assert model(np.zeros((1, 3), int)).last_hidden_state.numpy().shape == (1, 3, 32)


def test_paths_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    spec = (
        BERT.read_text()
        .replace("embeddings.LayerNorm", "embeddings.Word")
        .replace("word_embeddings.weight", "word.weight")
    )
    text = compile_text(SourceFile("bert.spec", spec), BERT).text
    assert "self.word = at.store(" in text
    assert "self.word_ = at.store(" in text


@pytest.mark.parametrize("word", ["__class__", "0", "a-b", "c", "import", "nn"])
def test_any_word_of_a_path_names_a_value_soundly(word: str, tmp_path: Path) -> None:
    spec = BERT.read_text().replace("output.dense", f"output.{word}")
    module = load(compile_text(SourceFile("bert.spec", spec), BERT).text, tmp_path / "bert_w.py")
    model = module.BertModel(
        module.BertConfig(vocab=9, hidden=32, heads=1, layers=1, inner=32), dtype="float32"
    )
    assert f"encoder.layer.0.output.{word}.weight" in model.state_dict()
    assert np.isfinite(model(np.zeros((1, 3), int)).last_hidden_state.numpy()).all()
    names = {
        node.id
        for node in ast.walk(ast.parse((tmp_path / "bert_w.py").read_text()))
        if isinstance(node, ast.Name)
    }
    assert not any(name.startswith("_") for name in names)


def test_a_derived_value_has_the_type_that_it_is_of() -> None:
    derived = "flag = true\n    other = hidden > 2 or flag\n    rate = 0.5\n    wide = 2 * hidden\n    same = rate\n"
    text = (
        'config Small for "small":\n    vocab: size = 19 from vocab_size\n    hidden: size = 32 from hidden_size\n'
        f"    {derived}\nmodel SmallModel(input_ids: int[B, S]):\n"
        '    return h=embedding(input_ids, vocab, hidden, at="e", init=zeros)\n'
    )
    emitted = compile_text(SourceFile("small.spec", text), Path("small.spec")).text
    found = dict(re.findall(r"def (\w+)\(self\) -> (\w+):\n        return", emitted))
    assert found == {"flag": "bool", "other": "bool", "rate": "float", "wide": "int", "same": "float"}


def test_a_field_may_default_to_a_value_that_is_derived_above_it() -> None:
    text = (
        'config Small for "small":\n    vocab: size = 19 from vocab_size\n    hidden: size = 32 from hidden_size\n'
        "    twice = 2 * hidden\n    more = twice + 1\n    limit: int = more from limit\n\n"
        "model SmallModel(input_ids: int[B, S]):\n"
        '    return h=embedding(input_ids, vocab, hidden, at="e", init=zeros)\n'
    )
    module = compile_text(SourceFile("small.spec", text), Path("small.spec")).stages[0].module
    assert module.config.values({})["limit"] == 65
    assert module.config.values({"hidden": 8})["limit"] == 17
    assert module.config.values({"limit": 3}) == {
        "vocab": 19,
        "hidden": 32,
        "twice": 64,
        "more": 65,
        "limit": 3,
    }

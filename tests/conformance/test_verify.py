"""``ttmlc verify``: what it says of modules that ttnn accepts, of those that it refuses, and of wrong requests."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest
from ttmlc_runtime import mockboard
from ttmlc_runtime.errors import BackendError, ConfigError, InputError
from ttmlc_runtime.mockboard import verify

from tests.commands import ttmlc
from tests.conformance.boards import verified

ROOT = Path(__file__).resolve().parents[2]
BERT = ROOT / "generated/bert.py"
MODEL = ("--model", "BertModel")
TINY = {"layers": 2, "hidden": 128, "heads": 2, "inner": 512}

pytestmark = pytest.mark.usefixtures("real_ttnn")


command = partial(ttmlc, "verify")


def test_the_command_gives_json() -> None:
    options = (
        "--preset",
        "bert-base",
        "--board",
        "n150",
        "--batch",
        "8",
        "--seq",
        "128",
        "--entry",
        "forward",
    )
    code, out, err = command(BERT, "--model", "BertModel", *options, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["accepted"] is True
    assert found["programs"] == sum(found["by_kind"].values()) == 116
    assert sum(matmul["programs"] for matmul in found["matmuls"]) == found["by_kind"]["Matmul"]
    assert found["dram_bytes_moved"] == sum(found["moved_by_kind"].values())
    parameters = 109_482_240
    assert 2 * parameters < found["weights_bytes"] < 1.04 * 2 * parameters, "bfloat16, biases in whole tiles"
    # ids of three embeddings, and a mask for each row; [1, 1, S, S] beside it
    assert found["uploads"]["count"] == 5


def test_the_command_draws_tables() -> None:
    code, out, _ = command(BERT, *MODEL, "--preset", "bert-tiny", "--batch", "2", "--seq", "33")
    assert code == 0
    for words in (
        "accepted by ttnn",
        "LayerNorm",
        "ReuseMcast",
        "[2, 1, 33, 128]",
        "peak DRAM",
        "0 by the second",
    ):
        assert words in out
    assert "HiFi4, float32 sums, exact functions: LayerNorm, Matmul, SDPA" in out


def test_a_training_step_is_told_phase_by_phase() -> None:
    options = (
        "--model",
        "BertForSequenceClassification",
        "--preset",
        "bert-tiny",
        "--batch",
        "2",
        "--seq",
        "33",
    )
    code, out, err = command(BERT, *options, "--entry", "train", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["entry"], found["optimizer"]) == ("train", "adamw")
    phases = found["phases"]
    assert list(phases) == ["forward", "backward", "optimizer"]
    for name in ("programs", "dram_bytes_moved"):
        assert found[name] == sum(phase[name] for phase in phases.values())
    assert found["by_kind"]["Matmul"] == sum(phase["by_kind"].get("Matmul", 0) for phase in phases.values())
    assert "MorehSoftmaxBackward" in phases["backward"]["by_kind"]
    assert phases["optimizer"]["uploads"]["count"] == 0
    assert found["new_programs"]["first_step"] > found["new_programs"]["second_step"] == 0
    assert found["left_bytes"] == 0
    # Float32 masters and two moments are six times bfloat16; vectors take whole tiles and tables come into tiles.
    assert 6 * found["weights_bytes"] <= found["state_bytes"] < 7 * found["weights_bytes"]


def test_the_tables_of_a_training_step_have_a_column_for_each_phase() -> None:
    options = ("--model", "BertForMaskedLM", "--preset", "bert-tiny", "--seq", "33", "--entry", "train")
    code, out, _ = command(BERT, *options)
    assert code == 0
    heads = next(line for line in out.splitlines() if line.startswith("programs "))
    assert heads.split()[1:] == [
        "forward",
        "backward",
        "optimizer",
        "in",
        "all",
        "DRAM",
        "moved",
        "L1",
        "a",
        "core",
    ]
    for words in ("BertForMaskedLM train with adamw", "0 by the second"):
        assert words in out
    assert re.search(r"weights \S+ MiB, adamw \S+ MiB, what a step adds \S+ MiB", out)
    code, out, _ = command(BERT, *options, "--optimizer", "none")
    assert code == 0
    heads = next(line for line in out.splitlines() if line.startswith("programs "))
    assert heads.split()[1:5] == ["forward", "backward", "in", "all"]


@pytest.mark.parametrize(
    ("problem", "num_labels"),
    [
        (None, 1),
        (None, 3),
        ("regression", 3),
        ("single_label_classification", 3),
        ("multi_label_classification", 3),
    ],
)
def test_labels_are_made_as_the_config_wants_them(problem: str | None, num_labels: int) -> None:
    fields = {**TINY, "problem": problem, "num_labels": num_labels}
    options = {"model": "BertForSequenceClassification", "entry": "train", "optimizer": "none"}
    found = verify(BERT, fields=fields, seq=7, batch=2, **options)
    assert found["accepted"], found
    # A loss of classes picks one by its index; a loss of numbers does not.
    picks = problem == "single_label_classification" or (problem is None and num_labels > 1)
    assert any("Gather" in kind for kind in found["by_kind"]) == picks


def test_a_model_without_a_loss_begins_at_its_last_output() -> None:
    options = {"fields": TINY, "seq": 7, "entry": "train"}
    base = verify(BERT, model="BertModel", **options)
    assert base["accepted"], base
    # The pooler is the last output, and all of the model has part in it: 12 matmuls a layer, and the pooler's two.
    assert base["phases"]["backward"]["by_kind"]["Matmul"] == 2 * 12 + 2


def test_what_does_not_fit_is_told_with_what_it_needs(tmp_path: Path) -> None:
    preset = tmp_path / "huge.yaml"
    preset.write_text("model: bert\nconfig: {layers: 96, hidden: 4096, heads: 32, inner: 16384}\n")
    code, out, _ = command(BERT, *MODEL, "--preset", preset, "--batch", "8")
    assert code == 1
    assert "refused by ttnn" in out
    assert "needs 36.66 GiB of DRAM, n150 has 11.99 GiB: weights 36.58 GiB" in out
    assert "Out of Memory" in out


def test_a_core_that_is_too_small_is_told_with_its_line(tmp_path: Path) -> None:
    module = tmp_path / "bert.py"
    keep_near = "activation=nn.fused(c.act), memory_config=ttnn.L1_MEMORY_CONFIG"
    module.write_text(BERT.read_text().replace("activation=nn.fused(c.act)", keep_near))
    found = verify(module, model="BertModel", batch=64, seq=512, fields={"layers": 1})
    assert (found["accepted"], found["refused"]["lacking"]) == (False, "L1")
    assert found["peak_l1_bytes"] > found["l1_bytes"]
    assert "u = act(linear(x, inner" in found["refused"]["spec"]
    code, out, _ = command(module, *MODEL, "--batch", "64", "--seq", "512")
    assert code == 1
    assert "needs 4,360 KiB of L1 on a core, n150 has 1,361 KiB for tensors and buffers" in out


@pytest.mark.parametrize(
    ("old", "new", "said", "spec"),
    [
        ("activation=nn.fused(c.act)", 'activation="bogus"', "Unknown unary op", "u = act(linear(x, inner"),
        ("residual_input_tensor=x", "residual_input_tensor=mask.additive", "shape", "return layer_norm(x + "),
    ],
)
def test_a_refused_call_is_told_with_its_lines(
    tmp_path: Path, old: str, new: str, said: str, spec: str
) -> None:
    text = BERT.read_text()
    assert old in text
    module = tmp_path / "bert.py"
    module.write_text(text.replace(old, new, 1))
    found = verify(module, model="BertModel", fields=TINY, seq=33)
    refused = found["refused"]
    assert (found["accepted"], refused["lacking"]) == (False, "arguments")
    assert said in refused["said"]
    assert "TT_FATAL" not in refused["said"]
    assert "/project/" not in refused["said"]
    assert spec in refused["spec"]
    line = module.read_text().splitlines()[refused["line"] - 1]
    assert line.strip() == refused["source"]
    assert "ttnn." in line
    code, out, _ = command(module, *MODEL, "--seq", "33")
    assert code == 1
    for words in ("ttnn says: ", f"at line {refused['line']} of the module", "which came of bert.spec:"):
        assert words in out


def test_a_module_that_takes_the_process_down_is_survived(tmp_path: Path) -> None:
    module = tmp_path / "bert.py"
    module.write_text(
        BERT.read_text().replace(
            "        # decided: fuse-heads\n",
            "        ttnn.deallocate(x)\n        ttnn.relu(x)\n",
            1,
        )
    )
    with pytest.raises(BackendError, match="was ended by SIG"):
        verify(module, model="BertModel", fields=TINY)
    code, _, err = command(module, *MODEL)
    assert code == 4
    assert "was ended by SIG" in err


def test_wrong_requests_raise_in_the_caller_whichever_process_finds_them(tmp_path: Path) -> None:
    for request, error, words in (
        ({"module": tmp_path / "no.py"}, InputError, "there is no file"),
        ({"model": "Bert"}, InputError, "no model 'Bert'; it defines BertModel"),
        ({"fields": {"hiden": 1}}, ConfigError, "did you mean 'hidden'"),
    ):
        with pytest.raises(error, match=words):
            verify(**{"module": BERT, "model": "BertModel", **request})


def test_what_the_child_finds_wrong_is_told_by_name(tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("")
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    no_token = "does not generate: none of its outputs is about the next token"
    wrong = (
        ({"module": str(empty)}, "InputError", "defines no model: give a module that `ttmlc compile` wrote"),
        ({"module": str(broken)}, "InputError", "cannot be imported: ModuleNotFoundError"),
        ({"model": None}, "InputError", "several models: say which of BertModel, BertForMaskedLM"),
        (
            {"entry": "dream"},
            "InputError",
            "no entry 'dream'; it has forward, train, generate, prefill, decode",
        ),
        ({"entry": "decode"}, "InputError", no_token),
        ({"entry": "generate"}, "InputError", no_token),
        (
            {"entry": "train", "optimizer": "adam2"},
            "InputError",
            "no optimizer 'adam2'; there are adamw, adam, sgd",
        ),
        ({"batch": 0}, "InputError", "must be at least 1"),
        ({"hugging_face": {"model_type": "gpt2"}}, "ConfigError", "of a 'gpt2' model"),
        ({"seq": 600}, "InputError", "must be in"),
    )
    answers = verified("n150", [{"module": str(BERT), "model": "BertModel", **one} for one, _, _ in wrong])
    for (_, error, words), answer in zip(wrong, answers, strict=True):
        assert (answer["accepted"], answer["error"]) == (False, error)
        assert words in answer["message"]


def test_the_command_tells_wrong_requests_in_a_line(tmp_path: Path) -> None:
    assert command(BERT, *MODEL, "--preset", "bert-bsae")[0] == 1
    assert "Did you mean 'bert-base'?" in command(BERT, *MODEL, "--preset", "bert-bsae")[2]
    assert command(BERT, "--board", "n15")[0] == 2
    assert command(tmp_path / "none.py") == (1, "", f"error: there is no file {tmp_path / 'none.py'}\n")
    preset = tmp_path / "other.yaml"
    preset.write_text("model: other\nconfig: {}\n")
    assert "is a preset of 'other', not of 'bert'" in command(BERT, "--preset", preset)[2]
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "bert", "hidden_size": 64, "num_attention_heads": 2}')
    assert command(BERT, *MODEL, "--config", config)[0] == 0


def test_every_chip_of_a_mesh_holds_the_model() -> None:
    one, eight = (
        verify(BERT, model="BertModel", fields=TINY, board=board, seq=33) for board in ("n300", "t3000")
    )
    assert (one["chips"], eight["chips"]) == (2, 8)
    assert one["weights_bytes"] == eight["weights_bytes"]


def test_the_api_is_exported() -> None:
    assert mockboard.verify is verify

"""The command line: exit codes, files that appear whole or not at all, words a person can use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ttmlc import api

from tests.commands import ttmlc

ROOT = Path(__file__).resolve().parents[2]
BERT = str(ROOT / "specs/models/bert.spec")
WRONG = str(Path(__file__).parent / "diagnostics/several_at_once.spec")


def test_compile_writes_a_module_and_says_what_is_in_it(tmp_path: Path) -> None:
    code, out, err = ttmlc("compile", BERT, "-o", str(tmp_path / "new" / "out"))
    assert (code, out) == (0, "")
    assert (tmp_path / "new/out/bert.py").read_text() == (ROOT / "generated/bert.py").read_text()
    for word in ("Attention", "109,482,240", "device calls", "lines"):
        assert word in err
    assert ttmlc("compile", BERT, "-o", str(tmp_path), "-q") == (0, "", "")


def test_compile_without_training_leaves_it_out(tmp_path: Path) -> None:
    code, _, err = ttmlc("compile", BERT, "-o", str(tmp_path), "--no-train")
    assert code == 0
    text, compiled = (tmp_path / "bert.py").read_text(), api.compile_spec(Path(BERT), train=False)
    assert text == compiled.text
    assert "def backward" not in text
    models = [line.split() for line in err.splitlines() if line.startswith("Bert")]
    # A name, calls of an inference, parameters; of calls in training there are none.
    assert [len(line) for line in models] == [3] * len(compiled.summary.models)
    assert "--no-train" in ttmlc("compile", "--help")[1]


def test_compile_dumps_ir_after_passes(tmp_path: Path) -> None:
    code, _, _ = ttmlc(
        "compile", BERT, "-o", str(tmp_path), "--dump-after", "elaborate", "--dump-after", "lower"
    )
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bert.elaborate.ir",
        "bert.lower.ir",
        "bert.py",
    ]
    code, _, err = ttmlc("compile", BERT, "-o", str(tmp_path / "x"), "--dump-after", "lwoer")
    assert code == 1
    assert "Did you mean 'lower'?" in err
    assert not (tmp_path / "x").exists()


def test_a_wrong_spec_is_exit_code_1_and_writes_nothing(tmp_path: Path) -> None:
    code, _, err = ttmlc("compile", WRONG, "-o", str(tmp_path / "out"))
    assert code == 1
    assert err.rstrip().endswith("2 errors")
    assert not (tmp_path / "out").exists()


def test_a_missing_spec_is_exit_code_3(tmp_path: Path) -> None:
    code, _, err = ttmlc("check", str(tmp_path / "nowhere.spec"))
    assert code == 3
    assert "there is no such file" in err
    (tmp_path / "latin.spec").write_bytes(b"use \xff\n")
    code, _, err = ttmlc("check", str(tmp_path / "latin.spec"))
    assert code == 1
    assert "is not UTF-8" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: bert\nconfig:\n  hiden: 128\n", "no field 'hiden'. Did you mean 'hidden'?"),
        ("model: bert\nconfig:\n  hidden: many\n", "hidden is a size, and 'many' is none"),
        ("model: bert\nconfig:\n  hidden: true\n", "hidden is a size, and True is none"),
        ("model: bert\nconfig:\n  hidden: 96\n  hidden: 96\n", "'hidden' is given twice"),
        ("model: bert\nconfig:\n  hidden: 100\n", "heads must divide hidden"),
        ("model: gpt2\nconfig: {}\n", "is a preset of 'gpt2', not of 'bert'"),
        ("modle: bert\nconfig: {}\n", "Did you mean 'model'?"),
        ("- a\n", "must hold 'model' and 'config'"),
        ("model: bert\nconfig: [1]\n", "'config' must be a mapping"),
        (
            "model: bert\nconfig: !!python/object/apply:os.system ['true']\n",
            "could not determine a constructor",
        ),
        ("model: &a bert\nconfig: *a\n", "anchors and aliases are not read"),
        ("model: bert\n  config: {\n", "is no preset"),
    ],
)
def test_a_wrong_preset_is_told(tmp_path: Path, text: str, message: str) -> None:
    preset = tmp_path / "wrong.yaml"
    preset.write_text(text)
    code, _, err = ttmlc("compile", BERT, "-o", str(tmp_path / "out"), "--preset", str(preset))
    assert code == 1
    assert message in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    code, _, err = ttmlc("compile", BERT, "--preset", "bert-tniy")
    assert code == 1
    assert "Did you mean 'bert-tiny'?" in err
    assert ttmlc("compile", BERT, "--preset", "../../../etc/passwd")[0] == 1


def test_a_wrong_config_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "holds no JSON object"),
        ('{"model_type": "gpt2"}', "is of a 'gpt2' model"),
        ('{"hidden_size": "x"}', "must be a whole number"),
        ('{"use_rotary": true}', "may change what is computed"),
    ):
        path.write_text(text)
        code, _, err = ttmlc("compile", BERT, "--config", str(path), "-o", str(tmp_path / "out"))
        assert code == 1
        assert message in err


def test_preset_and_config_do_not_go_together(tmp_path: Path) -> None:
    assert ttmlc("compile", BERT, "--preset", "bert-tiny", "--config", "x.json")[0] == 2


def test_a_full_disk_leaves_the_old_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert.py").write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = ttmlc("compile", BERT, "-o", str(tmp_path))
    assert code == 3
    assert "No space left on device" in err
    assert [path.name for path in tmp_path.iterdir()] == ["bert.py"]
    assert (tmp_path / "bert.py").read_text() == "old"


def test_a_kill_while_writing_leaves_the_old_module(tmp_path: Path) -> None:
    (tmp_path / "bert.py").write_text("old")
    code = (
        "import os, signal; from pathlib import Path; from ttmlc import api\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"api.write(api.compile_spec(Path({BERT!r})), Path({str(tmp_path)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert (tmp_path / "bert.py").read_text() == "old"


def test_fmt_checks_shows_and_writes(tmp_path: Path) -> None:
    spec = tmp_path / "a.spec"
    spec.write_text("use   heads\n")
    assert ttmlc("fmt", "--check", str(tmp_path))[0] == 1
    code, out, _ = ttmlc("fmt", "--diff", str(spec))
    assert code == 1
    assert "-use   heads\n+use heads\n" in out
    assert spec.read_text() == "use   heads\n"
    assert ttmlc("fmt", str(spec))[0] == 0
    assert spec.read_text() == "use heads\n"
    assert ttmlc("fmt", "--check", str(spec))[0] == 0


def test_expand_prints_one_spec_that_says_the_same(tmp_path: Path) -> None:
    family = ROOT / "specs/models/distilbert.spec"
    code, out, _ = ttmlc("expand", str(family))
    assert code == 0
    assert out == api.expanded(family)
    (tmp_path / "distilbert.spec").write_text(out)
    assert ttmlc("expand", str(tmp_path / "distilbert.spec"))[1] == out
    assert ttmlc("fmt", "--check", str(tmp_path))[0] == 0
    (tmp_path / "other.spec").write_text('config Other extends Nothing for "other":\n    p = 1\n')
    code, out, err = ttmlc("expand", str(tmp_path / "other.spec"))
    assert (code, out) == (1, "")
    assert "error[E0301]" in err
    assert ttmlc("expand", str(tmp_path / "nowhere.spec"))[0] == 3


def test_list_shows_models_heads_and_presets() -> None:
    code, out, _ = ttmlc("list")
    assert code == 0
    for word in ("BertModel", "MaskedLM", "bert-large", "335,141,888"):
        assert word in out


def test_help_says_what_exit_codes_mean() -> None:
    code, out, _ = ttmlc("--help")
    assert code == 0
    for word in ("compile", "check", "fmt", "list", "Exit codes"):
        assert word in out


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert ttmlc("--version")[1].strip() == f"ttmlc {version('ttmlc')}"


def test_a_file_name_that_is_no_module_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "my-model.spec"
    spec.write_text((ROOT / "specs/models/bert.spec").read_text())
    code, _, err = ttmlc("compile", str(spec), "-o", str(tmp_path))
    assert code == 1
    assert "becomes a module" in err


def test_the_api_does_what_the_commands_do(tmp_path: Path) -> None:
    compiled = api.compile_spec(Path(BERT), preset="bert-tiny")
    assert api.write(compiled, tmp_path) == [tmp_path / "bert.py"]
    assert compiled.summary.parameters == 4_385_920
    # The one head about next tokens sees all of them under this preset, and is told of.
    assert [declined.rule for declined in compiled.declined] == ["next-token"]

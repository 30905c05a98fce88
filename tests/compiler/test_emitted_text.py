"""What is emitted for small specs is text that a person would have written: clean, typed, and well named."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ttmlc.api import compile_spec, compile_text
from ttmlc.source import SourceFile
from ttmlc.specs import models, presets

from tests.compiler.decoders import written
from tests.compiler.small_specs import BODIES, spec

ROOT = Path(__file__).resolve().parents[2]
BERT = ROOT / "specs/models/bert.spec"
GENERATED = ROOT / "generated/bert.py"


def emitted(body: str, *, train: bool = True) -> str:
    return compile_text(SourceFile("small.spec", spec(body)), Path("small.spec"), train=train).text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, with training and without, as files in a folder that is linted as ``generated`` is."""
    path = tmp_path_factory.mktemp("emitted") / "generated"
    path.mkdir()
    for name, body in BODIES.items():
        for train in (True, False):
            word = re.sub(r"\W+", "_", name) + ("" if train else "_infer")
            (path / f"{word}.py").write_text(emitted(body, train=train))
    for model in models():
        (path / f"{model.stem}_infer.py").write_text(compile_spec(model, train=False).text)
        for preset in presets(model.stem)[:1]:
            (path / f"{model.stem}_sized.py").write_text(compile_spec(model, preset=preset.stem).text)
    (path / "decoder.py").write_text(written().read_text())
    (path.parent / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return path


def tool(*command: str, cwd: Path) -> str:
    env = {**os.environ, "MYPYPATH": f"{ROOT / 'compiler'}:{ROOT / 'runtime'}"}
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=cwd, env=env)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_it_is_clean_and_formatted(folder: Path) -> None:
    assert tool("ruff", "check", "generated", cwd=folder.parent) == ""
    assert tool("ruff", "format", "--check", "generated", cwd=folder.parent) == ""


def test_it_is_typed_strictly(folder: Path) -> None:
    files = sorted(str(path) for path in folder.glob("*.py"))
    # A configuration of its own: the repository's names the files that are checked there.
    assert tool("mypy", "--strict", "--config-file=", "--no-warn-return-any", *files, cwd=folder) == ""


# Names


def numbered(text: str) -> Iterator[str]:
    """The names with a number at their end that a method gives a value."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and re.search(r"_\d+$", node.id):
            yield node.id


def methods(text: str) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


def names(method: ast.FunctionDef) -> set[str]:
    given = {argument.arg for argument in method.args.args}
    return given | {node.id for node in ast.walk(method) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_name_has_a_number_only_where_the_plain_one_is_taken(body: str) -> None:
    for text in (emitted(body), GENERATED.read_text()):
        for method in methods(text):
            for name in numbered(ast.unparse(method)):
                assert re.sub(r"_\d+$", "", name) in names(method), f"{name} in {method.name}"
            assert not [name for name in names(method) if re.search(r"_\d+_|_\d+_\d+$", name)]


def test_names_of_the_shipped_module_are_words() -> None:
    """Two sums of one name are all that has a number there."""
    assert set(numbered(GENERATED.read_text())) == {"cross_entropy_2"}


# What a method makes, it uses


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_is_made_for_nothing(body: str) -> None:
    for method in methods(emitted(body)):
        stored = [n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        read = {n.id for n in ast.walk(method) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert set(stored) - read <= {"_"}, method.name


# Equal specs


def test_equal_specs_give_equal_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    code = (
        "import hashlib\nfrom pathlib import Path\nfrom ttmlc.api import compile_text\n"
        "from ttmlc.source import SourceFile\nfrom tests.compiler.small_specs import BODIES, spec\n"
        "for body in BODIES.values():\n"
        "    text = compile_text(SourceFile('small.spec', spec(body)), Path('small.spec')).text\n"
        "    print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    found = set()
    for seed in ("0", "7"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=ROOT
        )
        found.add(done.stdout)
    assert len(found) == 1


# Without training


def test_without_training_there_is_no_word_of_it() -> None:
    text = compile_spec(BERT, train=False).text
    tree = ast.parse(text)
    assert {m.name for m in methods(text)} >= {"infer", "build", "__call__"}
    assert not {m.name for m in methods(text)} & {"forward", "backward"}
    assert "labels" not in {argument.arg for method in methods(text) for argument in method.args.args}
    code = ast.unparse(tree)
    for word in ("accumulate", "Saved", "cross_entropy", "dropout", "loss"):
        assert f"nn.{word}" not in code
    assert "logits: nn.Activation" in code
    assert "compiled for inference alone" in " ".join(text.split())
    # Inference is the same program, line for line.
    infer = [ast.unparse(method) for method in methods(text) if method.name == "infer"]
    assert infer == [ast.unparse(m) for m in methods(GENERATED.read_text()) if m.name == "infer"]

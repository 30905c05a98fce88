"""What the documents promise is there: targets, commands, links, and an example that runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ttmlc.api import expand_file
from ttmlc.cli.main import app
from ttmlc.language import tree
from ttmlc.specs import models
from ttmlc_runtime.emulator.ops.table import OPS
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS = set(getattr(get_command(app), "commands", {}))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(path: Path) -> str:
    """The code of a document, fenced, indented or inline: prose may well say "make sense"."""
    source = text(path)
    return "\n".join(re.findall(r"^```.*?^```|^    [^\n]*$|`[^`\n]+`", source, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?:^|[`\s])make ([a-z][a-z-]*)", code(path)))
    assert named <= TARGETS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?:^|`)\s*ttmlc ([a-z][a-z-]*)", code(path), re.MULTILINE))
    assert named <= COMMANDS


def test_the_readme_names_the_two_commands_and_every_command_of_ttmlc() -> None:
    readme = code(ROOT / "README.md")
    assert {"demo", "test"} <= set(re.findall(r"make ([a-z-]+)", readme))
    assert set(re.findall(r"`ttmlc ([a-z]+)", readme)) >= COMMANDS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text(path))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_table_has_a_head(path: Path) -> None:
    """A row behind an empty line is no row of the table before it."""
    begun = re.findall(r"(?:\A|\n\n)(\|[^\n]*)\n?([^\n]*)", text(path))
    assert [first for first, second in begun if not re.fullmatch(r"[|:\- ]+", second)] == []


def test_the_emulators_page_names_every_op_but_those_of_families() -> None:
    """Elementwise ops and those that make tensors are told of by their kinds."""
    rooms = {name: op.function.__module__.rpartition(".")[2] for name, op in OPS.items()}
    told = set(re.findall(r"`([\w.]+)`", text(ROOT / "docs" / "emulator.md")))
    assert {name for name, room in rooms.items() if room not in ("binary", "eltwise", "creation")} <= told


def test_the_readme_names_every_family_and_its_heads() -> None:
    said = {
        spec: re.findall(r"`(\w+)`", heads)
        for families, heads in re.findall(
            r"^\| (\[.*?) \| (`.*`) \|$", text(ROOT / "README.md"), re.MULTILINE
        )
        for spec in re.findall(r"specs/models/(\w+)\.spec", families)
    }
    offered = {
        path.stem: [
            offer.head.text
            for item in expand_file(path).items
            if isinstance(item, tree.Offers)
            for offer in item.offers
        ]
        for path in models()
    }
    assert said == offered


def test_make_alone_lists_every_target_with_a_description() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    described = re.findall(r"^([a-z][a-z-]*):.*## ", text(ROOT / "Makefile"), re.MULTILINE)
    assert {"demo", "test", "test-deep", "lint", "bench", "env", "generated", "golden", "clean"} <= set(
        described
    )
    assert [target for target in described if not re.search(rf"(?m)(^|\s){target}\s", listed)] == []


def test_the_readmes_examples_print_what_they_say(tmp_path: Path) -> None:
    example, *more = re.findall(r"```python\n(.*?)```", text(ROOT / "README.md"), re.DOTALL)
    (wanted,) = re.findall(r"^print\(.*#\s*(\d\.\d+)", example, re.MULTILINE)
    (tmp_path / "example.py").write_text("".join((example, *more)), encoding="utf-8")
    here = [str(tmp_path), str(ROOT / "compiler"), str(ROOT / "runtime")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here), "TTMLC_BACKEND": "emulator"}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    run(
        "-c",
        "from ttmlc.cli import main; main()",
        "compile",
        str(ROOT / "specs/models/bert.spec"),
        "-o",
        "out",
    )
    printed, loss = run("example.py").split()
    assert printed == wanted
    # Of two classes that nothing is known about, and of whatever else a head that begins at random says of two rows.
    assert 0.1 < float(loss) < 3
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["config.json", "model.safetensors"]

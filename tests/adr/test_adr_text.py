"""The sketches of docs/adr read as what they stand for: lines of the spec where they say, and code that is clean."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ttmlc.language import parser
from ttmlc.source import SourceFile

ROOT = Path(__file__).resolve().parents[2]
ADR = ROOT / "docs/adr"
SKETCHES = sorted((ADR / "sketches").glob("*.py"))
SPEC = (ADR / "sketches/llama.spec").read_text(encoding="utf-8")
QUOTED = re.compile(r"# llama\.spec:(\d+)  (.*)$")
RECORDS = sorted(ADR.glob("[0-9]*.md"))


@pytest.mark.parametrize("path", SKETCHES, ids=lambda path: path.stem)
def test_a_sketch_quotes_the_spec_as_it_is(path: Path) -> None:
    lines = SPEC.splitlines()
    quoted = [QUOTED.search(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for match in filter(None, quoted):
        number, text = int(match[1]), match[2]
        whole = lines[number - 1].strip()
        assert whole.startswith(text.removesuffix("...").rstrip()), f"llama.spec:{number}"
        assert text.endswith("...") or whole == text, f"llama.spec:{number} is cut without saying so"
    assert path.stem == "storage_chain" or sum(map(bool, quoted)) > 10


def test_the_spec_of_the_sketches_is_in_the_language() -> None:
    parser.parse(SourceFile("llama.spec", SPEC))


@pytest.mark.parametrize("path", SKETCHES, ids=lambda path: path.stem)
def test_a_sketch_compiles_for_every_python_and_is_clean(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--config", "line-length=110"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, str(path)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_record_is_in_the_index_and_has_its_four_parts() -> None:
    index = (ADR / "README.md").read_text(encoding="utf-8")
    assert len(RECORDS) >= 3
    for path in RECORDS:
        assert f"]({path.name})" in index, path.name
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], path.name

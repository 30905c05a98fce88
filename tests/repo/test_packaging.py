"""The version stands in one place, the wheel carries what it must, and it works where there is no checkout."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
(VERSION,) = re.findall(r'^version = "([^"]+)"', PYPROJECT, re.MULTILINE)
SOURCES = [path for room in ("compiler", "runtime") for path in sorted((ROOT / room).rglob("*.py"))]


def test_the_version_is_written_in_pyproject_alone() -> None:
    # a version of our own, as opposed to some "0.1.0" that is data
    pattern = re.compile(r"^\s*(?:__version__|VERSION)\s*(?::[^=]+)?=\s*[\"']\d", re.MULTILINE)
    assert [path.name for path in SOURCES if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_the_changelogs_newest_entry_is_this_version() -> None:
    entries = re.findall(
        r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert entries[0] in (VERSION, "Unreleased")
    assert VERSION in entries


def test_the_console_script_leads_to_a_function() -> None:
    (script,) = entry_points(group="console_scripts", name="ttmlc")
    assert callable(script.load())


def test_the_pythons_that_are_promised_are_the_pythons_that_are_classified() -> None:
    (low, high) = map(int, re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', PYPROJECT)[0])
    classified = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)\"", PYPROJECT)]
    assert classified == list(range(low, high))


def files_under(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(built),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    (path,) = built.glob("*.whl")
    assert path.name.startswith(f"ttmlc-{VERSION}-py3-none-any")
    zipfile.ZipFile(path).extractall(unpacked)
    return unpacked


@pytest.mark.deep
def test_the_wheel_holds_both_packages_and_the_specs_whole(wheel: Path) -> None:
    for there, here in (
        ("ttmlc", "compiler/ttmlc"),
        ("ttmlc_runtime", "runtime/ttmlc_runtime"),
        ("ttmlc/specs", "specs"),
    ):
        missing = files_under(ROOT / here) - files_under(wheel / there)
        assert not missing
    assert "py.typed" in files_under(wheel / "ttmlc") & files_under(wheel / "ttmlc_runtime")
    assert {path.name.split("-")[0] for path in wheel.iterdir()} == {"ttmlc", "ttmlc_runtime"}


@pytest.mark.deep
def test_a_shipped_spec_compiles_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys; import ttmlc, ttmlc.specs as specs; from ttmlc.cli import main; "
        "sys.argv = ['ttmlc', 'compile', str(specs.models()[0]), '-o', 'out', '-q']; "
        "print(ttmlc.__file__); print(specs.shipped()); main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(line.startswith(str(wheel)) for line in done.stdout.split()[:2])
    assert (tmp_path / "out/bert.py").read_text() == (ROOT / "generated/bert.py").read_text()

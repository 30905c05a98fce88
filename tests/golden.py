"""Golden files: what was written once, read by a person, and must not change unseen.

    def test_the_module_reads_well(golden):
        golden.check(emit(module), HERE / "golden" / "module.py")

``pytest --update-golden`` writes the files instead of comparing; the difference is then reviewed like code.

Refusals have a folder each: ``bad.spec`` beside ``bad.txt``, the drawing of what is wrong with it.

    @pytest.mark.parametrize("spec", bad_specs(HERE / "diagnostics"))
    def test_what_is_wrong_is_said(spec, golden):
        golden.refusal(spec, lambda path: parse(load(path)))
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ttmlc.source import DiagnosticError, render


class Golden:
    """Compares texts with files, or writes the files where ``update`` is set."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, text: str, path: Path) -> None:
        """``text`` is what the file at ``path`` holds."""
        __tracebackhide__ = True
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        if not path.is_file():
            pytest.fail(f"{path} is not there; run with --update-golden and review what it writes")
        wanted = path.read_text(encoding="utf-8")
        assert text == wanted, f"{path.name} differs; --update-golden rewrites it"

    def refusal(self, spec: Path, compile_: Callable[[Path], Any]) -> DiagnosticError:
        """``compile_(spec)`` is refused, and what is drawn stands beside ``spec`` with the ending ``.txt``."""
        __tracebackhide__ = True
        with pytest.raises(DiagnosticError) as caught:
            compile_(spec)
        drawn = "\n\n".join(render(diagnostic) for diagnostic in caught.value.diagnostics) + "\n"
        self.check(drawn, spec.with_suffix(".txt"))
        return caught.value


def bad_specs(folder: Path) -> list[Any]:
    """The specs of a folder as test parameters, named after the files."""
    found = sorted(folder.glob("*.spec"))
    assert found, f"no specs in {folder}"
    return [pytest.param(path, id=path.stem) for path in found]

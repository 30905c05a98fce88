"""Where specs and presets are found: beside the spec that names them, or among those that ship with the package."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from ttmlc.elaborate.problems import NO_SUCH_SPEC, nearest, problem
from ttmlc.expand.codes import NO_BASE
from ttmlc.language import load, parse, tree


def shipped() -> Path:
    """The folder of the specs that ship: inside the package, or the checkout's."""
    inside = Path(str(resources.files("ttmlc"))) / "specs"
    return inside if inside.is_dir() else Path(str(resources.files("ttmlc"))).parents[1] / "specs"


def models() -> list[Path]:
    """The shipped models."""
    return sorted((shipped() / "models").glob("*.spec"))


def presets(model: str = "") -> list[Path]:
    """The shipped presets, of one model or of all, each of which says ``model: name`` on a line of its own."""
    found = sorted((shipped() / "presets").glob("*.yaml"))
    line = re.compile(rf"^model: {re.escape(model)}$", re.MULTILINE)
    return [path for path in found if not model or line.search(path.read_text(encoding="utf-8"))]


def finder(spec: Path) -> Importer:
    """How the spec at ``spec`` finds what it uses."""
    return Importer(spec)


class Importer:
    """Finds the specs that a ``use`` names, and those that declare what is extended, each read once."""

    def __init__(self, spec: Path) -> None:
        here = spec.parent
        self._folders = [
            here,
            here.parent / "heads",
            here / "heads",
            shipped() / "rope",
            shipped() / "heads",
            shipped() / "models",
        ]
        self._read: dict[str, tree.File] = {}

    def __call__(self, name: tree.Name) -> tree.File:
        """The tree of the spec called ``name``.

        Raises:
            DiagnosticError: there is none, or it is wrong itself.
        """
        if name.text not in self._read:
            paths = [folder / f"{name.text}.spec" for folder in self._folders]
            found = next((path for path in paths if path.is_file()), None)
            if found is None:
                known = {
                    path.stem for folder in self._folders if folder.is_dir() for path in folder.glob("*.spec")
                }
                raise problem(
                    NO_SUCH_SPEC, f"there is no spec {name.text!r}", name.span, hint=nearest(name.text, known)
                )
            self._read[name.text] = parse(load(found))
        return self._read[name.text]

    def declaring(self, kind: str, name: tree.Name) -> tree.File | None:
        """The tree of the spec that declares a config or model: the one in the first folder that has any.

        Only a spec that has the line ``model Name``, or ``config Name``, is read whole.

        Raises:
            DiagnosticError: several in one folder do, or the one that does is wrong.
        """
        line = re.compile(rf"^{kind}\s+{re.escape(name.text)}\b", re.MULTILINE)
        for folder in self._folders:
            paths = sorted(folder.glob("*.spec")) if folder.is_dir() else []
            found = [path for path in paths if line.search(load(path).text)]
            if len(found) > 1:
                names = " and ".join(path.name for path in found)
                hint = "Say which with 'use'."
                message = f"several specs declare {kind} {name.text!r}: {names}"
                raise problem(NO_BASE, message, name.span, hint=hint)
            if found:
                return self(tree.Name(name.span, found[0].stem))
        return None

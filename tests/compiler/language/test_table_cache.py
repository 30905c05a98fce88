"""The cache of the parse table: fast where it is good, without effect where it is not, and never a program."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path

import lark
import pytest
from ttmlc.language import grammar
from ttmlc.language.build import METHODS
from ttmlc.language.words import RESERVED

SPECS = sorted((Path(__file__).resolve().parents[3] / "specs").rglob("*.spec"))
TEXT = grammar.grammar_text()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and where the table goes in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = grammar.cache_path(TEXT)
    assert path is not None
    return path


@pytest.fixture(autouse=True)
def fresh() -> None:
    """No parser from another test."""
    grammar.parser.cache_clear()


def trees(parser: lark.Lark) -> list[object]:
    return [parser.parse(spec.read_text(encoding="utf-8") + "\n") for spec in SPECS]


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    lark.logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        lark.logger.addHandler(caplog.handler)
        grammar.build(TEXT, debug=True)
        lark.logger.removeHandler(caplog.handler)
    assert [record.message for record in caplog.records if "onflict" in record.message] == []


def test_the_names_that_the_grammar_leaves_out_are_the_reserved_words() -> None:
    (name,) = (terminal for terminal in grammar.build(TEXT).terminals if terminal.name == "NAME")
    left_out = name.pattern.value.split("(?:")[1].split(")")[0].split("|")
    assert set(left_out) == RESERVED


def test_every_rule_has_a_method_and_every_method_a_rule() -> None:
    rules = grammar.build(TEXT).rules
    nodes = {
        str(rule.alias or rule.origin.name.replace("{", ""))
        for rule in rules
        if not rule.origin.name.startswith("_")
    }
    kept = {name for name in nodes if not name.startswith("__")}
    inlined = {str(rule.origin.name) for rule in rules if rule.options.expand1} - {
        str(rule.alias) for rule in rules if rule.alias
    }
    assert kept - inlined == set(METHODS)


def test_a_parser_read_back_parses_alike(cache: Path) -> None:
    built = trees(grammar.parser())
    assert cache.is_file()
    grammar.parser.cache_clear()
    assert trees(grammar.parser()) == built
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_table_that_is_there_is_not_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = trees(grammar.parser())
    grammar.parser.cache_clear()
    monkeypatch.setattr(grammar, "build", lambda *_, **__: pytest.fail("it was built again"))
    assert trees(grammar.parser()) == built


def test_the_cache_is_plain_json(cache: Path) -> None:
    grammar.parser()
    digest, text = cache.read_text(encoding="utf-8").split("\n", 1)
    assert set(json.loads(text)) == {"data", "memo"}
    assert len(digest) == 64


class Planted:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("planted",))


def spoilt(good: str) -> dict[str, bytes]:
    text = good.split("\n", 1)[1]
    other = json.loads(text)
    other["data"]["options"]["parser"] = "earley"
    return {
        "nothing": b"",
        "cut off": good[: len(good) // 2].encode(),
        "one letter changed": good.replace("SHIFT", "SHAFT", 1).replace('"NAME"', '"NOME"', 1).encode(),
        "another parser": _signed(json.dumps(other)),
        "no table": _signed("{}"),
        "a list": _signed("[1, 2]"),
        "deep": _signed("[" * 100_000),
        "bytes": b"\xff\xfe\x00",
        "a pickle": pickle.dumps(Planted()),
    }


def _signed(text: str) -> bytes:
    return f"{grammar._digest(text)}\n{text}".encode()


def test_a_spoilt_cache_is_replaced(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = trees(grammar.parser())
    good = cache.read_text(encoding="utf-8")
    for name, data in spoilt(good).items():
        cache.write_bytes(data)
        grammar.parser.cache_clear()
        assert trees(grammar.parser()) == wanted, name
        assert grammar._load(cache) is not None, name
    assert not (tmp_path / "planted").exists()


def test_nothing_in_a_table_names_a_function_of_ours(cache: Path) -> None:
    """A node that a table makes up has no method, whatever it is called."""
    for name in ("__class__", "build", "span", "problems", "__init__"):
        assert name not in METHODS


def test_a_cache_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert trees(grammar.parser())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_a_home_nothing_is_written_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "")
    monkeypatch.chdir(tmp_path)
    assert grammar.cache_path(TEXT) is None or os.path.isabs(str(grammar.cache_path(TEXT)))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert grammar.cache_path(TEXT) is None
    assert trees(grammar.parser())
    assert list(tmp_path.iterdir()) == []

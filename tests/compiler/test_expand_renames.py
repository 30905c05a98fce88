"""Renames of checkpoint paths in what is taken over."""

from __future__ import annotations

import pytest
from ttmlc.language.format import print_tree
from ttmlc.source import DiagnosticError

from tests.compiler.extending import BASE, child, flat, lines


def renamed(*pairs: str, base: str = BASE) -> str:
    return print_tree(flat(child(*(f"rename {pair}" for pair in pairs)), base))


def test_a_rename_changes_whole_words_of_paths_wherever_they_stand() -> None:
    text = renamed('"embed" -> "wte.deep", "layer" -> "h"')
    for path in ("wte.deep.word", "wte.deep.kind", "wte.deep.norm", "h.{i}", "old.wte.deep.bias"):
        assert f'"{path}"' in text
    assert '"embed' not in text


def test_a_part_of_a_word_is_no_word_of_a_path() -> None:
    with pytest.raises(DiagnosticError, match="'nor'"):
        renamed('"nor" -> "x"')


def test_one_pair_sees_what_the_one_before_it_made() -> None:
    text = renamed('"fc.up" -> "a", "fc" -> "b"', '"a" -> "c.d"')
    assert '"c.d"' in text
    assert '"b.down"' in text


def test_a_rename_may_go_into_a_block() -> None:
    text = renamed('"mix.fc.up" -> "gate", "mix.fc" -> "out"')
    assert 'linear(layer_norm(x, at="mix.norm"), wide, at="gate")' in text
    assert 'linear(y, hidden, at="out.down")' in text
    assert "h = h + Mix(h)" in text


def test_what_a_block_calls_moves_with_it() -> None:
    base = BASE.replace(
        "y = gelu(u)", 'y = Inner(u)\n    repeat j in layers at "r.{j}":\n        y = Inner(y)'
    ).replace(
        "block Unused", 'block Inner(x: [B, S, wide]):\n    return linear(x, wide, at="w")\n\nblock Unused'
    )
    found = lines(renamed('"mix.fc" -> "out"', base=base))
    assert 'y = Inner(u, at="mix")' in found
    assert 'repeat j in layers at "mix.r.{j}":' in found
    assert "y = Inner(y)" in found


def test_what_the_child_writes_is_not_renamed() -> None:
    text = print_tree(flat(child('rename "fc.up" -> "a"', 'Mix.u = linear(x, wide, at="fc.up")')))
    assert 'at="fc.up"' in text

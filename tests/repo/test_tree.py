"""What must not stand in the tree does not, and would be found if it did."""

import subprocess
from pathlib import Path

import pytest

from tools.check_tree import check_path, check_text, check_tree

# in two halves, so that this file passes the check that it tests
PLANTED = {
    "a model's name": "class Ro" + "berta:",
    "a path of one machine": 'open("/ro' + 'ot/weights.bin")',
    "a package registry's host": "https://py" + "pi.org/simple",
    "a word about how the work was organised": "# as th" + "is session found",
}


def test_the_tree_is_clean() -> None:
    assert [str(finding) for finding in check_tree()] == []


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_word_is_found_where_it_stands(what: str) -> None:
    (finding,) = check_text("compiler/ttmlc/new.py", f"x = 1\n{PLANTED[what]}\n")
    assert (finding.path, finding.line, finding.what) == ("compiler/ttmlc/new.py", 2, what)


@pytest.mark.parametrize("path", ["specs/models/x.spec", "tests/runtime/test_x.py", "examples/x.py"])
def test_models_may_be_named_outside_of_compiler_and_runtime(path: str) -> None:
    assert check_text(path, PLANTED["a model's name"]) == []


def test_a_model_in_a_file_name_is_found() -> None:
    assert [finding.what for finding in check_path("runtime/ttmlc_runtime/gpt.py")] == [
        "a model's name in a file's name"
    ]


def test_ttnns_own_names_are_exempt_and_only_they() -> None:
    assert check_text("compiler/a.py", "y = ttnn.experimental.rotary_embedding_llama(x, cos, sin, t)") == []
    assert (
        len(check_text("compiler/a.py", "y = ttnn.experimental.rotary_embedding_llama(x)  # as llama does"))
        == 1
    )


def test_untracked_files_count_and_ignored_ones_do_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    for name in ("seen.txt", "ignored.txt"):
        (tmp_path / name).write_text(PLANTED["a path of one machine"])
    assert [finding.path for finding in check_tree(tmp_path)] == ["seen.txt"]

#!/usr/bin/env python3
"""Refuse what must not stand in the tree, one `file:line: what` a finding; exit code 1 if there is any.

- a model's name in the compiler or the runtime: what they know about a model, they know from its spec;
- paths of one machine, hosts of a package registry, words about how the work was organised.

Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

MODELS = re.compile(
    r"bert|llama|gpt|mistral|mixtral|qwen|gemma|falcon|electra|deepseek|whisper|smollm|minilm|xlnet|segformer"
    r"|(?<![a-z])(?:t5|bart|mpt|bloom|dinov2|phi[-_ ]?[1-4])(?![a-z])",
    re.IGNORECASE,
)
# ttnn names some of its operations after the model that needed them first; these are its names, not ours
TTNN_NAMES = re.compile(
    r"\b(?:rotary_embedding_llama(?:_fused_qk)?|llama_(?:all_gather_matmul_async|reduce_scatter|rs_create_heads"
    r"|rs_matmul)|nlp_create_qkv_heads_(?:falcon7b|segformer|vit)|deepseek_\w+|use_falcon7b_backend|moe_gpt|topk_router_gpt)\b"
)
MODEL_FREE = ("compiler/", "runtime/")

# [x] for a letter, so that the patterns do not find themselves
WORDS = {
    "a path of one machine": re.compile(r"/(?:[w]ork|[f]arm|[r]oot|[h]ome/\w+|[U]sers/\w+)/|[.]library\b"),
    "a package registry's host": re.compile(r"pypi[.]org|[p]ythonhosted|registry[.]npmjs|deb[.]debian[.]org"),
    "a word about how the work was organised": re.compile(
        r"[t]his session|[t]he CEO|[f]arm-(?:studio|bench)|[i]ssue #?\d+ (?:asks|says|of ours)", re.IGNORECASE
    ),
}


class Finding(NamedTuple):
    """One thing that must go, and where it stands."""

    path: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: {self.text}"


def check_text(path: str, text: str) -> list[Finding]:
    """What must go from the file at `path` (relative to the repository, with slashes) that holds `text`."""
    findings = []
    for number, line in enumerate(text.splitlines(), start=1):
        if path.startswith(MODEL_FREE) and (model := MODELS.search(TTNN_NAMES.sub("", line))):
            findings.append(Finding(path, number, "a model's name", model.group()))
        findings += [
            Finding(path, number, what, word.group())
            for what, pattern in WORDS.items()
            if (word := pattern.search(line))
        ]
    return findings


def check_path(path: str) -> list[Finding]:
    """A file's own name counts as text too."""
    name = MODELS.search(path) if path.startswith(MODEL_FREE) else None
    return [Finding(path, 0, "a model's name in a file's name", name.group())] if name else []


def tracked(root: Path) -> list[str]:
    """The files that git has, or would take, under `root`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(name for name in listing.stdout.split("\0") if name and (root / name).is_file())


def check_tree(root: Path = ROOT) -> list[Finding]:
    """Everything that must go from the tree at `root`; binary files are looked at by name only."""
    findings: list[Finding] = []
    for path in tracked(root):
        findings += check_path(path)
        data = (root / path).read_bytes()
        if b"\0" not in data:
            findings += check_text(path, data.decode("utf-8", errors="replace"))
    return findings


def main() -> int:
    """Print the findings; the exit code."""
    findings = check_tree()
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

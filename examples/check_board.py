"""On a board: does it compute what it should? The emulator, in float32 and as a board rounds, is the measure.

    TTMLC_BACKEND=ttnn python examples/check_board.py [FOLDER]

FOLDER is a Hugging Face folder of a BERT encoder; without one the weights are random. Each output is compared with the
same program on the emulator: the correlation (PCC) with the exact result, beside the one that rounding to bfloat16
alone leaves. The exit code is 1 where the board's is worse than 0.99. Needs ttnn and a compiled out/bert.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ENOUGH = 0.99
"""A common bar for bfloat16 on these chips; the emulator's own rounding reaches 0.9999 on trained weights."""
LENGTHS = (7, 33, 128)


def outputs(folder: str | None, dtype: str, module: Path) -> dict[str, np.ndarray]:
    """Every output for a few lengths, rows of different length in each batch."""
    sys.path.insert(0, str(module.parent))
    import bert

    if folder:
        model = bert.BertModel.from_pretrained(folder, dtype=dtype)
    else:
        model = bert.BertModel(bert.BertConfig(layers=4, hidden=256, heads=4, inner=1024), dtype=dtype)
    rng = np.random.default_rng(0)
    found = {}
    for tokens in LENGTHS:
        ids = rng.integers(0, model.config.vocab, (4, tokens))
        mask = np.arange(tokens)[None] < np.array([tokens, tokens, max(1, tokens // 2), 1])[:, None]
        out = model(ids, attention_mask=mask)
        found[f"last_hidden_state, {tokens} tokens"] = out.last_hidden_state.numpy()[mask]
        found[f"pooler_output, {tokens} tokens"] = out.pooler_output.numpy()
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; 0 where either does not vary."""
    a, b = one.ravel() - one.mean(dtype=np.float64), other.ravel() - other.mean(dtype=np.float64)
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0


def main() -> None:
    """Run here and on the emulator, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="a Hugging Face folder; random weights without it")
    parser.add_argument("--module", type=Path, default=ROOT / "out/bert.py", help="the compiled module")
    parser.add_argument("--save", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="bfloat16", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.module.is_file():
        parser.error(f"there is no {asked.module}: ttmlc compile specs/models/bert.spec -o out")
    if asked.save:
        np.savez(asked.save, **outputs(asked.folder, asked.dtype, asked.module))
        return

    from ttmlc_runtime import emulator, ttnn

    if ttnn is emulator:
        sys.exit(
            "this would compare the emulator with itself: set TTMLC_BACKEND=ttnn, on a machine with a board"
        )
    here = outputs(asked.folder, "bfloat16", asked.module)
    with tempfile.TemporaryDirectory() as folder:
        wanted = {}
        for dtype in ("float32", "bfloat16"):
            file = f"{folder}/{dtype}.npz"
            command = [
                sys.executable,
                __file__,
                "--save",
                file,
                "--dtype",
                dtype,
                "--module",
                str(asked.module),
            ]
            subprocess.run(
                [*command, *([asked.folder] if asked.folder else [])],
                check=True,
                env={**os.environ, "TTMLC_BACKEND": "emulator"},
            )
            wanted[dtype] = dict(np.load(file))
    print(f"{'':34}{'board':>10}{'emulator':>10}{'max diff':>10}")
    worst = 1.0
    for name, exact in wanted["float32"].items():
        board, rounded = correlation(here[name], exact), correlation(wanted["bfloat16"][name], exact)
        print(f"{name:34}{board:10.5f}{rounded:10.5f}{np.abs(here[name] - exact).max():10.4f}")
        worst = min(worst, board)
    if worst < ENOUGH:
        sys.exit(f"the board does not compute what it should: PCC {worst:.4f}, and {ENOUGH} is wanted")
    print("the board computes what it should")


if __name__ == "__main__":
    main()

"""Write what the real ttnn's host packs, to be compared with where there is none.

``python -m tests.runtime.emulator.record_packing FILE``, from the root of the project.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ttmlc_runtime import mockboard

ROOT = Path(__file__).resolve().parents[3]


def values() -> np.ndarray:
    """Sixteen rows of 128 values: ordinary, wide in range, ties, random bits, and what is special."""
    rng = np.random.default_rng(20240229)
    ordinary = rng.standard_normal((3, 128))
    wide = rng.standard_normal((3, 128)) * np.exp2(rng.integers(-12, 12, (3, 128)))
    # Multiples of a 1024th beside a larger power of two: many lie half way between what can be held.
    ties = rng.integers(-1024, 1024, (4, 128)) / 1024 * np.exp2(rng.integers(-3, 1, (4, 128)))
    bits = rng.integers(0, 2**32, (3, 128), dtype=np.uint32).view(np.float32)
    strange = [
        np.inf,
        -np.inf,
        np.nan,
        0.0,
        -0.0,
        1e-40,
        -1e-40,
        1e-38,
        3.4e38,
        -3.4e38,
        1.9999999,
        255 / 128,
    ]
    special = rng.choice(np.array(strange, np.float32), (2, 128))
    tiny = rng.standard_normal((1, 128)) * 1e-39
    return np.concatenate([part.astype(np.float32) for part in (ordinary, wide, ties, bits, special, tiny)])


def job(request: dict[str, Any]) -> dict[str, Any]:
    """Pack every row under every label, in the Python that has ttnn."""
    import ttnn

    given = values()
    packed = {}
    for label in ("bfloat16", "bfloat8_b", "bfloat4_b"):
        host = ttnn.Tensor(given, getattr(ttnn, label), None, ttnn.TILE_LAYOUT)
        packed[label] = np.array(ttnn.to_dtype(host, ttnn.float32).to_numpy())
    np.savez_compressed(Path(request["out"]), values=given, **packed)
    return {}


def record(file: Path) -> None:
    """Write ``file``."""
    name = "tests.runtime.emulator.record_packing:job"
    mockboard.run(name, {"out": str(file.resolve())}, board="n150", path=ROOT)


if __name__ == "__main__":
    record(Path(sys.argv[1]))

"""Write what the real ttnn's host packs, to be compared with: ``python record_packing.py FILE``.

Run it in the environment that has ttnn. No device is opened: host tensors are packed exactly as a board's are. But
ttnn asks for a cluster before it packs the first, so it is given the description of one that is not there.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# The kind of board is read from the upper bits of its id: 0x18 << 36.
ONE_WORMHOLE = """\
arch: {0: wormhole_b0}
chips: {0: [0, 0, 0, 0]}
ethernet_connections: []
chips_with_mmio: [{0: 0}]
harvesting:
  0: {noc_translation: true, harvest_mask: 1, dram_harvesting_mask: 0, eth_harvesting_mask: 0, pcie_harvesting_mask: 0}
boards: [[{board_id: 1649267441664}, {board_type: n150}, {chips: [0]}]]
"""


def ttnn_without_a_board(folder: str) -> Any:
    """The module, told that there is a board."""
    description = Path(folder) / "cluster.yaml"
    description.write_text(ONE_WORMHOLE, encoding="utf-8")
    os.environ.update(
        TT_LOGGER_LEVEL="off", TT_METAL_LOGS_PATH=folder, TT_METAL_MOCK_CLUSTER_DESC_PATH=str(description)
    )
    import ttnn

    return ttnn


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


def main() -> None:
    """Pack every row under every label."""
    given = values()
    with tempfile.TemporaryDirectory() as folder:
        ttnn = ttnn_without_a_board(folder)
        packed = {}
        for label in ("bfloat16", "bfloat8_b", "bfloat4_b"):
            host = ttnn.Tensor(given, getattr(ttnn, label), None, ttnn.TILE_LAYOUT)
            packed[label] = np.array(ttnn.to_dtype(host, ttnn.float32).to_numpy())
    np.savez_compressed(Path(sys.argv[1]), values=given, **packed)


if __name__ == "__main__":
    main()

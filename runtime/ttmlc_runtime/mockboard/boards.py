"""The boards there are descriptions of: chips, wires, meshes, as the driver of a machine would report them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Wire = tuple[int, int, int, int]
"""(chip, channel, other chip, its channel) of an Ethernet link."""


@dataclass(frozen=True)
class Family:
    """What the chips of one architecture have in common."""

    arch: str
    eth_masked: int = 0
    """Ethernet channels that are switched off, as a bit mask."""
    pcie_masked: int = 0
    placed: bool = True
    """Whether chips are told apart by their place in a grid; else by a serial number."""


WORMHOLE = Family("wormhole_b0")
BLACKHOLE = Family("blackhole", eth_masked=0b1_0010_0000, pcie_masked=0b10, placed=False)


@dataclass(frozen=True)
class Board:
    """A board, or several of them that are wired together."""

    name: str
    family: Family
    kind: str
    """What the driver calls each card."""
    cards: tuple[tuple[int, ...], ...]
    """The chips of each card; the last one is on the PCIe bus."""
    mesh: tuple[int, int]
    """Rows and columns of the mesh that all chips make."""
    rows_off: int
    """Rows of cores that are switched off on each chip, as a bit mask."""
    places: tuple[tuple[int, int], ...] = ()
    wires: tuple[Wire, ...] = ()

    @property
    def chips(self) -> int:
        """How many chips there are."""
        return sum(len(card) for card in self.cards)

    def description(self) -> str:
        """What ttnn reads in place of asking a driver. It wants YAML, which JSON is."""
        chips = range(self.chips)
        off = {
            "noc_translation": True,
            "harvest_mask": self.rows_off,
            "dram_harvesting_mask": 0,
            "eth_harvesting_mask": self.family.eth_masked,
            "pcie_harvesting_mask": self.family.pcie_masked,
        }
        if not self.family.placed:
            off["l2cpu_harvesting_mask"] = 0
        described: dict[str, Any] = {
            "arch": dict.fromkeys(chips, self.family.arch),
            "chips": {chip: [x, y, 0, 0] for chip, (x, y) in enumerate(self.places)},
            "ethernet_connections": [
                [{"chip": one, "chan": channel}, {"chip": other, "chan": back}]
                for one, channel, other, back in self.wires
            ],
            "chips_with_mmio": [{card[-1]: card[-1]} for card in self.cards],
            "harvesting": dict.fromkeys(chips, off),
            "boards": [
                [{"board_id": SERIAL[self.kind] + number}, {"board_type": self.kind}, {"chips": list(card)}]
                for number, card in enumerate(self.cards)
            ],
        }
        if self.chips > 1 or not self.family.placed:
            described["chip_unique_ids"] = {chip: UNIQUE + chip for chip in chips}
        return json.dumps(described, indent=1)


SERIAL = {"n150": 72059269368820857, "n300": 72058994491928619, "p150": 4476187513102}
"""A serial number of a card of each kind; the driver tells the kind by its upper digits."""
UNIQUE = 143238000421664


def _links(one: int, other: int, channels: range, back: range | None = None) -> tuple[Wire, ...]:
    return tuple(
        (one, channel, other, there) for channel, there in zip(channels, back or channels, strict=True)
    )


_N300_PAIRS = tuple(wire for chip in range(4) for wire in _links(chip, chip + 4, range(8, 10), range(2)))
_T3000_WIRES = (
    *_N300_PAIRS,
    *_links(0, 2, range(6, 8)),
    *_links(4, 6, range(6, 8)),
    *(wire for chip in range(0, 8, 2) for wire in _links(chip, chip + 1, range(14, 16))),
    *_links(1, 3, range(2)),
    *_links(5, 7, range(6, 8)),
)

BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        Board("n150", WORMHOLE, "n150", ((0,),), (1, 1), 0b1, ((0, 0),)),
        Board(
            "n300", WORMHOLE, "n300", ((1, 0),), (1, 2), 0b11, ((0, 0), (1, 0)), _links(0, 1, range(8, 10), range(2))
        ),
        Board(
            "t3000",
            WORMHOLE,
            "n300",
            ((4, 0), (5, 1), (6, 2), (7, 3)),
            (2, 4),
            0b11,
            ((1, 0), (1, 1), (2, 0), (2, 1), (0, 0), (0, 1), (3, 0), (3, 1)),
            _T3000_WIRES,
        ),
        Board("p150", BLACKHOLE, "p150", ((0,),), (1, 1), 0),
        Board(
            "p150x4",
            BLACKHOLE,
            "p150",
            ((0,), (1,), (2,), (3,)),
            (1, 4),
            0,
            wires=(
                *_links(0, 2, range(4, 8)),
                *_links(0, 3, range(8, 12)),
                *_links(1, 3, range(4, 8)),
                *_links(1, 2, range(8, 12)),
            ),
        ),
    )
}  # fmt: skip
"""By name. A t3000 is four n300 in a mesh of two rows; a p150x4 is four p150 in a ring."""

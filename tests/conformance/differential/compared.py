"""Both sides asked the same, and what differs told in a line each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import ttmlc_runtime.emulator as ttnn

from tests.conformance.differential.answers import Side
from tests.conformance.differential.calls import Call
from tests.conformance.differential.divergences import Divergence, explained, same


def differences(
    calls: Sequence[Call], answers: Sequence[str]
) -> tuple[list[str], list[tuple[Call, Divergence]]]:
    """What the emulator answers otherwise than ``answers``: in words, and where that is on purpose, by which entry."""
    told: list[str] = []
    meant: list[tuple[Call, Divergence]] = []
    device = ttnn.open_device()
    side = Side(ttnn, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel configuration is not modelled is of no account here
        for call, answer in zip(calls, answers, strict=True):
            found, says = side.answer(call)
            if same(answer, found):
                continue
            entry = explained(str(call), answer, found, says)
            if entry is not None:
                meant.append((call, entry))
            else:
                reason = f" ({says.splitlines()[0]})" if says else ""
                told.append(f"{call}\n    ttnn answers {answer}\n    the emulator {found}{reason}")
    ttnn.close_device(device)
    return told, meant

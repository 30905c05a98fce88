"""What an emitted class says of the output that predicts the next token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OfConfig = Callable[[Any], Any]


def _none(config: Any) -> None:
    return None


def _always(config: Any) -> bool:
    return True


@dataclass(frozen=True)
class NextToken:
    """Row ``t`` of the output ``logits``, [B, S, vocab], is about the token that follows token ``t``.

    ``vocab``, ``longest`` and ``causal`` are read from a config.
    """

    logits: str
    """The output's name."""
    ids: str
    """The input of tokens, integers [B, S]."""
    mask: str = ""
    """The input that says which of them are there, bool [B, S]; empty where there is none."""
    positions: str = ""
    """The input of places, integers [B, S]; empty where the model makes them itself, by counting or not at all."""
    vocab: OfConfig = _none
    """How many tokens there are."""
    longest: OfConfig = _none
    """How many places there are; None where nothing ends them."""
    causal: OfConfig = _always
    """Whether no token sees those after it."""
    cached: bool = False
    """Whether keys and values may be kept: the model takes a cache as its mask."""

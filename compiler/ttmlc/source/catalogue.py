"""Every diagnostic has a code; each room declares its own, and none twice."""

from __future__ import annotations

CATALOGUE: dict[str, str] = {}
"""What each code means, in a line."""


def declare(code: str, meaning: str) -> str:
    """Put ``code`` into the catalogue and give it back.

    Raises:
        ValueError: the code is declared already, which is a mistake in the compiler.
    """
    if code in CATALOGUE:
        raise ValueError(f"{code} is declared twice")
    CATALOGUE[code] = meaning
    return code

"""Every diagnostic has a code; each room declares its own, and none twice.

UNCLOSED = declare("E0103", "a bracket is not closed, or closes nothing")
"""

from __future__ import annotations

import re

CATALOGUE: dict[str, str] = {}
"""What each code means, in a line."""


def declare(code: str, meaning: str) -> str:
    """Put ``code`` into the catalogue and give it back.

    E01xx are the parser's codes, E02xx elaboration's, E03xx expansion's, E04xx the passes'.

    Raises:
        ValueError: the code is declared already or is no code, which is a mistake in the compiler.
    """
    if re.fullmatch(r"E[0-9]{4}", code) is None:
        raise ValueError(f"{code!r} is no code: it is an E and four digits")
    if code in CATALOGUE:
        raise ValueError(f"{code} is declared twice: '{CATALOGUE[code]}' and '{meaning}'")
    CATALOGUE[code] = meaning
    return code

"""Refusals, worded as ttnn's and followed by what to do."""

from __future__ import annotations


def fatal(message: str, hint: str = "") -> RuntimeError:
    """What ttnn refuses with: a RuntimeError that begins with TT_FATAL."""
    return RuntimeError(f"TT_FATAL: {message}" + (f". {hint}" if hint else ""))


def check(condition: bool, message: str, hint: str = "") -> None:
    """Refuse where ``condition`` does not hold.

    Raises:
        RuntimeError: with ``message``, and ``hint`` as what to do instead.
    """
    if not condition:
        raise fatal(message, hint)


def unmodelled(what: str) -> RuntimeError:
    """What the emulator says to a call that ttnn would take and it cannot."""
    return RuntimeError(f"{what} is not modelled by the emulator, though ttnn takes it")

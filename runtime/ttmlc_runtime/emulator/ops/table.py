"""The table of modelled ops: what is in it is what a differential test has to cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

OPS: dict[str, Callable[..., Any]] = {}
Op = TypeVar("Op", bound=Callable[..., Any])


def op(name: str) -> Callable[[Op], Op]:
    """Declare a function as the op that ttnn calls ``name``."""

    def declare(function: Op) -> Op:
        OPS[name] = function
        return function

    return declare

"""The calls of ops that an emitted module makes, one by one: a stand-in for its ``ttnn`` and ``nn`` tells of each."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

Told = Callable[[str, int, tuple[Any, ...], dict[str, Any], Any], None]
"""Takes a call's name, its line in the module, what it was given by position and by name, and what it gave."""

NAMES = ("ttnn", "nn")
SPEC = re.compile(r"^\s*# (\S+\.spec):(\d+)")
OF_SPEC = re.compile(r" of (\S+\.spec:\d+)\.")


class _Watched:
    """A module whose functions tell of their calls; whatever else it has is as it is."""

    def __init__(self, module: Any, name: str, told: Told) -> None:
        self._module, self._name, self._told = module, name, told

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        called = f"{self._name}.{name}"
        if isinstance(value, ModuleType):
            return _Watched(value, called, self._told)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*arguments: Any, **keywords: Any) -> Any:
            result = value(*arguments, **keywords)
            self._told(called, sys._getframe(1).f_lineno, arguments, keywords, result)
            return result

        return call


@contextmanager
def calls_of(modules: Iterable[ModuleType], told: Told) -> Iterator[None]:
    """Tell of each call that these emitted modules make of ``ttnn`` and ``nn``, when it has been made.

    The modules' own names are put in place of and put back, so it is for one thread.
    """
    with ExitStack() as restored:
        for module in modules:
            for name in NAMES:
                if hasattr(module, name):
                    before = getattr(module, name)
                    restored.callback(setattr, module, name, before)
                    setattr(module, name, _Watched(before, name, told))
        yield


class Source:
    """The text of an emitted module: what stands on a line, and which lines of a spec it came from."""

    def __init__(self, module: ModuleType) -> None:
        try:
            self._lines = inspect.getsource(module).splitlines()
        except (OSError, TypeError):  # it was made of no text that is at hand
            self._lines = []

    def text(self, line: int) -> str:
        """The statement that stands there, on one line."""
        return self._statements.get(line, "")

    @functools.cached_property
    def _statements(self) -> dict[int, str]:
        found = {}
        for node in ast.walk(ast.parse("\n".join(self._lines))):
            if isinstance(node, ast.stmt) and not hasattr(node, "body"):
                said = ast.unparse(node)
                found.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), said))
        return found

    def spec(self, line: int) -> str | None:
        """The lines of the spec that the comment above says: ``name.spec:33`` or ``name.spec:33-35``."""
        found: list[tuple[str, int]] = []
        for above in reversed(self._lines[: max(line - 1, 0)]):
            said = SPEC.match(above)
            if said is not None:
                found.append((said[1], int(said[2])))
            elif found or above.lstrip().startswith(("def ", "class ")):
                break
        if not found:
            return None
        first, last = found[-1], found[0]
        more = f"-{last[1]}" if last[0] == first[0] and last[1] > first[1] else ""
        return f"{first[0]}:{first[1]}{more}"


def spec_of(kind: type) -> str | None:
    """The line of the spec that a block was made of, as its class says."""
    said = OF_SPEC.search(kind.__doc__ or "")
    return said[1] if said else None

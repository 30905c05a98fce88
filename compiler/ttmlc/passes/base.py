"""What a pass is: a value with its options as fields, and a contract that the pipeline checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ttmlc.ir.module import Level, Module
from ttmlc.source import Span


@dataclass(frozen=True, slots=True)
class Declined:
    """A rewrite that matched and was not made, with the reason and where."""

    rule: str
    reason: str
    at: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass made of a module, and what it declined to do."""

    module: Module
    declined: tuple[Declined, ...] = ()


@dataclass(frozen=True)
class Pass:
    """A pass from modules of level ``takes`` to modules of level ``gives``. Subclasses are frozen dataclasses."""

    name: ClassVar[str]
    takes: ClassVar[Level]
    gives: ClassVar[Level]

    def run(self, module: Module) -> Outcome:
        """The changed module; ``module`` itself stays as it is."""
        raise NotImplementedError

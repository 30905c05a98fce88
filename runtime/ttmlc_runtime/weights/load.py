"""Matching a checkpoint's tensors with a model's parameters: the report, and streaming one into the other."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Array, Parameter
from ttmlc_runtime.weights.format import FLOATS

SHOWN = 8


@dataclass(frozen=True)
class Misshapen:
    """A tensor whose shape is not its parameter's."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


@dataclass
class LoadReport:
    """What became of every tensor and every parameter."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mis_shaped: list[Misshapen] = field(default_factory=list)
    wrong_dtype: list[tuple[str, str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    prefix: str = ""

    @property
    def complete(self) -> bool:
        """Whether every parameter has a fitting tensor."""
        return not (self.missing or self.mis_shaped or self.wrong_dtype)

    def __str__(self) -> str:
        lines = [
            f"{len(self.loaded)} tensors loaded"
            + (f" under the prefix {self.prefix!r}" if self.prefix else "")
        ]
        lines += _listed("missing", self.missing)
        lines += _listed(
            "of another shape",
            [f"{m.name}: {list(m.found)} instead of {list(m.expected)}" for m in self.mis_shaped],
        )
        lines += _listed("of a wrong dtype", [f"{name}: {dtype}" for name, dtype in self.wrong_dtype])
        lines += _listed("not expected", self.unexpected)
        lines += _listed("stale, skipped", self.stale)
        return "\n".join(lines)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = [f"  {name}" for name in names[:SHOWN]]
    more = [f"  ... and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return [f"{len(names)} {what}:", *shown, *more]


@dataclass(frozen=True)
class Matching:
    """Which tensor feeds which parameter, and what is wrong with the rest."""

    sources: dict[str, str]
    report: LoadReport


def match(
    parameters: Mapping[str, Parameter],
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    prefix: str,
    stale: Iterable[str] = (),
) -> Matching:
    """Match by name; ``tensors`` gives each one's dtype and shape.

    A known prefix may be there or not: the form that finds more parameters is taken.
    """
    prefixes = ["", f"{prefix}."] if prefix else [""]
    counts = {p: sum(1 for name in _names(parameters.values()) if p + name in tensors) for p in prefixes}
    used = max(prefixes, key=lambda p: counts[p])
    report = LoadReport(prefix=used)
    sources: dict[str, str] = {}
    for name, parameter in parameters.items():
        found = [used + option for option in (name, *parameter.also) if used + option in tensors]
        if len(found) > 1:
            raise WeightsError(f"{name} is there twice, as {' and '.join(found)}: remove one")
        if not found:
            report.missing.append(name)
            continue
        dtype, shape = tensors[found[0]]
        sources[found[0]] = name
        if dtype not in FLOATS:
            report.wrong_dtype.append((found[0], dtype))
        elif shape != parameter.shape:
            report.mis_shaped.append(Misshapen(found[0], parameter.shape, shape))
    patterns = [p + pattern for pattern in stale for p in prefixes]
    for name in tensors:
        if name in sources:
            continue
        skipped = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        (report.stale if skipped else report.unexpected).append(name)
    return Matching(sources, report)


def _names(parameters: Iterable[Parameter]) -> Iterable[str]:
    for parameter in parameters:
        yield from (parameter.name, *parameter.also)


def refuse(report: LoadReport, where: str, strict: bool) -> None:
    """Refuse what cannot be loaded, all of it at once.

    Raises:
        WeightsError: parameters are missing or do not fit; or, where ``strict``, tensors are left over.
    """
    if report.complete and not (strict and report.unexpected):
        return
    hints = []
    for name in report.missing[:SHOWN]:
        close = difflib.get_close_matches(name, report.unexpected, 1, 0.8)
        hints += [f"  {name}: the checkpoint has {close[0]}"] if close else []
    advice = ["did you mean:", *hints] if hints else []
    raise WeightsError("\n".join([f"{where} does not fit the model", str(report), *advice]))


def stream(
    sources: Mapping[str, str],
    order: Iterable[str],
    read: Callable[[str], Array],
    take: Callable[[str, Array], None],
) -> None:
    """Read the tensors that are wanted, one at a time, and hand each to the parameter it feeds."""
    for name in order:
        if name in sources:
            take(sources[name], read(name))

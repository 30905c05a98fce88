"""Matching a checkpoint's tensors with a model's parameters, and the report of what became of each."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.format import FLOATS
from ttmlc_runtime.weights.parameter import Parameter

SHOWN = 8
"""How many names a report spells out where nothing is wrong with them."""
LISTED = 60
"""How many it spells out where they are why a checkpoint is refused."""


@dataclass(frozen=True)
class Misshapen:
    """A tensor whose shape is not its parameter's."""

    name: str
    expected: tuple[int, ...]
    found: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {list(self.found)} instead of {list(self.expected)}"


@dataclass
class LoadReport:
    """What became of every tensor and every parameter.

    ``missing``, ``mis_shaped`` and ``wrong_dtype`` make a checkpoint unfit. ``initialised`` are parameters of a head
    that it does not have, which begin at random. ``unexpected`` tensors belong to nothing in the model; ``stale`` ones
    are known to be of no use. ``prefix`` is what the base's names carried in the checkpoint.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mis_shaped: list[Misshapen] = field(default_factory=list)
    wrong_dtype: list[tuple[str, str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    suggestions: dict[str, str] = field(default_factory=dict)
    prefix: str = ""

    @property
    def complete(self) -> bool:
        """Whether every parameter of the base has a fitting tensor."""
        return not (self.missing or self.mis_shaped or self.wrong_dtype)

    def __str__(self) -> str:
        under = f" under the prefix {self.prefix!r}" if self.prefix else ""
        near = self.suggestions
        missing = [f"{name}   (there is {near[name]})" if name in near else name for name in self.missing]
        lines = [f"{len(self.loaded)} parameters loaded{under}"]
        lines += _listed("missing", missing, LISTED)
        lines += _listed("of another shape", [str(wrong) for wrong in self.mis_shaped], LISTED)
        lines += _listed("of a wrong dtype", [f"{name}: {dtype}" for name, dtype in self.wrong_dtype], LISTED)
        lines += _listed("not in the checkpoint, begun at random", self.initialised, SHOWN)
        lines += _listed("not expected", self.unexpected, SHOWN)
        lines += _listed("stale, skipped", self.stale, SHOWN)
        return "\n".join(lines)


def _listed(what: str, names: Sequence[str], limit: int) -> list[str]:
    if not names:
        return []
    shown = [f"  {printable(name)}" for name in names[:limit]]
    more = [f"  ... and {len(names) - limit} more"] if len(names) > limit else []
    return [f"{len(names)} {what}:", *shown, *more]


def printable(name: str) -> str:
    """A name from a file as a terminal may show it."""
    return name if name.isprintable() else ascii(name)


@dataclass(frozen=True)
class Rules:
    """How a model's class reads names.

    Args:
        prefixes: what may stand before the base's names in a file; the first is the one that is written.
        stale: patterns of tensors that are skipped silently.
        renames: parts of names in old files, and what they are called now.
        resized: whether a head's parameters may be of another shape in the file: they then begin at random.
        tied: names under which files may hold a parameter a second time, and the parameter's own.
    """

    prefixes: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    resized: bool = False
    tied: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, name: str) -> str:
        """``name`` as it is called now; only whole words between dots are replaced."""
        dotted = f".{name}."
        for old, new in self.renames.items():
            dotted = dotted.replace(f".{old}.", f".{new}.")
        return dotted[1:-1]


@dataclass(frozen=True)
class Matching:
    """Which tensors feed which parameter (more than one only where it has several names), and the report."""

    sources: dict[str, list[str]]
    report: LoadReport


def match(
    parameters: Mapping[str, Parameter], tensors: Mapping[str, tuple[str, tuple[int, ...]]], rules: Rules
) -> Matching:
    """Match by name; ``tensors`` gives each one's dtype and shape.

    The base's names may or may not carry a known prefix: the form that finds the most parameters is taken for the
    whole file. A model whose own names carry the prefix is a base with a head: head parameters that are not in the
    file are to be initialised.
    """
    headed = [p for p in rules.prefixes if any(name.startswith(f"{p}.") for name in parameters)]
    own = headed[0] if headed else ""

    def of_head(name: str) -> bool:
        return bool(own) and not name.startswith(f"{own}.")

    known = _known(parameters, rules.tied)
    forms = {prefix: _form(tensors, prefix, own, known, rules) for prefix in _prefixes(rules, own)}
    used = max(forms, key=lambda prefix: sum(name in known for name in forms[prefix].values()))
    report = LoadReport(prefix=used)
    sources: dict[str, list[str]] = {}
    for tensor, (dtype, shape) in tensors.items():
        name = forms[used].get(tensor, "")
        if name not in known:
            written = {tensor, name, name.removeprefix(f"{own}.") if own else name}
            skipped = any(fnmatch.fnmatchcase(n, pattern) for n in written for pattern in rules.stale)
            (report.stale if skipped else report.unexpected).append(tensor)
            continue
        parameter = parameters[known[name]]
        if rules.resized and shape != parameter.shape and of_head(parameter.name):
            report.unexpected.append(tensor)
            continue
        sources.setdefault(parameter.name, []).append(tensor)
        if dtype not in FLOATS:
            report.wrong_dtype.append((tensor, dtype))
        elif shape != parameter.shape:
            report.mis_shaped.append(Misshapen(tensor, parameter.shape, shape))
    for name in parameters:
        if name not in sources:
            (report.initialised if of_head(name) else report.missing).append(name)
    _suggest(report)
    return Matching(sources, report)


def _known(parameters: Mapping[str, Parameter], tied: Mapping[str, str]) -> dict[str, str]:
    """Every name that is read, and the parameter it is read for."""
    known = {name: name for name in parameters}
    for parameter in parameters.values():
        for other in parameter.also:
            if known.setdefault(other, parameter.name) != parameter.name:
                raise WeightsError(f"{other!r} would be read for {known[other]} and for {parameter.name}")
    return {**tied, **known}


def _prefixes(rules: Rules, own: str) -> list[str]:
    """The prefixes to try, the model's own form first, so that a tie goes to it."""
    return list(dict.fromkeys([own, *rules.prefixes, ""]))


def _form(
    tensors: Iterable[str], prefix: str, own: str, known: Mapping[str, str], rules: Rules
) -> dict[str, str]:
    """What each tensor is called in the model, if the base's names carry ``prefix`` in the file."""
    named: dict[str, str] = {}
    ours = f"{own}." if own else ""
    for tensor in tensors:
        name = rules.renamed(tensor)
        if prefix and name.startswith(f"{prefix}."):
            named[tensor] = ours + name.removeprefix(f"{prefix}.")
        elif not prefix and own:  # a bare base: its names lack what ours carry, a head's do not
            named[tensor] = name if name in known and not name.startswith(ours) else ours + name
        elif not prefix or own:
            named[tensor] = name
    return named


def _suggest(report: LoadReport) -> None:
    """Note near names for what is missing. With hundreds missing the file is another model's, and none is near."""
    for name in report.missing[:LISTED]:
        close = difflib.get_close_matches(name, report.unexpected[:1000], 1, 0.75)
        if close:
            report.suggestions[name] = close[0]


def refuse(report: LoadReport, where: str, strict: bool) -> None:
    """Refuse what cannot be loaded, all of it at once.

    Raises:
        WeightsError: parameters are missing or do not fit; or, where ``strict``, tensors are left over or a head is
            not there.
    """
    left = report.unexpected or report.initialised
    if report.complete and not (strict and left):
        return
    why = (
        "does not fit the model"
        if not report.complete
        else "is not exactly the model's, and strict was asked"
    )
    raise WeightsError(f"{where} {why}\n{report}", report)

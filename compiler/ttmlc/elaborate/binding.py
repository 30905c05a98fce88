"""Arguments to parameters: by position, by name, from the file's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ttmlc.elaborate.problems import MISSING_ARGUMENT, UNKNOWN_OPTION, nearest, problem
from ttmlc.language import tree
from ttmlc.source import Span


@dataclass(frozen=True)
class Signature:
    """What a builtin takes: names in order, those that must be given marked by ``required``."""

    names: tuple[str, ...]
    required: int


@dataclass(frozen=True)
class Bound:
    """The expressions given for each parameter."""

    call: Span
    given: Mapping[str, tree.Expr]
    wanted: str = ""
    """The name that the spec gives the result, if it gives one."""
    defaulted: frozenset[str] = frozenset()
    """Those that the file's defaults gave: they are read where the defaults stand, not where the call does."""

    def span(self, name: str) -> Span:
        """Where an argument stands; the call where it is not given."""
        node = self.given.get(name)
        return self.call if node is None else node.span


def bind(
    node: tree.Call, name: str, signature: Signature, defaults: Mapping[str, tree.Expr], wanted: str = ""
) -> Bound:
    """Match the arguments of ``node`` with ``signature``; ``defaults`` fill what it does not say.

    Raises:
        DiagnosticError: an argument is unknown, given twice, missing, or one too many.
    """
    given: dict[str, tree.Expr] = {}
    if len(node.args) > len(signature.names):
        extra = node.args[len(signature.names)]
        raise problem(
            MISSING_ARGUMENT, f"'{name}' takes {len(signature.names)} arguments at most", extra.span
        )
    for parameter, arg in zip(signature.names, node.args, strict=False):
        given[parameter] = arg
    for option in node.options:
        word = option.name.text
        if word not in signature.names:
            raise problem(
                UNKNOWN_OPTION,
                f"'{name}' has no option {word!r}",
                option.name.span,
                hint=nearest(word, signature.names),
            )
        if word in given:
            related = ((given[word].span, "given here already"),)
            raise problem(MISSING_ARGUMENT, f"{word!r} is given twice", option.span, related=related)
        given[word] = option.value
    defaulted = {word for word in defaults if word in signature.names and word not in given}
    given.update({word: defaults[word] for word in defaulted})
    for parameter in signature.names[: signature.required]:
        if parameter not in given:
            hint = f"Write {parameter}=... here, or in 'defaults'."
            raise problem(MISSING_ARGUMENT, f"'{name}' needs {parameter!r}", node.function.span, hint=hint)
    return Bound(node.span, given, wanted, frozenset(defaulted))

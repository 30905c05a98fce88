"""From Lark's parse tree to ours: one method a rule of ``ttml.lark``, named after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lark import Token, Tree

from ttmlc.language import tree as t
from ttmlc.language.codes import UNEXPECTED
from ttmlc.source import Diagnostic, SourceFile, Span

Parts = list[Any]
ESCAPE = re.compile(r"\\(.)")


class Builder:
    """Builds the tree of one file; what the grammar lets pass and the language does not goes to ``problems``.

    Texts have been scanned before, so that strings are closed and numbers in range. Recursion is as deep as the
    parse tree, which the parser has limited.
    """

    def __init__(self, file: SourceFile) -> None:
        self.problems: list[Diagnostic] = []
        self._file = file

    def span(self, node: Tree[Token] | Token) -> Span:
        """Where ``node`` stands in the file."""
        if isinstance(node, Token):
            start, end = node.start_pos or 0, node.end_pos or 0
        else:
            start, end = getattr(node.meta, "start_pos", 0), getattr(node.meta, "end_pos", 0)
        return Span(self._file, start, end)

    def build(self, node: Any) -> Any:
        """The node of ours for a node of Lark's; tokens and None stay what they are."""
        if not isinstance(node, Tree):
            return node
        method = METHODS[str(node.data)]
        return method(self, self.span(node), [self.build(child) for child in node.children])

    def string(self, token: Token) -> t.Literal:
        """A string token as a literal."""
        return t.Literal(self.span(token), ESCAPE.sub(r"\1", str(token)[1:-1]))

    def string_or_none(self, token: Token | None) -> t.Literal | None:
        """A string token, where there is one."""
        return None if token is None else self.string(token)

    def strings(self, tokens: Parts) -> tuple[t.Literal, ...]:
        """Several string tokens."""
        return tuple(map(self.string, tokens))

    # Sections

    def start(self, span: Span, parts: Parts) -> t.File:
        return t.File(Span(self._file, 0, len(self._file.text)), tuple(parts))

    def doc(self, span: Span, parts: Parts) -> t.Doc:
        return t.Doc(span, prose(str(parts[0])[3:-3]))

    def use(self, span: Span, parts: Parts) -> t.Use:
        return t.Use(span, tuple(parts))

    def config(self, span: Span, parts: Parts) -> t.Config:
        name, extends, model_type, *entries = parts
        return t.Config(span, name, extends, self.string_or_none(model_type), tuple(entries))

    def field(self, span: Span, parts: Parts) -> t.ConfigField:
        name, index, (kinds, nullable), default, null, source = parts
        keys, gate = source or ((), None)
        return t.ConfigField(span, name, index, kinds, nullable, default, null, keys, gate)

    def index(self, span: Span, parts: Parts) -> tuple[t.Name, t.Name]:
        return parts[0], parts[1]

    def kind(self, span: Span, parts: Parts) -> tuple[tuple[t.Name, ...], bool]:
        return tuple(parts[:-1]), parts[-1] is not None

    def source(self, span: Span, parts: Parts) -> tuple[tuple[t.Key, ...], t.Expr | None]:
        return tuple(parts[:-1]), parts[-1]

    def key(self, span: Span, parts: Parts) -> t.Key:
        return t.Key(span, tuple(parts[1:]), relative=parts[0] is not None)

    def key_length(self, span: Span, parts: Parts) -> t.Key:
        return t.Key(span, tuple(parts), length=True)

    def derived(self, span: Span, parts: Parts) -> t.DerivedField:
        return t.DerivedField(span, *parts)

    def require(self, span: Span, parts: Parts) -> t.Require:
        return t.Require(span, parts[0], self.string_or_none(parts[1]))

    def fixed(self, span: Span, parts: Parts) -> t.Fixed:
        return t.Fixed(span, tuple(parts))

    def fixed_entry(self, span: Span, parts: Parts) -> tuple[t.Name, t.Literal]:
        return parts[0], parts[1]

    def signed(self, span: Span, parts: Parts) -> t.Literal:
        number = str(parts[1])
        return t.Literal(span, -(float(number) if parts[1].type == "FLOAT" else int(number)))

    def harmless(self, span: Span, parts: Parts) -> t.Harmless:
        return t.Harmless(span, tuple(parts))

    def glob(self, span: Span, parts: Parts) -> t.Glob:
        return t.Glob(span, parts[0], parts[1] is not None)

    def stale(self, span: Span, parts: Parts) -> t.Stale:
        return t.Stale(span, self.strings(parts))

    def axis_size(self, span: Span, parts: Parts) -> t.AxisSize:
        return t.AxisSize(span, *parts)

    def axis_labels(self, span: Span, parts: Parts) -> t.AxisLabels:
        return t.AxisLabels(span, parts[0], tuple(parts[1:]))

    def rename(self, span: Span, parts: Parts) -> t.Rename:
        return t.Rename(span, tuple(parts))

    def renamed(self, span: Span, parts: Parts) -> tuple[t.Literal, t.Literal]:
        return self.string(parts[0]), self.string(parts[1])

    def defaults(self, span: Span, parts: Parts) -> t.Defaults:
        return t.Defaults(span, tuple(parts))

    def default(self, span: Span, parts: Parts) -> t.DefaultRule:
        names = tuple(part for part in parts if isinstance(part, t.Name))
        return t.DefaultRule(span, names, tuple(part for part in parts if isinstance(part, t.Option)))

    def table(self, span: Span, parts: Parts) -> t.Table:
        return t.Table(span, parts[0], parts[1], tuple(parts[2:]))

    def fn(self, span: Span, parts: Parts) -> t.Function:
        return t.Function(span, "fn", parts[0], parts[1], tuple(parts[2:]))

    def block(self, span: Span, parts: Parts) -> t.Function:
        return t.Function(span, "block", parts[0], parts[1], tuple(parts[2:]))

    def model(self, span: Span, parts: Parts) -> t.Model:
        return t.Model(span, parts[0], parts[1], parts[2], tuple(parts[3:]))

    def head(self, span: Span, parts: Parts) -> t.Head:
        name, base, over, params, holes, *body = parts
        return t.Head(span, name, base, over, params or (), holes or (), tuple(body))

    def offers(self, span: Span, parts: Parts) -> t.Offers:
        model, paths, *offers = parts
        at, also = _first(paths)
        return t.Offers(span, model, at, tuple(offers), also)

    def offer(self, span: Span, parts: Parts) -> t.Offer:
        head, *options, alias, paths = parts
        at, also = _first(paths)
        return t.Offer(span, head, tuple(option for option in options if option), alias, at, also)

    def paths(self, span: Span, parts: Parts) -> tuple[t.Literal, ...]:
        return self.strings(parts)

    def signature(self, span: Span, parts: Parts) -> tuple[t.Param, ...]:
        return parts[0] or ()

    def params(self, span: Span, parts: Parts) -> tuple[t.Param, ...]:
        return tuple(parts)

    def param(self, span: Span, parts: Parts) -> t.Param:
        name, maybe, *types, default = parts
        return t.Param(
            span, name, maybe is not None, tuple(type_ for type_ in types if type_ is not None), default
        )

    def scalar_type(self, span: Span, parts: Parts) -> t.ScalarType:
        return t.ScalarType(span, parts[0])

    def tensor(self, span: Span, parts: Parts) -> t.TensorExpr:
        return t.TensorExpr(span, parts[0], tuple(parts[1:]))

    def dim_name(self, span: Span, parts: Parts) -> t.DimName:
        return t.DimName(span, parts[0])

    def dim_number(self, span: Span, parts: Parts) -> t.DimNumber:
        return t.DimNumber(span, int(str(parts[0])))

    def product(self, span: Span, parts: Parts) -> t.ProductExpr:
        return t.ProductExpr(span, tuple(parts))

    def axis_sum(self, span: Span, parts: Parts) -> t.AxisSum:
        return t.AxisSum(span, tuple(part for part in parts if isinstance(part, tuple)))

    def part(self, span: Span, parts: Parts) -> tuple[t.Name, t.Name]:
        return parts[0], parts[1]

    # Statements

    def assign(self, span: Span, parts: Parts) -> t.Assign:
        label, *targets, value = parts
        return t.Assign(span, label, tuple(targets), value)

    def label(self, span: Span, parts: Parts) -> t.Name:
        name: t.Name = parts[0]
        return name

    def target(self, span: Span, parts: Parts) -> t.Target:
        return t.Target(span, tuple(parts))

    def amend(self, span: Span, parts: Parts) -> t.Amend:
        return t.Amend(span, parts[0], tuple(parts[1:]))

    def param_statement(self, span: Span, parts: Parts) -> t.ParamStatement:
        name, type_, at, *options = parts
        return t.ParamStatement(span, name, type_, at, tuple(options))

    def repeat(self, span: Span, parts: Parts) -> t.Repeat:
        index, count, at, shared, turn, *body = parts
        return t.Repeat(
            span,
            index,
            count,
            self.string_or_none(at),
            None if shared is None else (shared, turn),
            tuple(body),
        )

    def then(self, span: Span, parts: Parts) -> tuple[t.Statement, ...]:
        return tuple(parts)

    def otherwise(self, span: Span, parts: Parts) -> tuple[t.Statement, ...]:
        return tuple(parts)

    def if_statement(self, span: Span, parts: Parts) -> t.If:
        return t.If(span, parts[0], parts[1], parts[2] or ())

    def match_statement(self, span: Span, parts: Parts) -> t.Match:
        return t.Match(span, parts[0], tuple(parts[1:]))

    def case(self, span: Span, parts: Parts) -> t.Case:
        return t.Case(span, parts[0], tuple(parts[1:]))

    def return_named(self, span: Span, parts: Parts) -> t.Return:
        return t.Return(span, tuple(parts), None)

    def return_one(self, span: Span, parts: Parts) -> t.Return:
        return t.Return(span, (), parts[0])

    def collect(self, span: Span, parts: Parts) -> t.Collect:
        return t.Collect(span, parts[0])

    def head_config(self, span: Span, parts: Parts) -> t.HeadConfig:
        return t.HeadConfig(span, tuple(parts))

    def option(self, span: Span, parts: Parts) -> t.Option:
        return t.Option(span, *parts)

    # Expressions

    def choice(self, span: Span, parts: Parts) -> t.Choice:
        return t.Choice(span, *parts)

    def alternatives(self, span: Span, parts: Parts) -> t.Alternatives:
        return t.Alternatives(span, self.strings(parts))

    def or_(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, "or", tuple(parts))

    def and_(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, "and", tuple(parts))

    def not_(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, "not", tuple(parts))

    def compare(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, str(parts[1]), (parts[0], parts[2]))

    def binary(self, span: Span, parts: Parts) -> t.Operator:
        return self.compare(span, parts)

    def power(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, "**", tuple(parts))

    def negative(self, span: Span, parts: Parts) -> t.Operator:
        return t.Operator(span, "neg", (parts[1],))

    def is_(self, span: Span, parts: Parts) -> t.Is:
        return t.Is(span, parts[0], parts[1] is not None, parts[2])

    def what(self, span: Span, parts: Parts) -> t.Name:
        return t.Name(span, str(parts[0]))

    def call(self, span: Span, parts: Parts) -> t.Call:
        function, *args = (part for part in parts if part is not None)
        options = tuple(arg for arg in args if isinstance(arg, t.Option))
        for argument in args[len(args) - len(options) :]:
            if not isinstance(argument, t.Option):
                related = ((options[0].span, "has a name"),)
                hint = "First what has no name, then what has one."
                message = "an argument without a name follows one that has a name"
                self.problems.append(Diagnostic(UNEXPECTED, message, argument.span, "", related, (), hint))
                break
        return t.Call(span, function, tuple(arg for arg in args if not isinstance(arg, t.Option)), options)

    def lookup(self, span: Span, parts: Parts) -> t.Lookup:
        return t.Lookup(span, parts[0], tuple(parts[1:]))

    def member(self, span: Span, parts: Parts) -> t.Member:
        return t.Member(span, *parts)

    def as_(self, span: Span, parts: Parts) -> t.As:
        return t.As(span, parts[0], tuple(parts[1:]))

    def list_(self, span: Span, parts: Parts) -> t.ListExpr:
        return t.ListExpr(span, tuple(parts))

    def reference(self, span: Span, parts: Parts) -> t.Reference:
        return t.Reference(span, parts[0])

    def integer(self, span: Span, parts: Parts) -> t.Literal:
        return t.Literal(span, int(str(parts[0])))

    def real(self, span: Span, parts: Parts) -> t.Literal:
        return t.Literal(span, float(str(parts[0])))

    def text(self, span: Span, parts: Parts) -> t.Literal:
        return self.string(parts[0])

    def true_(self, span: Span, parts: Parts) -> t.Literal:
        return t.Literal(span, True)

    def false_(self, span: Span, parts: Parts) -> t.Literal:
        return t.Literal(span, False)

    def none_(self, span: Span, parts: Parts) -> t.Literal:
        return t.Literal(span, None)

    def name(self, span: Span, parts: Parts) -> t.Name:
        return t.Name(span, str(parts[0]))


def _first(paths: tuple[t.Literal, ...] | None) -> tuple[t.Literal | None, tuple[t.Literal, ...]]:
    """The path that is written, and those that are only read."""
    return (paths[0], paths[1:]) if paths else (None, ())


def prose(text: str) -> str:
    """``text`` without the indentation that its lines (but the first) share, nor blank ends."""
    first, *rest = [line.rstrip() for line in text.expandtabs(4).split("\n")]
    margin = min((len(line) - len(line.lstrip(" ")) for line in rest if line), default=0)
    return "\n".join([first.lstrip(" "), *(line[margin:] for line in rest)]).strip("\n")


# By name, so that nothing but these can be reached from a parse table, wherever that came from.
METHODS: dict[str, Callable[[Builder, Span, Parts], Any]] = {
    name: method
    for name, method in vars(Builder).items()
    if not name.startswith("__") and name not in ("span", "build", "string", "string_or_none", "strings")
}

"""Random trees of the spec language, and random layouts of their text."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from ttmlc.language import tree as t
from ttmlc.language.build import prose
from ttmlc.language.words import ENTRIES, RESERVED, SECTIONS, STATEMENTS
from ttmlc.source import SourceFile, Span

NOWHERE = Span(SourceFile("generated", ""), 0, 0)
"""Generated nodes stand nowhere; equality ignores it."""

FIRST = string.ascii_letters + "_"
READ_AS_WORDS = SECTIONS | STATEMENTS | ENTRIES | RESERVED
"""Names that may not begin a line everywhere; left out at the start of lines."""


def node(kind: type[t.Node], *parts: Any) -> st.SearchStrategy[Any]:
    """A node whose parts are drawn from strategies, or are what they are."""
    drawn = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*drawn).map(lambda given: kind(NOWHERE, *given))


def short(build: Callable[[], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """The strategy that ``build`` gives; deferred, so that its name stays short where it is used."""
    return st.deferred(build)


def several(of: st.SearchStrategy[Any], least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    """A tuple of some."""
    return st.lists(of, min_size=least, max_size=most).map(tuple)


words = st.one_of(
    st.sampled_from(
        ["x", "at", "in", "over", "type", "from", "first", "mask", "shared", "null", "super", "len"]
    ),
    st.builds(str.__add__, st.sampled_from(FIRST), st.text(FIRST + string.digits, max_size=5)),
).filter(lambda word: word not in RESERVED and not word.startswith("__"))
names = node(t.Name, words)
starts = node(t.Name, words.filter(lambda word: word not in READ_AS_WORDS))
"""Names at the start of a line."""

line_text = st.text(
    st.one_of(st.sampled_from('ab "\\#:{}.*é漢'), st.characters(min_codepoint=32, max_codepoint=126)),
    max_size=12,
)
texts = node(t.Literal, line_text)
paths = several(texts, 1, 3)
counts = node(t.Literal, st.integers(0, 2**63 - 1))
reals = node(t.Literal, st.floats(0, allow_nan=False, allow_infinity=False, allow_subnormal=False))
literals = st.one_of(texts, counts, reals, node(t.Literal, st.sampled_from([True, False, None])))
docs = node(
    t.Doc,
    st.lists(st.text('ab "\\#: é', max_size=8), min_size=1, max_size=4)
    .map("\n".join)
    .filter(lambda text: '"""' not in text)
    .map(prose),
)

dim_names = node(t.DimName, names)
sums = node(t.AxisSum, several(st.tuples(names, names), 2))
products = st.one_of(
    st.tuples(several(dim_names, 2, 2), several(st.one_of(dim_names, sums))),
    st.tuples(several(sums, 1, 1), several(st.one_of(dim_names, sums), 1)),
).flatmap(lambda parts: node(t.ProductExpr, parts[0] + parts[1]))
dims = st.one_of(dim_names, node(t.DimNumber, st.integers(0, 4096)), products, sums)
tensors = node(t.TensorExpr, st.none() | names, several(dims, 1))
types = st.one_of(tensors, node(t.ScalarType, names))


def _operators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    two = st.sampled_from(["+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or"])
    return st.one_of(
        node(t.Operator, two, st.tuples(inner, inner)),
        node(t.Operator, st.sampled_from(["neg", "not"]), st.tuples(inner)),
    )


def _expressions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    options = several(node(t.Option, names, st.one_of(inner, alternatives)), 0, 2)
    return st.one_of(
        node(t.Member, inner, names),
        node(t.Lookup, inner, several(inner, 1, 2)),
        node(t.Call, inner, several(inner, 0, 2), options),
        node(t.As, inner, several(dims, 1)),
        _operators(inner),
        node(t.Is, inner, st.booleans(), st.one_of(names, node(t.Name, "none"))),
        node(t.Choice, inner, inner, st.none() | inner),
        node(t.ListExpr, several(inner, 1, 2)),
    )


alternatives = node(t.Alternatives, several(texts, 2))
expressions = short(
    lambda: st.recursive(
        st.one_of(literals, node(t.Reference, names), products, alternatives), _expressions, max_leaves=6
    )
)
options = several(node(t.Option, names, expressions), 1, 2)
targets = node(t.Target, st.tuples(starts) | st.tuples(starts, names))
params = several(node(t.Param, names, st.booleans(), several(types, 0, 2), st.none() | expressions))
requires = node(t.Require, expressions, st.none() | texts)
renames = node(t.Rename, several(st.tuples(texts, texts), 1))
axes = st.one_of(node(t.AxisSize, names, expressions), node(t.AxisLabels, names, several(names, 2)))
stales = node(t.Stale, several(texts, 1))

keys = st.one_of(
    node(t.Key, several(names.filter(lambda name: name.text != "len"), 1), st.booleans(), False),
    node(t.Key, st.tuples(names), False, True),
)
sources = st.one_of(st.just(((), None)), st.tuples(several(keys, 1), st.none() | expressions))
fields = st.tuples(
    starts,
    st.none() | st.tuples(names, names),
    several(names, 1),
    st.booleans(),
    *[st.none() | expressions] * 2,
    sources,
).map(lambda p: t.ConfigField(NOWHERE, *p[:6], *p[6]))
signed = st.one_of(
    literals,
    node(t.Literal, st.integers(-(2**62), -1)),
    node(t.Literal, st.floats(-1e9, -1e-9, allow_nan=False)),
)
globs = node(t.Glob, names, st.booleans())
entries = st.one_of(
    fields,
    node(t.DerivedField, starts, expressions),
    requires,
    node(t.Fixed, several(st.tuples(names, signed), 1)),
    node(t.Harmless, several(globs, 1)),
    stales,
    axes,
    docs,
)

simple = st.one_of(
    node(t.Assign, st.none() | starts, several(targets, 1), expressions),
    node(t.Amend, targets, options),
    node(t.ParamStatement, names, tensors, paths, several(node(t.Option, names, expressions), 0, 2)),
    node(t.Return, options, None),
    node(t.Return, (), expressions),
    requires,
    renames,
    node(t.Collect, names),
)


def _statements(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    body = several(inner, 1)
    shared = st.none() | st.tuples(names, expressions)
    return st.one_of(
        node(t.Repeat, names, expressions, st.none() | texts, shared, body),
        node(t.If, expressions, body, several(inner)),
        node(t.Match, expressions, several(node(t.Case, starts, body), 1)),
    )


statements = short(
    lambda: st.recursive(
        st.one_of(simple, docs, node(t.HeadConfig, several(entries, 1))), _statements, max_leaves=5
    )
)
bodies = several(statements, 1)
offers = st.tuples(
    starts, several(node(t.Option, names, expressions), 0, 2), st.none() | names, several(texts)
).map(lambda p: t.Offer(NOWHERE, p[0], p[1], p[2], p[3][0] if p[3] else None, p[3][1:]))
sections = st.one_of(
    node(t.Use, several(names, 1)),
    node(t.Config, names, st.none() | names, st.none() | texts, several(entries, 1)),
    node(t.Defaults, several(node(t.DefaultRule, several(starts, 1), options), 1)),
    node(t.Table, names, tensors, bodies),
    node(t.Function, st.sampled_from(["fn", "block"]), names, params, bodies),
    node(t.Model, names, st.none() | names, st.none() | params, bodies),
    node(t.Head, names, names, st.none() | names, params, params, bodies),
    st.tuples(names, several(texts), several(offers, 1)).map(
        lambda p: t.Offers(NOWHERE, p[0], p[1][0] if p[1] else None, p[2], p[1][1:])
    ),
    axes,
    stales,
    renames,
    docs,
)
files = node(t.File, several(short(lambda: sections), 0, 4))

"""What a node is called in a message."""

from __future__ import annotations

from ttmlc.language.tree import configs, expressions, node, sections, statements

WORDS: dict[type[node.Node], str] = {
    node.Name: "a name",
    node.Doc: "prose",
    expressions.Literal: "a literal",
    expressions.Alternatives: "alternative paths",
    expressions.Reference: "a name",
    expressions.Member: "a member",
    expressions.Lookup: "a lookup",
    expressions.Option: "an option",
    expressions.Call: "a call",
    expressions.As: "a rearrangement",
    expressions.Operator: "an operation",
    expressions.Is: "a test",
    expressions.Choice: "a choice",
    expressions.ListExpr: "a list",
    expressions.DimName: "an axis",
    expressions.DimNumber: "a number",
    expressions.AxisSum: "a sum of axes",
    expressions.ProductExpr: "a product of axes",
    expressions.TensorExpr: "a tensor type",
    expressions.ScalarType: "a scalar type",
    statements.Param: "a parameter",
    statements.Target: "a target",
    statements.Assign: "an assignment",
    statements.Amend: "an amendment",
    statements.ParamStatement: "a 'param'",
    statements.Repeat: "a 'repeat'",
    statements.If: "an 'if'",
    statements.Case: "a case",
    statements.Match: "a 'match'",
    statements.Return: "a 'return'",
    statements.Require: "a 'require'",
    statements.Collect: "a 'collect'",
    statements.Rename: "a 'rename'",
    statements.HeadConfig: "a head's 'config'",
    configs.Key: "a config key",
    configs.ConfigField: "a config field",
    configs.DerivedField: "a derived field",
    configs.Fixed: "a 'fixed'",
    configs.Glob: "a key pattern",
    configs.Harmless: "a 'harmless'",
    configs.Stale: "a 'stale'",
    configs.AxisSize: "an axis",
    configs.AxisLabels: "an axis of labels",
    sections.Use: "a 'use'",
    sections.Config: "a config",
    sections.DefaultRule: "a default",
    sections.Defaults: "a 'defaults' section",
    sections.Table: "a table",
    sections.Function: "a function",
    sections.Model: "a model",
    sections.Head: "a head",
    sections.Offer: "an offered head",
    sections.Offers: "an 'offers' section",
    sections.File: "a spec",
}

OPERATORS = {
    "neg": "a negation",
    "**": "a power",
    "and": "a condition",
    "or": "a condition",
    "not": "a condition",
}


def describe(here: node.Node) -> str:
    """A word or two for ``here``, with its article: ``a string``, ``a call``, ``a 'repeat'``."""
    if isinstance(here, expressions.Literal):
        return _literal(here)
    if isinstance(here, expressions.Operator):
        comparison = here.op in ("==", "!=", "<", "<=", ">", ">=")
        return "a comparison" if comparison else OPERATORS.get(here.op, WORDS[expressions.Operator])
    if isinstance(here, sections.Function):
        return f"a {here.kind}"
    return WORDS[type(here)]


def _literal(here: expressions.Literal) -> str:
    if here.value is None or isinstance(here.value, bool):
        return {None: "'none'", True: "'true'", False: "'false'"}[here.value]
    return "a string" if isinstance(here.value, str) else "a number"

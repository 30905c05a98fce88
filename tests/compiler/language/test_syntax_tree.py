"""What the tree of a text is: shapes, spans, equality, words for nodes."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from ttmlc.language import parse, tree
from ttmlc.language.tree import configs, expressions, node, sections, statements
from ttmlc.language.tree.describe import WORDS
from ttmlc.source import SourceFile, Span

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.spec"))
SHIPPED = sorted((Path(__file__).resolve().parents[3] / "specs").rglob("*.spec"))
AT = Span(SourceFile("somewhere", ""), 0, 0)
CLASSES = [
    kind
    for module in (node, expressions, statements, configs, sections)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, tree.Node) and kind.__module__ == module.__name__ and kind is not tree.Node
]


def read(text: str) -> tree.File:
    return parse(SourceFile("test.spec", text))


def expression(text: str) -> tree.Expr:
    (item,) = read(f"axis a = {text}\n").items
    assert isinstance(item, tree.AxisSize)
    return item.value


def shown(here: object) -> str:
    """An expression with all its parentheses."""
    if here is None:
        return "nothing"
    if isinstance(here, tree.Operator):
        return (
            f"({f' {here.op} '.join(map(shown, here.args))})"
            if len(here.args) > 1
            else f"({here.op} {shown(here.args[0])})"
        )
    if isinstance(here, tree.Choice):
        return f"({shown(here.yes)} if {shown(here.condition)} else {shown(here.no)})"
    if isinstance(here, tree.Is):
        return f"({shown(here.value)} is {'not ' if here.negated else ''}{here.what.text})"
    if isinstance(here, tree.Call):
        return f"{shown(here.function)}({', '.join(map(shown, here.args))})"
    if isinstance(here, tree.As):
        return f"({shown(here.value)} as)"
    if isinstance(here, tree.Reference):
        return here.name.text
    if isinstance(here, tree.Member):
        return f"{shown(here.owner)}.{here.name.text}"
    return str(here.value) if isinstance(here, tree.Literal) else type(here).__name__


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c % d", "(((a / b) * c) % d)"),
        ("a + b * c", "(a + (b * c))"),
        ("-a ** -b ** c", "(neg (a ** (neg (b ** c))))"),
        ("not a == b and c or d", "(((not (a == b)) and c) or d)"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("a or b if c", "((a or b) if c else nothing)"),
        ("a + 1 is not none", "((a + 1) is not none)"),
        ("f(x).y(z) ** 2", "(f(x).y(z) ** 2)"),
        ("-x as [a]", "(neg (x as))"),
        ("f(x as [a]) as [b] as [c]", "((f((x as)) as) as)"),
        ("(a) + (b if c else d)", "(a + (b if c else d))"),
    ],
)
def test_operators_bind_as_in_python(text: str, meaning: str) -> None:
    assert shown(expression(text)) == meaning


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("007", 7), ("9223372036854775807", 2**63 - 1), ("1e-12", 1e-12), ("0.50", 0.5), ("2E+3", 2000.0),
        ("true", True), ("false", False), ("none", None), ('""', ""),
        (r'"a\"b\\c"', r'a"b\c'), ('"# ünïcode"', "# ünïcode"),
    ],
)  # fmt: skip
def test_literals(text: str, value: object) -> None:
    here = expression(text)
    assert isinstance(here, tree.Literal)
    assert (here.value, type(here.value)) == (value, type(value))


def test_literals_of_different_kinds_differ() -> None:
    kinds = [tree.Literal(AT, value) for value in (1, 1.0, True, "1", None, 0, 0.0, False, "")]
    assert len(set(kinds)) == len(kinds)
    assert all((a == b) == (a is b) for a in kinds for b in kinds)


def test_names_and_options_carry_their_own_spans() -> None:
    file = SourceFile(
        "test.spec", 'block A(x: [B]):\n    y = linear(x, (heads width), at="q")  # why\n    return y\n'
    )
    block = parse(file).items[0]
    assert isinstance(block, tree.Function)
    assign = block.body[0]
    assert isinstance(assign, tree.Assign)
    call = assign.value
    assert isinstance(call, tree.Call)
    texts = [
        block.name,
        block.params[0],
        assign,
        assign.targets[0],
        call,
        call.args[1],
        call.options[0].name,
        call.options[0].value,
    ]
    assert [part.span.text for part in texts] == [
        "A", "x: [B]", 'y = linear(x, (heads width), at="q")', "y", 'linear(x, (heads width), at="q")', "(heads width)",
        "at", '"q"',
    ]  # fmt: skip
    assert str(call.options[0].value.span) == "test.spec:2:37"


@pytest.mark.parametrize("spec", [*FIXTURES, *SHIPPED], ids=lambda path: path.stem)
def test_every_span_holds_its_node_and_nothing_around_it(spec: Path) -> None:
    file = SourceFile(spec.name, spec.read_text(encoding="utf-8"))
    for here in tree.walk(parse(file)):
        if isinstance(here, tree.File):
            continue
        assert here.span.file is file
        text = here.span.text
        assert text
        assert text == text.strip()
        assert "#" not in text.splitlines()[-1] or '"' in text
        if isinstance(here, tree.Name):
            assert text == here.text
        for name in tree.parts(type(here)):
            for part in tree.walk(getattr(here, name)):
                assert here.span.start <= part.span.start <= part.span.end <= here.span.end


def test_equality_ignores_where_a_node_stands() -> None:
    one, other = read("axis a = f(x,y)\n"), read("\n\n# moved\naxis  a = f( x, y )")
    assert one == other
    assert hash(one) == hash(other)
    assert one != read("axis a = f(x, z)\n")


def test_walk_goes_through_everything_in_the_order_of_the_text() -> None:
    file = read("config C:\n    a[i in n]: x | y? = b, null = c from .d.e if f\n    fixed g = 1\n")
    names = [here.text for here in tree.walk(file) if isinstance(here, tree.Name)]
    assert names == ["C", "a", "i", "n", "x", "y", "b", "c", "d", "e", "f", "g"]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_node_class_is_frozen_slotted_documented_exported_and_has_a_word(kind: type[tree.Node]) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # what dataclass leaves on a class
    assert "__dict__" not in dir(kind)
    assert dataclasses.fields(kind)[0].name == "span"
    assert not dataclasses.fields(kind)[0].compare
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
    assert getattr(tree, kind.__name__) is kind
    assert WORDS[kind]


def test_words_for_nodes() -> None:
    described = {
        "1.5": "a number", '"a"': "a string", "none": "'none'", "true": "'true'", "f(x)": "a call",
        "a < b": "a comparison",
        "a + b": "an operation", "-a": "a negation", "not a": "a condition", "(a b)": "a product of axes",
    }  # fmt: skip
    assert {text: tree.describe(expression(text)) for text in described} == described
    assert tree.describe(read("fn f(x: [B]):\n    return x\n").items[0]) == "a fn"


def test_the_parts_of_a_config_field() -> None:
    field = read("config C:\n    a[i in n]: x | y? = b, null = c from .d.e | f | len(g) if h\n").items[0]
    assert isinstance(field, tree.Config)
    entry = field.entries[0]
    assert isinstance(entry, tree.ConfigField)
    assert [kind.text for kind in entry.kinds] == ["x", "y"]
    assert entry.nullable
    assert [key.path for key in entry.keys] == [".d.e", "f", "len(g)"]
    assert [shown(part) for part in (entry.default, entry.null, entry.gate)] == ["b", "c", "h"]


def test_prefixes_and_paths_have_alternatives() -> None:
    offers = read('offers M at "a" | "b":\n    H(at="x" | "y") as N at "c"\n').items[0]
    assert isinstance(offers, tree.Offers)
    assert offers.at is not None
    assert [offers.at.value, *(path.value for path in offers.also)] == ["a", "b"]
    (offer,) = offers.offers
    assert offer.at is not None
    assert (offer.at.value, offer.also) == ("c", ())
    assert isinstance(offer.options[0].value, tree.Alternatives)


@pytest.mark.parametrize(
    ("written", "prose"),
    [
        ('"""One."""', "One."),
        ('""" One "quoted" word. """', 'One "quoted" word.'),
        ('"""First.\n\n    Then.\n      Deeper.\n    """', "First.\n\nThen.\n  Deeper."),
        ('"""\n    First.\n    Then.\n"""', "First.\nThen."),
    ],
)
def test_prose_loses_the_indentation_of_its_lines(written: str, prose: str) -> None:
    assert read(written).items == (tree.Doc(AT, prose),)

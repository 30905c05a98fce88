"""A small base, and specs that extend it."""

from __future__ import annotations

from ttmlc.expand import expand
from ttmlc.language import parse, tree
from ttmlc.language.format import print_tree
from ttmlc.source import SourceFile

BASE = '''"""The base."""
config Base for "base":
    """How large it is."""
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    types: size = 2 from type_size
    layers: size = 2 from num_layers
    p: rate = 0.1 from dropout
    wide = 2 * hidden
    require hidden % 2 == 0, "hidden is even"
    fixed first = 1, second = 2
    harmless third, fourth, rest_*
    stale "old.embed.bias"

defaults:
    linear, embedding, param: init=normal(0.02)
    layer_norm: eps=1e-5
    dropout: p=p

block Mix(x: [B, S, hidden]):
    u = linear(layer_norm(x, at="norm"), wide, at="fc.up")
    y = gelu(u)
    return linear(y, hidden, at="fc.down")

block Unused(x: [B, S, hidden]):
    return linear(x, hidden, at="nobody")

model BaseModel(input_ids: int[B, S], type_ids: int[B, S] = 0):
    param word: [vocab, hidden] at "embed.word" | "old.word"
    kind = embedding(type_ids, types, hidden, at="embed.kind")
    n = layer_norm(word[input_ids] + kind, at="embed.norm")
    embed: h = dropout(n)
    repeat i in layers at "layer.{i}":
        mix: h = h + Mix(h, at="mix")
    return last_hidden_state=h, pooler_output=tanh(linear(first(h, S), hidden, at="pool"))
'''


class Shelf:
    """Specs in memory."""

    def __init__(self, **texts: str) -> None:
        self.files = {name: parse(SourceFile(f"{name}.spec", text)) for name, text in texts.items()}

    def __call__(self, name: tree.Name) -> tree.File:
        return self.files[name.text]

    def declaring(self, kind: str, name: tree.Name) -> tree.File | None:
        sort = {"config": tree.Config, "model": tree.Model}[kind]
        for file in self.files.values():
            if any(isinstance(item, sort) and item.name.text == name.text for item in file.items):
                return file
        return None


def flat(text: str, base: str = BASE, **others: str) -> tree.File:
    """The child ``text`` written out over ``base``."""
    return expand(parse(SourceFile("child.spec", text)), Shelf(base=base, **others))


def child(*statements: str, config: tuple[str, ...] = (), rest: str = "") -> str:
    """A child of ``BASE`` whose model has these statements."""
    entries = "".join(f"    {entry}\n" for entry in config or ("layers: size = 3 from num_layers",))
    body = "".join(f"    {statement}\n" for statement in statements or ("embed = super",))
    return f'config Child extends Base for "child":\n{entries}\n{rest}\nmodel ChildModel extends BaseModel:\n{body}'


def shown(*statements: str, config: tuple[str, ...] = (), rest: str = "") -> str:
    """The child written out, as text."""
    return print_tree(flat(child(*statements, config=config, rest=rest)))


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def sound(file: tree.File) -> None:
    """Nothing is left that needs a base, every node says where it was written, and the text is the tree."""
    for node in tree.walk(file):
        assert not isinstance(node, (tree.Amend, tree.Rename))
        if isinstance(node, (tree.Config, tree.Model)):
            assert node.extends is None
        if isinstance(node, tree.Target):
            assert len(node.path) == 1
    for item in file.items:
        for node in tree.walk(item) if not isinstance(item, tree.Offers) else ():
            if isinstance(node, tree.Name):
                assert node.span.text == node.text
            if isinstance(node, tree.Reference):
                assert node.name.text != "super"
    text = print_tree(file)
    again = parse(SourceFile("again.spec", text))
    assert again == file
    assert expand(again, Shelf()) is again
    assert print_tree(again) == text

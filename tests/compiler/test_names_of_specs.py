"""Any name that a spec may give, wherever it gives it: the module that is emitted is sound, runs, and trains."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.device import ROLES
from ttmlc.passes.lowering.storages import HOLDERS, OWN
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc_runtime import nn, ttnn

from tests.modules import load

CONFIG = """config Small for "small":
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    layers: size = 2 from num_layers
    kind: plain | other? = none from kind

defaults:
    linear, embedding, param: init=normal(0.5)
    layer_norm: eps=1e-5
    dropout: p=0.5

"""


def compiled(text: str, path: Path, config: str = CONFIG) -> ModuleType:
    """The module of a spec; whatever is in it comes from what compilers may write."""
    code = compile_text(SourceFile("small.spec", config + text), path / "small.spec").text
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            root = re.split(r"[.(]", ast.unparse(node.func))[0]
            assert not hasattr(builtins, root) or root in ("enumerate", "range", "super", "zip"), root
    name = f"small_{abs(hash((config + text, str(path))))}"
    return load(code, path / f"{name}.py")


def trains(module: ModuleType, **inputs: object) -> dict[str, np.ndarray]:
    """Run the first model as inference and as training do, to the same end; its gradients."""
    model = module.SmallModel(dtype="float64", seed=1)
    ids = np.random.default_rng(0).integers(0, 19, (2, 5))
    inferred = model(ids, **inputs)
    with nn.enable_grad():
        out = model(ids, **inputs)
    key = out.keys()[-1]
    # One formula computed in float64 in two orders: rounding leaves some 1e-15 of values around 1.
    assert np.abs(out[key].numpy() - inferred[key].numpy()).max() < 1e-11
    tensor = out[key].tensor
    ones = ttnn.Tensor(np.ones(tuple(tensor.shape)), ttnn.bfloat16, tensor.device(), ttnn.TILE_LAYOUT)
    out[key].backward(ones)
    grads = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    assert grads.keys() == model.state_dict().keys()
    assert all(np.isfinite(grad).all() for grad in grads.values())
    return grads


WORDS = sorted(
    {*OWN, *HOLDERS, *ROLES, "saved", "given", "at", "c", "layer", "layers", "zip", "range", "type", "type_", "B", "S"}
    | {"Chain", "SmallModelOutput", "SmallConfig", "Embeddings", "grad", "x_2", "dx", "dhidden", "nn", "ttnn", "math"}
    | {"enumerate", "uses", "takes", "word", "match", "print", "TILE", "concat", "normal", "h"}
)  # fmt: skip
PLACES = {
    "a value": (
        "block Uses(x: [B, S, hidden]):\n    {w} = tanh(linear(x, hidden, at=\"a\"))\n"
        "    {w} = dropout({w} * linear({w}, hidden, at=\"b\"))\n    return {w} + x\n"
    ),
    "an input of a block": (
        "block Uses({w}: [B, S, hidden]):\n    y = gelu(linear({w}, hidden, at=\"a\"))\n    return dropout(y) * {w}\n"
    ),
    "a result": (
        "block Uses(x: [B, S, hidden]):\n    t = Two(x, at=\"two\")\n    return t.{w} + t.other\n\n"
        "block Two(x: [B, S, hidden]):\n    {w} = linear(x, hidden, at=\"a\")\n    return {w}={w}, other={w} * x\n"
    ),
    "a parameter": (
        "block Uses(x: [B, S, hidden]):\n    a = linear(x, hidden, at=\"{w}\")\n"
        "    return a + linear(a, hidden, at=\"{w}.{w}\") + layer_norm(x, at=\"other.{w}\")\n"
    ),
    "the last word of a path": (
        "block Uses(x: [B, S, hidden]):\n    param {w}: [hidden, hidden] at \"a.{w}\"\n"
        "    return linear(x, hidden, weight={w}, at=\"b\", bias=false)\n"
    ),
}  # fmt: skip
MODEL = """
model SmallModel(ids: int[B, S]):
    param word: [vocab, hidden] at "word.weight"
    h = word[ids]
    repeat i in layers at "layer.{i}":
        h = Uses(h)
    return h=h
"""
USES = """block Uses(x: [B, S, hidden]):
    return dropout(linear(x, hidden, at="a")) + x

"""
MODELS = {
    "a value": (
        MODEL.replace("    h = word[ids]", '    {w} = Uses(word[ids], at="first")\n    h = gelu({w})')
        .replace("h = Uses(h)", "h = Uses(h + {w})")
        .replace("return h=h", "return {w}={w}, h=h * {w}")
    ),
    "an input": MODEL.replace("ids", "{w}"),
    "an index": MODEL.replace("repeat i", "repeat {w}").replace("{i}", "{{w}}"),
    "an output": MODEL.replace("return h=", "return {w}="),
    "a path": MODEL.replace("word.weight", "{w}.{w}").replace("layer.{i}", "{w}.{i}"),
}
"""One of them for each word; a model without a block of its own name is found by its outline."""


LABELS = """
fn loss_of(logits: [B, hidden], {w}: int[B] | float[B, hidden]):
    way = plain if {w} is int else other
    match way if kind is none else kind:
        plain: return cross_entropy(logits, {w}, over=hidden)
        other: return binary_cross_entropy(logits, {w})

head Thing(base, {w}?: int[B] | float[B, hidden]; at="classifier"):
    logits = linear(first(base.h, S), hidden, at=at)
    return loss=loss_of(logits, {w}), logits=logits

offers SmallModel at "small":
    Thing
"""


def accepted(
    text: str, path: Path, place: str, words: Sequence[str], learn: Callable[[ModuleType], object]
) -> int:
    """How many of the words a spec may hold where ``{w}`` stands; each of those modules runs and trains."""
    count = 0
    for word in words:
        try:
            module = compiled(text.replace("{w}", word), path)
        except DiagnosticError as error:
            assert re.search(r"error\[E0[12]\d\d\]", str(error)), f"{place} called {word}"
            continue
        learn(module)
        count += 1
    return count


def learns(module: ModuleType) -> None:
    """Run and train a head, with labels of either kind; with none there is no loss."""
    model = module.SmallForThing(dtype="float64", seed=1).train()
    ids = np.zeros((2, 5), int)
    assert model(ids).loss is None
    for labels in (np.array([1, 2]), np.ones((2, 32))):
        model.zero_grad()
        model(ids, labels).loss.backward()
        assert np.isfinite(dict(model.named_parameters())["classifier.weight"].grad.numpy()).all()


EVERYWHERE = {
    **{f"{place} of a block": (text + MODEL, trains) for place, text in PLACES.items()},
    **{f"{place} of a model": (USES + text, trains) for place, text in MODELS.items()},
    "the labels of a head": (USES + MODEL + LABELS, learns),
}


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_name_shadows_nothing(place: str, tmp_path: Path) -> None:
    """One word in five, another five in each place; all of them are tried in the deep tests."""
    text, learn = EVERYWHERE[place]
    words = WORDS[list(EVERYWHERE).index(place) % 5 :: 5]
    assert accepted(text, tmp_path, place, words, learn) > 0.7 * len(words)


@pytest.mark.deep
@pytest.mark.parametrize("place", EVERYWHERE)
def test_no_name_shadows_anything(place: str, tmp_path: Path) -> None:
    text, learn = EVERYWHERE[place]
    assert accepted(text, tmp_path, place, WORDS, learn) > 0.7 * len(WORDS)


CLASSES = sorted(
    {"".join(part.title() for part in word.split("_")) for word in OWN | HOLDERS}
    | {"Word", "Layer", "SmallConfig", "SmallModelOutput", "Chain", "Scope", "Block", "BlockWord"}
)


@pytest.mark.parametrize("place", ["block", "twice"])
def test_a_block_may_have_any_name_of_a_class(place: str, tmp_path: Path) -> None:
    count = 0
    for word in CLASSES:
        text = USES.replace("Uses", word) + MODEL.replace("Uses", word)
        if place == "twice":
            text = text.replace("h = word[ids]", f'h = {word}({word}(word[ids], at="one"), at="two")')
        try:
            module = compiled(text, tmp_path)
        except DiagnosticError as error:
            assert "E02" in str(error), word
            continue
        trains(module)
        count += 1
    assert count > 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Uses", "SmallConfig", "'SmallConfig' is the config in the emitted module"),
        ("Uses", "SmallModelOutput", "'SmallModelOutput' is what SmallModel returns in the emitted module"),
        ("ids", "SmallModelOutput", "'SmallModelOutput' is what SmallModel returns in the emitted module"),
        ("Uses", "POLICY", "'POLICY' has a meaning of its own in the emitted module"),
    ],
)
def test_a_name_of_another_class_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=rf"error\[E0206\]: {message}"):
        compiled((USES + MODEL).replace(old, new), tmp_path)


def test_an_outlined_block_leaves_a_specs_own_its_name(tmp_path: Path) -> None:
    module = compiled(USES.replace("Uses", "Word") + MODEL.replace("Uses", "Word"), tmp_path)
    assert module.Word.__doc__ == "Word of small.spec:12."
    assert module.SmallModelWord.__doc__ == "SmallModelWord of small.spec:18."
    trains(module)


@pytest.mark.parametrize(
    "word", ["infer", "seed", "name", "saved", "Embeddings", "cs", "ats", "zips", "Layers", "selfs"]
)
def test_a_field_may_have_any_name(word: str, tmp_path: Path) -> None:
    config = CONFIG.replace("layers: size", f"{word}: size")
    text = USES + MODEL.replace("in layers", f"in {word}")
    trains(compiled(text, tmp_path, config))


# Hostile text


@pytest.mark.parametrize(
    "path",
    [
        "__class__.__init__",
        "a.__dict__",
        "0.0",
        "a-b.c-d",
        "None.None",
        "a.self",
        "a.layout",
        "x.0",
        "import.class",
    ],
)
def test_any_path_gives_a_sound_module(path: str, tmp_path: Path) -> None:
    text = USES + MODEL.replace("word.weight", path).replace("layer.{i}", path + ".{i}")
    module = compiled(text, tmp_path)
    assert path in trains(module)
    code = Path(str(module.__file__)).read_text()
    attributes = {node.attr for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if name.startswith("_")} == {"__init__"}


@pytest.mark.parametrize(
    "path", ['a\\"b', "a{exit()}", "a.{i", "a b", "{c.hidden}", "{0}", "{i!r}", "a\n", "../x"]
)
def test_a_path_that_is_no_path_is_refused(path: str, tmp_path: Path) -> None:
    for old in ("word.weight", "layer.{i}"):
        with pytest.raises(DiagnosticError, match=r"error\[E0[12]\d\d\]"):
            compiled(USES + MODEL.replace(old, path), tmp_path)

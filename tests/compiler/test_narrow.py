"""The last turn of a repeat goes on with the first token alone, where nothing else of what it makes is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Function, Module
from ttmlc.ir.text import print_module
from ttmlc.source import SourceFile
from ttmlc_runtime import nn

from tests.modules import load

TEXT = """config Small for "small":
    vocab: size = 19 from vocab_size
    hidden: size = 64 from hidden_size
    heads: size = 2 from num_heads
    layers: size = 2 from num_layers
    p: rate = 0 from dropout
    classes: size = 3 from classes
    head_dim = hidden / heads

defaults:
    linear, embedding, param: init=normal(0.5)
    dropout: p=p

block Attend(x: [B, S, hidden], mask: bool[B, S]):
    q = linear(x, (heads head_dim), at="q") as [B, heads, S, head_dim]
    k = linear(x, (heads head_dim), at="k") as [B, heads, S, head_dim]
    a = attention(q, k, k, mask=mask) as [B, S, (heads head_dim)]
    return x + linear(a, hidden, at="o")

block Widen(x: [B, S, hidden]):
    return x + linear(gelu(linear(x, hidden, at="up")), hidden, at="down")

block Settle(x: [B, S, hidden]):
    return layer_norm(x + dropout(x), eps=1e-5, at="norm")

model SmallModel(tokens: int[B, S], seen: bool[B, S] = 1):
    h = embedding(tokens, vocab, hidden, at="word")
    repeat i in layers at "layer.{i}":
        h = Attend(h, seen, at="attend")
        h = Widen(h, at="widen")
        h = Settle(h, at="settle")
    return states=h, pooled=tanh(linear(first(h, S), hidden, at="pool"))

head Text(base, labels?: int[B]; pooled: [B, hidden] = base.pooled):
    logits = linear(pooled, classes, at="text")
    return loss=cross_entropy(logits, labels, over=classes), logits=logits

offers SmallModel at "small":
    Text as SmallText
"""
RNG = np.random.default_rng(3)
INPUTS = {
    "tokens": RNG.integers(0, 19, (4, 7)),
    "seen": np.arange(7) < np.array([7, 3, 1, 6])[:, None],
    "labels": np.array([0, 2, 1, 1]),
}

NARROWED: dict[str, tuple[tuple[str, str], ...]] = {
    "as it is": (),
    "a first token without a block between": (
        ("    Text as SmallText", "    Text(pooled=first(base.states, S)) as SmallText"),
    ),
    "two readers of the first token": (
        ("    Text as SmallText", "    Text(pooled=base.pooled + first(base.states, S)) as SmallText"),
    ),
}
"""Changes of TEXT that leave what is narrowed as it is."""
SUMMARY = """block Summary(x: [B, S, hidden]):
    return linear(first(x, S), hidden, at="sum")

block Widen(x: [B, S, hidden], t: [B, hidden]):
    """
SHORTER: dict[str, tuple[tuple[tuple[str, str], ...], list[str]]] = {
    "a block that reads tokens and something else of all of them": (
        (
            ('        h = Widen(h, at="widen")\n', '        h = Widen(h, attended, at="widen")\n'),
            (
                '        h = Attend(h, seen, at="attend")\n',
                '        attended = Attend(h, seen, at="attend")\n',
            ),
            ("block Widen(x: [B, S, hidden]):", "block Widen(x: [B, S, hidden], y: [B, S, hidden]):"),
            ("return x + linear(gelu", "return y + linear(gelu"),
        ),
        ["call(%h_2, %seen) Attend", "call(%h_2, %attended) Widen", "narrow(%h_3)", "call(%h_6) Settle"],
    ),
    "a mask over the tokens before the last block": (
        (('        h = Widen(h, at="widen")\n', '        h = Attend(h, seen, at="again")\n'),),
        ["call(%h_2, %seen) Attend", "call(%h_3, %seen) Attend", "narrow(%h_4)", "call(%h_7) Settle"],
    ),
    "a block whose tokens another one sums up": (
        (
            (
                '        h = Widen(h, at="widen")\n',
                '        t = Summary(h, at="summary")\n        h = Widen(h, t, at="widen")\n',
            ),
            (
                "block Widen(x: [B, S, hidden]):\n    return x + ",
                SUMMARY + 'return x + linear(x, hidden, at="t") + ',
            ),
        ),
        [
            "call(%h_2, %seen) Attend",
            "call(%h_3) Summary",
            "call(%h_3, %t) Widen",
            "narrow(%h_4)",
            "call(%h_7) Settle",
        ],
    ),
}
"""Changes of TEXT after which less of a turn is left for the first token, and what a turn does then."""
LEFT: dict[str, tuple[tuple[str, str], ...]] = {
    "the last token": (("first(h, S)", "last(h, S)"),),
    "a token picked by its place": (("first(h, S)", "pick(h, S, argmax(tokens, S))"),),
    "all tokens as well": (
        ("    logits = linear(pooled, classes", "    logits = linear(pooled + last(base.states, S), classes"),
    ),
    "a head that returns them": (("logits=logits\n\noffers", "logits=logits, states=base.states\n\noffers"),),
    "a turn that ends with attention": (
        ('        h = Settle(h, at="settle")\n', '        h = Attend(h, seen, at="again")\n'),
    ),
    "a turn that takes what stands before the repeat": (
        (
            '    h = embedding(tokens, vocab, hidden, at="word")\n',
            '    e = embedding(tokens, vocab, hidden, at="word")\n    h = e\n',
        ),
        ("        h = Settle(h,", "        h = Settle(e,"),
        ("return states=h,", 'return kept=linear(last(e, S), hidden, at="kept"), states=h,'),
        ("linear(pooled, classes", "linear(pooled + base.kept, classes"),
    ),
    "what ends the turn read twice": (
        ('        h = Settle(h, at="settle")\n', '        h = Both(h, h, at="settle")\n'),
        ("block Settle(x: [B, S, hidden]):", "block Both(x: [B, S, hidden], y: [B, S, hidden]):"),
        ("x + dropout(x)", "x + dropout(y)"),
    ),
}
"""Changes after which nothing may be narrowed."""


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def stages(text: str) -> dict[str, Module]:
    compiled = compile_text(SourceFile("small.spec", text), Path("small.spec"))
    return {stage.name: stage.module for stage in compiled.stages}


def turn_of(function: Function) -> list[str]:
    """What a turn of the repeat of a model does, as text without types."""
    (repeat,) = (operation for operation in function.operations if operation.op == "repeat")
    assert repeat.body is not None
    found = []
    for operation in repeat.body.operations:
        read = ", ".join(f"%{value.name}" for value in operation.reads())
        found.append(f"{operation.op}({read}) {operation.get('block') or ''}".strip())
    return found


def narrows(module: Module) -> list[str]:
    return [line.strip() for line in print_module(module).splitlines() if "= narrow(" in line]


@pytest.mark.parametrize("name", NARROWED)
def test_the_last_turn_goes_on_with_one_token(name: str) -> None:
    module = stages(changed(*NARROWED[name]))["narrow"]
    assert turn_of(module.function("SmallText")) == [
        "call(%h_2, %seen) Attend",
        "narrow(%h_3)",
        "call(%h_7) Widen",
        "call(%h_4) Settle",
    ]
    # The base model returns the states of all tokens.
    assert narrows(module) == [
        '%h_7 = narrow(%h_3) {over = "S", when = #i == layers - 1} : float[B, S, hidden]'
    ]


@pytest.mark.parametrize("name", SHORTER)
def test_it_begins_behind_what_reads_several_tokens(name: str) -> None:
    changes, turn = SHORTER[name]
    assert turn_of(stages(changed(*changes))["narrow"].function("SmallText")) == turn


@pytest.mark.parametrize("name", LEFT)
def test_what_other_tokens_are_read_of_is_left_alone(name: str) -> None:
    compiled = stages(changed(*LEFT[name]))
    assert compiled["narrow"].functions == compiled["prune"].functions


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., ModuleType]:
    """TEXT with changes, compiled and imported."""

    def make(*changes: tuple[str, str], train: bool = True) -> ModuleType:
        compiled = compile_text(SourceFile("small.spec", changed(*changes)), Path("small.spec"), train=train)
        return load(compiled.text, tmp_path / "small_narrow.py")

    return make


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", [*NARROWED, *SHORTER])
def test_what_is_not_to_be_read_is_not(name: str, layers: int, made: Callable[..., ModuleType]) -> None:
    """The evaluator makes it NaN."""
    changes = NARROWED[name] if name in NARROWED else SHORTER[name][0]
    module, rng = made(*changes), np.random.default_rng(5)
    model = module.SmallText(module.SmallConfig(layers=layers))
    weights = {key: rng.normal(size=value.shape) for key, value in model.state_dict().items()}
    before, after = (
        evaluate(stages(changed(*changes))[stage], "SmallText", {"layers": layers}, weights, INPUTS)
        for stage in ("prune", "narrow")
    )
    assert before.keys() == after.keys() == {"loss", "logits"}
    for key in before:
        assert np.isfinite(before[key]).all()
        np.testing.assert_array_equal(after[key], before[key])


def note_tokens(model: Any, monkeypatch: pytest.MonkeyPatch, program: str) -> dict[str, list[int]]:
    """How many tokens each block of a model is given, by its class, as it is called."""
    seen: dict[str, list[int]] = {}

    def noting(kind: type[nn.Block], run: Callable[..., Any]) -> None:
        def noted(block: nn.Block, x: Any, *others: Any) -> Any:
            if len(x.shape) == 4:
                seen.setdefault(kind.__name__, []).append(x.shape[2])
            return run(block, x, *others)

        monkeypatch.setattr(kind, program, noted)

    for kind in {type(block) for _, block in nn.blocks_of(model)}:
        noting(kind, getattr(kind, program))
    return seen


@pytest.mark.parametrize("layers", [1, 3])
def test_the_last_layer_works_on_one_token_and_learns_the_same(
    layers: int, made: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever observes the blocks sees all tokens: that is the same step without narrowing."""
    module = made()
    model = module.SmallText(module.SmallConfig(layers=layers), dtype="float64", seed=2).train()
    tokens = note_tokens(model, monkeypatch, "forward")

    def step() -> tuple[float, dict[str, np.ndarray[Any, Any]]]:
        tokens.clear()
        out = model(**INPUTS)
        out.loss.backward()
        found = {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
        model.zero_grad()
        return float(out.loss), found

    loss, gradients = step()
    whole = [7] * layers
    shorter = [*whole[1:], 1]
    assert tokens == {"Attend": whole, "Widen": shorter, "Settle": shorter, "Pool": [1], "Text": [1]}
    with nn.observed(lambda block, arguments: block.run(*arguments)):
        wanted, of_all = step()
    assert tokens == {"Attend": whole, "Widen": whole, "Settle": whole, "Pool": [7], "Text": [1]}
    assert loss == pytest.approx(wanted, rel=1e-13)
    for name, gradient in of_all.items():
        # float64: sums of some hundred products in another order.
        np.testing.assert_allclose(
            gradients[name], gradient, rtol=0, atol=1e-12 * max(1, np.abs(gradient).max())
        )


@pytest.mark.parametrize("train", [True, False])
def test_inference_is_narrowed_too(
    train: bool, made: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = made(train=train)
    model = module.SmallText(dtype="float32")
    tokens = note_tokens(model, monkeypatch, "infer")
    logits = model(INPUTS["tokens"], INPUTS["seen"]).logits.numpy()
    assert tokens["Attend"] == [7, 7]
    assert tokens["Widen"] == tokens["Settle"] == [7, 1]
    with nn.observed(lambda block, arguments: block.run(*arguments)):
        wanted = model(INPUTS["tokens"], INPUTS["seen"]).logits.numpy()
    assert tokens["Settle"] == [7, 1, 7, 7]
    # float32: a product of one row sums in another order than one of seven.
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_dropout_of_one_token_goes_back_as_it_went_forth(made: Callable[..., ModuleType]) -> None:
    """With the same masks, the loss changes along the gradient as the gradient says."""
    module = made()
    model = module.SmallText(module.SmallConfig(p=0.5), dtype="float64", seed=4).train()
    state, weights = model.rng_state, model.state_dict()
    out = model(**INPUTS)
    out.loss.backward()
    gradients = {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
    length = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))

    def loss(by: float) -> float:
        model.load_state_dict({name: weights[name] + by / length * gradients[name] for name in weights})
        model.rng_state = state
        return float(model(**INPUTS).loss)

    # Central differences of 1e-5 in float64: some 1e-9 of the slope are lost.
    assert (loss(1e-5) - loss(-1e-5)) / 2e-5 == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize("index", ["labels", "SmallTextOutput", "widen"])
def test_the_index_hides_nothing(index: str, made: Callable[..., ModuleType]) -> None:
    renamed = (("repeat i in layers", f"repeat {index} in layers"), ("layer.{i}", f"layer.{{{index}}}"))
    outputs = []
    for changes in ((), renamed):
        module = made(*changes)
        out = module.SmallText(dtype="float32", seed=2)(**INPUTS)
        outputs.append((float(out.loss), out.logits.numpy()))
    assert outputs[0][0] == outputs[1][0]
    np.testing.assert_array_equal(outputs[0][1], outputs[1][1])

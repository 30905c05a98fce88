"""The sketches of docs/adr compute what Transformers does: a layer on eight chips, in both directions, and decode.

The arithmetic is float64 (``device_numbers``). The layer's sketch is built for one size; here its source runs with
smaller numbers in the place of its own, which leaves the program the same.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ttmlc_runtime
from ttmlc_runtime.nn import inputs

from tests.adr import device_numbers, runtime_to_be

SKETCHES = Path(__file__).resolve().parents[2] / "docs/adr/sketches"
CHIPS = 8
NEW = 40  # tokens
# hidden, kv * head_dim, (heads + 2 kv) head_dim, heads * head_dim / tp, head_dim, tokens (and products), inner
SMALLER: dict[float, float] = {
    4096: 256, 1024: 64, 6144: 384, 512: 32, 128: 8, 2048: 16, 8192: 64, 1792: 14, 14336: 112, 28672: 224,
    0.08838834764831845: 8**-0.5,
}  # fmt: skip

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="Transformers is what the numbers are compared with; it is in .venv where that has Python 3.11",
)


class Smaller(ast.NodeTransformer):
    """Other numbers for the sizes that were folded in."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:  # ast's name
        known = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        if known and node.value in SMALLER:
            return ast.copy_location(ast.Constant(SMALLER[node.value]), node)  # type: ignore[index]  # a number here
        return node


class Loader(SourceFileLoader):
    """Imports a sketch; the layer's, which is built for one size, with smaller numbers."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]  # as its base has it
        tree = ast.parse(data, path)
        if self.name == "llama_layer_tp8":
            tree = ast.fix_missing_locations(Smaller().visit(tree))
        return compile(tree, path, "exec", dont_inherit=True)


def load(name: str, loader: type[SourceFileLoader], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A sketch as a module, on arithmetic in the place of ttnn."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would be kept with the smaller numbers
    monkeypatch.setattr(ttmlc_runtime, "ttnn", device_numbers, raising=False)
    monkeypatch.setattr(inputs, "ttnn", device_numbers)
    for missing, contents in runtime_to_be.modules(device_numbers).items():
        monkeypatch.setitem(sys.modules, missing, contents)
    spec = importlib.util.spec_from_loader(name, loader(name, str(SKETCHES / f"{name}.py")))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sketch(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    """The sketch that the test names."""
    return load(request.param, Loader, monkeypatch)


class NoKernels:
    """A policy that says nothing."""

    def __getattr__(self, role: str) -> dict[str, Any]:
        return {}

    def core_a_row(self, rows: int, width: int) -> None:
        return None


def transformers_model(seed: int, **sizes: Any) -> Any:
    import torch
    import transformers

    library: Any = transformers
    torch.manual_seed(seed)
    config = library.LlamaConfig(**sizes, attn_implementation="eager")
    model = library.LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms too, so that a forgotten weight is seen
            parameter.normal_(0.1, 0.3)
    return model


def without_casts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers in float64 throughout: its norms and its softmax go through float32."""
    import torch
    from transformers.models.llama import modeling_llama

    def norm(self: Any, x: Any) -> Any:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", norm)
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: softmax(x, dim))


def scope(model: Any, chips: int) -> runtime_to_be.Scope:
    """Storages filled from the model's parameters through their chains."""
    values = {name: array.detach().numpy() for name, array in model.state_dict().items()}

    def make(chain: Any, split: int | None, layout: Any) -> Any:
        array = chain.forward(values)
        return (
            device_numbers.on_chips(array, chips)
            if split is None
            else device_numbers.sharded(array, split, chips)
        )

    return runtime_to_be.Scope(
        SimpleNamespace(shape=(1, chips)),
        NoKernels(),
        make,
        constants=lambda value: device_numbers.on_chips(np.full((1, 1, 1, 1), value), chips),
    )


def whole(holder: runtime_to_be.Holder, role: str) -> np.ndarray[Any, Any]:
    """A gradient over the mesh, in the storage's own shape."""
    grad, chain = np.asarray(holder.grads[role]), holder.chains[role]
    if holder.split is None:
        assert all(np.array_equal(grad[0], other) for other in grad)
        grad = grad[:1]
    parts = [part.reshape(part.shape[-2:]) for part in grad]
    joined: np.ndarray[Any, Any] = np.concatenate(parts, axis=holder.split or 0).reshape(chain.shape)
    return joined


@needs_torch
@pytest.mark.parametrize("sketch", ["llama_layer_tp8"], indirect=True)
def test_a_layer_on_eight_chips_and_its_gradients_are_those_of_the_whole_layer(
    sketch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    without_casts(monkeypatch)

    model = transformers_model(
        1, vocab_size=32, hidden_size=256, num_hidden_layers=1, num_attention_heads=32, num_key_value_heads=8,
        head_dim=8, intermediate_size=112, rms_norm_eps=1e-5,
    )  # fmt: skip
    layer = model.model.layers[0]
    made = scope(model, CHIPS)
    ours = sketch.Layer(made / "model.layers.0")

    generator = np.random.default_rng(2)
    h = generator.normal(size=(1, 16, 256))
    dy = generator.normal(size=(1, 16, 256))
    half = generator.normal(size=(1, 16, 4))
    angles = np.concatenate([half, half], axis=-1)
    mask = np.triu(np.full((1, 1, 16, 16), -1e9), 1)

    x: Any = torch.tensor(h, requires_grad=True)
    cos_sin = (torch.tensor(np.cos(angles)), torch.tensor(np.sin(angles)))
    wanted = layer(x, attention_mask=torch.tensor(mask), position_embeddings=cos_sin)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    wanted.backward(torch.tensor(dy))

    def on(array: np.ndarray[Any, Any]) -> Any:
        return device_numbers.on_chips(array[:, None] if array.ndim == 3 else array, CHIPS)

    tables = sketch.Angles(on(np.cos(angles)), on(np.sin(angles)), on(-np.sin(angles)))
    seen = SimpleNamespace(additive=on(mask))
    y, saved = ours.forward(on(h), seen, tables)
    dh = ours.backward(on(dy), saved, seen, tables)

    # float64: what is left is the order of sums
    for found, reference in ((y, wanted.detach()), (dh, x.grad)):
        assert all(np.array_equal(found[0], other) for other in found), "whole on every device"
        np.testing.assert_allclose(np.asarray(found)[0, :, 0], reference.numpy(), rtol=1e-10, atol=1e-10)
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    compared = 0
    for holder in made.holders.values():
        for name, gradient in holder.chains["weight"].inverse(whole(holder, "weight")).items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=1e-10, atol=1e-10, err_msg=name)
            compared += 1
    assert compared == len([name for name in gradients if ".layers.0." in name]) == 9


@needs_torch
@pytest.mark.parametrize("sketch", ["llama_decode_step"], indirect=True)
def test_cached_decode_of_ragged_rows_gives_the_tokens_of_the_forward_without_a_cache(
    sketch: ModuleType,
) -> None:
    import torch

    model = transformers_model(
        3, vocab_size=97, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, intermediate_size=96, rms_norm_eps=1e-6, max_position_embeddings=128,
    )  # fmt: skip
    ours = sketch.LlamaForCausalLM.__new__(sketch.LlamaForCausalLM)
    made = scope(model, 1)
    ours.config = sketch.LlamaConfig(
        vocab=97, hidden=64, layers=2, heads=4, kv=2, head_dim=32, inner=96, positions=128
    )
    ours.device, ours.kernels = made.device, made.kernels
    ours.build(made, ours.config)

    prompts = [
        [5],
        [7, 8, 9, 10],
        list(range(33)),
        list(range(20, 84)),
    ]  # one token, and both sides of a tile
    logits: list[np.ndarray[Any, Any]] = []
    decode = ours.decode

    def recorded(*given: Any) -> Any:
        made = decode(*given)
        logits.append(np.asarray(made)[0, 0, 0])
        return made

    ours.decode = recorded
    found = sketch.greedy(ours, prompts, NEW)

    for place, (prompt, tokens) in enumerate(zip(prompts, found, strict=True)):
        with torch.no_grad():
            wanted = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1].numpy()
        ours_here = np.stack([step[place] for step in logits])
        # Both tables of angles are float32, whose cosines two libraries round differently
        np.testing.assert_allclose(ours_here, wanted, rtol=0, atol=1e-5 * np.ptp(wanted))
        assert tokens == wanted.argmax(axis=-1).tolist()


def test_the_layer_refuses_a_config_and_a_mesh_that_it_was_not_built_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = load("llama_layer_tp8", SourceFileLoader, monkeypatch)
    config = module.LlamaConfig()
    assert config.fingerprint == config.placement.digest(config.built_for)
    with pytest.raises(ValueError, match=r"hidden 4096 \(not 2048\)"):
        module.LlamaConfig(hidden=2048)
    with pytest.raises(ValueError, match=r"compiled for a mesh of \(1, 8\), and this is \(2, 4\)"):
        config.placement.check(SimpleNamespace(shape=(2, 4)), config.fingerprint)

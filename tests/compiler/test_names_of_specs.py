"""Any name that a spec may give, wherever it gives it: the module that is emitted is sound, runs, and trains."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.device import ROLES
from ttmlc.passes.lowering.storages import HOLDERS, OWN
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc_runtime import nn, ttnn

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


def compiled(text: str, path: Path) -> ModuleType:
    """The module of a spec; whatever is in it comes from what compilers may write."""
    code = compile_text(SourceFile("small.spec", CONFIG + text), path / "small.spec").text
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called.split(".")[0].split("(")[0] in CALLED or called[0].isupper(), called
    name = f"small_{abs(hash((text, str(path))))}"
    (path / f"{name}.py").write_text(code)
    spec = importlib.util.spec_from_file_location(name, path / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


CALLED = {"self", "nn", "ttnn", "at", "given", "super", "concat", "normal", "range", "zip", "dataclass", "layer"}
CALLED |= {"uses", "takes", "infer", "forward", "word"}


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
    | {"uses", "takes", "word", "match", "print", "TILE", "concat", "normal", "h"}
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
        "block Uses(x: [B, S, hidden]):\n    y, z = Two(x, at=\"two\")\n    return y + z\n\n"
        "block Two(x: [B, S, hidden]):\n    {w} = linear(x, hidden, at=\"a\")\n    return {w}={w}, other={w} * x\n"
    ),
    "a parameter": (
        "block Uses(x: [B, S, hidden]):\n    a = linear(x, hidden, at=\"{w}\")\n"
        "    return a + linear(a, hidden, at=\"{w}.{w}\") + layer_norm(x, at=\"other.{w}\")\n"
    ),
    "the last word of a path": (
        "block Uses(x: [B, S, hidden]):\n    param {w}: [hidden, hidden] at \"a.{w}\"\n"
        "    return linear(x, hidden, weight={w}, bias=false)\n"
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


@pytest.mark.parametrize("place", PLACES)
def test_a_name_in_a_block_shadows_nothing(place: str, tmp_path: Path) -> None:
    accepted = 0
    for word in WORDS:
        try:
            module = compiled(PLACES[place].replace("{w}", word) + MODEL, tmp_path)
        except DiagnosticError as error:
            assert "E02" in str(error), word
            continue
        trains(module)
        accepted += 1
    assert accepted > 20

"""BERTs that were trained on chemical reactions, from the package rxnfp: a classifier, a masked LM, an encoder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ttmlc

from tests.parity.shipped import as_safetensors, shipped

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")
pytestmark = pytest.mark.deep
Array = np.ndarray[Any, Any]

TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|>>?|%[0-9]{2}|[0-9]|[().=#+\\/:~@?*$|-]")
CLASSES = {
    "CC(=O)Cl.NCc1ccccc1>>CC(=O)NCc1ccccc1": 19,  # acid chloride and amine
    "CC(=O)O.NCc1ccccc1>>CC(=O)NCc1ccccc1": 20,  # acid and amine
    "OB(O)c1ccccc1.Brc1ccncc1>>c1ccc(-c2ccncc2)cc1": 28,  # Suzuki, bromide
    "OB(O)c1ccsc1.Clc1ncccn1>>c1cnc(-c2ccsc2)nc1": 29,  # Suzuki, chloride
    "CC(C)(C)OC(=O)N1CCNCC1>>C1CNCCN1": 33,  # Boc removal
    "CCOC(=O)Cc1ccccc1>>O=C(O)Cc1ccccc1": 36,  # ethyl ester to acid
    "COC(=O)c1ccccc1>>O=C(O)c1ccccc1": 37,  # methyl ester to acid
    "Cc1ccc([N+](=O)[O-])cc1>>Cc1ccc(N)cc1": 41,  # nitro to amine
}
"""Reactions and the class that the model gives them; the package has no names for its classes."""
README = (
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
    ">>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1"
)
FINGERPRINT = (-2.01750, 1.76020, -1.33235, -1.10950, 1.22545)
"""What the package's README says of it: how its vector begins."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package's three checkpoints, with their weights as safetensors."""
    inside = shipped("rxnfp", "rxnfp/models/transformers")
    target = tmp_path_factory.mktemp("reactions")
    return {
        name: as_safetensors(inside / name, target / name)
        for name in ("bert_pretrained", "bert_ft", "bert_ft_10k_25s")
    }


def batch(folder: Path, reactions: list[str]) -> dict[str, Array]:
    """Tokens of reactions between [CLS] and [SEP], padded to the longest."""
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    places = {word: place for place, word in enumerate(words)}
    rows = [["[CLS]", *TOKEN.findall(reaction), "[SEP]"] for reaction in reactions]
    shape = (len(rows), max(map(len, rows)))
    ids, mask = np.full(shape, places["[PAD]"]), np.zeros(shape, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = [places[token] for token in row]
        mask[at, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def theirs(kind: str, folder: Path, inputs: dict[str, Array], output: str = "logits") -> Array:
    """What Transformers' class gives for ``inputs``."""
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**{name: torch.from_numpy(array) for name, array in inputs.items()})[output].numpy()


def near(found: Array, wanted: Array, part: float) -> None:
    """No further than ``part`` of the range."""
    assert np.abs(found - wanted).max() <= part * np.ptp(wanted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_classifier_knows_its_classes(folders: dict[str, Path], dtype: str) -> None:
    folder = folders["bert_ft_10k_25s"]
    model = ttmlc.load(folder, dtype=dtype, strict=True)
    assert (type(model).__name__, model.config.num_labels) == ("BertForSequenceClassification", 50)
    inputs = batch(folder, list(CLASSES))
    logits = model(**inputs).logits.numpy().astype(np.float64)
    likely = np.exp(logits - logits.max(-1, keepdims=True))
    likely /= likely.sum(-1, keepdims=True)
    assert likely.argmax(-1).tolist() == list(CLASSES.values())
    assert likely.max(-1).min() >= 0.999
    wanted = theirs("BertForSequenceClassification", folder, inputs)
    # Twelve layers of float32 sums, and twelve of roundings to eight bits of which most cancel.
    near(logits, wanted, 1e-5 if dtype == "float32" else 0.03)


def test_masked_tokens_are_found_again(folders: dict[str, Path]) -> None:
    """One token after the other is masked in the reaction of an acid chloride: 33 of 35 come back."""
    folder = folders["bert_pretrained"]
    row = batch(folder, [next(iter(CLASSES))])["input_ids"][0]
    masked = (folder / "vocab.txt").read_text("utf-8").splitlines().index("[MASK]")
    places = np.arange(1, len(row) - 1)
    ids = np.tile(row, (len(places), 1))
    ids[np.arange(len(places)), places] = masked
    # it was trained with another head beside this one, which is not read
    with pytest.warns(UserWarning, match="4 tensors of .* are not used: bert.pooler"):
        model = ttmlc.load(folder, spec="bert", head="MaskedLM", dtype="float32")
    assert model.report.initialised == []
    logits = model(ids).logits.numpy()
    found = logits[np.arange(len(places)), places].argmax(-1)
    assert (len(places), int((found == row[places]).sum())) == (35, 33)
    near(logits, theirs("BertForMaskedLM", folder, {"input_ids": ids}), 1e-5)


def test_both_heads_of_pretraining_are_read(folders: dict[str, Path]) -> None:
    folder = folders["bert_pretrained"]
    inputs = batch(folder, list(CLASSES)[:3])
    # the table of words is there a second time, with the same values
    model = ttmlc.load(folder, spec="bert", head="PreTraining", dtype="float32")
    assert (model.report.initialised, model.report.unexpected) == ([], [])
    output = model(**inputs)
    for name in ("prediction_logits", "seq_relationship_logits"):
        wanted = theirs("BertForPreTraining", folder, inputs, name)
        shown = inputs["attention_mask"].astype(bool) if wanted.ndim == 3 else slice(None)
        near(output[name].numpy()[shown], wanted[shown], 1e-5)


def test_the_fingerprint_is_the_published_one(folders: dict[str, Path]) -> None:
    folder = folders["bert_ft"]
    model = ttmlc.load(folder, spec="bert", head="BertModel", dtype="float32", strict=True)
    vector = model(**batch(folder, [README])).last_hidden_state.numpy()[0, 0]
    np.testing.assert_allclose(vector[:5], FINGERPRINT, rtol=0, atol=1e-5)

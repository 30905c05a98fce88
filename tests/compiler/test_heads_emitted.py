"""Question answering, causal language models and multiple choice, as emitted: outputs, losses, every gradient."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.errors import InputError

from tests.compiler.test_emit import GENERATED
from tests.modules import load

torch: Any = pytest.importorskip("torch", reason="parity is measured where torch and transformers are")
transformers: Any = pytest.importorskip("transformers", reason="parity is measured where they are")

SIZES = {
    "vocab_size": 99,
    "hidden_size": 96,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 70,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
# float32 on both sides: single-precision sums of a few hundred terms in other orders.
COSINE, NORM, CLOSE = 0.99999, 1e-3, 1e-5
LENGTHS = [1, 7, 31, 33]
BATCH, CHOICES = 3, 3
NAMES = ["BertForQuestionAnswering", "BertLMHeadModel", "BertForMultipleChoice"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load(GENERATED.read_text(), tmp_path_factory.mktemp("bert") / "bert_with_heads.py")


def theirs(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, name)(
        transformers.BertConfig(**SIZES, attn_implementation="eager", **options)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    return model.eval()


def ours(bert: ModuleType, model: Any, dtype: str = "float32") -> Any:
    config = bert.BertConfig.from_hugging_face(model.config.to_dict())
    made = getattr(bert, type(model).__name__)(config, dtype=dtype)
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    known = [name for name, _ in made.named_parameters()]
    made.load_state_dict({key: value for key, value in state.items() if key in known})
    return made


def inputs(name: str, tokens: int) -> dict[str, Any]:
    """Rows of different lengths, and labels."""
    rng = np.random.default_rng(tokens)
    shape = (BATCH, CHOICES, tokens) if name == "BertForMultipleChoice" else (BATCH, tokens)
    lengths = rng.integers(1, tokens + 1, (*shape[:-1], 1))
    given = {
        "input_ids": rng.integers(0, 99, shape),
        "attention_mask": (np.arange(tokens) < lengths).astype(np.int64),
        "token_type_ids": rng.integers(0, 2, shape),
    }
    if name == "BertForQuestionAnswering":
        given["start_positions"] = np.array([0, tokens + 3, rng.integers(0, tokens)])
        given["end_positions"] = np.array([-2, rng.integers(0, tokens), tokens - 1])
    elif name == "BertLMHeadModel":
        given["labels"] = np.where(rng.random(shape) < 0.3, -100, given["input_ids"])
        given["labels"][:, -1] = 5
    else:
        given["labels"] = rng.integers(0, CHOICES, BATCH)
    return given


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_loss_and_every_gradient_are_transformers(name: str, tokens: int, bert: ModuleType) -> None:
    given = inputs(name, tokens)
    model = theirs(name)
    made = ours(bert, model)
    wanted = model(**{key: torch.from_numpy(np.asarray(value)) for key, value in given.items()})
    made.train()
    found = made(**given)
    assert list(found.keys()) == [key for key, value in wanted.items() if value is not None]
    for key, value in wanted.items():
        if key != "loss":
            whole = value.detach().numpy()
            assert found[key].shape == whole.shape
            seen = given["attention_mask"].astype(bool) if name != "BertForMultipleChoice" else slice(None)
            difference = np.abs(found[key].numpy() - whole)[seen].max()
            assert difference <= CLOSE * max(1.0, np.abs(whole).max()), key
    if name == "BertLMHeadModel" and tokens == 1:  # nothing follows the only token
        assert np.isnan(float(found.loss)) and np.isnan(wanted.loss.item())
        return
    assert float(found.loss) == pytest.approx(wanted.loss.item(), rel=CLOSE)
    wanted.loss.backward()
    found.loss.backward()
    gradients = dict(model.named_parameters())
    compared = 0
    for parameter, mine in made.named_parameters():
        a, b = mine.grad.numpy().astype(np.float64).ravel(), gradients[parameter].grad.numpy().ravel()
        if np.linalg.norm(b) < 1e-6:  # biases of keys, of which softmax knows nothing
            assert np.linalg.norm(a) < 1e-4, parameter
            continue
        compared += 1
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= COSINE, parameter
        assert abs(np.linalg.norm(a) / np.linalg.norm(b) - 1) <= NORM, parameter
    alone = name == "BertForQuestionAnswering" and tokens == 1  # where there is one token, nothing is chosen
    assert compared == 0 if alone else compared > 20


@pytest.mark.parametrize("name", NAMES)
def test_inference_is_the_program_of_training(name: str, bert: ModuleType) -> None:
    given = inputs(name, 33)
    made = ours(bert, theirs(name))
    plain = made(**given)
    with nn.enable_grad():
        recorded = made(**given)
    for key in plain.keys():  # noqa: SIM118  # not a mapping
        assert (
            np.abs(plain[key].numpy() - recorded[key].numpy()).max()
            <= CLOSE * np.abs(plain[key].numpy()).max()
        )


@pytest.mark.parametrize("name", NAMES)
def test_labels_only_add_the_loss(name: str, bert: ModuleType) -> None:
    given = {key: value for key, value in inputs(name, 7).items() if key in ("input_ids", "attention_mask")}
    found = ours(bert, theirs(name))(**given)
    assert found.loss is None
    assert "loss" not in found.keys()  # noqa: SIM118  # not a mapping


def test_one_of_two_positions_gives_no_loss(bert: ModuleType) -> None:
    made = bert.BertForQuestionAnswering(
        bert.BertConfig(vocab=9, hidden=32, layers=1, heads=1), dtype="float32"
    )
    ids = np.array([[1, 2, 3]])
    assert made(ids, start_positions=[1]).loss is None
    assert made(ids, end_positions=[1]).loss is None
    both = made(
        ids, start_positions=[[1]], end_positions=[[2]]
    )  # a last dim of one, as Transformers takes it
    assert np.isfinite(float(both.loss))


def test_the_softmax_of_spans_is_over_hidden_tokens_too_and_over_no_padding(bert: ModuleType) -> None:
    made = ours(bert, theirs("BertForQuestionAnswering"))
    ids, mask = np.arange(7)[None] + 1, np.array([[1, 1, 1, 1, 0, 0, 0]])
    found = made(ids, attention_mask=mask, start_positions=[6], end_positions=[0])
    losses = []
    for logits, place in ((found.start_logits.numpy()[0], 6), (found.end_logits.numpy()[0], 0)):
        logits = logits.astype(np.float64)
        losses.append(np.log(np.exp(logits - logits[place]).sum()))
    assert float(found.loss) == pytest.approx(np.mean(losses), rel=CLOSE)


def small_choices(bert: ModuleType) -> Any:
    return bert.BertForMultipleChoice(bert.BertConfig(vocab=9, hidden=32, layers=1, heads=1), dtype="float32")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"input_ids": np.zeros((2, 5), int)},
            r"must be \[batch, choices, tokens\], not \[2, 5\]: of one example",
        ),
        ({"input_ids": np.zeros((2, 0, 5), int)}, r"is empty: \[2, 0, 5\]"),
        (
            {"input_ids": np.zeros((2, 3, 5), int), "attention_mask": np.ones((2, 5), int)},
            r"attention_mask must be \[batch, choices, tokens\], not \[2, 5\]",
        ),
        (
            {"input_ids": np.zeros((2, 3, 5), int), "token_type_ids": np.ones((2, 4, 5), int)},
            r"token_type_ids is \[2, 4, 5\], and the first input \[2, 3, 5\]",
        ),
        ({"input_ids": np.full((2, 3, 5), 9)}, r"input_ids\[0, 0, 0\] is 9 and must be in \[0, 9\)"),
        (
            {"input_ids": np.zeros((2, 3, 5), int), "labels": [0, 3]},
            r"labels\[1\] is 3 and must be in \[0, 3\)",
        ),
        ({"input_ids": np.zeros((2, 3, 5), int), "labels": [0, 1, 2]}, r"labels is \[3\] and must be \[2\]"),
    ],
)
def test_inputs_of_choices_are_checked(given: dict[str, Any], message: str, bert: ModuleType) -> None:
    with pytest.raises(InputError, match=message):
        small_choices(bert)(**given)


def test_next_labels_are_checked(bert: ModuleType) -> None:
    made = bert.BertLMHeadModel(bert.BertConfig(vocab=9, hidden=32, layers=1, heads=1), dtype="float32")
    ids = np.array([[1, 2, 3]])
    with pytest.raises(InputError, match="labels must be integers, not float64"):
        made(ids, labels=np.ones((1, 3)))
    with pytest.raises(InputError, match=r"labels is \[1, 2\] and must be \[1, 3\]"):
        made(ids, labels=np.ones((1, 2), int))
    # The first label is of no token: whatever stands there is not looked at.
    assert np.isfinite(float(made(ids, labels=[[999, 2, 3]]).loss))


def test_a_saved_checkpoint_has_transformers_names(bert: ModuleType) -> None:
    for name in NAMES:
        model = theirs(name)
        names = [name for name, _ in ours(bert, model).named_parameters()]
        assert set(names) == {key for key, _ in model.named_parameters()}

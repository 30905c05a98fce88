"""A training step of every generated model on the real ttnn: forward, backward, optimizer."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from functools import cache
from itertools import combinations as combinations_of
from itertools import product
from typing import Any

import pytest
from ttmlc.presets import preset_values
from ttmlc.specs import presets
from ttmlc_runtime import nn

from tests.conformance.boards import (
    BOARDS,
    DERIVED,
    MODULES,
    MOSTLY_ONE,
    known,
    odd_configs,
    verified,
)
from tests.modules import imported

SIZES = {
    "layers": 2,
    "hidden": 64,
    "heads": 2,
    "kv": 1,
    "head_dim": 32,
    "inner": 96,
    "vocab": 99,
    "positions": 140,
    "pad": 0,
}
SMALL = {name: known(name, SIZES) for name in MODULES}
"""Sizes of each module's models, small and with tiles that are not filled."""
RATES = dict.fromkeys(("p", "p_attn", "p_embed", "p_head", "p_qa", "p_summary"), 0.0)
UNDROPPED = {name: known(name, RATES) for name in MODULES}
SHAPES = ((1, 1), (2, 7), (2, 33), (2, 128))
HAND_WRITTEN = 1026
"""Programs of a plain hand-written forward and backward of the base size, batch 8 x 128, dropout left out."""
AT_MOST = 800
"""What a base step's forward and backward may take, dropout and the loss included."""
CONFIGURED = {
    "LayerNorm",
    "Matmul",
    "MorehLayerNorm",
    "MorehLayerNormBackwardGammaBetaGrad",
    "MorehLayerNormBackwardInputGrad",
    "MorehSoftmaxBackward",
    "Reduce",
    "RotaryEmbeddingHf",
    "Softmax",
}
"""Kinds of programs that are told how to compute."""

pytestmark = pytest.mark.usefixtures("real_ttnn")


def models() -> Iterator[tuple[str, str]]:
    """Each module and each model in it."""
    for name, path in MODULES.items():
        module = imported(path, f"trained_{name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, nn.Model) and kind.__module__ == module.__name__:
                yield name, kind.__name__


MODELS = list(models())
WRITTEN = [(module, model) for module, model in MODELS if module not in DERIVED]
"""Those whose module is of a spec that extends none."""


def request(module: str, model: str, batch: int, seq: int, **options: Any) -> dict[str, Any]:
    """A request for a training step."""
    common = {"entry": "train", "optimizer": "adamw", "mask": True, "fields": SMALL[module]}
    return {
        **common,
        "module": str(MODULES[module]),
        "model": model,
        "batch": batch,
        "seq": seq,
        **options,
    }


def combinations(models: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every model in every shape, with a mask and without, dropping out and not: what the whole matrix asks."""
    return [
        request(module, model, *shape, mask=mask, fields={**SMALL[module], **dropped})
        for (module, model), shape in product(models, SHAPES)
        for mask, dropped in product((True, False), ({}, UNDROPPED[module]))
    ]


def pairwise(asked: list[dict[str, Any]], turn: int = 0) -> list[dict[str, Any]]:
    """A quarter of the combinations in which every two values of two things meet; turns 0 and 1 have different ones."""
    chosen = []
    for place in range(0, len(asked), 4):
        model, shape = divmod(place // 4, len(SHAPES))
        unmasked, undropped = (model + shape + turn) % 2, (model + shape // 2 + turn) % 2
        chosen.append(asked[place + 2 * unmasked + undropped])
    return chosen


def halved(asked: list[dict[str, Any]], turn: int) -> list[dict[str, Any]]:
    """Of ``pairwise(..., turn)`` two shapes of each model, such that it is asked with a mask and without, and so on."""
    first = (0, 3) if turn == 0 else (1, 2)
    return [one for place, one in enumerate(asked) if place % len(SHAPES) in first]


@cache
def steps(board: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Requests and answers of a ninth of the sample, another one of each board."""
    # Nine and the four shapes have no common divisor: all shapes are there.
    asked = pairwise(combinations(WRITTEN))[BOARDS.index(board) :: 9]
    return list(zip(asked, verified(board, asked), strict=True))


def accepted(asked: dict[str, Any], found: dict[str, Any]) -> None:
    """ttnn takes the step, builds its programs once, and has nothing left of it but the optimizer's state."""
    assert found["accepted"], (asked, found)
    assert found["new_programs"]["second_step"] == 0, asked
    assert found["left_bytes"] == 0, "gradients and activations go back, and masters are written in place"
    # Float32 masters and two moments beside bfloat16 weights: six times as much, and more where weights in rows
    # become tiles; less where a tied table, a third of the weights at most, has two forms and one master.
    assert 4 * found["weights_bytes"] <= found["state_bytes"], asked
    assert found["weights_bytes"] + found["state_bytes"] < found["peak_dram_bytes"] < found["dram_bytes"]
    assert 0 < found["peak_l1_bytes"] < found["l1_bytes"]
    assert found["programs"] == sum(phase["programs"] for phase in found["phases"].values())


@pytest.mark.parametrize("turn", [0, 1])
def test_the_sample_holds_every_pair(turn: int) -> None:
    facts = [
        (one["model"], (one["batch"], one["seq"]), one["mask"], "p_attn" in one["fields"])
        for one in pairwise(combinations(MODELS), turn)
    ]
    for first, second in combinations_of(range(4), 2):
        values = [{fact[place] for fact in facts} for place in (first, second)]
        assert {(fact[first], fact[second]) for fact in facts} == set(product(*values))


@pytest.mark.parametrize("turn", [0, 1])
def test_half_of_the_sample_holds_both_values_for_each_model_and_both_halves_every_pair(turn: int) -> None:
    def facts(turn: int) -> list[tuple[Any, ...]]:
        return [
            (one["module"], one["model"], (one["batch"], one["seq"]), one["mask"], "p_attn" in one["fields"])
            for one in halved(pairwise(combinations(MODELS), turn), turn)
        ]

    asked_models = {fact[:2] for fact in facts(turn)}
    assert len(asked_models) == len(MODELS)
    for place in (3, 4):
        assert {(*fact[:2], fact[place]) for fact in facts(turn)} == {
            (*model, value) for model in asked_models for value in (True, False)
        }
    both = facts(0) + facts(1)
    for first, second in combinations_of(range(2, 5), 2):
        values = [{fact[place] for fact in both} for place in (first, second)]
        assert {(fact[first], fact[second]) for fact in both} == set(product(*values))


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_a_sample_of_training_steps_is_accepted_and_leaves_nothing_behind(board: str) -> None:
    for asked, found in steps(board):
        accepted(asked, found)


@pytest.mark.deep
@pytest.mark.parametrize("board", BOARDS)
def test_every_pair_in_a_training_step_is_accepted(board: str) -> None:
    """Each board has a quarter of all combinations, and each another one; of models that are derived half of it."""
    turn, derived = BOARDS.index(board), [one for one in MODELS if one not in WRITTEN]
    asked = pairwise(combinations(WRITTEN), turn) + halved(pairwise(combinations(derived), turn), turn)
    for one, found in zip(asked, verified(board, asked, timeout=1500), strict=True):
        accepted(one, found)


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_every_program_of_a_step_computes_as_the_policy_says(board: str) -> None:
    wanted = {"math_fidelity": "HiFi4", "math_approx_mode": "0", "fp32_dest_acc_en": "1"}
    seen = set()
    for asked, found in steps(board):
        seen |= set(found["compute_by_kind"])
        for kind, configs in found["compute_by_kind"].items():
            for config in configs:
                assert {name: config.get(name) for name in wanted} == wanted, (asked, kind, config)
    assert seen == CONFIGURED


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_a_base_step_makes_fewer_programs_than_a_plain_hand_written_one(
    board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (base,) = (preset for preset in presets("bert") if preset.stem == "bert-base")
    fields = preset_values(base, "bert")
    (found,) = verified(board, [request("bert", "BertForSequenceClassification", 8, 128, fields=fields)])
    accepted(fields, found)
    forward, backward, optimizer = (phase["programs"] for phase in found["phases"].values())
    with capsys.disabled():
        print(  # noqa: T201  # a figure that people follow
            f"\nbert-base training 8 x 128 on {board}: {forward} programs forward, {backward} backward, "
            f"{optimizer} AdamW; peak DRAM {found['peak_dram_bytes'] / 2**20:.1f} MiB, "
            f"L1 {found['peak_l1_bytes'] / 2**10:.0f} KiB"
        )
    assert forward + backward <= AT_MOST < HAND_WRITTEN
    by_kind = found["phases"]["backward"]["by_kind"]
    assert by_kind["NLPConcatHeads"] == by_kind["Concat"] == 12, "q, k and v go back joined, once a layer"
    # Of a layer eight of its four linears, and four of attention; two each of the pooler and of the classifier.
    assert by_kind["Matmul"] == 12 * (8 + 4) + 2 * 2
    # Masters of 153 storages: two moments, the root, the step, the copy; decay of the 53 matrices; little else.
    assert optimizer <= 5 * 153 + 53 + 12


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_optional_inputs_take_part_in_a_step(board: str) -> None:
    """All that may be given is: a block under a condition is called, and gives its gradient to a table of another."""
    models = ["GPT2LMHeadModel", "GPT2ForTokenClassification", "GPT2DoubleHeadsModel"]
    asked = [request("gpt2", model, 2, 33, optional=given) for model in models for given in (False, True)]
    answers = verified(board, asked)
    for one, found in zip(asked, answers, strict=True):
        accepted(one, found)
    for without, with_them in zip(answers[::2], answers[1::2], strict=True):
        backward = [one["phases"]["backward"]["by_kind"] for one in (without, with_them)]
        assert backward[1]["EmbeddingBackward"] == backward[0]["EmbeddingBackward"] + 1


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_a_decoders_step_is_accepted(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = preset_values(next(path for path in presets("gpt2") if path.stem == "gpt2-small"), "gpt2")
    (found,) = verified(board, [request("gpt2", "GPT2LMHeadModel", 8, 128, fields=fields)])
    accepted(fields, found)
    forward, backward, optimizer = (phase["programs"] for phase in found["phases"].values())
    with capsys.disabled():
        print(  # noqa: T201  # a figure that people follow
            f"\ngpt2-small training 8 x 128 on {board}: {forward} programs forward, {backward} backward, "
            f"{optimizer} AdamW; peak DRAM {found['peak_dram_bytes'] / 2**20:.1f} MiB, "
            f"L1 {found['peak_l1_bytes'] / 2**10:.0f} KiB"
        )
    assert forward + backward <= AT_MOST
    by_kind = found["phases"]["backward"]["by_kind"]
    assert by_kind["NLPConcatHeads"] == by_kind["Concat"] == 12, "q, k and v go back joined, once a layer"
    assert by_kind["Matmul"] == 12 * (8 + 4) + 2, (
        "eight of a layer's linears, four of attention; two of the head"
    )


def never_refused_by_ttnn(seed: int, count: int, board: str) -> None:
    """Each step is accepted by ttnn, or refused by us in words of our own."""
    chance = random.Random(seed)
    asked = []
    for place, (sizes, batch, seq) in enumerate(odd_configs(seed, count)):
        labels = {
            "num_labels": chance.choice((1, 2, 31, 33)),
            "problem": chance.choice(
                (None, "regression", "single_label_classification", "multi_label_classification")
            ),
        }
        fields = {**sizes, **labels, "p_attn": chance.choice((0.0, 0.1)), "tie": chance.choice((False, True))}
        options = {"mask": bool(place % 2), "optimizer": chance.choice(("adamw", "sgd", "lion", "none"))}
        module, model = MODELS[place % len(MODELS)]
        asked.append(request(module, model, batch, seq, fields=known(module, fields), **options))
    answers = verified(board, asked)
    for one, answer in zip(asked, answers, strict=True):
        assert answer["accepted"] or answer.get("error") in {"ConfigError", "InputError"}, (one, answer)
        assert not answer["accepted"] or answer["new_programs"]["second_step"] == 0, (one, answer)
        assert not answer["accepted"] or answer["left_bytes"] == 0, (one, answer)
    accepted = sum(answer["accepted"] for answer in answers)
    assert 0.2 * count < accepted < 0.8 * count, f"{accepted} of {count} accepted: the sample says little"


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_what_ttnn_would_refuse_in_training_is_refused_by_us_first(board: str) -> None:
    never_refused_by_ttnn(11, 16, board)


@pytest.mark.deep
@pytest.mark.parametrize("board", BOARDS)
def test_what_ttnn_would_refuse_in_training_is_refused_by_us_first_of_many(board: str) -> None:
    never_refused_by_ttnn(12, 80, board)

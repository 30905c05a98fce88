"""Every generated module, every entry, every preset: accepted by the real ttnn, for one chip of each architecture."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ttmlc.api import compile_spec, compile_text
from ttmlc.presets import preset_values
from ttmlc.source import SourceFile
from ttmlc.specs import presets
from ttmlc_runtime import mockboard

from tests.compiler.small_specs import BODIES, spec
from tests.conformance.boards import BOARDS, MODULES, MOSTLY_ONE, ROOT, known, odd_configs, verified

BASES = {
    name: re.findall(
        r"^class (\w+)\((?:nn|generation)\.Model\[", path.read_text(encoding="utf-8"), re.MULTILINE
    )[0]
    for name, path in MODULES.items()
}
"""Of each module the model without a head, which presets are measured with."""
SPECS = {preset.stem: spec for spec in BASES for preset in presets(spec)}
"""Of each preset, the spec that it is of."""
QUICK = {"bert-tiny", "bert-base", "gpt2-small", "nano-llama3"}
"""Presets that a fast run asks about; the others are the same programs, more often and of other sizes."""
HUGE = {"llama-7b", "llama3-8b", "mistral-7b"}
"""Presets that are more than the memory of an n150: asked about with two layers."""
PRESETS = [
    pytest.param(preset.stem, marks=() if preset.stem in QUICK else pytest.mark.deep) for preset in presets()
]
FITTING = [one for one in PRESETS if one.values[0] not in HUGE]
SHAPES = ((1, 1), (2, 7), (2, 33), (8, 128))
"""Batch and tokens: one tile and several, whole and ragged."""
HAND_WRITTEN = 150
"""Programs of a plain hand-written forward pass of the base size, batch 8 x 128."""

pytestmark = pytest.mark.usefixtures("real_ttnn")


def request(
    preset: str, batch: int, seq: int, *, mask: bool = True, fields: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A request for the module that the preset is of."""
    spec = SPECS[preset]
    path = next(path for path in presets(spec) if path.stem == preset)
    sizes = {**preset_values(path, spec), **({"layers": 2} if preset in HUGE else {})}
    return {
        "module": str(MODULES[spec]),
        "model": BASES[spec],
        "fields": sizes if fields is None else fields,
        "batch": batch,
        "seq": seq,
        "mask": mask,
        "entry": "forward",
    }


@cache
def of_preset(preset: str, board: str) -> list[dict[str, Any]]:
    """All shapes, or of what is large the last two, with a mask and without."""
    shapes = SHAPES if preset in QUICK else SHAPES[-2:]
    return verified(board, [request(preset, *shape, mask=mask) for shape in shapes for mask in (True, False)])


@pytest.mark.parametrize("board", MOSTLY_ONE)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_accepted_and_builds_its_programs_once(preset: str, board: str) -> None:
    for found in of_preset(preset, board):
        assert found["accepted"], found
        assert 0 < found["weights_bytes"] < found["peak_dram_bytes"] < found["dram_bytes"]
        assert 0 < found["peak_l1_bytes"] < found["l1_bytes"]
        assert found["new_programs"]["second_step"] == 0, found


@pytest.mark.deep
@pytest.mark.parametrize("preset", sorted(HUGE))
def test_what_one_board_has_no_room_for_another_has(preset: str) -> None:
    fields = preset_values(next(path for path in presets() if path.stem == preset), SPECS[preset])
    (small,), (large,) = (verified(board, [request(preset, 1, 33, fields=fields)]) for board in BOARDS)
    assert not small["accepted"]
    assert large["accepted"], large
    assert small["dram_bytes"] < large["weights_bytes"] < large["peak_dram_bytes"] < large["dram_bytes"]


@pytest.mark.parametrize("board", BOARDS)
def test_every_program_computes_as_the_policy_says(board: str) -> None:
    for found in of_preset("bert-tiny", board):
        assert {"Matmul", "LayerNorm", "SDPA"} <= set(found["compute_by_kind"])
        for kind, configs in found["compute_by_kind"].items():
            for config in configs:
                said = {
                    name: config[name] for name in ("math_fidelity", "math_approx_mode", "fp32_dest_acc_en")
                }
                wanted = {"math_fidelity": "HiFi4", "math_approx_mode": "0", "fp32_dest_acc_en": "1"}
                assert said == wanted, kind


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_the_base_model_makes_fewer_programs_than_a_plain_hand_written_one(
    board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    masked, plain = verified(board, [request("bert-base", 8, 128, mask=mask) for mask in (True, False)])
    with capsys.disabled():
        print(  # noqa: T201  # a figure that people follow
            f"\nbert-base 8 x 128 on {board}: {masked['programs']} programs, {plain['programs']} without a mask; "
            f"peak DRAM {masked['peak_dram_bytes'] / 2**20:.1f} MiB, L1 {masked['peak_l1_bytes'] / 2**10:.0f} KiB"
        )
    assert plain["programs"] < masked["programs"] <= HAND_WRITTEN
    assert masked["by_kind"]["SDPA"] == masked["by_kind"]["NlpCreateHeads"] == 12, "one each a layer"
    assert masked["by_kind"]["Matmul"] == 4 * 12 + 1, "four a layer, activations fused, and the pooler"


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_one_projection_is_cut_into_heads_once_a_layer(
    board: str, capsys: pytest.CaptureFixture[str]
) -> None:
    masked, plain = verified(board, [request("gpt2-small", 8, 128, mask=mask) for mask in (True, False)])
    with capsys.disabled():
        print(  # noqa: T201  # a figure that people follow
            f"\ngpt2-small 8 x 128 on {board}: {masked['programs']} programs, {plain['programs']} without a mask; "
            f"peak DRAM {masked['peak_dram_bytes'] / 2**20:.1f} MiB, L1 {masked['peak_l1_bytes'] / 2**10:.0f} KiB"
        )
    assert plain["programs"] < masked["programs"] <= HAND_WRITTEN
    assert masked["by_kind"]["SDPA"] == masked["by_kind"]["NlpCreateHeads"] == 12, "one each a layer"
    assert masked["by_kind"]["Matmul"] == 4 * 12, "four a layer, activations fused"
    assert "Permute" not in masked["by_kind"], "nothing is turned"


@pytest.fixture(scope="module")
def small_modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the small specs compile to, one feature of the language each."""
    folder = tmp_path_factory.mktemp("small")
    found = {}
    for number, (name, body) in enumerate(BODIES.items()):
        compiled = compile_text(SourceFile("small.spec", spec(body)), folder / "small.spec")
        found[name] = folder / f"small_{number}.py"
        found[name].write_text(compiled.text, encoding="utf-8")
    return found


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_every_feature_of_the_language_is_accepted(board: str, small_modules: dict[str, Path]) -> None:
    common = {"model": None, "entry": "forward", "batch": 2}
    asked = [
        {**common, "module": str(path), "seq": seq, "mask": mask, "fields": {"causal": causal}}
        for path in small_modules.values()
        for seq, mask, causal in ((33, True, False), (64, False, True))
    ]
    for one, found in zip(asked, verified(board, asked), strict=True):
        assert found["accepted"], (one, found)
        assert found["new_programs"]["second_step"] == 0


@pytest.mark.parametrize("preset", FITTING)
def test_a_build_with_its_sizes_folded_in_is_the_same_program(preset: str, tmp_path: Path) -> None:
    compiled = compile_spec(ROOT / f"specs/models/{SPECS[preset]}.spec", preset=preset)
    path = tmp_path / f"{compiled.name}.py"
    path.write_text(compiled.text, encoding="utf-8")
    asked = request(preset, 8, 128)
    generic, folded = verified("n150", [asked, {**asked, "module": str(path)}])
    for name in ("by_kind", "peak_dram_bytes", "peak_l1_bytes", "dram_bytes_moved", "matmuls"):
        assert folded[name] == generic[name], name


def never_refused_by_ttnn(seed: int, count: int, board: str) -> None:
    """Each is accepted by ttnn, or refused by us in words of our own."""
    chosen, bases = odd_configs(seed, count), ("bert-tiny", "gpt2-small")
    answers = verified(
        board,
        [
            request(preset, batch, seq, mask=bool(place % 2), fields=known(SPECS[preset], fields))
            for place, (fields, batch, seq) in enumerate(chosen)
            for preset in (bases[place // 2 % len(bases)],)
        ],
    )
    ours = {"ConfigError", "InputError"}
    for one, answer in zip(chosen, answers, strict=True):
        assert answer["accepted"] or answer.get("error") in ours, (one, answer)
        assert not answer["accepted"] or answer["new_programs"]["second_step"] == 0, (one, answer)
    accepted = sum(answer["accepted"] for answer in answers)
    assert 0.2 * count < accepted < 0.8 * count, f"{accepted} of {count} accepted: the sample says little"


@pytest.mark.parametrize("board", MOSTLY_ONE)
def test_what_ttnn_would_refuse_is_refused_by_us_first(board: str) -> None:
    never_refused_by_ttnn(7, 60, board)


@pytest.mark.deep
@pytest.mark.parametrize("board", mockboard.BOARDS)
def test_what_ttnn_would_refuse_is_refused_by_us_first_on_every_board(board: str) -> None:
    never_refused_by_ttnn(8, 100, board)

"""The emulator answers as ttnn 0.81.1 does: same shapes, dtypes, layouts and padding, or a refusal of the same kind.

What ttnn answers is recorded in ``ttnn_answers.json``, and asked again where the real one is installed. Where the two
differ on purpose, the call is named here with the reason; in each the emulator is the stricter one.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import ttmlc_runtime.emulator as ttnn
from ttmlc_runtime.emulator.ops.table import OPS
from ttnn_calls import Bench, answered, calls

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
REAL = ROOT / ".venv-ttnn" / "bin" / "python"
CALLS = {f"{op}: {what}": (op, call) for op, what, call in calls()}
ANSWERS = json.loads((HERE / "ttnn_answers.json").read_text(encoding="utf-8"))

STRICTER = {
    r"linear: activation '(gelu|sigmoid)_approx'": "a lookup table of the device's is not modelled",
    r"(layer|rms)_norm: u?int32 weight": "ttnn reads integers as if they were floats",
    r"(layer|rms)_norm: weight \(2, 96\) TILE": "ttnn reads the first row alone",
    r"transformer.scaled_dot_product_attention: mask with padding": "keys that do not exist would be seen",
    r"experimental.nlp_create_qkv_heads: \(2, 1, 40, 480\).*": "ttnn cuts heads of 80 at 96",
    r"embedding: ids \(2, 3, 40\).*": "ttnn looks up the first batch alone",
    r"slice: to \(2, 3, 41, 96\)": "ttnn reads the padding of tiles",
    r"rms_norm: no dims": "ttnn normalises one element, and refuses the same in layer_norm",
    r"(multiply|mul|divide|div): bfloat16 and int32": "what a board makes of the two formats was never seen",
    r"permute: \(0, 1, 2, 2\)": "ttnn repeats a dim that is named twice",
}
REASON = "the real ttnn is not installed here: `make env` does it"


def reason_to_be_stricter(name: str) -> str | None:
    return next((why for pattern, why in STRICTER.items() if re.fullmatch(pattern, name)), None)


@pytest.fixture(scope="module")
def bench():
    device = ttnn.open_device()
    yield Bench(ttnn, device)
    ttnn.close_device(device)


@pytest.mark.filterwarnings("ignore:.*HiFi4 with float32 accumulation")
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_answered_as_ttnn_answers_it(name, bench):
    found, wanted = answered(CALLS[name][1], bench), ANSWERS[name]
    if reason_to_be_stricter(name):
        assert found == "RuntimeError"
        assert wanted != "RuntimeError", "ttnn refuses it too: no need to name it"
    else:
        assert json.loads(json.dumps(found)) == wanted


def test_every_op_is_called_and_refused():
    answers: dict[str, list[object]] = {}
    for name, (op, _) in CALLS.items():
        answers.setdefault(op, []).append(ANSWERS[name])
    assert set(OPS) == set(answers)


def test_three_calls_in_ten_are_refused_by_ttnn():
    refused = sum(isinstance(answer, str) for answer in ANSWERS.values())
    assert refused >= 0.3 * len(ANSWERS)


def test_every_reason_is_of_use():
    for pattern in STRICTER:
        assert any(re.fullmatch(pattern, name) for name in CALLS), pattern


@pytest.mark.deep
@pytest.mark.skipif(not REAL.exists(), reason=REASON)
def test_the_record_is_what_ttnn_answers_today(tmp_path):
    command = [
        str(REAL),
        "-m",
        "tests.runtime.emulator.record_answers",
        str(tmp_path / "now"),
        str(tmp_path / "board"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    assert json.loads((tmp_path / "now").read_text(encoding="utf-8")) == ANSWERS


# Texts and kinds of refusals that a user reads.


def test_a_refusal_says_what_ttnn_refuses_and_what_to_do(bench):
    with pytest.raises(RuntimeError, match=r"^TT_FATAL: .*must be tilized.*ttnn.to_layout"):
        ttnn.linear(bench.rows, bench.w)
    with pytest.raises(RuntimeError, match=r"^TT_FATAL: .*on the host.*ttnn.to_device"):
        ttnn.linear(bench.make((96, 96), host=True), bench.w)
    with pytest.raises(RuntimeError, match=r"^TT_FATAL: .*FLOAT32.*ttnn.typecast"):
        bench.attend(bench.make((2, 4, 64, 32), "float32"), bench.k, bench.k)
    with pytest.raises(RuntimeError, match=r"^TT_FATAL: .*head_dim.*Pad the heads"):
        bench.attend(*[bench.make((2, 4, 64, 40))] * 3)


def test_a_type_error_shows_the_call_and_the_signature(bench):
    with pytest.raises(TypeError, match="incompatible function arguments") as caught:
        ttnn.linear(bench.x, bench.w, bais=bench.bias)
    assert "no parameter is called 'bais'" in str(caught.value)
    assert "linear(Tensor, Tensor, bais=Tensor)" in str(caught.value)
    assert "transpose_b" in str(caught.value)


def test_what_ttnn_has_and_the_emulator_lacks_is_said_so(bench):
    with pytest.raises(AttributeError, match=r"ttnn.*no attribute 'moreh_adamw' that the emulator models"):
        ttnn.moreh_adamw  # noqa: B018  # the attribute is what is tested
    with pytest.raises(AttributeError, match=r"does not model ttnn.experimental.dropout"):
        ttnn.experimental.dropout  # noqa: B018
    with pytest.raises(AttributeError, match=r"does not model ttnn.transformer.joint"):
        ttnn.transformer.joint_scaled_dot_product_attention  # noqa: B018
    with pytest.raises(RuntimeError, match="sliding_window_size= is not modelled by the emulator"):
        bench.attend(bench.q, bench.k, bench.k, sliding_window_size=8)


def test_an_id_beyond_the_table_is_refused(bench):
    import numpy as np

    ids = ttnn.Tensor(np.array([[3, 50]], np.int32), ttnn.uint32, bench.device, ttnn.ROW_MAJOR_LAYOUT)
    with pytest.raises(RuntimeError, match="id 50 is beyond the table's 50 rows"):
        ttnn.embedding(ids, bench.table)
    rounded = ttnn.Tensor(np.array([[300]], np.float32), ttnn.bfloat16, bench.device, ttnn.ROW_MAJOR_LAYOUT)
    with pytest.raises(RuntimeError, match="holds integers up to 256"):
        ttnn.embedding(rounded, bench.make((512, 32), layout="ROW_MAJOR"))


def test_unknown_numerics_are_refused():
    with pytest.raises(ValueError, match="'float16' is not one of device, float32, float64"):
        ttnn.open_device(numerics="float16")


def test_a_configuration_is_lofi_unless_it_is_told(bench):
    config = ttnn.init_device_compute_kernel_config(bench.device.arch())
    assert config.math_fidelity is ttnn.MathFidelity.LoFi
    assert (config.math_approx_mode, config.fp32_dest_acc_en, config.packer_l1_acc) == (True, False, False)
    with pytest.raises(TypeError, match="arch"):
        ttnn.init_device_compute_kernel_config("wormhole")

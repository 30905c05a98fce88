"""What the emulator says when it refuses: ttnn's kind of exception, ttnn's words, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ttmlc_runtime.emulator as ttnn

FULL = (2, 3, 40, 96)


@pytest.fixture
def bench() -> Iterator[Any]:
    """A device and tensors of zeros on it."""
    device = ttnn.open_device()

    def make(
        shape: tuple[int, ...], dtype: str = "bfloat16", layout: str = "TILE", host: bool = False
    ) -> ttnn.Tensor:
        kind = np.int32 if "int" in dtype else np.float32
        where = None if host else device
        return ttnn.Tensor(
            np.zeros(shape, kind), getattr(ttnn, dtype), where, getattr(ttnn, f"{layout}_LAYOUT")
        )

    yield SimpleNamespace(
        device=device,
        make=make,
        x=make(FULL),
        rows=make(FULL, layout="ROW_MAJOR"),
        w=make((96, 64)),
        bias=make((64,)),
        q=make((2, 4, 64, 32)),
        k=make((2, 2, 64, 32)),
        table=make((50, 96), layout="ROW_MAJOR"),
        attend=ttnn.transformer.scaled_dot_product_attention,
    )
    ttnn.close_device(device)


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
    with pytest.raises(AttributeError, match=r"ttnn.*no attribute 'moreh_sgd' that the emulator models"):
        ttnn.moreh_sgd  # noqa: B018  # the attribute is what is tested
    with pytest.raises(AttributeError, match=r"does not model ttnn.experimental.rotary_embedding"):
        ttnn.experimental.rotary_embedding  # noqa: B018  # the attribute is what is tested
    with pytest.raises(AttributeError, match=r"does not model ttnn.transformer.joint"):
        ttnn.transformer.joint_scaled_dot_product_attention  # noqa: B018  # the attribute is what is tested
    with pytest.raises(RuntimeError, match="sliding_window_size= is not modelled by the emulator"):
        bench.attend(bench.q, bench.k, bench.k, sliding_window_size=8)


def test_an_id_beyond_the_table_is_refused(bench):
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

"""Where models live and how they compute: devices, dtypes, and the policy of each role of op."""

from __future__ import annotations

import dataclasses

import pytest
from ttmlc.ir.device import ROLES
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import BackendError

from tests.runtime.nn.tiny import Tiny


def test_a_dtype_and_a_device_must_agree() -> None:
    exact = nn.open_device("float64")
    assert Tiny(device=exact).dtype == "float64"
    with pytest.raises(
        BackendError, match="dtype='bfloat16' was asked for on a device that computes in float64"
    ):
        Tiny(device=exact, dtype="bfloat16")
    with nn.device(exact):
        assert Tiny().device is exact
        assert Tiny().dtype == "float64"
    assert Tiny().dtype == "bfloat16"
    with pytest.raises(BackendError, match="'float16' is not one of bfloat16, float32, float64"):
        Tiny(dtype="float16")


def test_models_without_a_device_share_one_for_each_dtype() -> None:
    assert Tiny(dtype="float32").device is Tiny(dtype="float32").device
    assert Tiny(dtype="float32").device is not Tiny().device
    before = Tiny().device
    nn.close_devices()
    after = Tiny().device
    assert after is not before
    ttnn.close_device(after)  # by a user, behind our back
    assert Tiny()([[1]]).right.shape == (1, 1, 32)


def test_every_role_computes_precisely() -> None:
    """ttnn's own defaults differ from op to op and fall to LoFi, so each role's call is told."""
    kernels = Tiny().kernels
    for role, keywords in vars(kernels).items():
        config = keywords["compute_kernel_config"]
        assert config.math_fidelity is ttnn.MathFidelity.HiFi4
        assert (config.math_approx_mode, config.fp32_dest_acc_en) == (False, True)
        assert set(keywords) - {"compute_kernel_config"} == ({"core_grid"} if role == "matmul" else set())
    assert kernels.matmul["core_grid"] is not None  # without one no activation is fused


def test_the_policy_of_a_model_may_be_another() -> None:
    quick = nn.Policy(matmul=nn.HIFI2, norm=nn.Compute("LoFi", float32_sums=False, approximate=True))
    kernels = Tiny(policy=quick).kernels
    assert kernels.matmul["compute_kernel_config"].math_fidelity is ttnn.MathFidelity.HiFi2
    norm = kernels.norm["compute_kernel_config"]
    assert (norm.math_approx_mode, norm.fp32_dest_acc_en) == (True, False)
    assert kernels.attention == Tiny().kernels.attention
    with pytest.raises(BackendError, match="'HiFi5' is not one of LoFi, HiFi2, HiFi3, HiFi4"):
        nn.Compute("HiFi5")


def test_roles_are_the_compilers() -> None:
    assert tuple(field.name for field in dataclasses.fields(nn.Policy)) == ROLES
    assert tuple(field.name for field in dataclasses.fields(nn.Kernels)) == ROLES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_arithmetic_is_refused_on_a_board(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    class Board:
        """A ttnn that is not the emulator."""

    monkeypatch.setattr("ttmlc_runtime.nn.devices.ttnn", Board)
    with pytest.raises(BackendError, match="exact arithmetic, which a board does not have"):
        nn.open_device(dtype)

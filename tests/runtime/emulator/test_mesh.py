"""Meshes: what parts compute is what the whole computes; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import ttmlc_runtime.emulator as ttnn
from ttmlc_runtime import nn


@pytest.fixture
def mesh() -> Iterator[ttnn.MeshDevice]:
    opened = ttnn.open_mesh_device(ttnn.MeshShape(2, 4), numerics="float64")
    yield opened
    ttnn.close_mesh_device(opened)


def up(array: np.ndarray, mesh: ttnn.MeshDevice, *dims: int | None) -> ttnn.Tensor:
    """An array on the mesh, cut at ``dims`` along its rows and columns."""
    mapper = ttnn.ShardTensor2dMesh(mesh, (2, 4), dims) if dims else None
    return ttnn.Tensor(array, ttnn.float32, mesh, ttnn.TILE_LAYOUT, mesh_mapper=mapper)


def down(tensor: ttnn.Tensor, mesh: ttnn.MeshDevice, *dims: int) -> np.ndarray:
    return tensor.cpu().to_numpy(mesh_composer=ttnn.ConcatMesh2dToTensor(mesh, (2, 4), dims))


def test_a_product_of_parts_is_a_part_of_the_product(mesh: ttnn.MeshDevice) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((64, 96)), rng.standard_normal((96, 128))
    rows, columns = up(x, mesh, 0, None), up(w, mesh, None, 1)  # data parallel, and column parallel
    assert (rows.shape, columns.shape) == ([32, 96], [96, 32])
    y = ttnn.linear(rows, columns, activation="gelu")
    assert y.shape == [32, 32]
    whole = ttnn.linear(up(x, mesh), up(w, mesh), activation="gelu")
    assert not whole.parts, "what is the same on every chip is computed once"
    # Both in float64; a shorter product may be summed in another order.
    np.testing.assert_allclose(down(y, mesh, 0, 1), whole.part(0).cpu().to_numpy(), rtol=0, atol=1e-12)


def test_parts_of_sums_add_up_to_the_sum(mesh: ttnn.MeshDevice) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((32, 256)), rng.standard_normal((256, 32))
    partial = ttnn.matmul(up(x, mesh, None, 1), up(w, mesh, None, 0))  # row parallel
    stacked = down(partial, mesh, 0, 1).reshape(2, 32, 4, 32)
    np.testing.assert_allclose(stacked[0].sum(axis=1), x @ w, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(stacked[0], stacked[1])


def test_results_that_are_several_are_cut_each(mesh: ttnn.MeshDevice) -> None:
    x = up(np.ones((2, 1, 32, 384)), mesh, 0, 3)
    q, k, v = ttnn.experimental.nlp_create_qkv_heads(x, num_heads=1, transpose_k_heads=False)
    assert [len(one.parts) for one in (q, k, v)] == [8, 8, 8]
    assert q.shape == [1, 1, 32, 32]


def test_views_and_freeing_are_those_of_each_part(mesh: ttnn.MeshDevice) -> None:
    x = up(np.ones((64, 128)), mesh, 0, 1)
    view = ttnn.reshape(x, (1, 32, 32))
    assert all(
        one.buffer_address() == other.buffer_address() for one, other in zip(x.parts, view.parts, strict=True)
    )
    ttnn.multiply_(view, 3.0)
    assert (down(x, mesh, 0, 1) == 3).all()
    ttnn.deallocate(view)
    assert not any(part.is_allocated() for part in x.parts)


def test_what_cannot_be_cut_or_joined_is_refused(mesh: ttnn.MeshDevice) -> None:
    with pytest.raises(
        RuntimeError, match="Shard shape mismatch: 9 at dim 0 do not make 8 shards of one size"
    ):
        ttnn.Tensor(
            np.ones((9, 4), np.float32),
            ttnn.float32,
            mesh,
            mesh_mapper=ttnn.shard_tensor_to_mesh_mapper(mesh, 0),
        )
    with pytest.raises(RuntimeError, match="dims must be unique"):
        up(np.ones((8, 8)), mesh, 0, 0)
    with pytest.raises(RuntimeError, match="number of placements in the config"):
        ttnn.create_mesh_mapper(mesh, ttnn.MeshMapperConfig([ttnn.PlacementShard(0)]))
    with pytest.raises(TypeError, match=r"unwrap\(\) is one"):
        ttnn.Tensor(np.ones((8, 8), np.float32), mesh_mapper=ttnn.ReplicateTensorToMesh(mesh))
    with pytest.raises(RuntimeError, match="Supply mesh_composer="):
        up(np.ones((8, 8)), mesh).cpu().to_numpy()
    with pytest.raises(TypeError, match="is no MeshShape"):
        ttnn.open_mesh_device((2, 4))
    other = ttnn.open_mesh_device(ttnn.MeshShape(1, 2), numerics="float64")
    two = ttnn.Tensor(
        np.ones((8, 8)),
        ttnn.float32,
        other,
        ttnn.TILE_LAYOUT,
        mesh_mapper=ttnn.shard_tensor_to_mesh_mapper(other, 0),
    )
    with pytest.raises(RuntimeError, match=r"meshes of \[2, 8\] chips"):
        ttnn.add(up(np.ones((8, 8)), mesh, 0, 1), two)
    same = up(np.ones((4, 2)), mesh)
    with pytest.raises(RuntimeError, match="not modelled by the emulator"):
        ttnn.add(up(np.ones((8, 8)), mesh, 0, 1), 1.0, output_tensor=same)


def test_a_mesh_is_opened_by_the_runtime() -> None:
    opened = nn.open_mesh(2, 2, dtype="float32")
    assert (opened.get_num_devices(), opened.numerics) == (4, "float32")
    nn.close_device(opened)
    assert not opened.is_open

"""What ttnn computes on the host, on either side: packing, conversion, tiles, shards. Cases are data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Case = dict[str, Any]
FLOATS = ("bfloat16", "float32", "bfloat8_b", "bfloat4_b")
INTEGERS = ("int32", "uint32", "uint16", "uint8")


def values(case: Case) -> np.ndarray[Any, Any]:
    """The array of a case: every exponent, ties, subnormals, zeros of both signs, infinities, NaN; or integers."""
    chance = np.random.default_rng(case["seed"])
    shape, kind = tuple(case["shape"]), case["kind"]
    if kind == "bits":  # any float32 at all
        return chance.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    if kind == "near":  # sixteen neighbours of like size, so that the shared exponent matters
        scale = np.float32(2.0) ** chance.integers(-20, 20, (*shape[:-1], 1)).astype(np.float32)
        return (chance.standard_normal(shape, dtype=np.float32) * scale).astype(np.float32)
    if kind == "ties":  # halfway between two bfloat16 neighbours, and between two of a block
        upper = chance.integers(0x3F00, 0x4100, shape, dtype=np.uint32) << np.uint32(16)
        lower = chance.choice(np.array([0x8000, 0x7FFF, 0x8001, 0, 0xFFFF], np.uint32), shape)
        signs = chance.integers(0, 2, shape, dtype=np.uint32) << np.uint32(31)
        return (upper | lower | signs).view(np.float32)
    if kind == "special":
        pool = np.array(
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, 1.0, -2.5, 2**-126], np.float32
        )
        return chance.choice(pool, shape)
    if kind == "counts":
        return chance.integers(0, 200, shape).astype(case.get("source", "int32"))
    assert kind == "numbers", kind
    return (chance.standard_normal(shape) * 100).astype(case.get("source", "float32"))


def mapper(ttnn: Any, mesh: Any, how: list[Any]) -> Any:
    """A mapper by its description."""
    name, *rest = how
    if name == "shard":
        return ttnn.shard_tensor_to_mesh_mapper(mesh, rest[0])
    if name == "replicate":
        return ttnn.replicate_tensor_to_mesh_mapper(mesh)
    if name == "2d":
        return ttnn.ShardTensor2dMesh(mesh, tuple(mesh.shape), tuple(rest))
    assert name == "placements", name
    placed = [ttnn.PlacementReplicate() if dim is None else ttnn.PlacementShard(dim) for dim in rest]
    return ttnn.create_mesh_mapper(mesh, ttnn.MeshMapperConfig(placed))


def composer(ttnn: Any, mesh: Any, how: list[Any]) -> Any:
    """A composer by its description."""
    name, *rest = how
    if name == "concat":
        return ttnn.concat_mesh_to_tensor_composer(mesh, rest[0])
    if name == "2d":
        return ttnn.ConcatMesh2dToTensor(mesh, tuple(mesh.shape), tuple(rest))
    assert name == "dims", name
    return ttnn.create_mesh_composer(mesh, ttnn.MeshComposerConfig(rest))


def computed(ttnn: Any, mesh: Any, case: Case) -> list[np.ndarray[Any, Any]] | str:
    """What a case gives: the parts (one without a mesh), then the whole; or the kind of a refusal."""
    try:
        return _computed(ttnn, mesh, case)
    except (RuntimeError, TypeError) as error:
        return type(error).__name__


def _computed(ttnn: Any, mesh: Any, case: Case) -> list[np.ndarray[Any, Any]]:
    layout = getattr(ttnn, f"{case.get('layout', 'TILE')}_LAYOUT")
    options = {"layout": layout}
    if "mapper" in case:
        options["mesh_mapper"] = mapper(ttnn, mesh, case["mapper"])
    tensor = ttnn.Tensor(values(case), getattr(ttnn, case["dtype"]), **options)
    for to in case.get("layouts", ()):
        tensor = ttnn.to_layout(tensor, getattr(ttnn, f"{to}_LAYOUT"))
    for to in case.get("dtypes", ()):
        tensor = ttnn.to_dtype(tensor, getattr(ttnn, to))
    shapes = [tuple(tensor.shape), tuple(tensor.padded_shape)]
    parts = ttnn.get_device_tensors(tensor)
    found = [np.array(shape, np.int64) for shape in shapes]
    found += [_read(ttnn, part) for part in parts]
    if "composer" in case:
        found.append(_read(ttnn, tensor, composer(ttnn, mesh, case["composer"])))
    return found


def _read(ttnn: Any, tensor: Any, how: Any = None) -> np.ndarray[Any, Any]:
    if tensor.dtype == ttnn.bfloat16:
        tensor = ttnn.to_dtype(tensor, ttnn.float32)  # exact
    options = {} if how is None else {"mesh_composer": how}
    return np.array(tensor.to_numpy(**options))


def job(request: dict[str, Any]) -> dict[str, Any]:
    """Every case on the real ttnn; arrays go to a file."""
    import ttnn
    from ttmlc_runtime.mockboard import open_board

    mesh = open_board(ttnn, request["board"], tuple(request["mesh"]) if request["mesh"] else None)
    kinds: list[str | int] = []
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for place, case in enumerate(request["cases"]):
        found = computed(ttnn, mesh, case)
        kinds.append(found if isinstance(found, str) else len(found))
        for number, array in enumerate([] if isinstance(found, str) else found):
            arrays[f"{place}_{number}"] = array
    np.savez(Path(request["out"]), **arrays)
    return {"kinds": kinds}

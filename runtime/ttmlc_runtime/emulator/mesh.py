"""Meshes of emulated chips: how a tensor is cut over them, and put together again.

A tensor on a mesh is a part for each chip, row by row of the mesh. One that is the same everywhere has no parts: it is
computed once. An op on parts is the op on each (``ops/table.py``), so that a program on a mesh computes what its chips
would.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ttmlc_runtime.emulator.numerics import Array
from ttmlc_runtime.emulator.refusal import check, fatal


class MeshShape(tuple[int, ...]):
    """Rows and columns of a mesh."""

    __slots__ = ()

    def __new__(cls, *dims: Any) -> MeshShape:
        """``MeshShape(2, 4)`` or ``MeshShape([2, 4])``."""
        sizes = dims[0] if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else dims
        return super().__new__(cls, tuple(int(size) for size in sizes))

    def mesh_size(self) -> int:
        """How many chips there are."""
        return math.prod(self)

    def dims(self) -> int:
        """How many dims the mesh has."""
        return len(self)

    def __repr__(self) -> str:
        return f"MeshShape({list(self)})"


class FabricConfig(Enum):
    """Which links are used between chips; it changes nothing here."""

    DISABLED = 0
    FABRIC_1D = 1
    FABRIC_1D_RING = 2
    FABRIC_2D = 3


def set_fabric_config(config: FabricConfig, *args: object, **keywords: object) -> None:
    """Taken as ttnn takes it; the emulator has no links."""
    if not isinstance(config, FabricConfig):
        raise TypeError(
            f"set_fabric_config(): incompatible function arguments: {config!r} is no FabricConfig"
        )


@dataclass(frozen=True)
class PlacementReplicate:
    """The same along this axis of the mesh."""

    def __repr__(self) -> str:
        return "PlacementReplicate()"


@dataclass(frozen=True)
class PlacementShard:
    """Cut along this axis of the mesh, at a dim of the tensor."""

    dim: int

    def __repr__(self) -> str:
        return f"PlacementShard({self.dim})"


Placement = Any


@dataclass(frozen=True, init=False)
class MeshMapperConfig:
    """A placement for each axis of the mesh."""

    placements: tuple[Placement, ...]

    def __init__(self, placements: Iterable[Placement], mesh_shape_override: object = None) -> None:
        check(
            mesh_shape_override is None,
            "MeshMapperConfig: mesh_shape_override is not modelled by the emulator",
        )
        object.__setattr__(self, "placements", tuple(placements))

    def __repr__(self) -> str:
        return f"MeshMapperConfig(placements: {list(self.placements)})"


@dataclass(frozen=True, init=False)
class MeshComposerConfig:
    """The dim of the tensor that each axis of the mesh is put together at."""

    dims: tuple[int, ...]

    def __init__(self, dims: Iterable[int], mesh_shape_override: object = None) -> None:
        check(
            mesh_shape_override is None,
            "MeshComposerConfig: mesh_shape_override is not modelled by the emulator",
        )
        object.__setattr__(self, "dims", tuple(dims))

    def __repr__(self) -> str:
        return f"MeshComposerConfig(dims: {list(self.dims)})"


def _distinct(dims: Sequence[int], rank: int) -> list[int]:
    """``dims`` counted from the front, each once and within the tensor, as ttnn wants them."""
    for dim in dims:
        check(
            -rank <= dim < rank, f"a mesh cannot be cut or joined at dim {dim} of {rank}"
        )  # ttnn ends the process
    places = [dim % rank for dim in dims]
    check(len(set(places)) == len(places), "dims must be unique")
    return places


@dataclass(frozen=True)
class TensorToMesh:
    """Cuts an array into a part for each chip."""

    grid: tuple[int, ...]
    dims: tuple[int | None, ...]

    def parts(self, array: Array) -> list[Array]:
        """The parts, row by row of the mesh.

        Raises:
            RuntimeError: they would not be of one size, or there are fewer than chips.
        """
        rank = array.ndim
        cut = _distinct([dim for dim in self.dims if dim is not None], rank)
        places = iter(cut)
        pieces: list[list[slice]] = []
        at: list[int | None] = []
        for count, dim in zip(self.grid, self.dims, strict=True):
            if dim is None:
                pieces.append([slice(None)] * count)
                at.append(None)
                continue
            place = next(places)
            size = -(-array.shape[place] // count)
            check(
                size * count == array.shape[place],
                f"Shard shape mismatch: {array.shape[place]} at dim {place} do not make {count} shards of one size",
                "Pad it to a multiple",
            )
            pieces.append([slice(start * size, (start + 1) * size) for start in range(count)])
            at.append(place)
        found = []
        for chosen in itertools.product(*pieces):
            key = [slice(None)] * rank
            for place_, part in zip(at, chosen, strict=True):
                if place_ is not None:
                    key[place_] = part
            found.append(np.ascontiguousarray(array[tuple(key)]))
        return found

    @property
    def replicates(self) -> bool:
        """Whether every chip gets the whole."""
        return all(dim is None for dim in self.dims)

    def unwrap(self) -> TensorToMesh:
        """Itself; what ttnn's older names wrap."""
        return self


@dataclass(frozen=True)
class MeshToTensor:
    """Puts parts together."""

    grid: tuple[int, ...]
    dims: tuple[int, ...]

    def join(self, parts: Sequence[Array]) -> Array:
        """One array of the parts of all chips.

        Raises:
            RuntimeError: two axes of the mesh would be joined at one dim.
        """
        places = _distinct(self.dims, parts[0].ndim)
        whole = list(parts)
        for count, place in reversed(list(zip(self.grid, places, strict=True))):
            whole = [
                np.concatenate(whole[start : start + count], axis=place)
                for start in range(0, len(whole), count)
            ]
        return whole[0]


def _grid(mesh: Any) -> MeshShape:
    shape = getattr(mesh, "shape", None)
    if not isinstance(shape, MeshShape):
        raise TypeError(
            f"incompatible function arguments: a ttnn.MeshDevice is needed, not {type(mesh).__name__}"
        )
    return shape


def replicate_tensor_to_mesh_mapper(mesh_device: Any) -> TensorToMesh:
    """The whole for every chip."""
    grid = _grid(mesh_device)
    return TensorToMesh(grid, (None,) * len(grid))


def shard_tensor_to_mesh_mapper(mesh_device: Any, dim: int) -> TensorToMesh:
    """Cut at ``dim`` into as many parts as there are chips, row by row."""
    return TensorToMesh((_grid(mesh_device).mesh_size(),), (dim,))


def create_mesh_mapper(mesh_device: Any, config: MeshMapperConfig) -> TensorToMesh:
    """A placement for each axis of the mesh."""
    grid = _grid(mesh_device)
    check(
        len(config.placements) == len(grid),
        f"The number of dimensions in the mesh shape {grid} does not match the number of placements in the config "
        f"{config}",
    )
    dims = tuple(place.dim if isinstance(place, PlacementShard) else None for place in config.placements)
    return TensorToMesh(grid, dims)


def ShardTensorToMesh(mesh_device: Any, dim: int) -> TensorToMesh:  # noqa: N802  # ttnn's own name
    """``shard_tensor_to_mesh_mapper``."""
    return shard_tensor_to_mesh_mapper(mesh_device, dim)


def ShardTensor2dMesh(  # noqa: N802  # ttnn's own name
    mesh_device: Any, mesh_shape: Sequence[int], dims: Sequence[int | None]
) -> TensorToMesh:
    """Cut at ``dims[0]`` along the rows of the mesh and at ``dims[1]`` along its columns; None is the same for all."""
    grid = _grid(mesh_device)
    if tuple(mesh_shape) != tuple(grid):
        raise fatal(f"ShardTensor2dMesh: a mesh of {list(mesh_shape)} on one of {list(grid)} is not modelled")
    return TensorToMesh(grid, tuple(dims))


class ReplicateTensorToMesh:
    """``replicate_tensor_to_mesh_mapper``, in a wrapper that ``ttnn.Tensor`` does not take: call ``unwrap``."""

    def __init__(self, mesh_device: Any) -> None:
        self._mapper = replicate_tensor_to_mesh_mapper(mesh_device)

    def unwrap(self) -> TensorToMesh:
        """The mapper."""
        return self._mapper


def concat_mesh_to_tensor_composer(mesh_device: Any, dim: int) -> MeshToTensor:
    """The parts of all chips side by side at ``dim``."""
    return MeshToTensor((_grid(mesh_device).mesh_size(),), (dim,))


def create_mesh_composer(mesh_device: Any, config: MeshComposerConfig) -> MeshToTensor:
    """A dim for each axis of the mesh."""
    grid = _grid(mesh_device)
    check(
        len(config.dims) == len(grid),
        f"The number of dimensions in the mesh shape {grid} does not match the number of dimensions in the config "
        f"{config}",
    )
    return MeshToTensor(grid, config.dims)


def ConcatMeshToTensor(mesh_device: Any, dim: int) -> MeshToTensor:  # noqa: N802  # ttnn's own name
    """``concat_mesh_to_tensor_composer``."""
    return concat_mesh_to_tensor_composer(mesh_device, dim)


def ConcatMesh2dToTensor(  # noqa: N802  # ttnn's own name
    mesh_device: Any, mesh_shape: Sequence[int], dims: Sequence[int]
) -> MeshToTensor:
    """``create_mesh_composer`` with ``dims``."""
    return create_mesh_composer(mesh_device, MeshComposerConfig(dims))

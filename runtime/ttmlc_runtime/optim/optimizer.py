"""What all optimizers do: groups of parameters, a state for each storage, masters, and the state as plain arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.optim.places import Handle, exported, filling, handles, imported, primaries, rounds
from ttmlc_runtime.weights.storage import Storage

ttnn = choose()

Group = dict[str, Any]
MASTER = "master"


class State:
    """What an optimizer keeps of one storage."""

    def __init__(self, storage: Storage) -> None:
        self.step = 0
        """How many steps it has taken."""
        self.tensors: dict[str, types.Tensor] = {}
        """By PyTorch's names, in the storage's shape, in tiles; ``master`` where the device rounds."""
        self.version = storage.version
        self.filling = filling(storage)


class Optimizer:
    """The base of optimizers. A subclass says its options, and what a step does to one storage.

    Args:
        params: parameters, or dicts with "params" and options of their own, as in PyTorch.
        defaults: the options of groups that do not say otherwise.

    Raises:
        ConfigError: there are no parameters, or what is no parameter, one is there twice, an option does not exist or
            has a value that it cannot have, or parameters that are one storage on the device differ in their options
            or are not all there.
    """

    tensors: ClassVar[tuple[str, ...]] = ()
    """The names of what is kept of a storage, beside its master."""

    def __init__(self, params: Iterable[Handle] | Iterable[Group], defaults: Group) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        """Dicts of "params" and options. Options may be changed between steps."""
        self.state: dict[Storage, State] = {}
        given: list[Any] = list(params)
        if not given:
            raise ConfigError(
                "the optimizer got no parameters: an iterator, such as model.parameters(), is used up once"
            )
        if isinstance(given[0], Mapping):
            for group in given:
                self._add(group)
        else:
            self._add({"params": given})
        self._whole()
        for storage, owners in self._owners().items():
            self._options(storage, owners)

    def add_param_group(self, group: Group) -> None:
        """Take more parameters, with options of their own.

        Raises:
            ConfigError: as from the constructor; nothing is taken then.
        """
        before = list(self.param_groups)
        try:
            self._add(group)
            self._whole()
            for storage, owners in self._owners().items():
                self._options(storage, owners)
        except ConfigError:
            self.param_groups = before
            raise

    def _add(self, group: Any) -> None:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ConfigError(f"a group of parameters is a dict with 'params', and not {group!r}")
        params = handles(group["params"], type(self).__name__)
        unknown = [name for name in group if name not in self.defaults and name != "params"]
        if unknown:
            raise ConfigError(
                f"{type(self).__name__} has no option {unknown[0]!r}; it has {', '.join(self.defaults)}"
            )
        taken = {one.name for other in self.param_groups for one in other["params"]}
        for one in params:
            if one.name in taken:
                raise ConfigError(f"{one.name} is there twice: a parameter belongs to one group")
            taken.add(one.name)
        for part in self._split({**self.defaults, **group, "params": params}, dict(group)):
            self.check(part)
            self.param_groups.append(part)

    def _split(self, group: Group, given: Group) -> list[Group]:
        """Groups in the place of one; ``given`` is what the user wrote of it."""
        return [group]

    def check(self, options: Group) -> None:
        """Refuse options with values that they cannot have.

        Raises:
            ConfigError: naming the option.
        """

    # Storages

    def _owners(self) -> dict[Storage, list[tuple[Group, Handle]]]:
        """The storages to be stepped, and for each the parameters in it with their groups."""
        found: dict[Storage, list[tuple[Group, Handle]]] = {}
        for group in self.param_groups:
            for one in group["params"]:
                for storage in primaries([one]):
                    found.setdefault(storage, []).append((group, one))
        return found

    def _whole(self) -> None:
        """Refuse parameters without those that share their storage."""
        for storage, owners in self._owners().items():
            names = {one.name for _, one in owners}
            left = [name for name in storage.names if name not in names]
            if left:
                raise ConfigError(
                    f"{owners[0][1].name} is one storage on the device with {', '.join(left)}: give the optimizer all "
                    "of them or none"
                )

    def _options(self, storage: Storage, owners: list[tuple[Group, Handle]]) -> Group:
        """The options of a storage: those of the groups that its parameters are in, which have to be equal.

        Raises:
            ConfigError: they are not; it names two parameters and the option.
        """
        group, first = owners[0]
        for other, one in owners[1:]:
            if other is not group:
                for name in self.defaults:
                    if other[name] != group[name]:
                        raise ConfigError(
                            f"{first.name} has {name}={group[name]!r} and {one.name} {other[name]!r}, but they are one "
                            f"storage on the device ({storage.name}): give them the same"
                        )
        return group

    # Steps

    def step(self) -> None:
        """Change every parameter that has a gradient and is not frozen.

        Raises:
            ConfigError: an option was given a value that it cannot have, or parameters that are one storage on the
                device differ in their options; nothing is changed.
        """
        for group in self.param_groups:
            self.check(group)
        options_of = {storage: self._options(storage, owners) for storage, owners in self._owners().items()}
        for storage, options in options_of.items():
            if storage.grad is None or not storage.trainable:
                continue
            state = self.state.get(storage)
            if state is None:
                state = self.state[storage] = State(storage)
            state.step += 1
            gradient = state.filling.out_of(storage.grad)
            values = self._values(storage, state)
            moved = state.filling.back_into(self.update(values, gradient, state, options))
            if MASTER in state.tensors:
                state.tensors[MASTER] = moved
            storage.write(moved)
            state.version = storage.version

    def _values(self, storage: Storage, state: State) -> types.Tensor:
        """The values in tiles: where the device rounds them a float32 master, elsewhere what the storage holds."""
        held = storage.tensor
        if not rounds(held):
            return ttnn.to_layout(held, ttnn.TILE_LAYOUT)
        if MASTER not in state.tensors or state.version != storage.version:  # values were loaded meanwhile
            tiles = ttnn.to_layout(held, ttnn.TILE_LAYOUT)
            state.tensors[MASTER] = ttnn.typecast(tiles, ttnn.float32)
        return state.tensors[MASTER]

    def update(
        self, values: types.Tensor, gradient: types.Tensor, state: State, options: Group
    ) -> types.Tensor:
        """One step of one storage, of which ``state.step`` counts this one.

        Args:
            values: in tiles; may be written to.
            gradient: in tiles, float32 or bfloat16; must not be.
            state: its tensors are made and written here.
            options: the group's.

        Returns:
            The new values, in ``values`` or in another tensor of its dtype.
        """
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients that were accumulated, and give back their memory."""
        for storage in self._owners():
            storage.grad = None

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """The state as numbers and arrays under Hugging Face's names and in the checkpoint's layout.

        It does not depend on how the device holds parameters.

        Returns:
            "state": for each parameter "step" and arrays by PyTorch's names (float32; float64 in that dtype), with
            "master" where the device rounds; "param_groups": options, and "params" by name.
        """
        storages = [storage for storage in self._owners() if storage in self.state]
        state: dict[str, dict[str, Any]] = {}
        for storage in storages:
            for name in storage.names:
                state.setdefault(name, {"step": self.state[storage].step})
        for key in (*self.tensors, MASTER):
            fresh = [s for s in storages if key != MASTER or self.state[s].version == s.version]
            held = {storage: self.state[storage].tensors.get(key) for storage in fresh}
            for name, array in exported(fresh, held.__getitem__).items():
                state[name][key] = array
        groups = [
            {**copy.deepcopy(self._plain(group)), "params": [one.name for one in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": state, "param_groups": groups}

    def _plain(self, group: Group) -> Group:
        return {name: value for name, value in group.items() if name != "params"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take what ``state_dict`` gave, of this device or another, however either holds parameters.

        Load the model's own values first: masters that are older than the model's values are made anew.

        Raises:
            WeightsError: it does not fit; nothing is changed then.
        """
        groups = self._matched(state_dict["param_groups"])
        found: Mapping[str, Mapping[str, Any]] = state_dict["state"]
        state: dict[Storage, State] = {}
        for storage in self._owners():
            present = [name for name in storage.names if name in found]
            if present:
                state[storage] = self._loaded(storage, found)
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update(saved)
        self.state = state

    def _matched(self, saved: Iterable[Mapping[str, Any]]) -> list[Group]:
        """For each group the options that were saved of it."""
        of: dict[str, Group] = {}
        for group in saved:
            options = {
                name: _as(value, self.defaults.get(name)) for name, value in self._plain(dict(group)).items()
            }
            if options.keys() != self.defaults.keys():
                raise WeightsError(
                    f"the state is of another optimizer: its options are {', '.join(options)}, and those of "
                    f"{type(self).__name__} {', '.join(self.defaults)}"
                )
            self.check(options)
            of.update((name, options) for name in group["params"])
        found = []
        here = {one.name for group in self.param_groups for one in group["params"]}
        left = [name for name in of if name not in here]
        if left:
            raise WeightsError(f"the optimizer's state has {left[0]}, which was not given to this one")
        for group in self.param_groups:
            names = [one.name for one in group["params"]]
            for name in names:
                if name not in of:
                    raise WeightsError(f"the optimizer's state does not know {name}: it is of another model")
                if of[name] != of[names[0]]:
                    raise WeightsError(
                        f"{names[0]} and {name} are in one group here, and were in two with other options"
                    )
            found.append(of[names[0]] if names else {})
        return found

    def _loaded(self, storage: Storage, found: Mapping[str, Mapping[str, Any]]) -> State:
        steps = {name: int(found[name]["step"]) for name in storage.names if name in found}
        if len(steps) != len(storage.names) or len(set(steps.values())) != 1:
            raise WeightsError(
                f"the parameters in {storage.name} are one storage here, and took different steps: {steps}"
            )
        state = State(storage)
        state.step = next(iter(steps.values()))
        for key in (*self.tensors, MASTER):
            arrays = {name: np.asarray(found[name][key]) for name in storage.names if key in found[name]}
            held = storage.tensor
            if not arrays or (key == MASTER and not rounds(held)):
                continue
            array = imported(storage, arrays, key)
            if key != MASTER:
                array = state.filling.zeroed(array)
            label = ttnn.float32 if key == MASTER else self.label(held)
            state.tensors[key] = ttnn.Tensor(
                np.ascontiguousarray(array), label, held.device(), ttnn.TILE_LAYOUT
            )
        return state

    def label(self, values: types.Tensor) -> types.DataType:
        """The dtype of what is kept beside ``values``."""
        return ttnn.float32 if rounds(values) else values.dtype

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.defaults.items())
        return f"{type(self).__name__}({shown}, groups={len(self.param_groups)})"


def _as(value: Any, default: Any) -> Any:
    """An option as it was before JSON made a list of a tuple."""
    return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


def number(options: Group, name: str, low: float, below: float = float("inf"), what: str = "") -> None:
    """Refuse an option that is not in [``low``, ``below``).

    Raises:
        ConfigError: naming it.
    """
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < below:
        limit = f"at least {low:g}" if below == float("inf") else f"in [{low:g}, {below:g})"
        raise ConfigError(f"{what or name} is {value!r} and must be a number {limit}")


def fused(kind: str, value: float) -> Any:
    """A function of one number, fused into another op."""
    return ttnn.UnaryWithParam(getattr(ttnn.UnaryOpType, kind), value)

"""The kinds of config fields: what each may hold, and which keys of Hugging Face's config.json it is read from."""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ttmlc_runtime.errors import ConfigError

Default = Any  # a value, or a function of the config


class _Required:
    """Marks a field without a default."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()
UNSET = _Required()

# Hugging Face's names of activations, and what ttnn.linear calls them.
ACTIVATIONS: dict[str, str | None] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "linear": None,
}


def fused(name: str) -> str | None:
    """What ttnn.linear calls an activation: "gelu" is the erf form, "gelu_tanh" the tanh form; None for "linear".

    Raises:
        ConfigError: there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation {name!r} is not known{nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def nearest(word: str, known: Any) -> str:
    """A hint that names what may have been meant."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def exactly(a: int, b: int) -> int:
    """A / b.

    Raises:
        ConfigError: b does not divide a.
    """
    if b == 0 or a % b:
        raise ConfigError(f"{b} does not divide {a}")
    return a // b


@dataclass(frozen=True)
class FieldSpec:
    """What a field may hold, and where it is read from.

    Keys that begin with a dot are read from the dictionary of the field's group, which stands under one of ``inside``.
    """

    kind: str
    keys: tuple[str, ...]
    default: Default
    nullable: bool
    null: Callable[[Any], Any] | None
    check: Callable[[Any], Any]
    gate: Callable[[Any], bool] | None = None
    """Of the config so far: where it does not hold, the field is None."""
    inside: tuple[str, ...] = ()
    each: Callable[[Any], int] | None = None
    """Of the config so far, how many values the field has: a tuple, in a config.json a list. None where it has one."""

    @property
    def shown(self) -> str:
        """The first key, for a message."""
        first = self.keys[0] if self.keys else ""
        return f"{self.inside[0]}{first}" if first.startswith(".") else first

    def value(self, name: str, value: Any) -> Any:
        """``value`` as the field holds it.

        Raises:
            ConfigError: it does not fit.
        """
        if value is None and self.nullable:
            return None
        try:
            return self.check(value)
        except (TypeError, ValueError) as error:
            keys = f" (key {self.shown!r})" if self.keys else ""
            raise ConfigError(f"{name}{keys} is {value!r} and must be {error}") from None

    def values(self, name: str, values: Any, config: Any) -> tuple[Any, ...]:
        """As ``value``, of a field that has several.

        Raises:
            ConfigError: they are no list, too few or too many, or one does not fit.
        """
        assert self.each is not None
        count, keys = self.each(config), f" (key {self.shown!r})" if self.keys else ""
        if not isinstance(values, (list, tuple)):
            raise ConfigError(f"{name}{keys} is {values!r} and must be a list of {count} values")
        if len(values) != count:
            raise ConfigError(f"{name}{keys} has {len(values)} values and must have {count}")
        return tuple(self.value(f"{name}[{place}]", value) for place, value in enumerate(values))

    def assumed(self, config: Any) -> Any:
        """The default, in this config so far; of a field with several a function gives each, or one stands for all."""
        if self.each is None:
            return self.default(config) if callable(self.default) else self.default
        if isinstance(self.default, tuple):
            return self.default
        places = range(self.each(config))
        return tuple(
            self.default(config, place) if callable(self.default) else self.default for place in places
        )


def _maker(kind: str, check: Callable[[Any], Any]) -> Callable[..., Any]:
    def make(
        default: Default,
        *keys: str,
        nullable: bool = False,
        null: Callable[[Any], Any] | None = None,
        gate: Callable[[Any], bool] | None = None,
        inside: tuple[str, ...] = (),
        each: Callable[[Any], int] | None = None,
    ) -> Any:
        spec = FieldSpec(kind, keys, default, nullable, null, check, gate, inside, each)
        return dataclasses.field(default=UNSET, metadata={"spec": spec})

    make.__doc__ = (
        f"A field of kind {kind!r}: its default (a value, or a function of the config), then its keys. "
        "With a ``gate`` it is None where that does not hold of the config. With ``each`` it has so many values, and "
        "a default may be a function of the config and the place of one."
    )
    return make


def _whole(low: int, words: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(words)
        whole = operator.index(value)  # numpy's integers too
        if not low <= whole < 1 << 31:
            raise TypeError(words)
        return whole

    return check


def _number(value: Any, words: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(words)
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        raise TypeError(words) from None
    if not math.isfinite(number):
        raise TypeError(words)
    return number


def _real(value: Any) -> float:
    return _number(value, "a finite number")


def _rate(value: Any) -> float:
    number = _number(value, "a rate in [0, 1)")
    if not 0 <= number < 1:
        raise TypeError("a rate in [0, 1)")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _activation(value: Any) -> str:
    if not isinstance(value, str) or value not in ACTIVATIONS:
        known = f"one of {', '.join(sorted(ACTIVATIONS))}"
        raise TypeError(known + (nearest(value, ACTIVATIONS) if isinstance(value, str) else ""))
    return value


size = _maker("size", _whole(1, "a whole number of at least 1"))
integer = _maker("integer", _whole(-(1 << 31), "a whole number"))
token = _maker("token", _whole(0, "a token, a whole number of at least 0"))
real = _maker("real", _real)
rate = _maker("rate", _rate)
flag = _maker("flag", _flag)
activation = _maker("activation", _activation)


def choice(
    default: Default,
    *keys: str,
    one_of: tuple[str, ...],
    nullable: bool = False,
    gate: Callable[[Any], bool] | None = None,
    inside: tuple[str, ...] = (),
    each: Callable[[Any], int] | None = None,
) -> Any:
    """A field that holds one of some words; with ``each`` so many of them."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in one_of:
            near = nearest(value, one_of) if isinstance(value, str) else ""
            raise TypeError(f"one of {', '.join(one_of)}{near}")
        return str(value)

    return _maker("choice", check)(default, *keys, nullable=nullable, gate=gate, inside=inside, each=each)


MISSING = object()


def chosen(values: Mapping[str, Any], inside: tuple[str, ...]) -> str:
    """The key of ``inside`` under which a group's dictionary stands: the first that is neither empty nor null."""
    found = (key for key in inside if isinstance(values.get(key), Mapping) and values[key])
    return next(found, inside[0] if inside else "")


def lookup(values: Any, key: str) -> Any:
    """The value at ``key``: a path with dots, or ``len(path)``; MISSING where it is absent. Null is a value."""
    if key.startswith("len(") and key.endswith(")"):
        found = lookup(values, key[4:-1])
        return len(found) if isinstance(found, (list, dict)) else MISSING
    here: Any = values
    for word in key.strip(".").split("."):
        if not isinstance(here, Mapping) or word not in here:
            return MISSING
        here = here[word]
    return here

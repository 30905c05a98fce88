"""The base of every config: fields that are checked, read from and written to Hugging Face's config.json."""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from ttmlc_runtime.errors import ConfigError
from ttmlc_runtime.nn.fields import MISSING, UNSET, FieldSpec, _Required, chosen, lookup, nearest

C = TypeVar("C", bound="Config")

# Keys that every Hugging Face config may have and that change nothing that a model computes.
PRELUDE = (
    "_attn_implementation*", "_commit_hash", "_name_or_path", "architectures", "attn_implementation", "auto_map",
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "dtype", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id",
    "eos_token_ids", "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "id2label", "label2id", "length_penalty", "max_length", "min_length", "model_type",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels", "num_return_sequences", "output_attentions",
    "output_hidden_states", "output_past", "output_scores", "prefix", "problem_type", "remove_invalid_values",
    "repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tokenizer_class", "top_k", "top_p", "torch_dtype",
    "torchscript", "transformers_version", "typical_p", "use_bfloat16",
)  # fmt: skip
# Keys that only ever matter where they have another value than this.
INERT: dict[str, object] = {
    "cross_attention_hidden_size": None,
    "is_encoder_decoder": False,
    "pruned_heads": {},
    "quantization_config": None,
    "tie_encoder_decoder": False,
    "add_cross_attention": False,
    "is_decoder": False,
    "tie_word_embeddings": True,
}


# How many classes Transformers takes a file for that names none.
DEFAULT_LABELS = ("LABEL_0", "LABEL_1")


def require(condition: bool, message: str) -> None:
    """Refuse a config.

    Raises:
        ConfigError: ``condition`` does not hold; the words are the spec's.
    """
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The base of the emitted config classes."""

    model_type: ClassVar[str] = ""
    fixed: ClassVar[dict[str, object]] = {}
    harmless: ClassVar[tuple[str, ...]] = ()
    built_for: ClassVar[dict[str, object]] = {}
    fingerprint: ClassVar[str] = ""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """Keys of the config.json it was read from that change nothing; written back on saving."""

    def __new__(cls: type[C], *args: Any, **values: Any) -> C:
        """Refuse unknown names before the dataclass does, with the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"{cls.__name__} has no field {name!r}{nearest(name, known)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, spec in self.specs().items():
            given = getattr(self, name)
            if spec.gate is not None and not spec.gate(self):
                object.__setattr__(self, name, None)
                continue
            if isinstance(given, _Required):
                given = self._default(name, spec)
            held = spec.value(name, given) if spec.each is None else spec.values(name, given, self)
            object.__setattr__(self, name, held)
        self._check_built_for()
        self.check()

    def _default(self, name: str, spec: FieldSpec) -> Any:
        if isinstance(spec.default, _Required):
            keys = f", in config.json {' or '.join(map(repr, spec.keys))}" if spec.keys else ""
            raise ConfigError(f"{type(self).__name__} needs {name}{keys}: it has no default")
        try:
            return spec.assumed(self)
        except ConfigError as error:
            raise ConfigError(f"{name} has no default here: {error}") from None

    def _check_built_for(self) -> None:
        different = [name for name, value in self.built_for.items() if getattr(self, name, value) != value]
        if different:
            shown = ", ".join(
                f"{name} {self.built_for[name]!r} (not {getattr(self, name)!r})" for name in different
            )
            built = ", ".join(f"{name}={value!r}" for name, value in self.built_for.items())
            raise ConfigError(
                f"this module was compiled for {shown}: compile the spec for this config, or use the generic build "
                f"(build {self.fingerprint}: {built})"
            )

    def check(self) -> None:
        """What the spec requires and what the program relies on; the emitted class says it."""

    @classmethod
    def specs(cls) -> dict[str, FieldSpec]:
        """The declared fields, in order."""
        return {
            field.name: field.metadata["spec"]
            for field in dataclasses.fields(cls)
            if "spec" in field.metadata
        }

    @classmethod
    def from_hugging_face(cls: type[C], values: Mapping[str, Any]) -> C:
        """A config from the contents of a config.json.

        Every key is read by a field, declared harmless, or refused: nothing that could change what is computed
        passes in silence. An absent key is the default; null is a value only where the field may be null.

        Raises:
            ConfigError: naming the key and what to do.
        """
        found = values.get("model_type")
        if cls.model_type and found not in (None, cls.model_type):
            raise ConfigError(
                f"config.json is of a {found!r} model, and {cls.__name__} reads {cls.model_type!r}"
            )
        given: dict[str, Any] = {}
        late: dict[str, Any] = {}
        for name, spec in cls.specs().items():
            for key in spec.keys:
                value = lookup(
                    values.get(chosen(values, spec.inside)) if key.startswith(".") else values, key
                )
                if value is MISSING or name in given or name in late:
                    continue
                if value is None and not spec.nullable:
                    if spec.null is not None:
                        late[name] = spec.null
                    continue
                given[name] = value
        extra = cls._leftover(values)
        try:
            made = cls(**given, extra=extra)
            if late:
                made = cls(**given, **{name: null(made) for name, null in late.items()}, extra=extra)
        except ConfigError as error:
            raise ConfigError(f"config.json: {error}") from None
        return made

    @classmethod
    def _leftover(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What no field reads, or reads only in part, to be written back; a key that nothing knows is refused."""
        specs = list(cls.specs().values())
        groups = {key: chosen(values, spec.inside) for spec in specs for key in spec.inside}
        paths = [
            _path(f"{groups[spec.inside[0]]}{key}" if key.startswith(".") else key)
            for spec in specs
            for key in spec.keys
        ]
        inner = {path.rsplit(".", depth)[0] for path in paths for depth in range(1, path.count(".") + 1)}
        extra: dict[str, Any] = {}
        for key, value in values.items():
            if not isinstance(key, str):
                raise ConfigError(f"config.json has the key {key!r}, which is no word")
            if groups.get(key, key) != key and (value is None or isinstance(value, Mapping)):
                continue  # another dictionary stands for this one, whole
            cls._know(key, value, set(paths), inner)
            if key in groups:
                value = {word: below for word, below in (value or {}).items() if f"{key}.{word}" not in paths}
                extra.update({key: value} if value else {})
            elif key not in paths or value is None or isinstance(value, (Mapping, list)):
                extra[key] = value
        return extra

    @classmethod
    def _know(cls, key: str, value: object, read: set[str], inner: set[str]) -> None:
        """Refuse a key that is neither read, nor fixed at its value, nor known to change nothing."""
        if key in read:
            return
        if key in inner and (value is None or isinstance(value, Mapping)):
            for word, below in (value or {}).items():
                cls._know(f"{key}.{word}", below, read, inner)
            return
        if key in cls.fixed:
            if value is not None and not _same(value, cls.fixed[key]):
                raise ConfigError(
                    f"config.json has {key} = {value!r}, and {cls.__name__} is written for {cls.fixed[key]!r}"
                )
            return
        if key in INERT and _same(value, INERT[key]):
            return
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in (*PRELUDE, *cls.harmless)):
            raise ConfigError(
                f"config.json has the key {key!r} = {value!r}, which may change what is computed and which "
                f"{cls.__name__} does not know{nearest(key, [*read, *cls.fixed, *cls.harmless])}"
            )

    def to_hugging_face(self) -> dict[str, Any]:
        """The contents of a config.json that Transformers reads: every field under its first key."""
        values: dict[str, Any] = copy.deepcopy(self.extra)
        values.update({key: value for key, value in self.fixed.items() if key not in values})
        values["model_type"] = self.model_type
        self._write_groups(values)
        for name, spec in self.specs().items():
            held: Any = getattr(self, name)
            held = held if spec.each is None else list(held)
            paths = [key for key in spec.keys if not key.startswith("len(") and not spec.inside]
            if paths and not (values.get(paths[0], held) is None and held == self._null(spec)):
                _put(values, paths[0], held)
            elif paths and held is None and self._assumed(spec) is not None:
                _put(values, paths[0], None)  # an absent key would mean something else
            if "len(id2label)" in spec.keys and not _counts(values.get("id2label", DEFAULT_LABELS), held):
                # Transformers does not store a number of classes, only their names.
                values["id2label"] = {str(place): f"LABEL_{place}" for place in range(held)}
                values["label2id"] = {f"LABEL_{place}": place for place in range(held)}
        return values

    def _assumed(self, spec: FieldSpec) -> Any:
        """What a nullable field is where no key of it is there, in this config."""
        if isinstance(spec.default, _Required) or (spec.gate is not None and not spec.gate(self)):
            return None
        return spec.assumed(self)

    def _write_groups(self, values: dict[str, Any]) -> None:
        """Write the fields of groups: into the first dictionary, and beside it where older files have them.

        Which of the group's keys are read depends on the kind that it names. Of the default kind what stands at its
        default is left out, of any other kind nothing is. A module that was compiled for one config has that one's
        values as its defaults, so it writes all.
        """
        groups: dict[tuple[str, ...], dict[str, FieldSpec]] = {}
        for name, spec in self.specs().items():
            if spec.inside:
                groups.setdefault(spec.inside, {})[name] = spec
        for inside, fields in groups.items():
            kept = [values.pop(key) for key in inside if key in values]  # what no field reads
            changed = [name for name, spec in fields.items() if getattr(self, name) != spec.assumed(self)]
            whole = bool(self.built_for) or any(fields[name].kind == "choice" for name in changed)
            for name, spec in fields.items() if whole or changed else ():
                if whole or name in changed or spec.kind == "choice":
                    first = {key.startswith("."): key for key in reversed(spec.keys)}
                    for within, key in first.items():
                        _put(values, f"{inside[0]}{key}" if within else key, getattr(self, name))
            for left in kept:
                values.setdefault(inside[0], {}).update(left)

    def _null(self, spec: FieldSpec) -> Any:
        """What null in a config.json stands for, in this config."""
        if spec.nullable or isinstance(spec.default, _Required):
            return None
        if spec.null is not None:
            return spec.null(self)
        return spec.assumed(self) if spec.each is None else list(spec.assumed(self))

    def replace(self: C, **changes: Any) -> C:
        """This config with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


def _path(key: str) -> str:
    return key.removeprefix("len(").removesuffix(")").strip(".")


def _same(value: object, other: object) -> bool:
    """Equality that tells 1 from true."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _counts(names: object, count: object) -> bool:
    return isinstance(names, (Mapping, list, tuple)) and len(names) == count


def _put(values: dict[str, Any], key: str, value: object) -> None:
    """Write ``value`` at a path with dots, making the objects on the way."""
    *path, last = key.strip(".").split(".")
    here = values
    for word in path:
        inner = here.get(word)
        if not isinstance(inner, dict):
            inner = here[word] = {}
        here = inner
    here[last] = value


__all__ = ["UNSET", "Config", "require"]

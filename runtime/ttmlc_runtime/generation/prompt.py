"""The prompts of a batch: checked, and padded on the left where they differ in length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.errors import InputError
from ttmlc_runtime.generation.sampling import Sampling
from ttmlc_runtime.nn.inputs import Integers

Array = np.ndarray[Any, Any]
LEFT = (
    "pad prompts on the left, so that each row's last token stands last (padding_side='left' of a tokenizer)"
)


@dataclass(frozen=True)
class Prompt:
    """Tokens and which of them are there, int64 [B, S] both: each row is padding and then its tokens."""

    ids: Array
    mask: Array
    room: int = 1
    """How many more tokens a row there may be, at most."""

    @property
    def positions(self) -> Array:
        """Each token's place in its row, 0 under padding: int64 [B, S]."""
        return np.where(self.mask == 1, self.mask.cumsum(axis=-1) - 1, 0)

    @property
    def lengths(self) -> Array:
        """How many tokens each row has, int64 [B]."""
        return self.mask.sum(axis=-1)


def read_prompt(
    ids: Integers, mask: Integers | None, sampling: Sampling, *, vocab: int, longest: int | None, ragged: bool
) -> Prompt:
    """The prompts of a batch, with room for what is added to them.

    Args:
        ids: integers [B, S].
        mask: 1 where a token is there, 0 where it is padding, [B, S]. Where it is left out, ``pad_token_id`` is
            padding if it does not also end rows, as in Transformers.
        sampling: what is asked for.
        vocab: how many tokens there are.
        longest: how many places the model has; None where nothing ends them.
        ragged: whether the model takes a mask.

    Raises:
        InputError: they do not fit; it says what to do.
    """
    tokens = _array("input_ids", ids)
    if tokens.dtype.kind not in "iu":
        raise InputError(f"input_ids must be integers, not {tokens.dtype}")
    sampling.check(vocab)
    pad = sampling.pad_token_id
    if mask is not None:
        there = _array("attention_mask", mask)
        if there.shape != tokens.shape:
            raise InputError(f"attention_mask is {list(there.shape)}, and input_ids {list(tokens.shape)}")
        if there.dtype.kind not in "biuf" or not np.isin(there, (0, 1)).all():
            raise InputError("attention_mask must hold 1 (a token) and 0 (padding) only")
    else:
        padded = pad is not None and pad not in sampling.eos
        there = tokens != pad if padded else np.ones_like(tokens)
    there = there.astype(np.int64)
    _check_rows(tokens, there, vocab)
    if not ragged and not there.all():
        raise InputError("this model takes no attention_mask: generate from prompts of one length at a time")
    prompt = Prompt(tokens.astype(np.int64), there, sampling.max_new_tokens)
    most = int(prompt.lengths.max())
    # The last token that is made is not looked up again, and takes no place.
    if longest is not None and most + sampling.max_new_tokens - 1 > longest:
        room = longest + 1 - most
        fix = f"max_new_tokens can be {room} at most" if room > 0 else "shorten the prompt"
        raise InputError(
            f"a prompt of {most} tokens and {sampling.max_new_tokens} new ones do not fit into the model's "
            f"{longest} positions: {fix}"
        )
    return prompt


def _check_rows(tokens: Array, there: Array, vocab: int) -> None:
    empty = ~there.any(axis=-1)
    if empty.any():
        raise InputError(f"row {int(empty.argmax())} has no token to go on from: begin it with one")
    right = there[:, -1] == 0
    if right.any():
        raise InputError(f"row {int(right.argmax())} ends in padding: {LEFT}")
    holes = (np.diff(there, axis=-1) < 0).any(axis=-1)
    if holes.any():
        raise InputError(f"row {int(holes.argmax())} has padding between its tokens: {LEFT}")
    wrong = (tokens < 0) | (tokens >= vocab)
    if wrong.any():
        row, place = (int(at) for at in np.argwhere(wrong)[0])
        raise InputError(f"input_ids[{row}, {place}] is {tokens[row, place]} and must be in [0, {vocab})")


def _array(name: str, value: Integers) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # torch raises the last for tensors it cannot give
        raise InputError(f"{name} is no array of one shape ({error}): {LEFT}") from None
    if array.ndim != 2 or 0 in array.shape:
        hint = ": a single row is input_ids[None, :]" if array.ndim == 1 and array.size else ""
        raise InputError(f"{name} must be [batch, tokens], not {list(array.shape)}{hint}")
    return array

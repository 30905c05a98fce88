"""The base of emitted models that generate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ttmlc_runtime import nn
from ttmlc_runtime.autograd import no_grad
from ttmlc_runtime.errors import ConfigError
from ttmlc_runtime.generation.decoders import Cached, Decoder, Recomputing
from ttmlc_runtime.generation.prompt import Prompt, read_prompt
from ttmlc_runtime.generation.sampling import Chooser, Sampling, Seeds
from ttmlc_runtime.generation.spec import NextToken
from ttmlc_runtime.nn.inputs import Integers

Array = np.ndarray[Any, Any]
C = TypeVar("C", bound=nn.Config)


class Streamer(Protocol):
    """Is given the tokens as they come, as Transformers' streamers are (its TextStreamer is one)."""

    def put(self, value: Any) -> None:
        """The prompts first, int64 [B, S]; then each step's tokens, int64 [B]."""

    def end(self) -> None:
        """There are no more."""


class Model(nn.Model[C]):
    """A model one of whose outputs is about the token that follows."""

    next_token: ClassVar[NextToken]
    """The output, and the inputs that it is computed from; the emitted class says."""

    def decoding(self) -> Decoder:
        """What computes the logits of the next token: with a cache, where the model takes one."""
        says = self.next_token
        return Cached(self, says) if says.cached else Recomputing(self, says)

    def generate(
        self,
        input_ids: Integers,
        attention_mask: Integers | None = None,
        *,
        max_new_tokens: int,
        min_new_tokens: int = 0,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        eos_token_id: Any = None,
        pad_token_id: int | None = None,
        seed: Seeds = None,
        streamer: Streamer | None = None,
        use_cache: bool = True,
    ) -> Array:
        """The prompts and what follows them: int64 [B, S + new], rows that ended filled with ``pad_token_id``.

        The likeliest token comes next, or with ``do_sample`` one drawn by probability. Nothing is recorded, and
        nothing drops out.

        Args:
            input_ids: integers [B, S]; of different lengths, padded on the left.
            attention_mask: 1 where a token is there and 0 where it is padding, [B, S].
            max_new_tokens: how many tokens come at most; fewer where every row has ended.
            min_new_tokens: how many come before a row may end.
            do_sample: whether to draw.
            temperature: what logits are divided by before drawing.
            top_k: draw among so many tokens, the likeliest.
            top_p: draw among the fewest tokens whose probabilities reach this sum.
            repetition_penalty: what makes tokens that are there already less likely, where it is above 1.
            eos_token_id: the token that ends a row, or several.
            pad_token_id: what fills rows that have ended; without it the first that ends rows.
            seed: decides what is drawn, row by row, whatever the other rows are; several are one a row.
            streamer: is given the prompts, and then each step's tokens.
            use_cache: whether keys and values of earlier tokens are kept, where the model can; else each step runs
                the whole of each row again.

        Raises:
            InputError: something does not fit the model; it says what to do.
            ConfigError: under this config tokens see those after them.
        """
        sampling = Sampling(
            max_new_tokens=max_new_tokens,
            min_new_tokens=min_new_tokens,
            do_sample=do_sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            seed=seed,
        )
        prompt, chooser = self._begin(input_ids, attention_mask, sampling)
        if streamer is not None:
            streamer.put(prompt.ids)
        columns = []
        for tokens in self._steps(prompt, chooser, use_cache):
            columns.append(tokens[:, None])
            if streamer is not None:
                streamer.put(tokens)
        if streamer is not None:
            streamer.end()
        return np.concatenate([prompt.ids, *columns], axis=-1)

    def stream(
        self,
        input_ids: Integers,
        attention_mask: Integers | None = None,
        *,
        use_cache: bool = True,
        **options: Any,
    ) -> Iterator[Array]:
        """As ``generate``, but the tokens of each step as they come: int64 [B], once a step.

        Raises:
            InputError: as from ``generate``, here and not at the first step.
            ConfigError: as from ``generate``.
        """
        return self._steps(*self._begin(input_ids, attention_mask, Sampling(**options)), use_cache)

    def _begin(
        self, input_ids: Integers, attention_mask: Integers | None, sampling: Sampling
    ) -> tuple[Prompt, Chooser]:
        says, config = self.next_token, self.config
        if not says.causal(config):
            raise ConfigError(
                f"{type(self).__name__} does not generate under this config: its attention is not causal, so that "
                "each token depends on those after it"
            )
        prompt = read_prompt(
            input_ids,
            attention_mask,
            sampling,
            vocab=says.vocab(config),
            longest=says.longest(config),
            ragged=bool(says.mask),
        )
        return prompt, Chooser(sampling, len(prompt.ids))

    def _steps(self, prompt: Prompt, chooser: Chooser, use_cache: bool) -> Iterator[Array]:
        sampling = chooser.sampling
        decoder = self.decoding() if use_cache else Recomputing(self, self.next_token)
        seen = [ids[mask == 1] for ids, mask in zip(prompt.ids, prompt.mask, strict=True)]
        running = np.ones(len(seen), bool)
        with no_grad():
            logits, cache = decoder.prefill(prompt)
        for new in range(sampling.max_new_tokens):
            tokens = chooser(logits, seen, new)
            if sampling.pad is not None:
                tokens = np.where(running, tokens, sampling.pad)
            running &= ~np.isin(tokens, sampling.eos)
            yield tokens
            if new + 1 == sampling.max_new_tokens or not running.any():
                return
            seen = [np.append(row, token) for row, token in zip(seen, tokens, strict=True)]
            with no_grad():  # not around the yield: the caller's own calls are between two steps
                logits = decoder.decode(tokens, cache)

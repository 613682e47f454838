"""A ChatModel on this machine: any causal language model that transformers loads, on CPU or GPU.

It shares the loaded weights with the Embedder, writes token by token (so that a reply streams and
stops), keeps to a JSON schema where one is given, and tells how likely given words are.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language.chat_model import Finish, Message, Reply, Usage, check_chat
from latentcrs_utils.language.models import (
    DEFAULT_MODEL,
    DTypeName,
    LanguageModel,
    choose_dtype,
    find_model,
    load_language_model,
)
from latentcrs_utils.language.structured_output import SchemaGuide, check_schema, require_valid


class SharedBeginning:
    """Keys and values of the whole pieces that a prompt has in common with the one before it.

    What two successive prompts share is kept while the second is read; the third need not read it
    again. A prompt without a whole piece to share changes nothing.

    Args:
        step: tokens a piece.
    """

    def __init__(self, step: int):
        self.step = step
        self._last: list[int] = []
        self._kept: tuple[list[int], Any] = [], None

    def known(self, prompt: list[int]) -> tuple[int, Any]:
        """Return how many tokens of a prompt need not be read, and a cache of them to go on with.

        Returns:
            (0, None), or a multiple of `step` that leaves at least one token to be read.
        """
        beginning, cache = self._kept
        n = len(beginning)
        if not 0 < n < len(prompt) or prompt[:n] != beginning:
            return 0, None
        # a model writes into the cache that it is given
        return n, copy.deepcopy(cache)

    def to_keep(self, prompt: list[int]) -> int:
        """Note a prompt that is about to be read, and say how much of it is shared.

        Returns:
            After how many tokens `keep` is to be called, a multiple of `step`; 0: not at all.
        """
        whole = (len(prompt) - 1) // self.step * self.step
        if not whole:
            return 0
        shared = 0
        while shared < whole and _piece(prompt, shared, self.step) == _piece(
            self._last, shared, self.step
        ):
            shared += self.step
        self._last = list(prompt)
        return shared

    def keep(self, prompt: Sequence[int], n: int, cache: Any) -> None:
        """Keep the cache after the first n tokens of a prompt, in place of what was kept."""
        self._kept = list(prompt[:n]), copy.deepcopy(cache)


def _piece(tokens: list[int], start: int, step: int) -> list[int]:
    return tokens[start : start + step]


# a long prompt is read in pieces, so that a stop is noticed between them
_READING_STEP = 256
_LONGEST_PERIOD = 24


class LocalChatModel:
    """A causal language model on this machine; greedy, so equal prompts get equal replies.

    Args:
        model: ``"smollm2"``, a folder, a ``.gguf`` file or a Hugging Face id.
        dtype: as for the Embedder; equal choices share the loaded weights.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: of the sampling; each reply begins with it afresh.

    Attributes:
        name: the model, as shown on screen.
        usage: the token bill so far.

    Raises:
        ConfigError: unknown model or dtype, or a negative temperature.
        AssetError: the model is not here and cannot be fetched.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        dtype: DTypeName = "auto",
        temperature: float = 0.0,
        seed: int = 0,
    ):
        if temperature < 0:
            raise ConfigError(f"temperature={temperature} is negative.")
        self._source = find_model(model)
        self.name = self._source.name
        self.dtype = choose_dtype(dtype)
        self.temperature = temperature
        self.seed = seed
        self.usage = Usage()
        self._beginning = SharedBeginning(_READING_STEP)

    def generate(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Write the next message of a chat; see `ChatModel.generate`.

        With a schema only tokens that keep to it are chosen (`SchemaGuide` says what it enforces);
        the model is not told the schema, so say in the messages what is wanted.

        Raises:
            ReplyError: the reply is no JSON that fits the schema.
            MessageError: malformed messages, or more than the model can read.
            ConfigError: the model has no chat template, or the schema cannot be enforced.
        """
        started = time.perf_counter()
        language_model = self._language_model()
        prompt = self._chat_ids(messages)
        if len(prompt) + max_new_tokens > language_model.context_length:
            raise MessageError(
                f"The chat has {len(prompt):,} tokens and {self.name} reads and writes at most "
                f"{language_model.context_length:,}: send less of it."
            )
        guide = None
        if schema is not None:
            guide = SchemaGuide(self._source, self.dtype, check_schema(schema))
        early = stream if schema is None else None
        text, n_written, finish = self._write(prompt, max_new_tokens, early, stop, guide)
        seconds = time.perf_counter() - started
        self.usage.add(len(prompt), n_written, seconds)
        if schema is not None:
            require_valid(text, schema, self.name, finish)
            if stream is not None:
                stream(text)
        return Reply(text, len(prompt), n_written, seconds, self.name, finish)

    def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        *,
        batch_size: int = 8,
    ) -> list[float]:
        """Log-likelihood of each continuation of one prompt: the sum over its tokens, in nats.

        The prompt is read once, its keys and values serve all continuations. Prompt and
        continuation are split into tokens apart, so begin a continuation with the space that
        would separate it.

        Args:
            prompt: plain text, or chat messages (then a continuation begins the reply).
            continuations: C non-empty texts.
            batch_size: continuations a forward pass.

        Raises:
            MessageError: an empty prompt or continuation, or more than the model can read.
        """
        started = time.perf_counter()
        language_model = self._language_model()
        if isinstance(prompt, str):
            ids = language_model.token_ids(_checked(prompt, "The prompt"))
        else:
            ids = self._chat_ids(prompt)
        endings = [
            language_model.token_ids(_checked(text, f"Continuation {place}"), opening=False)
            for place, text in enumerate(continuations)
        ]
        if len(ids) + max(map(len, endings), default=0) > language_model.context_length:
            raise MessageError(f"The prompt has {len(ids):,} tokens: too many for {self.name}.")
        scores = _log_likelihoods(language_model, ids, endings, batch_size)
        n_read = len(ids) + sum(map(len, endings))
        self.usage.add(n_read, 0, time.perf_counter() - started)
        return scores

    def _language_model(self) -> LanguageModel:
        return load_language_model(self._source, self.dtype)

    def _chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat in the model's own format, ready for the reply."""
        tokenizer = self._language_model().tokenizer
        check_chat(messages)
        if not tokenizer.chat_template:
            raise ConfigError(
                f"{self.name} has no chat template: it can embed, but to talk choose an "
                "instruction-tuned model."
            )
        clean = [
            {**m, "content": _without_control_words(tokenizer, str(m["content"]))} for m in messages
        ]
        text = tokenizer.apply_chat_template(clean, tokenize=False, add_generation_prompt=True)
        return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _write(
        self,
        prompt: list[int],
        max_new_tokens: int,
        stream: Callable[[str], None] | None,
        stop: threading.Event | None,
        guide: SchemaGuide | None,
    ) -> tuple[str, int, Finish]:
        """Write to the end, the limit or a stop: the text, its number of tokens, how it ended."""
        language_model = self._language_model()
        written: list[int] = []
        shown = ""
        for token in self._next_tokens(prompt, max_new_tokens, stop, guide):
            written.append(token)
            if token in language_model.end_tokens:
                return shown, len(written), "end"
            text = _readable(language_model.tokenizer, written)
            if stream is not None and len(text) > len(shown):
                stream(text[len(shown) :])
            shown = text
            if guide is not None:
                # JSON may say the same thing many times, and rightly so
                if guide.complete:
                    return shown, len(written), "end"
            elif goes_in_circles(written):
                return shown, len(written), "repetition"
        return shown, len(written), "length" if len(written) == max_new_tokens else "stopped"

    def _next_tokens(
        self,
        prompt: list[int],
        max_new_tokens: int,
        stop: threading.Event | None,
        guide: SchemaGuide | None,
    ) -> Iterator[int]:
        """Yield one token after another until the limit or a stop."""
        language_model = self._language_model()
        device = language_model.device
        generator = torch.Generator(device).manual_seed(self.seed)
        n_read, cache = self._beginning.known(prompt)
        to_keep = self._beginning.to_keep(prompt)
        steps = [prompt[i : i + _READING_STEP] for i in range(n_read, len(prompt), _READING_STEP)]
        for _ in range(max_new_tokens):
            for step in steps:
                if stop is not None and stop.is_set():
                    return
                # the lock is held for one pass at a time, so that nobody waits for a whole reply
                with language_model.lock, torch.inference_mode():
                    output = language_model.model(
                        input_ids=torch.tensor([step], device=device),
                        past_key_values=cache,
                        use_cache=True,
                        logits_to_keep=1,
                    )
                cache = output.past_key_values
                n_read += len(step)
                if n_read == to_keep:
                    self._beginning.keep(prompt, to_keep, cache)
            logits = output.logits[0, -1].float()
            token = self._choose(logits if guide is None else guide.restrict(logits), generator)
            if guide is not None:
                guide.advance(token)
            yield token
            steps = [[token]]

    def _choose(self, logits: torch.Tensor, generator: torch.Generator) -> int:
        """The likeliest token, or a sample at a temperature above 0."""
        if self.temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / self.temperature, dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=generator))


def goes_in_circles(tokens: Sequence[int]) -> bool:
    """Tell whether the last tokens are one stretch of up to 24, three times over (12 at least)."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = period * max(3, -(-12 // period))
        tail = tokens[-length:]
        if len(tail) == length and all(tail[i] == tail[i + period] for i in range(length - period)):
            return True
    return False


def _log_likelihoods(
    language_model: LanguageModel, prompt: list[int], endings: list[list[int]], batch_size: int
) -> list[float]:
    """Sum of log p(token | prompt and the tokens before it) for each ending."""
    scores = [0.0] * len(endings)
    # endings of like length together, for padding is read like words
    order = sorted(range(len(endings)), key=lambda place: len(endings[place]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    ids, read = torch.tensor([prompt], device=language_model.device), None
    for batch in batches:
        # the lock is held for some passes at a time, so that nobody waits for all of them
        with language_model.lock, torch.inference_mode():
            read = read or language_model.model(ids, use_cache=True, logits_to_keep=1)
            of_batch = _continued(language_model, read, [endings[place] for place in batch])
        for place, score in zip(batch, of_batch, strict=True):
            scores[place] = score
    return scores


def _continued(language_model: LanguageModel, read: Any, endings: list[list[int]]) -> list[float]:
    """Sum of log p(token | what was read and the tokens before it) for each ending."""
    longest, device = max(map(len, endings)), language_model.device
    # padding stands on the right: a causal model reads nothing to the right of a token
    padded = torch.tensor([e + [0] * (longest - len(e)) for e in endings], device=device)
    real = torch.tensor([[i < len(e) for i in range(longest)] for e in endings], device=device)
    logits = read.logits[:, -1:].expand(len(endings), -1, -1)
    if longest > 1:
        # the model writes into the cache that it is given, and nothing comes after the last token
        cache = copy.deepcopy(read.past_key_values)
        cache.batch_repeat_interleave(len(endings))
        later = language_model.model(padded[:, :-1], past_key_values=cache, use_cache=True).logits
        logits = torch.cat([logits, later], dim=1)
    log_p = torch.log_softmax(logits.float(), dim=-1)
    chosen = log_p.gather(-1, padded.unsqueeze(-1)).squeeze(-1)
    return (chosen * real).sum(dim=1).tolist()


def _readable(tokenizer: Any, tokens: list[int]) -> str:
    """The text so far, without half characters and white space at the end: it only grows."""
    text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip().rstrip("\ufffd").rstrip()


def _without_control_words(tokenizer: Any, text: str) -> str:
    """Text in which nobody can open a turn of their own: no control word of the model is left."""
    while found := [word for word in tokenizer.all_special_tokens if word in text]:
        for word in found:
            text = text.replace(word, "")
    return text


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise MessageError(f"{what} is empty: there is nothing to score.")
    return text

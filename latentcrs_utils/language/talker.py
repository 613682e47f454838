"""The Talker: a language model that writes, and tells how likely given words are.

It is kept apart from the Embedder (changing the Talker needs no training), but both use the same
loaded weights.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language.models import (
    DEFAULT_MODEL,
    DTypeName,
    LanguageModel,
    choose_dtype,
    find_model,
    load_language_model,
)

Message = dict[str, str]
Finish = Literal["end", "length", "stopped", "repetition"]

# a long prompt is read in pieces, so that a stop is noticed between them
_READING_STEP = 256
_LONGEST_PERIOD = 24


@dataclass(frozen=True)
class Reply:
    """What a Talker wrote.

    Attributes:
        text: the reply; what was streamed adds up to it.
        prompt_tokens: tokens read.
        completion_tokens: tokens written, the closing one included.
        seconds: wall-clock time.
        model: who wrote it.
        finish: ``"end"`` (said all), ``"length"`` (cut at the limit), ``"stopped"`` (asked to
            stop) or ``"repetition"`` (cut since it went round in circles).
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    model: str
    finish: Finish = "end"


@dataclass
class Usage:
    """Token bill of a Talker: all calls so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Talker(Protocol):
    """Anything that can continue a chat."""

    name: str

    def generate(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Write the next message of a chat.

        Args:
            messages: dictionaries with ``role`` (system, user, assistant) and ``content``.
            max_new_tokens: longest reply.
            stream: called with each new piece of text.
            stop: set it, from any thread, to end the reply where it is.
        """
        ...


class LocalTalker:
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
        self._usage_lock = threading.Lock()

    def generate(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Write the next message of a chat; see `Talker.generate`.

        Raises:
            MessageError: malformed messages, or more than the model can read.
            ConfigError: the model has no chat template.
        """
        started = time.perf_counter()
        language_model = self._language_model()
        prompt = self._chat_ids(messages)
        if len(prompt) + max_new_tokens > language_model.context_length:
            raise MessageError(
                f"The chat has {len(prompt):,} tokens and {self.name} reads and writes at most "
                f"{language_model.context_length:,}: send less of it."
            )
        written: list[int] = []
        shown = ""
        finish: Finish = "length"
        for token in self._next_tokens(prompt, max_new_tokens, stop):
            written.append(token)
            if token in _end_tokens(language_model):
                finish = "end"
                break
            text = _readable(language_model.tokenizer, written)
            if stream is not None and len(text) > len(shown):
                stream(text[len(shown) :])
            shown = text
            if goes_in_circles(written):
                finish = "repetition"
                break
        if finish == "length" and len(written) < max_new_tokens:
            finish = "stopped"
        seconds = time.perf_counter() - started
        self._count(len(prompt), len(written), seconds)
        return Reply(shown, len(prompt), len(written), seconds, self.name, finish)

    def score(
        self,
        prompt: str | Sequence[Message],
        continuations: Sequence[str],
        *,
        batch_size: int = 16,
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
        scores: list[float] = []
        for start in range(0, len(endings), batch_size):
            scores += _log_likelihoods(language_model, ids, endings[start : start + batch_size])
        n_read = len(ids) + sum(map(len, endings))
        self._count(n_read, 0, time.perf_counter() - started)
        return scores

    def _language_model(self) -> LanguageModel:
        return load_language_model(self._source, self.dtype)

    def _count(self, n_read: int, n_written: int, seconds: float) -> None:
        with self._usage_lock:
            self.usage.calls += 1
            self.usage.prompt_tokens += n_read
            self.usage.completion_tokens += n_written
            self.usage.seconds += seconds

    def _chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat in the model's own format, ready for the reply."""
        tokenizer = self._language_model().tokenizer
        if not messages or not all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and "content" in m
            for m in messages
        ):
            raise MessageError("A chat is a list of messages with 'role' and 'content'.")
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

    def _next_tokens(
        self, prompt: list[int], max_new_tokens: int, stop: threading.Event | None
    ) -> Iterator[int]:
        """Yield one token after another until the limit or a stop."""
        language_model = self._language_model()
        device = language_model.device
        generator = torch.Generator(device).manual_seed(self.seed)
        cache: Any = None
        steps = [prompt[i : i + _READING_STEP] for i in range(0, len(prompt), _READING_STEP)]
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
            token = self._choose(output.logits[0, -1].float(), generator)
            yield token
            steps = [[token]]

    def _choose(self, logits: torch.Tensor, generator: torch.Generator) -> int:
        """The likeliest token, or a sample at a temperature above 0."""
        if self.temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / self.temperature, dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=generator))


class ScriptedTalker:
    """Says prepared replies in turn, over and over; for tests and for lessons without a model.

    Args:
        replies: what to say; an exception among them is raised instead.

    Attributes:
        asked: the messages of every call so far.
    """

    name = "scripted"

    def __init__(self, replies: Sequence[str | Exception]):
        if not replies:
            raise ConfigError("A ScriptedTalker needs at least one reply.")
        self.replies = list(replies)
        self.asked: list[list[Message]] = []

    def generate(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Say the next prepared reply, word by word; a word counts as a token."""
        reply = self.replies[len(self.asked) % len(self.replies)]
        self.asked.append(list(messages))
        if isinstance(reply, Exception):
            raise reply
        words = [word if place == 0 else f" {word}" for place, word in enumerate(reply.split(" "))]
        finish: Finish = "end" if len(words) <= max_new_tokens else "length"
        said = []
        for word in words[:max_new_tokens]:
            if stop is not None and stop.is_set():
                finish = "stopped"
                break
            said.append(word)
            if stream is not None:
                stream(word)
        n_read = sum(len(str(m.get("content", "")).split()) for m in messages)
        return Reply("".join(said), n_read, len(said), 0.0, self.name, finish)


def goes_in_circles(tokens: Sequence[int]) -> bool:
    """Tell whether the last tokens are one stretch of up to 24, three times over (12 at least)."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = period * max(3, -(-12 // period))
        tail = tokens[-length:]
        if len(tail) == length and all(tail[i] == tail[i + period] for i in range(length - period)):
            return True
    return False


def _log_likelihoods(
    language_model: LanguageModel, prompt: list[int], endings: list[list[int]]
) -> list[float]:
    """Sum of log p(token | prompt and the tokens before it) for each ending."""
    model, device = language_model.model, language_model.device
    longest = max(map(len, endings))
    # padding stands on the right: a causal model reads nothing to the right of a token
    padded = torch.tensor([e + [0] * (longest - len(e)) for e in endings], device=device)
    real = torch.tensor([[i < len(e) for i in range(longest)] for e in endings], device=device)
    with language_model.lock, torch.inference_mode():
        read = model(torch.tensor([prompt], device=device), use_cache=True, logits_to_keep=1)
        cache = read.past_key_values
        cache.batch_repeat_interleave(len(endings))
        later = model(padded, past_key_values=cache, use_cache=True).logits[:, :-1]
        logits = torch.cat([read.logits[:, -1:].expand(len(endings), -1, -1), later], dim=1)
        log_p = torch.log_softmax(logits.float(), dim=-1)
        chosen = log_p.gather(-1, padded.unsqueeze(-1)).squeeze(-1)
        return (chosen * real).sum(dim=1).tolist()


def _end_tokens(language_model: LanguageModel) -> set[int]:
    """Every token with which the model ends its turn."""
    known = language_model.model.generation_config.eos_token_id
    ends = set(known) if isinstance(known, (list, tuple)) else {known}
    return (ends | {language_model.tokenizer.eos_token_id}) - {None}


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

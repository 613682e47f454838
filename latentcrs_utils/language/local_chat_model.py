"""A ChatModel on this machine: any causal language model that transformers loads, on CPU or GPU.

It shares the loaded weights with the Embedder. `generate` of transformers writes; what is said here
is how a reply ends, how it keeps to a JSON schema, and how likely given words are.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessor, StoppingCriteria

from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language.chat_model import (
    ChatModel,
    ChatRequest,
    Finish,
    Message,
    Reply,
    Usage,
    check_chat,
)
from latentcrs_utils.language.models import (
    DEFAULT_MODEL,
    DTypeName,
    LanguageModel,
    choose_dtype,
    find_model,
    load_language_model,
)
from latentcrs_utils.language.structured_output import SchemaGuide

# a long prompt is read in pieces, so that a stop is noticed between them
_PIECE = 256
_LONGEST_PERIOD = 24
_SCORED_AT_ONCE = 8


class LocalChatModel(ChatModel):
    """A causal language model on this machine; greedy, so equal prompts get equal replies.

    Args:
        model: ``"smollm2"``, a folder, a ``.gguf`` file or a Hugging Face id.
        dtype: as for the Embedder; equal choices share the loaded weights.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: of the sampling; each reply begins with it afresh.

    Attributes:
        name: the model, as shown on screen.
        usage: the tokens so far.

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

    def _reply(self, request: ChatRequest) -> Reply:
        """Write a reply; with a schema, only of tokens that keep to it (see `SchemaGuide`).

        Raises:
            MessageError: more than the model can read.
            ConfigError: the model has no chat template, or the schema cannot be enforced.
        """
        started = time.perf_counter()
        language_model, prompt = self._language_model(), self._chat_ids(request.messages)
        if len(prompt) + request.max_new_tokens > language_model.context_length:
            raise MessageError(
                f"The chat has {len(prompt):,} tokens and {self.name} reads and writes at most "
                f"{language_model.context_length:,}: send less of it."
            )
        guide = None
        if request.schema is not None:
            guide = SchemaGuide(self._source, self.dtype, json.dumps(request.schema))
        written = _Written(language_model, len(prompt), guide, request)
        model = language_model.model
        ids, cache = torch.tensor([prompt], device=model.device), DynamicCache(config=model.config)
        *pieces, _ = ids.split(_PIECE, dim=1)
        for piece in pieces:
            if not request.stopped:
                model.base_model(input_ids=piece, past_key_values=cache, use_cache=True)
        if not request.stopped:
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=cache,
                max_new_tokens=request.max_new_tokens,
                do_sample=False,
                pad_token_id=0,
                logits_processor=[_Choice(guide, self.temperature, self.seed)],
                stopping_criteria=[written],
            )
        seconds, n_written = time.perf_counter() - started, len(written.tokens)
        self.usage.add(len(prompt), n_written, seconds)
        finish = written.finish or "stopped"
        return Reply(written.text, len(prompt), n_written, seconds, self.name, finish)

    def score(self, prompt: str | Sequence[Message], continuations: Sequence[str]) -> list[float]:
        """Log-likelihood of each continuation of one prompt: the sum over its tokens, in nats.

        The prompt is read once, its keys and values serve all continuations. Prompt and
        continuation are split into tokens apart, so begin a continuation with the space that
        would separate it.

        Args:
            prompt: plain text, or chat messages (then a continuation begins the reply).
            continuations: C non-empty texts.

        Raises:
            MessageError: an empty prompt or continuation, or more than the model can read.
        """
        started = time.perf_counter()
        language_model = self._language_model()
        names = ["The prompt", *(f"Continuation {place}" for place in range(len(continuations)))]
        for what, text in zip(names, [prompt, *continuations], strict=True):
            if text == "" or (what != "The prompt" and not isinstance(text, str)):
                raise MessageError(f"{what} is empty: there is nothing to score.")
        read = language_model.token_ids if isinstance(prompt, str) else self._chat_ids
        ids = read(prompt)  # type: ignore[arg-type]
        endings = [language_model.token_ids(text, opening=False) for text in continuations]
        if len(ids) + max(map(len, endings), default=0) > language_model.context_length:
            raise MessageError(f"The prompt has {len(ids):,} tokens: too many for {self.name}.")
        scores = _log_likelihoods(language_model.model, ids, endings) if endings else []
        self.usage.add(len(ids) + sum(map(len, endings)), 0, time.perf_counter() - started)
        return scores

    def _language_model(self) -> LanguageModel:
        return load_language_model(self._source, self.dtype)

    def _chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of a chat in the model's own format, ready for the reply."""
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


class _Choice(LogitsProcessor):
    """Leaves the tokens that keep to the schema, and of them the sample if one is drawn."""

    def __init__(self, guide: SchemaGuide | None, temperature: float, seed: int):
        self.guide, self.temperature, self.seed = guide, temperature, seed
        self.generator: torch.Generator | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return logits ``[1, V]``, minus infinity for the tokens that are not to be chosen."""
        logits = scores[0] if self.guide is None else self.guide.restrict(scores[0])
        if self.temperature > 0:
            # a generator of its own: the draws of the rest of the program stay as they are
            self.generator = self.generator or torch.Generator(logits.device).manual_seed(self.seed)
            probabilities = torch.softmax(logits / self.temperature, dim=-1)
            token = torch.multinomial(probabilities, 1, generator=self.generator)
            logits = torch.full_like(logits, -torch.inf).index_fill(0, token, 0.0)
        return logits[None]


class _Written(StoppingCriteria):
    """The reply so far: hands on each new piece of text, and says when and why it ends.

    Transformers asks for the end before it calls a streamer, so the text is streamed from here: a
    stop then ends the reply after the token in hand.
    """

    def __init__(
        self, model: LanguageModel, n_prompt: int, guide: SchemaGuide | None, request: ChatRequest
    ):
        self.tokenizer, self.ends = model.tokenizer, model.end_tokens
        self.n_prompt, self.guide, self.request = n_prompt, guide, request
        self.tokens: list[int] = []
        self.text = ""
        self.finish: Finish | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Take the token that was chosen last; ``[1]``, whether it ends the reply."""
        if self.finish is None:
            self.tokens = input_ids[0, self.n_prompt :].tolist()
            self.finish = self._finish()
        return torch.tensor([self.finish is not None], device=input_ids.device)

    def _finish(self) -> Finish | None:
        if self.tokens[-1] in self.ends:
            return "end"
        decode = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        text = self.tokenizer.decode(self.tokens, **decode)
        # without half characters and white space at the end: the text only grows
        before, self.text = self.text, text.strip().rstrip("\ufffd").rstrip()
        if self.request.stream is not None and len(self.text) > len(before):
            self.request.stream(self.text[len(before) :])
        if self.guide is not None:
            self.guide.advance(self.tokens[-1])
            if self.guide.complete:
                return "end"
        # JSON may say the same thing many times, and rightly so
        elif goes_in_circles(self.tokens):
            return "repetition"
        if len(self.tokens) == self.request.max_new_tokens:
            return "length"
        return "stopped" if self.request.stopped else None


def goes_in_circles(tokens: Sequence[int]) -> bool:
    """Tell whether the last tokens are one stretch of up to 24, three times over (12 at least)."""
    for period in range(1, _LONGEST_PERIOD + 1):
        length = period * max(3, -(-12 // period))
        tail = tokens[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False


@torch.inference_mode()
def _log_likelihoods(model: Any, prompt: list[int], endings: list[list[int]]) -> list[float]:
    """Sum of log p(token | prompt and the tokens before it) for each ending."""
    read = model(torch.tensor([prompt], device=model.device), use_cache=True, logits_to_keep=1)
    # endings of like length together, for padding is read like words
    order = sorted(range(len(endings)), key=lambda place: len(endings[place]))
    scores: dict[int, float] = {}
    for start in range(0, len(order), _SCORED_AT_ONCE):
        places = order[start : start + _SCORED_AT_ONCE]
        batch, longest = [endings[place] for place in places], len(endings[places[-1]])
        # padded on the right: a causal model reads nothing to the right of a token
        padded = torch.tensor([e + [0] * (longest - len(e)) for e in batch], device=model.device)
        logits = read.logits[:, -1:].expand(len(batch), -1, -1)
        if longest > 1:
            # the model writes into the cache that it is given; nothing follows the last token
            cache = copy.deepcopy(read.past_key_values)
            cache.batch_repeat_interleave(len(batch))
            later = model(padded[:, :-1], past_key_values=cache, use_cache=True).logits
            logits = torch.cat([logits, later], dim=1)
        log_p = logits.float().log_softmax(-1).gather(-1, padded.unsqueeze(-1)).squeeze(-1)
        for place, row in zip(places, log_p, strict=True):
            scores[place] = float(row[: len(endings[place])].sum())
    return [scores[place] for place in range(len(endings))]


def _without_control_words(tokenizer: Any, text: str) -> str:
    """Text in which nobody can open a turn of their own: no control word of the model is left."""
    while found := [word for word in tokenizer.all_special_tokens if word in text]:
        for word in found:
            text = text.replace(word, "")
    return text

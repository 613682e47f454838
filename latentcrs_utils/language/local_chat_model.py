"""A ChatModel on this machine: any causal language model that transformers loads, on CPU or GPU.

Said here is how a reply ends, how it keeps to a JSON schema, and how likely given words are.
"""

import copy
import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, StoppingCriteria

from latentcrs_utils.errors import ConfigError, MessageError
from latentcrs_utils.language import models
from latentcrs_utils.language.chat_model import ChatModel, ChatRequest, Finish, Reply, fold_system
from latentcrs_utils.language.structured_output import SchemaGuide
from latentcrs_utils.language.thoughts import SpokenText, closed

_SAYS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
# a long prompt is read in pieces, so that a stop is noticed between them
_PIECE = 256
_LONGEST_PERIOD = 24
_SCORED_AT_ONCE = 8
# models that may think call the switch one or the other; other templates read neither
_NO_THOUGHTS = {"enable_thinking": False, "thinking": False}


class LocalChatModel(ChatModel):
    """A causal language model on this machine; greedy, so equal prompts get equal replies.

    Model, dtype and errors are those of the `Embedder`; equal choices share the loaded weights.
    """

    def __init__(
        self, model: str | Path = models.DEFAULT_MODEL, *, dtype: models.DTypeName = "auto"
    ):
        self._source = models.find_model(model)
        self.dtype = models.choose_dtype(dtype)
        super().__init__(self._source.name)

    def _reply(self, request: ChatRequest) -> Reply:
        """Write a reply; with a schema, only of tokens that keep to it (see `SchemaGuide`)."""
        language_model, prompt = self._language_model(), self._chat_ids(request.messages)
        model, most = language_model.model, language_model.context_length
        if len(prompt) + request.max_new_tokens > most:
            raise MessageError(_SAYS["long_chat"].format(len(prompt), self.name, most))
        guide, restrictions = None, []
        if request.schema is not None:
            guide = SchemaGuide(self._source, self.dtype, json.dumps(request.schema))
            restrictions = [lambda _, logits: guide.restrict(logits[0])[None]]
        written = _Written(language_model, guide, request)
        ids, cache = torch.tensor([prompt], device=model.device), DynamicCache(config=model.config)
        *pieces, _ = ids.split(_PIECE, dim=1)
        for piece in pieces:
            if not request.stopped:
                model.base_model(input_ids=piece, past_key_values=cache, use_cache=True)
        if not request.stopped:
            model.generate(
                ids, attention_mask=torch.ones_like(ids), past_key_values=cache,
                max_new_tokens=request.max_new_tokens, do_sample=False, pad_token_id=0,
                logits_processor=restrictions, stopping_criteria=[written],
            )  # fmt: skip
        finish, rest = written.finish or "stopped", written.spoken.add("", ended=True)
        if rest and request.stream is not None:
            request.stream(rest)
        return Reply(written.spoken.text, len(prompt), len(written.tokens), finish=finish)

    def score(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log-likelihood of each continuation of one prompt: the sum over its tokens, in nats.

        The prompt is read once for all. Prompt and continuation are split into tokens apart, so
        begin a continuation with the space that would separate it. MessageError: an empty prompt or
        continuation, or more than the model can read.
        """
        started = time.perf_counter()
        for place, text in enumerate([prompt, *continuations]):
            if not isinstance(text, str) or not text:
                what = f"Continuation {place - 1}" if place else "The prompt"
                raise MessageError(_SAYS["empty"].format(what))
        language_model = self._language_model()
        ids = language_model.token_ids(prompt)
        endings = [language_model.token_ids(text, opening=False) for text in continuations]
        if len(ids) + max(map(len, endings), default=0) > language_model.context_length:
            raise MessageError(_SAYS["long_prompt"].format(len(ids), self.name))
        scores = _log_likelihoods(language_model.model, ids, endings) if endings else []
        self.usage.add(len(ids) + sum(map(len, endings)), 0, time.perf_counter() - started)
        return scores

    def _language_model(self) -> models.LanguageModel:
        return models.load_language_model(self._source, self.dtype)

    def _chat_ids(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Return the token ids of a chat in the model's own format, ready for the reply."""
        language_model = self._language_model()
        tokenizer = language_model.tokenizer
        if not tokenizer.chat_template:
            raise ConfigError(_SAYS["no_template"].format(self.name))
        clean, control = [dict(message) for message in messages], tokenizer.all_special_tokens
        for message in clean:
            # nobody opens a turn of their own: no control word is left, nor one made by leaving out
            while any(word in message["content"] for word in control):
                for word in control:
                    message["content"] = message["content"].replace(word, "")
        # a format without system role raises an error or leaves the instructions out
        written = failure = ""
        for chat in (clean, fold_system(clean)):
            try:
                written = tokenizer.apply_chat_template(
                    chat, tokenize=False, add_generation_prompt=True, **_NO_THOUGHTS
                )
            except Exception as error:  # a template raises what it likes
                failure = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                continue
            if all(message["content"].strip() in written for message in chat):
                break
        if not written:
            raise ConfigError(_SAYS["bad_template"].format(self.name, failure))
        return language_model.token_ids(closed(written), opening=False, control=True)


@dataclass(eq=False)
class _Written(StoppingCriteria):
    """The reply so far: hands on each new piece of text, and says when and why it ends.

    It takes the place of a streamer, which transformers would call only after it asked for the end.
    """

    model: models.LanguageModel
    guide: SchemaGuide | None
    request: ChatRequest
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    spoken: SpokenText = field(default_factory=SpokenText)
    finish: Finish | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Take the token that was chosen last; ``[1]``, whether it ends the reply."""
        self.tokens.append(int(input_ids[0, -1]))
        self.finish = "end" if self.tokens[-1] in self.model.end_tokens else self._ending()
        return torch.tensor([self.finish is not None], device=input_ids.device)

    def _ending(self) -> Finish | None:
        decode = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        text = self.model.tokenizer.decode(self.tokens, **decode)
        # without half characters and white space at the end: the text only grows
        before, self.text = self.text, text.strip().rstrip("\ufffd").rstrip()
        shown = self.spoken.add(self.text[len(before) :])
        if self.request.stream is not None and shown:
            self.request.stream(shown)
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

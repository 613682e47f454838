"""What holds for every language model that writes; changing it needs no training.

It is on this machine, at an address, or a list of prepared replies (`ScriptedChatModel`).
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from latentcrs_utils.errors import ConfigError, MessageError, ReplyError
from latentcrs_utils.language.structured_output import check_schema, complaint, demand, json_in

Message = dict[str, str]
Finish = Literal["end", "length", "stopped", "repetition", "cut"]
_SUMMED = ("prompt_tokens", "completion_tokens", "seconds")  # over the replies to one request
# why there is no JSON
_WHY: dict[str, str] = {
    "length": "it was cut at max_new_tokens: allow more, or bound its lists and texts",
    "stopped": "it was stopped before its end",
    "cut": "it broke off before its end: ask again",
}


@dataclass(frozen=True)
class Reply:
    """What a ChatModel wrote, how long that took, and why it ended."""

    text: str  # what was streamed adds up to it
    prompt_tokens: int = 0
    completion_tokens: int = 0  # with the closing one
    seconds: float = 0.0  # wall-clock time
    model: str = ""  # who wrote it
    # "end" (said all), "length" (cut at the limit), "stopped" (asked to stop), "repetition" (it
    # went round in circles) or "cut" (the connection broke, or the endpoint withheld the rest: the
    # text is what had arrived)
    finish: Finish = "end"
    counted: bool = True  # where the back end did not count, both numbers of tokens are 0


@dataclass
class Usage:
    """The tokens that a ChatModel has read and written, in so many calls."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    uncounted: int = 0  # calls whose tokens nobody reported: the sums of tokens are too low
    _adding: ClassVar = threading.Lock()

    def add(self, n_read: int, n_written: int, seconds: float, counted: bool = True) -> None:
        """Count one more call; several threads may do so."""
        with self._adding:
            self.calls += 1
            self.prompt_tokens += n_read
            self.completion_tokens += n_written
            self.seconds += seconds
            self.uncounted += not counted


@dataclass(frozen=True)
class ChatRequest:
    """What `ChatModel.generate` was asked for; its arguments, under their names."""

    messages: list[Message]
    schema: Mapping[str, Any] | None
    max_new_tokens: int
    stream: Callable[[str], None] | None
    stop: threading.Event | None

    @property
    def stopped(self) -> bool:
        """Whether the reply is asked to end where it is."""
        return self.stop is not None and self.stop.is_set()


class ChatModel:
    """Anything that can continue a chat; its name is the model's, as shown on screen."""

    # a prompt and C continuations -> the log-likelihood of each, in nats; None: it cannot tell
    score: Callable[[str, Sequence[str]], list[float]] | None = None
    # whether a reply that is not the JSON asked for is sent back once, and what to do if it fails
    asks_twice = False
    advice = "ask in other words, or choose a more capable model"

    def __init__(self, name: str):
        self.name = name
        self.usage = Usage()  # so far, replies included that were not the JSON asked for

    def generate(
        self, messages: Sequence[Message], *,
        schema: Mapping[str, Any] | None = None, max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None, stop: threading.Event | None = None,
    ) -> Reply:  # fmt: skip
        """Write the next message of a chat of dictionaries with ``role`` and ``content``.

        The reply fits the JSON ``schema``; say in the messages, too, what is wanted, since not
        every model is shown it. ``stream`` is called with each new piece of text; with a schema
        once, with the whole valid text. Set ``stop``, from any thread, to end the reply where it
        is. ReplyError: the reply does not fit the schema; it may have been cut or stopped.
        ConfigError: the schema is none, or one that the back end cannot keep to. MessageError:
        malformed messages, or more than the model can read.
        """
        try:
            chat = [{"role": m["role"], "content": str(m["content"])} for m in messages]
        except (TypeError, KeyError):
            chat = []
        if not chat:
            raise MessageError("A chat is a list of messages with 'role' and 'content'.")
        if schema is None:
            return self._ask(ChatRequest(chat, None, max_new_tokens, stream, stop))
        check_schema(schema)
        request, reply = ChatRequest(chat, schema, max_new_tokens, None, stop), Reply("")
        for _ in range(1 + self.asks_twice):
            last = self._ask(request)
            sums = {name: getattr(reply, name) + getattr(last, name) for name in _SUMMED}
            reply = replace(last, **sums, counted=reply.counted and last.counted)
            if (wrong := complaint(reply.text, schema)) is None:
                if stream is not None:
                    stream(reply.text)
                return reply
            if request.stopped:
                break
            # some endpoints refuse an empty message
            chat.append({"role": "assistant", "content": reply.text or "(nothing)"})
            told = f"That does not do: {wrong}. {demand(schema)}"
            chat.append({"role": "user", "content": told})
        why = _WHY.get(reply.finish, self.advice)
        raise ReplyError(f"{self.name} did not reply with JSON of the schema ({wrong}): {why}.")

    def _ask(self, request: ChatRequest) -> Reply:
        """Return one reply, whether it fits the schema or not; it is timed and counted."""
        started = time.perf_counter()
        reply = self._reply(request)
        text = reply.text if request.schema is None else json_in(reply.text, request.schema)
        spent = time.perf_counter() - started
        reply = replace(reply, text=text, seconds=spent, model=self.name)
        self.usage.add(reply.prompt_tokens, reply.completion_tokens, reply.seconds, reply.counted)
        return reply

    def _reply(self, request: ChatRequest) -> Reply:
        """Write a reply: its text, tokens and finish."""
        raise NotImplementedError


class ScriptedChatModel(ChatModel):
    """Says prepared replies in turn, over and over, a word a token; exceptions are raised."""

    def __init__(self, replies: Sequence[str | Exception]):
        if not replies:
            raise ConfigError("A ScriptedChatModel needs at least one reply.")
        super().__init__("scripted")
        self.replies = list(replies)
        self.asked: list[list[Message]] = []  # the messages of every call so far

    def _reply(self, request: ChatRequest) -> Reply:
        reply = self.replies[len(self.asked) % len(self.replies)]
        self.asked.append(request.messages)
        if isinstance(reply, Exception):
            raise reply
        words, said = re.split(r"(?= )", reply), []
        for word in words[: request.max_new_tokens]:
            if request.stopped:
                break
            said.append(word)
            if request.stream is not None:
                request.stream(word)
        cut: Finish = "stopped" if request.stopped else "length"
        finish = "end" if len(said) == len(words) else cut
        n_read = sum(len(message["content"].split()) for message in request.messages)
        return Reply("".join(said), n_read, len(said), finish=finish)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return a chat without system role: instructions open the user's next message."""
    folded: list[Message] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if folded and folded[-1]["role"] == role:
            folded[-1]["content"] += f"\n\n{message['content']}"
        else:
            folded.append({"role": role, "content": message["content"]})
    return folded


# a stop ends a sentence when a capital or nothing follows, not in "Airplane! is" or "Dr. No"
_SENTENCE = re.compile(
    r"""\S.*?(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bSt)(?<!\.[A-Z])[.!?…]+["'”’)]*"""
    r"""(?=\s+["'“‘(]?[A-Z\d]|\s*$)"""
)


def tidy_reply(text: str) -> str:
    """The complete sentences of a model's output, "" if none: no markup, no role prefix."""
    text = re.sub(r"[*_`#]+", "", text)
    text = re.sub(r"\s+", " ", text).strip().strip('"“”').strip()
    text = re.sub(r"^(?:assistant|reply|answer)\s*:\s*", "", text, flags=re.IGNORECASE)
    return " ".join(sentences(text))


def sentences(text: str) -> list[str]:
    """The complete sentences of a paragraph; what follows the last full stop is left out."""
    return _SENTENCE.findall(text)

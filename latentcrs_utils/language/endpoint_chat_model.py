"""A Talker at an address: any OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp, a vendor).

The `openai` client sends, waits and retries; here is what it leaves open: one sentence for every
failure, a stop that never waits for the network, a bill that says what was not counted, and a reply
that is checked against its schema, whatever the endpoint made of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from latentcrs_utils.errors import ConfigError, EndpointError, ReplyError
from latentcrs_utils.language.chat_model import Finish, Message, Reply, Usage, check_chat
from latentcrs_utils.language.endpoint_chat_model import Endpoint, Heard, listen, why_silent
from latentcrs_utils.language.structured_output import check_schema, complaint

_OPENAI = "https://api.openai.com/v1"
# a server that is there at all accepts a connection quickly, however long its model then thinks
_LONGEST_CONNECT = 10.0
_FINISHES: dict[str | None, Finish] = {"length": "length", "content_filter": "cut", None: "cut"}


class EndpointTalker:
    """A language model behind an OpenAI-compatible address.

    The key is read from the environment for each request and kept nowhere; without one, none is
    sent, which suits servers on this machine. A request that meets a limit (429), a failing server
    (5xx), a time-out or a broken connection is sent again after 0.5, 1, 2, ..., at most 8 seconds,
    or after what the server asks for in ``Retry-After`` (up to two minutes), as long as nothing of
    the reply has arrived. A reply that breaks off later is kept: its text is what had arrived and
    its ``finish`` is ``"cut"``. There is no ``score``: endpoints tell no likelihood of given words.

    Args:
        model: as the endpoint calls it.
        base_url: where the endpoint is, up to and with ``/v1``; None takes the environment variable
            OPENAI_BASE_URL, and without it OpenAI's own.
        key_variable: environment variable that holds the key; None sends none.
        timeout: longest silence of the endpoint, in seconds.
        retries: how often a failed request is sent again.
        temperature: 0 asks for the likeliest words; None leaves it to the endpoint.

    Attributes:
        name: the model, as shown on screen.
        usage: the token bill so far, by the endpoint's own count.

    Raises:
        ConfigError: an address that is none, or holds a password; a senseless number.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        key_variable: str | None = "OPENAI_API_KEY",
        timeout: float = 60.0,
        retries: int = 3,
        temperature: float | None = 0.0,
    ):
        if not model:
            raise ConfigError("An EndpointTalker needs the model's name, as the endpoint calls it.")
        if timeout <= 0 or retries < 0 or (temperature is not None and temperature < 0):
            raise ConfigError(
                f"timeout={timeout}, retries={retries}, temperature={temperature}: the first must "
                "be above 0, the others at least 0."
            )
        self.model = model
        self.name = model.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        self.base_url = _address(base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI)
        self.key_variable = key_variable
        self.timeout = timeout
        self.retries = retries
        self.temperature = temperature
        self.usage = Usage()
        # what this endpoint does not understand, learnt from its complaints
        self._refused: set[str] = set()
        self._client: Any = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        return f"EndpointTalker({self.model!r}, {self.base_url!r})"

    def generate(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_new_tokens: int = 80,
        stream: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Reply:
        """Write the next message of a chat; see `Talker.generate`.

        A stop returns at once, wherever the request is. With a schema, a reply that does not fit it
        is sent back once with what is wrong; the bill of both is that of the reply.

        Raises:
            EndpointError: the endpoint cannot be reached, refuses, or answers with something else.
            ReplyError: neither reply is JSON that fits the schema.
            MessageError: malformed messages.
            ConfigError: the schema is none, or the key cannot be one.
        """
        check_chat(messages)
        chat = [{"role": m["role"], "content": str(m["content"])} for m in messages]
        if schema is None:
            return self._ask(chat, max_new_tokens, None, stream, stop)
        wanted = check_schema(schema)
        reply = self._ask(chat, max_new_tokens, schema, None, stop)
        wrong = complaint(reply.text, schema)
        if wrong is not None:
            chat = _sent_back(chat, reply.text, wrong, wanted)
            reply = _joined(reply, self._ask(chat, max_new_tokens, schema, None, stop))
            wrong = complaint(reply.text, schema)
        if wrong is not None:
            raise ReplyError(self._why_invalid(wrong, reply.finish))
        if stream is not None:
            stream(reply.text)
        return reply

    def _why_invalid(self, wrong: str, finish: Finish) -> str:
        if finish == "stopped":
            return f"{self.name} was stopped before its JSON was whole ({wrong}): ask again."
        return (
            f"{self.name} at {self.base_url} was asked twice and did not reply with JSON of the "
            f"schema ({wrong}): this endpoint may ignore response_format, so choose one that "
            "supports JSON schemas, another model, or a higher max_new_tokens."
        )

    def _ask(
        self,
        chat: list[Message],
        max_new_tokens: int,
        schema: Mapping[str, Any] | None,
        stream: Callable[[str], None] | None,
        stop: threading.Event | None,
    ) -> Reply:
        """One reply, whether it fits a schema or not; the bill is kept."""
        if stop is not None and stop.is_set():
            return Reply("", 0, 0, 0.0, self.name, "stopped")
        started = time.perf_counter()
        endpoint = Endpoint(
            self.name, self.base_url, self.key_variable, self._key(), self.timeout, self.retries
        )
        heard = Heard()
        while True:
            # only what is to be seen or stopped on its way is streamed: that has more ways to fail
            request = self._request(chat, max_new_tokens, schema, bool(stream or stop))
            failure = listen(self._made(), request, endpoint, heard, stream, stop)
            if failure is None or not self._adapt(failure.error, request):
                break
        stopped = failure is None and heard.finish is None and stop is not None and stop.is_set()
        if not heard.text and not stopped:
            why = why_silent(failure, heard.finish, endpoint)
            if why is not None:
                raise EndpointError(why)
        finish = "stopped" if stopped else _FINISHES.get(heard.finish, "end")
        reply = Reply(
            heard.text,
            *(heard.tokens or (0, 0)),
            time.perf_counter() - started,
            self.name,
            finish,
            counted=heard.tokens is not None,
        )
        self.usage.add(reply.prompt_tokens, reply.completion_tokens, reply.seconds, reply.counted)
        return reply

    def _request(
        self,
        chat: list[Message],
        max_new_tokens: int,
        schema: Mapping[str, Any] | None,
        streamed: bool,
    ) -> dict[str, Any]:
        """What the client is to send, without that which this endpoint does not understand."""
        request: dict[str, Any] = {"model": self.model, "messages": chat}
        renamed = "max_completion_tokens" in self._refused
        request["max_completion_tokens" if renamed else "max_tokens"] = max_new_tokens
        if self.temperature is not None and "temperature" not in self._refused:
            request["temperature"] = self.temperature
        if streamed:
            request["stream"] = True
            if "stream_options" not in self._refused:
                request["stream_options"] = {"include_usage": True}
        if schema is not None:
            strict = "response_format" not in self._refused
            asked = {"name": "reply", "strict": strict, "schema": dict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": asked}
        return request

    def _adapt(self, failure: Exception, request: Mapping[str, Any]) -> bool:
        """Learn from a refusal what to leave out; whether there is something new to try."""
        if getattr(failure, "status_code", None) not in (400, 422):
            return False
        for word in ("max_completion_tokens", "stream_options", "response_format", "temperature"):
            known = word in request or word == "max_completion_tokens"
            if known and word in str(failure) and word not in self._refused:
                self._refused.add(word)
                return True
        return False

    def _key(self) -> str:
        """The key, or an empty text where there is none.

        Raises:
            ConfigError: it has characters that no header can carry.
        """
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if key.isascii() and key.isprintable() and " " not in key:
            return key
        # no traceback may show it
        del key
        raise ConfigError(
            f"The environment variable {self.key_variable} holds no key, for there are spaces or "
            "special characters in it: set it to the key alone."
        )

    def _made(self) -> Any:
        """The client, made at first use and shared; it never holds the key."""
        from openai import OpenAI, Timeout

        with self._making:
            if self._client is None:
                self._client = OpenAI(
                    api_key="sent-with-each-request",
                    base_url=self.base_url,
                    timeout=Timeout(self.timeout, connect=min(self.timeout, _LONGEST_CONNECT)),
                )
            return self._client


def _sent_back(chat: list[Message], text: str, wrong: str, wanted: str) -> list[Message]:
    """The chat that asks once more, for JSON that fits."""
    demand = (
        f"That does not do: {wrong}. Reply with JSON alone, without a word or a mark around it, "
        f"that is valid against this schema: {wanted}"
    )
    # some endpoints refuse an empty message
    said = {"role": "assistant", "content": text or "(nothing)"}
    return [*chat, said, {"role": "user", "content": demand}]


def _joined(first: Reply, second: Reply) -> Reply:
    """The second reply with the bill of both."""
    return replace(
        second,
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        seconds=first.seconds + second.seconds,
        counted=first.counted and second.counted,
    )


def _address(url: str) -> str:
    """The address, once it is one and gives nothing away.

    Raises:
        ConfigError: no http address, or one with a password in it.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(
            f"base_url={url!r} is no address: give one such as 'http://127.0.0.1:8000/v1'."
        )
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            "base_url holds a user, a password or a query, which would be shown: give the bare "
            "address, and the key in the environment."
        )
    return url.rstrip("/")

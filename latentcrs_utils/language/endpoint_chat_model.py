"""A ChatModel at an address: any OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp, a vendor).

The `openai` client sends, waits and retries; here is what it leaves open: one sentence for every
failure, a stop that never waits for the network, a bill that says what was not counted, and a reply
that is checked against its schema, whatever the endpoint made of it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from latentcrs_utils.errors import ConfigError, EndpointError, ReplyError
from latentcrs_utils.language.chat_model import Finish, Message, Reply, Usage, check_chat
from latentcrs_utils.language.structured_output import check_schema, complaint

if TYPE_CHECKING:
    import openai


_LONGEST_QUOTE = 200
_IS_IT_ONE = "check that this is an OpenAI-compatible address (most end in /v1)"


@dataclass(frozen=True)
class Endpoint:
    """Who was asked, and how.

    Attributes:
        name: the model.
        url: the address.
        key_variable: environment variable of the key; None where none is sent.
        key: the key, empty where there is none; it is cut out of everything that is said.
        timeout: longest silence, in seconds.
        retries: how often a failed request is sent again.
    """

    name: str
    url: str
    key_variable: str | None
    key: str = field(repr=False)
    timeout: float
    retries: int


@dataclass(frozen=True)
class Failure:
    """What the client, or reading what it received, raised; and how often it had asked by then."""

    error: Exception = field(repr=False)
    tries: int


def error_message(failure: Failure | None, finish: str | None, endpoint: Endpoint) -> str | None:
    """Say why there is no reply; None when it is an empty one, and rightly so.

    Only text leaves here: what the client raised holds the request's headers.

    Args:
        failure: what went wrong, if anything.
        finish: why the reply ended, in the endpoint's words.
        endpoint: who was asked.
    """
    url = endpoint.url
    if failure is not None:
        return f"{url} {_failed(failure, endpoint)}"
    if finish is None:
        return f"{url} answered without a reply: {_IS_IT_ONE}."
    if finish == "content_filter":
        return f"{url} withheld the reply of {endpoint.name!r} (content filter): ask otherwise."
    return None


def _failed(failure: Failure, endpoint: Endpoint) -> str:
    """What follows the address when something went wrong."""
    import openai

    error, asked = failure.error, f"asked {_times(failure.tries)}"
    if isinstance(error, openai.APIStatusError):
        return _refused(error.status_code, error, asked, endpoint)
    if isinstance(error, openai.APITimeoutError):
        return (
            f"was silent for {endpoint.timeout:g} s, {asked}: see whether it is busy, or give a "
            "longer timeout."
        )
    if isinstance(error, openai.APIConnectionError):
        return (
            f"cannot be reached or breaks off, {asked}: see whether the server runs and the "
            "address is right."
        )
    if isinstance(error, openai.APIError):
        return f"failed while it replied{_quote(error, endpoint)}: look into its log."
    return f"sent what is no reply ({type(error).__name__}): {_IS_IT_ONE}."


def _refused(status: int, error: openai.APIStatusError, asked: str, endpoint: Endpoint) -> str:
    """What follows the address when it answered with a status of 4xx or 5xx."""
    if status in (401, 403):
        # such an answer may repeat the key, or a part of it, so it is not quoted
        if endpoint.key_variable is None:
            return f"asks for a key (HTTP {status}): name its environment variable, key_variable."
        return (
            f"{'refuses the' if endpoint.key else 'asks for a'} key (HTTP {status}): set the "
            f"environment variable {endpoint.key_variable} to one that is valid there and may use "
            f"{endpoint.name!r}."
        )
    quote = f"HTTP {status}{_quote(error, endpoint)}"
    if status == 404:
        return (
            f"has no model {endpoint.name!r}, or is no such endpoint ({quote}): check the model's "
            "name and the address (most end in /v1)."
        )
    if status == 429:
        wait = error.response.headers.get("retry-after", "")
        when = f"in {wait} s, as it wishes" if wait.isdigit() else "later"
        return f"is at its limit ({quote}), {asked}: ask again {when}."
    if status >= 500:
        return f"fails ({quote}), {asked}: look into its log, or ask again later."
    return f"refuses the request ({quote}): change what it objects to."


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _quote(error: openai.APIError, endpoint: Endpoint) -> str:
    """The endpoint's own words after a colon: one short line, without the key."""
    body = error.body
    while isinstance(body, dict):
        body = next((body[k] for k in ("message", "error", "detail") if body.get(k)), None)
    line = " ".join(str(body or "").split()).rstrip(".:")
    if endpoint.key:
        line = line.replace(endpoint.key, "(the key)")
    # an error page is no message
    return f": {line[:_LONGEST_QUOTE]}" if line and not line.startswith("<") else ""


_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
# how soon a stop is noticed
_GLANCE = 0.05


@dataclass
class PartialReply:
    """What has arrived of a reply.

    Attributes:
        text: so far.
        finish: why it ended, in the endpoint's words; None where it did not say.
        tokens: read and written, by the endpoint's count; None where it did not say.
    """

    text: str = ""
    finish: str | None = None
    tokens: tuple[int, int] | None = None


def stream_completion(
    client: Any,
    request: Mapping[str, Any],
    endpoint: Endpoint,
    heard: PartialReply,
    stream: Callable[[str], None] | None,
    stop: threading.Event | None,
) -> Failure | None:
    """Send a request in a thread of its own and take what arrives, until it ends or is stopped.

    Args:
        client: of `openai`.
        request: arguments of ``client.chat.completions.create``.
        endpoint: who is asked; it is sent again up to `retries` times while nothing has arrived.
        heard: takes what arrives.
        stream: called, in the caller's thread, with each new piece of text.
        stop: set to end it; what the endpoint still sends is thrown away.

    Returns:
        What went wrong, or None. It is not raised, so that no traceback can show its headers.
    """
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left = threading.Event()
    arguments = (client, request, endpoint, arrived.put, left)
    threading.Thread(target=_run, args=arguments, name="endpoint call", daemon=True).start()
    try:
        while stop is None or not stop.is_set():
            try:
                part = arrived.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            if part is None or isinstance(part, Failure):
                return part
            heard.finish = part.finish or heard.finish
            heard.tokens = part.tokens or heard.tokens
            if part.text:
                heard.text += part.text
                if stream is not None:
                    stream(part.text)
        return None
    finally:
        left.set()


def _run(
    client: Any,
    request: Mapping[str, Any],
    endpoint: Endpoint,
    put: Callable[[Any], None],
    left: threading.Event,
) -> None:
    """Put every part of the reply, then None or the failure that ended it."""
    import openai

    headers = {"Authorization": f"Bearer {endpoint.key}" if endpoint.key else openai.Omit()}
    for attempt in range(endpoint.retries + 1):
        opened = spoken = False
        try:
            patient = client.with_options(max_retries=endpoint.retries - attempt)
            answer = patient.chat.completions.create(**request, extra_headers=headers)
            opened = True
            with contextlib.closing(_parts(answer)) as parts:
                for part in parts:
                    if left.is_set():
                        return
                    put(part)
                    spoken = spoken or bool(part.text)
            put(None)
            return
        except openai.APIConnectionError as error:
            # until the answer opens the client retries by itself, after that it does not
            if spoken or not opened or attempt == endpoint.retries:
                put(Failure(error, attempt + _times_sent(error)))
                return
            if left.wait(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)):
                return
        except Exception as error:
            put(Failure(error, attempt + _times_sent(error)))
            return


def _times_sent(error: Exception) -> int:
    """How often the client had sent the request when it gave up: it counts in a header."""
    headers = getattr(getattr(error, "request", None), "headers", {})
    return 1 + int(headers.get("x-stainless-retry-count", 0))


def _parts(answer: Any) -> Generator[PartialReply, None, None]:
    """The parts of a reply, streamed or whole."""
    from openai import Stream

    if not isinstance(answer, Stream):
        yield _part(answer, "message")
        return
    with answer:
        for chunk in answer:
            yield _part(chunk, "delta")


def _part(answer: Any, speaker: Literal["message", "delta"]) -> PartialReply:
    """Read a part for what it says; the client checks no types, and an odd part says nothing."""
    choices = getattr(answer, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    text = getattr(getattr(choice, speaker, None), "content", None)
    finish = getattr(choice, "finish_reason", None)
    usage = getattr(answer, "usage", None)
    read = getattr(usage, "prompt_tokens", None)
    written = getattr(usage, "completion_tokens", None)
    return PartialReply(
        text if isinstance(text, str) else "",
        finish if isinstance(finish, str) else None,
        (read, written) if isinstance(read, int) and isinstance(written, int) else None,
    )


_OPENAI = "https://api.openai.com/v1"
# a server that is there at all accepts a connection quickly, however long its model then thinks
_LONGEST_CONNECT = 10.0
_FINISHES: dict[str | None, Finish] = {"length": "length", "content_filter": "cut", None: "cut"}


class EndpointChatModel:
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
        """Write the next message of a chat; see `ChatModel.generate`.

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
        heard = PartialReply()
        while True:
            # only what is to be seen or stopped on its way is streamed: that has more ways to fail
            request = self._request(chat, max_new_tokens, schema, bool(stream or stop))
            failure = stream_completion(self._made(), request, endpoint, heard, stream, stop)
            if failure is None or not self._adapt(failure.error, request):
                break
        stopped = failure is None and heard.finish is None and stop is not None and stop.is_set()
        if not heard.text and not stopped:
            why = error_message(failure, heard.finish, endpoint)
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

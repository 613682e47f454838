"""A ChatModel at an address: any OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp, a vendor).

The `openai` client sends, waits and retries; here is what it leaves open: one sentence for every
failure, a stop that never waits for the network, and a reply that is checked against its schema.
"""

import os
import queue
import re
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from latentcrs_utils.errors import ConfigError, EndpointError
from latentcrs_utils.language.chat_model import ChatModel, ChatRequest, Finish, Reply

# a server that is there at all accepts a connection quickly, however long its model then thinks
_LONGEST_CONNECT = 10.0
# how soon a stop is noticed, in seconds
_GLANCE = 0.05
_LONGEST_QUOTE = 200
_FINISHES: dict[str | None, Finish] = {"length": "length", "content_filter": "cut", None: "cut"}
# word in the refusal of a request -> parameter that is then left out or asked for otherwise
_DROPPED_FOR = {"max_completion_tokens": "max_tokens"} | {
    name: name for name in ("stream_options", "response_format", "temperature")
}
_IS_IT_ONE = "check that this is an OpenAI-compatible address (most end in /v1)"


class EndpointChatModel(ChatModel):
    """A language model behind an OpenAI-compatible address.

    The key is read from the environment for each request and kept nowhere; without one, none is
    sent, which suits servers on this machine. A request is sent again that meets a limit (429), a
    failing server (5xx), a time-out or a broken connection, after 0.5, 1, 2, ..., at most 8 seconds
    or what ``Retry-After`` says. A reply that breaks off before its first word is asked for once
    more; one that breaks off later is kept, its ``finish`` is "cut".

    Args:
        model: as the endpoint calls it.
        base_url: where the endpoint is, with ``/v1``; None takes the environment variable
            OPENAI_BASE_URL, and without it OpenAI's own.
        key_variable: environment variable that holds the key; None sends none.
        timeout: longest silence of the endpoint, in seconds.
        retries: how often a failed request is sent again.
        temperature: 0 asks for the likeliest words; None leaves it to the endpoint.

    Raises:
        ConfigError: a senseless number or address, one with a password, later a senseless key.
        EndpointError: later: nobody is there, refuses, or answers with something else.
    """

    asks_twice = True
    advice = (
        "it was asked twice and may ignore response_format, so choose an endpoint that supports "
        "JSON schemas, or another model"
    )

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
            raise ConfigError("An EndpointChatModel needs the name that the endpoint knows.")
        if timeout <= 0 or retries < 0 or (temperature is not None and temperature < 0):
            raise ConfigError(
                f"timeout={timeout}, retries={retries}, temperature={temperature}: the first must "
                "be above 0, the others at least 0."
            )
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        super().__init__(re.split(r"[/\\]", model.rstrip("/\\"))[-1])
        self.model, self.base_url, self.key_variable = model, _sound(address), key_variable
        self.timeout, self.retries, self.temperature = timeout, retries, temperature
        self._refused: set[str] = set()  # what this endpoint was found not to understand

    def _reply(self, request: ChatRequest) -> Reply:
        """Take pieces from a thread until the reply ends or is stopped: no wait for the network."""
        if request.stopped:
            return Reply("", finish="stopped")
        # a key that cannot be one is refused here, not in the thread
        self._key()
        text, ended, heard = "", False, PartialReply()
        threading.Thread(target=self._listen, args=(request, heard), daemon=True).start()
        try:
            while not (ended or request.stopped):
                try:
                    piece = heard.pieces.get(timeout=_GLANCE)
                except queue.Empty:
                    continue
                ended = piece is None
                if piece:
                    text += piece
                    if request.stream is not None:
                        request.stream(piece)
        finally:
            heard.abandoned = True
        if not ended:
            return Reply(text, finish="stopped", counted=False)
        finish = _FINISHES.get(heard.finish, "end")
        if finish == "cut" and not text:
            withheld = f"withheld the reply of {self.name!r} (content filter): ask otherwise."
            nothing = heard.failure or f"answered without a reply: {_IS_IT_ONE}."
            raise EndpointError(f"{self.base_url} {withheld if heard.finish else nothing}")
        n_read, n_written = heard.tokens or (0, 0)
        return Reply(text, n_read, n_written, finish=finish, counted=heard.tokens is not None)

    def _listen(self, request: ChatRequest, heard: "PartialReply") -> None:
        """Ask, and hand on each piece of the reply; None says that it has ended.

        Only text leaves here: what the client raises holds the headers, and so the key.
        """
        with ExitStack() as stack:
            stack.callback(heard.pieces.put, None)
            import openai

            key, again, begun = self._key(), False, False
            headers = {"Authorization": f"Bearer {key}" if key else openai.Omit()}
            timeout = openai.Timeout(self.timeout, connect=min(self.timeout, _LONGEST_CONNECT))
            client = openai.OpenAI(
                api_key="-", base_url=self.base_url, timeout=timeout, max_retries=self.retries
            )
            stack.enter_context(client)
            while not heard.abandoned:
                sent, answer = self._body(request), None
                try:
                    answer = client.chat.completions.create(**sent, extra_headers=headers)
                    for part in answer if isinstance(answer, openai.Stream) else [answer]:
                        piece = heard.take(part)
                        begun = begun or bool(piece)
                        heard.pieces.put(piece)
                        if heard.abandoned:
                            return
                    return
                except Exception as error:
                    lost = answer is not None and isinstance(error, openai.APIConnectionError)
                    if lost and not begun and self.retries and not again:
                        again = True
                    elif not self._learn(error, sent):
                        heard.failure = error_message(error, self, key, again)
                        return

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Return what is to be sent, without what this endpoint was found not to understand."""
        limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        body: dict[str, Any] = {"model": self.model, "messages": request.messages}
        body |= {limit: request.max_new_tokens, "temperature": self.temperature}
        if request.stream is not None or request.stop is not None:
            # only what is to be seen or stopped on its way: that has more ways to fail
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body = {k: v for k, v in body.items() if v is not None and k not in self._refused}
        if request.schema is not None:
            strict = "response_format" not in self._refused
            form = {"name": "reply", "strict": strict, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _learn(self, error: Exception, sent: dict[str, Any]) -> bool:
        """Note what the endpoint does not understand; whether that is worth another try."""
        if getattr(error, "status_code", None) in (400, 422):
            for word, name in _DROPPED_FOR.items():
                if word in str(error) and name in sent and name not in self._refused:
                    self._refused.add(name)
                    return True
        return False

    def _key(self) -> str:
        """Return the key, empty where there is none; one that no header can carry is refused."""
        key = os.environ.get(self.key_variable or "", "").strip()
        if key.isascii() and key.isprintable() and " " not in key:
            return key
        # no traceback may show it
        del key
        raise ConfigError(
            f"The environment variable {self.key_variable} holds no key, for there are spaces or "
            "special characters in it: set it to the key alone."
        )


@dataclass
class PartialReply:
    """A reply that arrives: pieces of its text, None after the last, and what is known of it.

    ``tokens`` are those read and written; ``failure`` is the rest of a sentence that begins with
    the address; ``abandoned`` is set when nobody waits for the rest.
    """

    finish: str | None = None
    tokens: tuple[Any, Any] | None = None
    failure: str = ""
    pieces: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    abandoned: bool = False

    def take(self, part: Any) -> str:
        """Return the text of a part; the client checks no types, and an odd part says nothing."""
        choices, usage = getattr(part, "choices", None), getattr(part, "usage", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        said = getattr(choice, "delta", None) or getattr(choice, "message", None)
        text, finish = getattr(said, "content", None), getattr(choice, "finish_reason", None)
        tokens = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
        if isinstance(finish, str):
            self.finish = finish
        if all(isinstance(n, int) for n in tokens):
            self.tokens = tokens
        return text if isinstance(text, str) else ""


def error_message(error: Exception, model: EndpointChatModel, key: str, again: bool) -> str:
    """Say why there is no reply, as `PartialReply.failure`; the key is cut out of what is quoted.

    ``again``: the request was sent anew, besides the client's own retries.
    """
    import openai

    # the client counts in a header how often it has sent a request again
    sent = getattr(getattr(error, "request", None), "headers", {})
    n = 1 + again + int(sent.get("x-stainless-retry-count", 0))
    asked = f"asked {['once', 'twice'][n - 1] if n < 3 else f'{n} times'}"
    if isinstance(error, openai.APITimeoutError):
        advice = "see whether it is busy, or give a longer timeout"
        return f"was silent for {model.timeout:g} s, {asked}: {advice}."
    if isinstance(error, openai.APIConnectionError):
        advice = "see whether the server runs and the address is right"
        return f"cannot be reached or breaks off, {asked}: {advice}."
    if not isinstance(error, openai.APIError):
        return f"sent what is no reply ({type(error).__name__}): {_IS_IT_ONE}."
    if not isinstance(error, openai.APIStatusError):
        return f"failed while it replied{_quote(error, key)}: look into its log."
    status, answer = error.status_code, f"(HTTP {error.status_code}{_quote(error, key)})"
    if status in (401, 403):
        # such an answer may repeat a part of the key, so it is not quoted
        advice = "name its environment variable, key_variable"
        if model.key_variable is not None:
            advice = f"set the environment variable {model.key_variable} to one that is valid there"
            advice += f" and may use {model.name!r}"
        return f"{'refuses the' if key else 'asks for a'} key (HTTP {status}): {advice}."
    if status == 404:
        return (
            f"has no model {model.name!r}, or is no such endpoint {answer}: check the model's "
            "name and the address (most end in /v1)."
        )
    if status == 429:
        wait = error.response.headers.get("retry-after", "")
        when = f"in {wait} s, as it wishes" if wait.isdigit() else "later"
        return f"is at its limit {answer}, {asked}: ask again {when}."
    if status >= 500:
        return f"fails {answer}, {asked}: look into its log, or ask again later."
    return f"refuses the request {answer}: change what it objects to."


def _quote(error: Any, key: str) -> str:
    """Return the endpoint's own words after a colon: one short line, without the key."""
    body = error.body
    while isinstance(body, dict):
        body = next((body[k] for k in ("message", "error", "detail") if body.get(k)), None)
    line = " ".join(str(body or "").split()).rstrip(".:")
    line = line.replace(key, "(the key)") if key else line
    # an error page is no message
    return f": {line[:_LONGEST_QUOTE]}" if line and not line.startswith("<") else ""


def _sound(url: str) -> str:
    """Return the address, once it is one and gives nothing away."""
    if re.match(r"(\w+://)?[^/]*@", url) or "?" in url:
        raise ConfigError(
            "base_url holds a user, a password or a query, which would be shown: give the bare "
            "address, and the key in the environment."
        )
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url.rstrip("/")
    raise ConfigError(f"base_url={url!r} is no address: try 'http://127.0.0.1:8000/v1'.")

"""A ChatModel at an address: any OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp, a vendor).

The `openai` client sends, waits and retries; here is what it leaves open: one sentence for every
failure, a stop that never waits for the network, requests without what an endpoint refuses, and
replies in the shapes that servers really send. What is known of them is in `endpoints.toml`.
"""

import ipaddress
import json
import os
import queue
import re
import socket
import ssl
import threading
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from latentcrs_utils.errors import ConfigError, EndpointError
from latentcrs_utils.language.chat_model import ChatModel, ChatRequest, Finish, Reply, fold_system
from latentcrs_utils.language.structured_output import demand
from latentcrs_utils.language.thoughts import SpokenText

_TABLE = tomllib.loads(
    files("latentcrs_utils.language").joinpath("endpoints.toml").read_text("utf-8")
)
# a server that is there at all accepts a connection quickly, however long its model then thinks
_LONGEST_CONNECT = 10.0
# how soon a stop is noticed, in seconds
_GLANCE = 0.05
_LONGEST_QUOTE, _LONGEST_BODY = 200, 4_000_000
# tokens for a model that thinks although it is asked not to
_ROOM = 2_048
_UNNAMED = re.compile(_TABLE["unnamed"]["words"], re.I)
_DONE = "[DONE]"
_THOUGHT = "<think>.</think>"


class EndpointChatModel(ChatModel):
    """A language model behind an OpenAI-compatible address.

    The key is read from the environment for each request and kept nowhere; without one, none is
    sent, which suits servers on this machine. A request is sent again that meets a limit (429), a
    failing server (5xx), a time-out or a broken connection, after 0.5, 1, 2, ..., at most 8 seconds
    or what ``Retry-After`` says. A reply that breaks off before its first word is asked for once
    more; one that breaks off later is kept, its ``finish`` is "cut". Optional parts of a request
    that the endpoint refuses are left out, one at a time, then and later. Thoughts are no part of a
    reply: a model that thinks is asked not to, and gets 2,048 tokens for it if it still does.

    Args:
        model: as the endpoint calls it.
        base_url: where the endpoint is, with ``/v1``; None takes the environment variable
            OPENAI_BASE_URL, and without it OpenAI's own.
        key_variable: environment variable that holds the key; None sends none.
        timeout: longest silence of the endpoint, in seconds.
        retries: how often a failed request is sent again.
        temperature: 0 asks for the likeliest words; None leaves it to the endpoint.
        thinking_tokens: how many the model may think before a reply, besides the reply's own; 0
            asks it not to think as soon as it is found to.

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
        thinking_tokens: int = 0,
    ):
        if not model:
            raise ConfigError("An EndpointChatModel needs the name that the endpoint knows.")
        if timeout <= 0 or min(retries, temperature or 0, thinking_tokens) < 0:
            raise ConfigError(
                f"timeout={timeout}, retries={retries}, temperature={temperature}, "
                f"thinking_tokens={thinking_tokens}: the first must be above 0, the others at "
                "least 0."
            )
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        super().__init__(re.split(r"[/\\]", model.rstrip("/\\"))[-1])
        self.model, self.base_url, self.key_variable = model, _sound(address), key_variable
        self.timeout, self.retries, self.temperature = timeout, retries, temperature
        self.thinking_tokens = thinking_tokens
        # part of a request -> how many of its forms were refused; "less thinking" -> 1: is asked
        # for, 2: and room for thoughts is given
        self._step: dict[str, int] = {}

    def _reply(self, request: ChatRequest) -> Reply:
        """Take pieces from a thread until the reply ends or is stopped: no wait for the network."""
        if request.stopped:
            return Reply("", finish="stopped")
        # a key that cannot be one is refused here, not in the thread
        self._key()
        text, ended, heard = "", False, PartialReply()
        arguments = self._client(), request, heard
        threading.Thread(target=self._listen, args=arguments, daemon=True).start()
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
        text = heard.spoken.text
        finish: Finish = heard.finish or ("end" if heard.done and text else "cut")
        if not text.strip() and (heard.failure or heard.wordless or finish == "cut"):
            what = "thinking" if heard.wordless else "withheld" if heard.finish else "nothing"
            limit = request.max_new_tokens + max(self.thinking_tokens, _ROOM)
            why = _TABLE["says"][what].format(name=self.name, limit=limit, more=2 * limit)
            raise EndpointError(f"{self.base_url} {heard.failure or why}")
        asked = [*heard.earlier, heard.tokens]
        n_read, n_written = map(sum, zip(*[tokens or (0, 0) for tokens in asked], strict=True))
        return Reply(text, n_read, n_written, finish=finish, counted=None not in asked)

    def _listen(self, client: Any, request: ChatRequest, heard: "PartialReply") -> None:
        """Ask, and hand on each piece of the reply; None says that it has ended.

        It is asked again without what is refused, and with less thinking where that left no reply.
        Only text leaves here: what the client raises holds the headers, and so the key.
        """
        key, again, step = self._key(), False, dict(self._step)
        with ExitStack() as stack:
            stack.callback(heard.pieces.put, None)
            stack.enter_context(client)
            while not heard.abandoned:
                parts, answer = self._parts(request, step), None
                # forget what came of a request that is now sent otherwise
                heard.spoken, heard.done = SpokenText(), False
                heard.finish = heard.tokens = None
                try:
                    answer = stack.enter_context(closing(_send(client, parts, key)))
                    self._step |= step
                    for value in _values(answer.iter_text()):
                        heard.pieces.put(heard.take(value))
                        if heard.abandoned:
                            return
                except Exception as error:
                    part = _refused(error, parts)
                    if not heard.spoken.text:
                        if answer is not None and _is_lost(error) and self.retries and not again:
                            again = True
                            continue
                        if part is not None:
                            step[part] = step.get(part, 0) + 1
                            continue
                    heard.failure = error_message(error, self, key, again)
                heard.pieces.put(heard.spoken.add("", ended=True))
                level, thought = step.get("less thinking", 0), heard.spoken.thought
                if thought and not self.thinking_tokens:
                    self._step.setdefault("less thinking", 1)
                cut = thought and request.stream is None and heard.finish == "length"
                if heard.failure or level == 2 or not (heard.wordless or cut):
                    return
                self._step["less thinking"] = step["less thinking"] = level + 1
                heard.earlier.append(heard.tokens)

    def _client(self) -> Any:
        """Return a client; a server on this machine is asked without proxies."""
        import openai

        secure, http_client = self.base_url.startswith("https"), None
        timeout = openai.Timeout(self.timeout, connect=min(self.timeout, _LONGEST_CONNECT))
        options: dict[str, Any] = {"timeout": timeout, "max_retries": self.retries}
        try:
            if on_this_machine(urlsplit(self.base_url).hostname or ""):
                # plain HTTP needs no certificates, and a bare context reads no variable for them
                bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                verify = ssl.create_default_context() if secure else bare
                http_client = openai.DefaultHttpxClient(trust_env=False, verify=verify)
            options["http_client"] = http_client
            return openai.OpenAI(api_key="-", base_url=self.base_url, **options)
        except Exception as error:
            # the value of such a variable may hold a password
            names = _TABLE["variables"]["files" if isinstance(error, OSError) else "proxies"]
            found = (
                " and ".join(n for n in sorted(os.environ) if n.upper() in names) or "the network"
            )
            why = _TABLE["says"]["environment"].format(variables=found, kind=type(error).__name__)
        raise EndpointError(f"{self.base_url} {why}")

    def _parts(self, request: ChatRequest, step: dict[str, int]) -> dict[str, dict[str, Any]]:
        """Return the fields of a request by part, each part in the form that is next to try."""
        chat, schema, thinking = request.messages, request.schema, step.get("less thinking", 0)
        forms: dict[str, list[Any]] = dict(_TABLE["thinking_off"]) if thinking else {}
        if (request.stream is not None or request.stop is not None) and not step.get("stream"):
            # only what is to be seen or stopped on its way: that has more ways to fail
            forms |= {"stream_options": [{"include_usage": True}], "stream": [True]}
        if schema is not None:
            asked = [{"name": "reply", "strict": s, "schema": dict(schema)} for s in (True, False)]
            forms["response_format"] = [{"type": "json_schema", "json_schema": a} for a in asked]
            forms["response_format"].append({"type": "json_object"})
            if step.get("response_format", 0) > 1:
                # nobody else shows the schema to the model
                told = f"{chat[-1]['content']}\n\n{demand(schema)}"
                chat = [*chat[:-1], chat[-1] | {"content": told}]
        if self.temperature is not None:
            forms["temperature"] = [self.temperature]
        left = {name: form[step.get(name, 0) :] for name, form in forms.items()}
        parts = {name: {name: form[0]} for name, form in left.items() if form}
        limit = request.max_new_tokens + max(self.thinking_tokens, _ROOM * (thinking > 1))
        for name in ("max_tokens", "max_completion_tokens")[step.get("max_tokens", 0) :][:1]:
            parts["max_tokens"] = {name: limit}
        folded = fold_system(chat)
        if not step.get("system") and folded != chat:
            return parts | {"system": {"model": self.model, "messages": chat}}
        return parts | {"chat": {"model": self.model, "messages": folded}}

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

    ``tokens`` are those read and written, ``earlier`` those of replies that were no use; ``done``
    says whether all of it came; ``failure`` is the rest of a sentence that begins with the address;
    ``abandoned`` is set when nobody waits for the rest.
    """

    finish: Finish | None = None
    tokens: tuple[int, int] | None = None
    earlier: list[tuple[int, int] | None] = field(default_factory=list)
    done: bool = False
    failure: str = ""
    pieces: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)
    spoken: SpokenText = field(default_factory=SpokenText)
    abandoned: bool = False

    @property
    def wordless(self) -> bool:
        """Whether the model thought, or used up its tokens, and said nothing."""
        thought = self.spoken.thought or self.finish == "length"
        return thought and not self.spoken.text.strip()

    def take(self, value: Any) -> str:
        """Return what of a JSON value is to be shown; it may hold anything, or be an error."""
        self.done = self.done or value == _DONE
        choices, usage = (_at(value, name) for name in ("choices", "usage"))
        choice = choices[0] if isinstance(choices, list) and choices else value
        said = next((s for k in ("delta", "message", "text") if (s := _at(choice, k))), None)
        problem = _at(value, "error") or _at(choice, "error")
        if problem or (choice is value and isinstance(said or _at(value, "detail"), (str, list))):
            import openai

            request: Any = None
            raise openai.APIError(str(value), request, body=problem or value)
        n_read, n_written = _at(usage, "prompt_tokens"), _at(usage, "completion_tokens")
        if all(type(count) is int and count >= 0 for count in (n_read, n_written)):
            self.tokens = n_read, n_written
        if finish := _at(choice, "finish_reason"):
            self.finish = _TABLE["finishes"].get(str(finish).lower(), "end")
        thought = any(_text_of(_at(said, name)).strip() for name in _TABLE["thoughts"]["fields"])
        content = _at(said, "content") or _at(said, "refusal")
        text = _text_of(content if isinstance(said, dict) else said)
        return self.spoken.add(f"{_THOUGHT if thought else ''}{text}")


def _at(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text_of(content: Any) -> str:
    """Return the text of a content: a text, parts of one, or JSON that somebody has parsed."""
    if isinstance(content, list):
        return "".join(map(_text_of, content))
    if not isinstance(content, dict):
        return content if isinstance(content, str) else ""
    if re.search("think|reason", str(content.get("type"))):
        return _THOUGHT
    inner = [content[name] for name in ("text", "content", "value") if name in content]
    return _text_of(inner[0]) if inner else "" if "type" in content else json.dumps(content)


def _send(client: Any, parts: dict[str, dict[str, Any]], key: str) -> Any:
    """Send a request; return its response, whose body is not read yet when it is streamed."""
    import openai

    body = {name: value for fields in parts.values() for name, value in fields.items()}
    known = {name: body.pop(name) for name in ("model", "messages", "stream") if name in body}
    headers = {"Authorization": f"Bearer {key}" if key else openai.Omit()}
    ask = client.chat.completions.with_raw_response.create
    return ask(**known, extra_body=body, extra_headers=headers).http_response


def _values(chunks: Iterable[str]) -> Iterator[Any]:
    """Yield the JSON values of a body, an event or a line each, or one document; `_DONE` last."""
    pending, events, line = "", False, ""
    for line in _lines(chunks):
        if line.startswith((":", "event:", "id:", "retry:")):
            continue
        events = events or line.startswith("data:")
        line = line.removeprefix("data:").strip()
        if line == _DONE or (events and pending and not line):
            break
        pending += line
        if line.endswith(("}", "]")):
            with suppress(ValueError):
                value, pending = json.loads(pending), ""
                yield value
    if pending:
        yield json.loads(pending)
    if not events or line == _DONE:
        yield _DONE


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    rest, size = "", 0
    for chunk in chunks:
        *lines, rest = re.split(r"\r\n|\r|\n", rest + chunk)
        yield from lines
        size += len(chunk)
        if size > _LONGEST_BODY:
            break
    yield rest


def _is_lost(error: Exception) -> bool:
    """Whether a connection failed; errors of its library come through while a body is read."""
    import openai

    http = type(error).__module__.startswith("httpx")
    return http or isinstance(error, openai.APIConnectionError)


def _refused(error: Any, parts: dict[str, Any]) -> str | None:
    """Name the optional part of a request that an endpoint refuses, whatever the error's form."""
    status, body = getattr(error, "status_code", 0), getattr(error, "body", None)
    if status not in (400, 404, 405, 415, 422, 500, 501) and (status or not body):
        return None
    told = error.response.text if status else str(error)
    optional = [name for name in _TABLE["refused"] if name in parts]
    named = [name for name in optional if re.search(_TABLE["refused"][name], told, re.I)]
    if status in (400, 422, 501) and _UNNAMED.search(_quote(error, "")):
        # it may be about any of them
        named += optional
    return next(iter(named), None)


def error_message(error: Any, model: EndpointChatModel, key: str, again: bool) -> str:
    """Say why there is no reply, as `PartialReply.failure`; the key is cut out of what is quoted.

    ``again``: the request was sent anew, besides the client's own retries.
    """
    import openai

    # the client counts in a header how often it has sent a request again
    counts = isinstance(error, (openai.APIStatusError, openai.APIConnectionError))
    n = 1 + again + int(error.request.headers.get("x-stainless-retry-count", 0) if counts else 0)
    kind, status, quote = type(error).__name__, getattr(error, "status_code", 0), _quote(error, key)
    when, variable = "later", model.key_variable
    advice = f"set the environment variable {variable} to one that is valid there and may use "
    advice += f"{model.name!r}"
    if variable is None:
        advice = "name its environment variable, key_variable"
    if isinstance(error, openai.APIStatusError):
        what = "5xx" if status >= 500 else str(status)
        if status in (401, 403):
            # such an answer may repeat a part of the key, so it is not quoted
            what = "key_refused" if key else "key_missing"
        if (wait := error.response.headers.get("retry-after", "")).isdigit():
            when = f"in {wait} s, as it wishes"
    elif _is_lost(error):
        what = "silent" if "Timeout" in kind else "unreachable"
    else:
        what = "replying" if isinstance(error, openai.APIError) else "no_reply"
    known = {"advice": advice, "kind": kind, "quote": quote, "status": status, "when": when}
    known |= {"name": model.name, "timeout": model.timeout, "answer": f"(HTTP {status}{quote})"}
    known["asked"] = f"asked {['once', 'twice'][n - 1] if n < 3 else f'{n} times'}"
    return _TABLE["says"].get(what, _TABLE["says"]["other"]).format(**known)


def on_this_machine(host: str) -> bool:
    """Whether a host is the machine itself, which no proxy needs to reach."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified
    return host in ("localhost", socket.gethostname().lower()) or host.endswith(".localhost")


def _quote(error: Any, key: str) -> str:
    """Return the endpoint's own words after a colon: one short line, without the key."""
    body = getattr(error, "body", None)
    while isinstance(body, (dict, list)) and body:
        fields = body if isinstance(body, list) else map(body.get, _TABLE["messages"]["fields"])
        body = next(filter(None, fields), None)
    line = " ".join(str(body or "").split()).rstrip(".:")
    line = "".join(filter(str.isprintable, line.replace(key, "(the key)") if key else line))
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

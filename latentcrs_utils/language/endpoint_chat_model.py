"""A ChatModel at an address: any OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp, a vendor).

The `openai` client sends, waits and retries; here is what it leaves open: one sentence for every
failure, a stop that never waits for the network, requests without what an endpoint refuses, and
replies in the shapes that servers really send. What is known of them is in the TOML file.
"""

import codecs
import json
import os
import queue
import re
import socket
import ssl
import threading
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from latentcrs_utils.errors import ConfigError, EndpointError, WordlessError
from latentcrs_utils.language.chat_model import ChatModel, ChatRequest, Finish, Reply, fold_system
from latentcrs_utils.language.structured_output import demand
from latentcrs_utils.language.thoughts import SpokenText

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
# a server that is there at all accepts a connection quickly, however long its model then thinks
_LONGEST_CONNECT = 10.0
# how soon a stop is noticed, in seconds
_GLANCE = 0.05
_LONGEST_QUOTE, _LONGEST_BODY = 200, 4_000_000
# tokens for a model that thinks although it is asked not to
_ROOM = 2_048
_HERE = re.compile(_TABLE["hosts"]["here"])
_DONE = "[DONE]"
_THOUGHT = "<think>.</think>"


class EndpointChatModel(ChatModel):
    """A language model behind an OpenAI-compatible address.

    The key is read from the environment for each request and kept nowhere. What meets a limit
    (429), a failing server (5xx), a time-out or a broken connection is sent again, after 0.5, 1, 2,
    ..., at most 8 seconds or what ``Retry-After`` says. A reply that breaks off before its first
    word is asked for once more; one that breaks off later is kept, its ``finish`` is "cut". What
    the endpoint refuses of a request is left out, part by part, then and later. A model that thinks
    is asked not to, and gets 2,048 tokens for it if it still does; thoughts are not shown.

    Args:
        base_url: with ``/v1``; None takes OPENAI_BASE_URL, and without it OpenAI's own.
        key_variable: environment variable that holds the key; None sends none.
        timeout: longest silence of the endpoint, in seconds.
        retries: how often a failed request is sent again.
        thinking_tokens: how many the model may think before a reply; 0 asks it not to.

    ConfigError: a senseless number or address, one with a password, later a senseless key.
    EndpointError, later: nobody is there, refuses, or answers with something else.
    """

    asks_twice, advice = True, _TABLE["says"]["no_json"]

    def __init__(
        self, model: str, base_url: str | None = None, *,
        key_variable: str | None = "OPENAI_API_KEY", timeout: float = 60.0, retries: int = 3,
        thinking_tokens: int = 0,
    ):  # fmt: skip
        if not model:
            raise ConfigError(_TABLE["says"]["no_name"])
        if timeout <= 0 or min(retries, thinking_tokens) < 0:
            settings = timeout, retries, thinking_tokens
            raise ConfigError(_TABLE["says"]["no_settings"].format(*settings))
        address = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        super().__init__(re.split(r"[/\\]", model.rstrip("/\\"))[-1])
        self.model, self.base_url, self.key_variable = model, _sound(address), key_variable
        self.timeout, self.retries, self.thinking_tokens = timeout, retries, thinking_tokens
        # part of a request -> how many of its forms were refused; of "thoughts", 1 asks for none
        # and 2 makes room for it
        self._step: Counter[str] = Counter()

    def _reply(self, request: ChatRequest) -> Reply:
        """Take pieces from a thread until the reply ends or is stopped: no wait for the network."""
        if request.stopped:
            return Reply("", finish="stopped")
        # a key that cannot be one is refused here, not in the thread
        self._key()
        pieces: Pieces = queue.SimpleQueue()
        left, shown, heard = threading.Event(), "", None
        threading.Thread(target=self._listen, args=(request, pieces, left), daemon=True).start()
        try:
            while heard is None:
                if request.stopped:
                    return Reply(shown, finish="stopped", counted=False)
                with suppress(queue.Empty):
                    piece = pieces.get(timeout=_GLANCE)
                    if isinstance(piece, PartialReply):
                        heard = piece
                    elif piece:
                        shown += piece
                        if request.stream is not None:
                            request.stream(piece)
        finally:
            left.set()
        text = heard.spoken.text
        finish: Finish = heard.finish or ("end" if heard.done and text else "cut")
        if not text.strip() and (heard.failure or heard.wordless or finish == "cut"):
            what = "thinking" if heard.wordless else "withheld" if heard.finish else "nothing"
            limit = request.max_new_tokens + max(self.thinking_tokens, _ROOM)
            why = _TABLE["says"][what].format(name=self.name, limit=limit, more=2 * limit)
            deaf = heard.failure or what == "nothing"
            error = EndpointError if deaf else WordlessError
            raise error(f"{self.base_url} {heard.failure or why}")
        counts = [tokens or (0, 0) for tokens in heard.tokens]
        n_read, n_written = map(sum, zip(*counts, strict=True))
        return Reply(text, n_read, n_written, finish=finish, counted=None not in heard.tokens)

    def _listen(self, request: ChatRequest, pieces: "Pieces", left: threading.Event) -> None:
        """Ask until there is nothing more to leave out; hand on the pieces, then what is known.

        Only text goes out: what the client raises holds the headers, and so the key.
        """
        key, step, heard = self._key(), self._step.copy(), PartialReply()
        try:
            while not left.is_set():
                parts, heard = self._parts(request, step), PartialReply(heard.tokens)
                try:
                    with self._client() as client, closing(_send(client, parts, key)) as answer:
                        heard.answered = True
                        self._step |= step - Counter(again=1)
                        # JSON is UTF-8, whatever a head says
                        text = codecs.iterdecode(answer.iter_bytes(), "utf-8-sig", "replace")
                        for value in _values(text):
                            pieces.put(heard.take(value))
                            if left.is_set():
                                return
                    pieces.put(heard.spoken.add("", ended=True))
                    # what is streamed is said
                    cut = heard.spoken.thought and not request.stream and heard.finish == "length"
                    part = "thoughts" if (heard.wordless or cut) and step["thoughts"] < 2 else None
                    heard.tokens += [None] if part else []
                except Exception as error:
                    part = None if heard.spoken.text else _refused(error, parts, heard.answered)
                    heard.failure = error_message(error, self, key, heard.answered, step["again"])
                    pieces.put("" if part else heard.spoken.add("", ended=True))
                if heard.spoken.thought and not self.thinking_tokens:
                    self._step |= Counter(thoughts=1)
                if part is None:
                    return
                step[part] += 1
        finally:
            pieces.put(heard)

    def _client(self) -> Any:
        """Return a client; a server on this machine is asked without proxies."""
        import openai

        timeout = openai.Timeout(self.timeout, connect=min(self.timeout, _LONGEST_CONNECT))
        options: dict[str, Any] = {"timeout": timeout, "max_retries": self.retries}
        if on_this_machine(urlsplit(self.base_url).hostname or ""):
            # plain HTTP needs no certificates, and a bare context reads no variable for them
            secure, bare = self.base_url.startswith("https"), ssl.PROTOCOL_TLS_CLIENT
            verify = ssl.create_default_context() if secure else ssl.SSLContext(bare)
            options["http_client"] = openai.DefaultHttpxClient(trust_env=False, verify=verify)
        return openai.OpenAI(api_key="-", base_url=self.base_url, **options)

    def _parts(self, request: ChatRequest, step: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """Return the fields of a request by part, each part in the form that is next to try."""
        chat, schema, thinking = request.messages, request.schema, step["thoughts"]
        forms: dict[str, list[Any]] = {"temperature": [0.0]}
        forms |= _TABLE["thinking_off"] if thinking else {}
        if (request.stream is not None or request.stop is not None) and not step["stream"]:
            # only what is to be seen or stopped on its way: that has more ways to fail
            forms |= {"stream_options": [{"include_usage": True}], "stream": [True]}
        if schema is not None:
            asked = [{"name": "reply", "strict": s, "schema": dict(schema)} for s in (True, False)]
            forms["response_format"] = [{"type": "json_schema", "json_schema": a} for a in asked]
            forms["response_format"].append({"type": "json_object"})
            if step["response_format"] > 1:
                # nobody else shows the schema to the model
                told = f"{chat[-1]['content']}\n\n{demand(schema)}"
                chat = [*chat[:-1], chat[-1] | {"content": told}]
        left = {name: form[step[name] :] for name, form in forms.items()}
        parts = {name: {name: form[0]} for name, form in left.items() if form}
        limit = request.max_new_tokens + max(self.thinking_tokens, _ROOM * (thinking > 1))
        if (tried := step["max_tokens"]) < 2:
            parts["max_tokens"] = {("max_tokens", "max_completion_tokens")[tried]: limit}
        if self.retries and not step["again"]:
            parts["again"] = {}
        folded = fold_system(chat)
        if folded != chat and not step["system"]:
            return parts | {"system": {"model": self.model, "messages": chat}}
        return parts | {"chat": {"model": self.model, "messages": folded}}

    def _key(self) -> str:
        """Return the key, empty where there is none; one that no header can carry is refused."""
        key = os.environ.get(self.key_variable or "", "").strip()
        if key.isascii() and key.isprintable() and " " not in key:
            return key
        # no traceback may show it
        del key
        raise ConfigError(_TABLE["says"]["no_key"].format(self.key_variable))


@dataclass
class PartialReply:
    """What is known of a reply that arrives."""

    # read and written, in this reply and in those before it that were no use; None: not reported
    tokens: list[tuple[int, int] | None] = field(default_factory=lambda: [None])
    spoken: SpokenText = field(default_factory=SpokenText)
    finish: Finish | None = None
    answered: bool = False  # whether its head came
    done: bool = False  # whether all of it came
    failure: str = ""  # the rest of a sentence that begins with the address

    @property
    def wordless(self) -> bool:
        """Whether the model thought, or used up its tokens, and said nothing."""
        thought = self.spoken.thought or self.finish == "length"
        return thought and not self.spoken.text.strip()

    def take(self, value: Any) -> str:
        """Return what of a JSON value is to be shown; it may hold anything, or be an error."""
        self.done = self.done or value == _DONE
        choices, usage = _at(value, "choices"), _at(value, "usage")
        choice = choices[0] if isinstance(choices, list) and choices else value
        said = next((s for k in ("delta", "message", "text") if (s := _at(choice, k))), None)
        problem = _at(value, "error") or _at(choice, "error")
        if problem or (choice is value and isinstance(said or _at(value, "detail"), (str, list))):
            import openai

            raise openai.APIError(str(value), None, body=problem or value)  # type: ignore[arg-type]
        n_read, n_written = _at(usage, "prompt_tokens"), _at(usage, "completion_tokens")
        if all(type(count) is int and count >= 0 for count in (n_read, n_written)):
            self.tokens[-1] = n_read, n_written
        if finish := _at(choice, "finish_reason"):
            self.finish = _TABLE["finishes"].get(str(finish).lower(), "end")
        thought = any(_text_of(_at(said, name)).strip() for name in _TABLE["thoughts"]["fields"])
        content = _at(said, "content") or _at(said, "refusal")
        text = _text_of(content if isinstance(said, dict) else said)
        return self.spoken.add(f"{_THOUGHT if thought else ''}{text}")


# what a thread sends: text to be shown, then what is known of the reply
Pieces = queue.SimpleQueue[str | PartialReply]


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


def _send(client: Any, parts: Mapping[str, dict[str, Any]], key: str) -> Any:
    """Send a request; return its response, whose body is not read yet when it is streamed."""
    import openai

    body = {name: value for fields in parts.values() for name, value in fields.items()}
    known = {name: body.pop(name) for name in ("model", "messages", "stream") if name in body}
    headers = {"Authorization": f"Bearer {key}" if key else openai.Omit()}
    ask = client.chat.completions.with_raw_response.create
    return ask(**known, extra_body=body, extra_headers=headers).http_response


def _values(chunks: Iterable[str]) -> Iterator[Any]:
    """Yield the JSON values of a body, an event or a line each, or one document; `_DONE` last."""
    pending, rest, size, events = "", "", 0, False
    for chunk in chain(chunks, ["\n"]):
        *lines, rest = re.split(r"\r\n|\r|\n", rest + chunk)
        for line in lines:
            if line.startswith((":", "event:", "id:", "retry:")):
                continue
            events = events or line.startswith("data:")
            line = line.removeprefix("data:").strip()
            whole = line == _DONE or (events and not line)
            pending += "" if whole else line
            if pending and (whole or line.endswith(("}", "]"))):
                with suppress(*(() if whole else (ValueError,))):
                    value, pending = json.loads(pending), ""
                    yield value
            if line == _DONE:
                yield _DONE
                return
        if (size := size + len(chunk)) > _LONGEST_BODY:
            break
    if pending:
        yield json.loads(pending)
    if not events:
        yield _DONE


def _refused(error: Any, parts: Mapping[str, Any], answered: bool) -> str | None:
    """Name the part of a request to leave out after an error, whatever the error's form."""
    status, body = getattr(error, "status_code", 0), getattr(error, "body", None)
    if answered and type(error).__module__.startswith("httpx") and "again" in parts:
        # the connection broke while a body was read: before, the client tries again itself
        return "again"
    if status not in (400, 404, 405, 415, 422, 500, 501) and (status or not body):
        return None
    told = error.response.text if status else str(error)
    optional = [name for name in _TABLE["refused"] if name in parts]
    named = [name for name in optional if re.search(_TABLE["refused"][name], told, re.I)]
    if status in (400, 422, 501) and re.search(_TABLE["unnamed"]["words"], _quote(error, ""), re.I):
        # it may be about any of them
        named += optional
    return next(iter(named), None)


def error_message(error: Any, model: EndpointChatModel, key: str, answered: bool, n: int) -> str:
    """Say why there is no reply, without the key, after n requests besides the retries."""
    status, kind = getattr(error, "status_code", 0), type(error)
    sign = f"{status} {kind.__module__}.{kind.__name__} key={bool(key)} answered={answered}"
    what = next(what for what, signs in _TABLE["signs"].items() if re.search(signs, sign))
    wait = error.response.headers.get("retry-after", "") if status else ""
    # the client counts in a header how often it has sent a request again
    sent = error.request.headers if kind.__module__ == "openai" and error.request else {}
    n += 1 + int(sent.get("x-stainless-retry-count", 0))
    names = _TABLE["variables"]["files" if isinstance(error, OSError) else "proxies"]
    # the values may hold a password
    variables = [name for name in sorted(os.environ) if name.upper() in names]
    known = vars(model) | {"status": status, "kind": kind.__name__, "quote": _quote(error, key)}
    known["asked"] = f"asked {'once' if n == 1 else 'twice' if n == 2 else f'{n} times'}"
    known["when"] = f"in {wait} s, as it wishes" if wait.isdigit() else "later"
    known["variables"] = " and ".join(variables) or "the network"
    advice = _TABLE["says"]["advice" if model.key_variable else "no_variable"].format(**known)
    return _TABLE["says"][what].format(advice=advice, **known)


def on_this_machine(host: str) -> bool:
    """Whether a host is the machine itself, which no proxy needs to reach."""
    return host == socket.gethostname().lower() or bool(_HERE.fullmatch(host))


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
    with suppress(ValueError):
        parts = urlsplit(url)
        is_bare = not re.match(r"(\w+://)?[^/]*@", url) and "?" not in url
        if is_bare and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url.rstrip("/")
    raise ConfigError(_TABLE["says"]["no_address"])

"""A small OpenAI-shaped chat server for the tests that fails on demand."""

import json
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel

MODEL = "small-1"
KEY = "sk-secret-0123456789"
CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Something funny"}]
_SCHEMAS = tomllib.loads(Path(__file__).with_name("schemas.toml").read_text("utf-8"))
GENRE, WISH = _SCHEMAS["genre"], _SCHEMAS["wish"]
FITS = '{"genre": "Comedy", "years": [1980]}'
Behaviour = Callable[["_Handler", dict[str, Any]], None]


@dataclass
class ChatServer:
    """A running server: does what `plan` says with the next requests, then it is well again."""

    url: str = ""
    plan: list[Behaviour] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)  # the bodies of the requests
    headers: list[dict[str, str]] = field(default_factory=list)  # by name in small letters
    says: str = "A quiet film for a long evening."


def chat_model_for(server: ChatServer, **setting: Any) -> EndpointChatModel:
    """A chat model that asks this server, with its key in TEST_KEY and one retry."""
    usual = {"key_variable": "TEST_KEY", "retries": 1, "timeout": 20}
    return EndpointChatModel(MODEL, server.url, **{**usual, **setting})


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """Run one on 127.0.0.1, on a free port, as long as the block lasts."""
    state = ChatServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state)) as server:
        # a client that gave up is what several tests are about
        server.daemon_threads, server.handle_error = True, lambda *_: None
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, state: ChatServer, *given: Any):
        self.state = state
        super().__init__(*given)

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.state.asked.append(body)
        self.state.headers.append({name.lower(): value for name, value in self.headers.items()})
        behave = self.state.plan.pop(0) if self.state.plan else well()
        if self.path != "/v1/chat/completions":
            behave = status(404, "no such path")
        behave(self, body)

    def send(self, code: int, body: str, kind: str = "application/json", **more: str) -> None:
        self.send_response(code)
        length = str(len(body.encode()))
        for name, value in {"Content-Type": kind, "Content-Length": length, **more}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body.encode())

    def stream(self, *events: str, pause: float = 0.0, close: bool = True) -> None:
        """Send events, and close the stream or leave it open."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            time.sleep(pause)
            line = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if close:
            self.wfile.write(b"0\r\n\r\n")

    def break_off(self, silence: float) -> None:
        time.sleep(silence)
        self.close_connection = True
        self.connection.close()


def well(text: str | None = None, finish: str = "stop", usage: bool = True, pause=0.0) -> Behaviour:
    """Reply with `text`; without one, with `FITS` where a schema is given or told.

    Else it is what the server says. `usage`: report tokens (a word is one); `pause`: seconds
    before each streamed piece.
    """

    def behave(handler: _Handler, body: dict[str, Any]) -> None:
        told = "this schema" in body["messages"][-1]["content"]
        usual = FITS if told or "response_format" in body else handler.state.says
        words = (usual if text is None else text).split(" ")
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        pieces = [" " * (i > 0) + word for i, word in enumerate(words[:limit])]
        ending = "length" if len(pieces) < len(words) else finish
        n_read = sum(len(m["content"].split()) for m in body["messages"])
        used = (n_read, len(pieces)) if usage else None
        if body.get("stream"):
            asked = body.get("stream_options", {}).get("include_usage")
            last = [_answer(None, used)] if asked and usage else []
            handler.stream(*map(delta, pieces), delta(None, ending), *last, "[DONE]", pause=pause)
        else:
            message = {"role": "assistant", "content": "".join(pieces)}
            handler.send(200, _answer({"message": message, "finish_reason": ending}, used))

    return behave


def delta(piece: str | None, finish: str | None = None, used: tuple | None = None) -> str:
    """One streamed piece; `used`: tokens read and written, as far as it says so."""
    content = {} if piece is None else {"content": piece}
    return _answer({"delta": content, "finish_reason": finish}, used)


def _answer(choice: dict | None, used: tuple | None) -> str:
    choices = [] if choice is None else [{"index": 0, **choice}]
    usage = used and dict(zip(("prompt_tokens", "completion_tokens"), used, strict=True))
    answer = {"id": "1", "object": "chat", "created": 0, "model": MODEL, "choices": choices}
    return json.dumps(answer | ({"usage": usage} if usage else {}))


def error(message: str) -> str:
    """An error in OpenAI's form."""
    return json.dumps({"error": {"message": message, "type": "test", "code": None}})


def status(code: int, message: str = "", **headers: str) -> Behaviour:
    """Answer with an error."""
    return lambda handler, _: handler.send(code, error(message), **headers)


def echo_key(handler: _Handler, _: dict[str, Any]) -> None:
    """Refuse the key, and repeat it."""
    handler.send(401, error(f"Incorrect key: {handler.headers['Authorization']}"))


def raw(body: str, kind: str = "application/json") -> Behaviour:
    """Answer 200 with this body."""
    return lambda handler, _: handler.send(200, body, kind)


def silent(seconds: float) -> Behaviour:
    """Say nothing for a while, then end."""
    return lambda handler, _: handler.break_off(seconds)


def cut(*pieces: str, clean: bool = False, silence: float = 0.0) -> Behaviour:
    """Stream these pieces and end without an ending: the connection breaks, or just closes."""

    def behave(handler: _Handler, _: dict[str, Any]) -> None:
        handler.stream(*map(delta, pieces), close=clean)
        handler.break_off(silence)

    return behave


def stream_of(*events: str) -> Behaviour:
    """Stream these events, whatever they hold."""
    return lambda handler, _: handler.stream(*events, "[DONE]")


def as_written(answer: str | list[str] | dict[str, Any]) -> Behaviour:
    """Answer as `shapes.toml` says: a body, the events of a stream, or a status with a body."""
    if isinstance(answer, list):
        return lambda handler, _: handler.stream(*answer)
    if isinstance(answer, dict):
        return lambda handler, _: handler.send(answer["status"], answer["body"])
    return raw(answer)


_WORDS = "choices message delta content error detail usage prompt_tokens finish_reason text type"
_WORDS += " reasoning <think> </think> length stop stream_options system unknown thinking \u202e"
_LEAVES = [*_WORDS.split(" "), "\ud800", "\n", KEY, None, True, 0, -1, 1e308, 10**30, _WORDS]
_STATUSES = [201, 204, 301, 304, 400, 401, 404, 405, 418, 422, 429, 451, 500, 501, 599, 999]


def anything(draws: Random) -> Behaviour:
    """Answer with a random status, body or stream, most of it close to what is expected."""

    def value(depth: int = 0) -> Any:
        kind, n = draws.randrange(8 if depth < 4 else 5), draws.randrange(5)
        if kind < 5:
            return draws.choice(_LEAVES)
        values = [value(depth + 1) for _ in range(n)]
        return values if kind == 5 else dict(zip(_WORDS.split(" ")[n * 3 :], values, strict=False))

    def event() -> str:
        said = draws.choice([value(), {"content": value(), "reasoning": value()}])
        choice = {draws.choice(["delta", "message", "text"]): said, "finish_reason": value()}
        return json.dumps({"choices": [choice], "usage": value(), "detail": value()})

    text = json.dumps(value())
    broken = text[: draws.randrange(len(text) + 1)]
    body = draws.choice([event(), text, broken, f"data: {text}\n\n", "<html>", "[" * 3000])
    if draws.random() < 0.4:
        return stream_of(*(draws.choice([event(), body]) for _ in range(draws.randrange(5))))
    code = 200 if draws.random() < 0.5 else draws.choice(_STATUSES)
    return lambda handler, _: handler.send(code, body, draws.choice(["", "text/event-stream"]))


def stopping_after(n: int, stop: threading.Event, pieces: list[str]) -> Callable[[str], None]:
    """Take pieces of a reply, and set the event with the n-th."""

    def take(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == n:
            stop.set()

    return take

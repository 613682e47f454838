"""One request to an endpoint, in a thread of its own: a stop never waits for the network."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from latentcrs_utils.language.endpoint_chat_model import Endpoint, Failure

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 8.0
# how soon a stop is noticed
_GLANCE = 0.05


@dataclass
class Heard:
    """What has arrived of a reply.

    Attributes:
        text: so far.
        finish: why it ended, in the endpoint's words; None where it did not say.
        tokens: read and written, by the endpoint's count; None where it did not say.
    """

    text: str = ""
    finish: str | None = None
    tokens: tuple[int, int] | None = None


def listen(
    client: Any,
    request: Mapping[str, Any],
    endpoint: Endpoint,
    heard: Heard,
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


def _parts(answer: Any) -> Generator[Heard, None, None]:
    """The parts of a reply, streamed or whole."""
    from openai import Stream

    if not isinstance(answer, Stream):
        yield _part(answer, "message")
        return
    with answer:
        for chunk in answer:
            yield _part(chunk, "delta")


def _part(answer: Any, speaker: Literal["message", "delta"]) -> Heard:
    """Read a part for what it says; the client checks no types, and an odd part says nothing."""
    choices = getattr(answer, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    text = getattr(getattr(choice, speaker, None), "content", None)
    finish = getattr(choice, "finish_reason", None)
    usage = getattr(answer, "usage", None)
    read = getattr(usage, "prompt_tokens", None)
    written = getattr(usage, "completion_tokens", None)
    return Heard(
        text if isinstance(text, str) else "",
        finish if isinstance(finish, str) else None,
        (read, written) if isinstance(read, int) and isinstance(written, int) else None,
    )

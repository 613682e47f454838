"""What is said when an endpoint fails: what, where, and what to do, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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


def why_silent(failure: Failure | None, finish: str | None, endpoint: Endpoint) -> str | None:
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

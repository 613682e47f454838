"""The transcript as files to keep, without a server: the page itself holds them."""

import base64
import json
import re

from latentcrs_utils.conversation.session import Conversation


def files(conversation: Conversation) -> dict[str, tuple[str, str]]:
    """The transcript by form ("JSON", "Markdown"): file name, and address with all that it holds.

    Args:
        conversation: with at least one message or click.
    """
    user = "stranger" if conversation.user is None else f"user-{conversation.user}"
    stem = f"latentcrs-{re.sub(r'[^A-Za-z0-9-]+', '-', user)[:40]}"
    as_json = json.dumps(conversation.transcript(), ensure_ascii=False, indent=1)
    return {
        "JSON": (f"{stem}.json", _address("application/json", as_json)),
        "Markdown": (f"{stem}.md", _address("text/markdown", conversation.markdown())),
    }


def _address(kind: str, text: str) -> str:
    coded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    return f"data:{kind};charset=utf-8;base64,{coded}"

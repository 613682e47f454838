"""The transcript as files to keep, without a server: the page itself holds them."""

import base64
import json
import re
from collections.abc import Callable

import ipywidgets as w

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import box, button


def files(conversation: Conversation) -> dict[str, tuple[str, str]]:
    """The transcript in each of its forms.

    Args:
        conversation: with at least one message or click.

    Returns:
        By the name of the form: name of the file, and its address with all that it holds.
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


class Exporter:
    """A button, and beside it the files once it was pressed.

    They are what was said until then: whatever happens in the conversation takes them away again.

    Args:
        act: called when the button is pressed.
    """

    def __init__(self, act: Callable[[], object]):
        self.button = button("Export", "Make the conversation a file to keep", act)
        self._links = w.HTML()
        self.widget = box(w.HBox, [self._links], "lcrs-files")

    @property
    def links(self) -> str:
        """The links as they stand on the screen; "" without any."""
        return self._links.value

    def offer(self, conversation: Conversation) -> None:
        """Show the files of a conversation."""
        self._links.value = render.downloads(files(conversation))

    def clear(self) -> None:
        """Take the files away: they are no longer all that was said."""
        if self._links.value:
            self._links.value = ""

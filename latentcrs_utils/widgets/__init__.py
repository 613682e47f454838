"""Views of the conversation for notebooks; everything that is decided is decided elsewhere."""

from latentcrs_utils.widgets.chat import ChatApp
from latentcrs_utils.widgets.html import escape

__all__ = ["ChatApp", "escape"]

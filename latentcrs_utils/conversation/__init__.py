"""A conversation with a fitted model: state, guards, transcript. Plain Python, no widgets."""

from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, ReplyGuard, clean_message
from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.turn import Feedback, Recommendation, Turn

__all__ = [
    "MESSAGE_LIMIT",
    "Conversation",
    "Feedback",
    "Recommendation",
    "ReplyGuard",
    "StoppedError",
    "Turn",
    "clean_message",
]

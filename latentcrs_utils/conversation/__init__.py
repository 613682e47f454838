"""A conversation with a fitted model: state, guards, transcript. Plain Python, no widgets."""

from latentcrs_utils.conversation.autopilot import Autopilot, make_autopilot
from latentcrs_utils.conversation.explainer import Explainer
from latentcrs_utils.conversation.explanation import Explanation, behind
from latentcrs_utils.conversation.guards import MESSAGE_LIMIT, ReplyGuard, clean_message
from latentcrs_utils.conversation.items import more_like
from latentcrs_utils.conversation.session import Conversation, StoppedError
from latentcrs_utils.conversation.transcript import transcript_markdown
from latentcrs_utils.conversation.turn import Feedback, Recommendation, Turn, Withdrawal
from latentcrs_utils.conversation.why import WHY_LIMIT, why

__all__ = [
    "MESSAGE_LIMIT",
    "WHY_LIMIT",
    "Autopilot",
    "Conversation",
    "Explainer",
    "Explanation",
    "Feedback",
    "Recommendation",
    "ReplyGuard",
    "StoppedError",
    "Turn",
    "Withdrawal",
    "behind",
    "clean_message",
    "make_autopilot",
    "more_like",
    "transcript_markdown",
    "why",
]

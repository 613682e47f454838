"""What the screen shows of a conversation, and how it is brought up to date."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Turn
from latentcrs_utils.widgets import html as render
from latentcrs_utils.widgets.controls import Chip, close
from latentcrs_utils.widgets.html import intent_bars, leading
from latentcrs_utils.widgets.views import Click, TurnView

if TYPE_CHECKING:
    from latentcrs_utils.widgets.views import Screen

Kind = Literal["idle", "busy", "problem"]


class Board:
    """Shows a conversation on the widgets that are there.

    Args:
        screen: the widgets.
        conversation: what to show at first.
        noun: what an item is called.
        click: called with what was clicked on an offered item.
    """

    def __init__(self, screen: "Screen", conversation: Conversation, noun: str, click: Click):
        self.screen, self.noun = screen, noun
        self.conversation = conversation
        self.views: list[TurnView] = []
        self.status = "Ready"
        self._belief: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._click = click
        self.restart(conversation, [])

    def restart(self, conversation: Conversation, views: Sequence[TurnView]) -> None:
        """Show another conversation, from its start or as it was left."""
        self.conversation = conversation
        user = conversation.user
        self.screen.person.value = "" if user is None else str(user)
        self.screen.variants.value = conversation.variant
        self.screen.heard.value = ""
        self.show(views)
        self._belief, self._before = {}, {}
        self.update()
        self.say("Ready")

    def replace(self, conversation: Conversation) -> None:
        """Show a conversation that begins like this one, but with another history."""
        self.conversation = conversation
        self.update()

    def say(self, words: str, kind: Kind = "idle") -> Literal[False]:
        """Write the status line; False, so that a refusal can return it."""
        self.status = words
        self.screen.status.value = render.status(words, kind)
        return False

    def show(self, views: Sequence[TurnView]) -> None:
        """Show these turns and no others."""
        self.views = list(views)
        self.screen.show_turns(views)

    def new_view(self, message: str, who: str = "You") -> TurnView:
        """A view for one more turn; it is not shown yet."""
        return TurnView(message, self.conversation.n_items, self._click, who)

    def drop(self, view: TurnView) -> None:
        """Take a turn off the screen, for good."""
        self.show([other for other in self.views if other is not view])
        close(view.widget)

    def give_back(self, message: str) -> None:
        """Put a message that was not answered into the box, unless something is written there."""
        if not self.screen.message.value:
            self.screen.message.value = message

    def update(self) -> None:
        """Show what holds now: belief, requirements, history, clicks."""
        belief = self.conversation.intents()
        if belief != self._belief:
            self._before, self._belief = self._belief, belief
        self.screen.bars.value = intent_bars(belief, self._before or None, len(belief))
        self.show_requirements()
        self.screen.glimpse.value = self._person()
        self.screen.exporter.clear()
        self.mark_all()

    def show_requirements(self) -> None:
        """Show what holds for the next message; B and V ask for no requirements."""
        held = self.conversation.requirements if self.conversation.variant == "F" else ()
        self.screen.requirements.show(
            [
                Chip(r.condition, r.label, f"Take back {r.label}; you said “{r.evidence}”")
                for r in held
            ]
        )

    def preview(self, view: TurnView, turn: Turn) -> None:
        """Show the items and the belief of a turn whose reply is still to be written."""
        view.show_items(turn)
        n_intents = len(self.conversation.model.anchors.names)
        self.screen.bars.value = intent_bars(turn.intents_after, turn.intents_before, n_intents)

    def mark_all(self) -> None:
        """Mark the cards of all turns by what the user thinks of their items."""
        feedback = self.conversation.feedback
        for view in self.views:
            for card in view.cards:
                if card.item is not None and card.choice != feedback.get(card.item.item):
                    card.mark(feedback.get(card.item.item))

    def leading_intents(self) -> list[str]:
        """Names of the intents that have a bar."""
        return leading(self._belief)

    def _person(self) -> str:
        """Who is talking, and what is known of them."""
        history, data = self.conversation.history, self.conversation.model.data
        genres = Counter(g for item in history for g in data.item(item)["genres"] or ())
        user = self.conversation.user
        stranger = "You" if history else "A stranger"
        return render.glimpse(
            stranger if user is None else f"User {user}",
            len(history),
            self.noun,
            [name for name, _ in genres.most_common(3)],
            [self.conversation.label(item) for item in reversed(history[-4:])],
        )

"""What the screen shows of a conversation, and how it is brought up to date."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Literal

import ipywidgets as w

from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import PolicyName, Recommendation, Turn, describe
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.widgets import controls, html
from latentcrs_utils.widgets.controls import box, button, on_enter, switch

Choice = Literal["accept", "reject", "more"]
StatusKind = Literal["idle", "busy", "problem"]
Click = Callable[[Choice, int], object]
STYLE = files("latentcrs_utils.widgets").joinpath("style.css").read_text("utf-8")
IDEAS = (
    "something funny from the eighties",
    "a tense thriller, but nothing bloody",
    "for a rainy Sunday with the kids",
)
EXPLAINED: dict[PolicyName, str] = {
    "B": "B · the recommender's best",
    "F": "F · must meet your requirements",
    "V": "V · re-ordered by an LLM",
}

# the words on the button of a choice before and after it, and its tip
_CHOICES: dict[Choice, tuple[str, str, str]] = {
    "accept": ("Like", "Liked", "Like {}: it joins your history"),
    "reject": ("Not this", "Refused", "Not {}: it is not offered again"),
    "more": ("More like this", "", "Ask for more like {}"),
}
# name of the action, words, tip
_BELOW = [
    ("stop", "Stop", "Stop the answer"),
    ("retry", "Retry", "Answer the last message again, as things are chosen now"),
    ("undo", "Undo", "Take back the last message or click"),
    ("clear", "Clear", "Start again with the same person; Undo brings the talk back"),
    ("export", "Export", "Make the conversation a file to keep"),
]


class Card:
    """An offered item with its three buttons; `click` is called with a choice and the item id."""

    def __init__(self, click: Click):
        self.item: Recommendation | None = None
        self.choice: str | None = None
        self._click, self._facts = click, w.HTML()
        self._buttons = {c: button(_CHOICES[c][0], "", partial(self._press, c)) for c in _CHOICES}
        row = box(w.HBox, self._buttons.values(), "lcrs-choice")
        self.widget = box(w.VBox, [self._facts, row], "lcrs-card", "lcrs-hidden")

    def _press(self, choice: Choice) -> None:
        if self.item is not None:
            self._click(choice, self.item.item)

    def show(self, item: Recommendation, why: str) -> None:
        """Fill the card; `why` is "" as long as it is not known."""
        self.item = item
        self._facts.value = html.card(item, why)
        for choice, made in self._buttons.items():
            made.tooltip = _CHOICES[choice][2].format(item.label)
        switch(self.widget, "lcrs-hidden", False)

    def mark(self, chosen: str | None) -> None:
        """Show what the user chose: "accept", "reject" or nothing yet."""
        self.choice = chosen
        for choice, made in self._buttons.items():
            made.description = _CHOICES[choice][choice == chosen]
            switch(made, "lcrs-chosen", choice == chosen)
            switch(self.widget, f"lcrs-{choice}", choice == chosen)


class TurnView:
    """A message ("" until known), reply and cards, made at once; later only their traits change."""

    def __init__(self, message: str, n_items: int, click: Click, who: str = "You"):
        self.who, self.cards = who, [Card(click) for _ in range(n_items)]
        self._said, self._reply = w.HTML(), w.HTML(html.bubble("it", "", "LatentCRS"))
        cards = box(w.HBox, [card.widget for card in self.cards], "lcrs-cards")
        self.widget = box(w.VBox, [self._said, self._reply, cards], "lcrs-turn")
        self.show_message(message)

    def show_message(self, message: str) -> None:
        """Show what was said."""
        self.message, self._said.value = message, html.bubble("me", message, self.who)

    def show(self, turn: Turn, whys: Sequence[str] = ()) -> None:
        """Show what is known of a turn: its items, why each is there, and the finished reply."""
        if turn.reply:
            self._reply.value = html.reply(turn)
        for place, item in enumerate(turn.items):
            self.cards[place].show(item, whys[place] if whys else "")

    def stream(self, sentence: str) -> None:
        """Show the reply as soon as it is checked."""
        self._reply.value = html.bubble("it", sentence, "LatentCRS")


class ChatView:
    """What is on the screen, and how a conversation is shown there, from the first `restart` on.

    The controls call `act` with the name of an action and its arguments; `speaker` names the
    language model that words the replies, if any; `turns` include the view of a coming answer.
    """

    conversation: Conversation
    turns: Sequence[TurnView]
    status: str

    def __init__(self, act: Callable[..., Any], model: LatentCRS, speaker: str | None):
        data, users = model.data, model.data.users["raw_user"].to_list()
        self.noun = noun = thing(data.name)
        chooses = f"{model.name} chooses among {data.n_items:,} {noun}s of {data.name}"
        through = f"through {len(model.anchors.names)} intents."
        words = f"Words: {speaker}, checked; else a template." if speaker else "Words: a template."
        self.person = w.Combobox(description="Talk as user", placeholder="such as 42",
                                 options=users, continuous_update=False)  # fmt: skip
        self.message = w.Text(description="Your message", continuous_update=False,
                              placeholder="What would you like to see?")  # fmt: skip
        self.profile, self.bars, self._status = w.HTML(), w.HTML(), w.HTML()
        self.heard, self.downloads = (w.HTML().add_class(f"lcrs-{s}") for s in ("heard", "files"))
        self.picker = controls.HistoryPicker(data, noun, partial(act, "pick"))
        self.policies = controls.OneOf("Policy", EXPLAINED, "B", partial(act, "use"))
        self.requirements = controls.Chips("Required:", partial(act, "withdraw"), self.message)
        self.driver = controls.Driver(noun, partial(act, "drive"))

        def start() -> None:
            act("start_as", self.person.value)

        def send_idea(idea: str) -> None:
            if act("submit", idea):
                self.message.focus()  # the button of the idea leaves the screen

        on_enter(self.message, partial(act, "submit"))
        on_enter(self.person, start)
        send = button("Send", "Send the message (Enter)", partial(act, "submit"), "lcrs-send")
        below = [button(words, tip, partial(act, name)) for name, words, tip in _BELOW]
        self.stop = below[0].add_class("lcrs-off")
        build, nobody = partial(act, "build_history"), partial(act, "start_as", None)
        person = [
            self.person,
            button("Start as this user", "Start as the user with this number", start),
            button("Start without a history", "Start as a stranger", nobody),
            button("Build a history", "Start as yourself: click what you like", build),
        ]
        starts = [button(idea, "Send this message", partial(send_idea, idea)) for idea in IDEAS]
        question = f"What kind of {noun} are you in the mood for?"
        invitation = "Write it in your own words below, or start with one of these."
        hello = w.HTML(html.panel("hello", question, invitation))
        self._hello = box(w.VBox, [hello, box(w.HBox, starts, "lcrs-ideas")])
        self._log = box(w.VBox, [], "lcrs-log")
        left = [
            box(w.Box, [self._log], "lcrs-scroll"),
            self._status,
            self.heard,
            self.policies.widget,
            self.requirements.widget,
            box(w.HBox, [self.message, send], "lcrs-compose"),
            box(w.HBox, below, "lcrs-actions"),
            self.downloads,
        ]
        right = [self.bars, self.driver.widget]
        main = [box(w.VBox, left, "lcrs-left"), box(w.VBox, right, "lcrs-right")]
        head = html.panel("head", "LatentCRS chat", f"{chooses} {through}", words)
        rows = [
            w.HTML(f"<style>{STYLE}</style>{head}"),
            box(w.HBox, person, "lcrs-person"),
            self.profile,
            self.picker.widget,
            box(w.HBox, main, "lcrs-main"),
        ]
        self.widget = box(w.VBox, rows, "lcrs")

    def restart(self, conversation: Conversation, turns: Sequence[TurnView] = ()) -> None:
        """Show another conversation, from its start or as it was left."""
        self.conversation = conversation
        self._belief, self._before = dict[str, float](), dict[str, float]()
        self.person.value = "" if conversation.user is None else str(conversation.user)
        self.policies.choose(conversation.policy)
        self.heard.value = ""
        self.picker.close()
        self.show(turns)
        self.update()

    def say(self, words: str, kind: StatusKind = "idle") -> bool:
        """Write the status line; False if it tells of a problem."""
        self.status, self._status.value = words, html.status(words, kind)
        return kind != "problem"

    def show(self, turns: Sequence[TurnView]) -> None:
        """Show these turns, or what stands there before the first one."""
        self.turns = turns
        self._log.children = [turn.widget for turn in turns] or [self._hello]

    def give_back(self, message: str) -> None:
        """Put a message that was not answered into the box, unless something is written there."""
        self.message.value = self.message.value or message

    def update(self) -> None:
        """Show what holds now: belief, requirements, history, clicks."""
        belief = self.conversation.intents()
        if belief != self._belief:
            self._before, self._belief = self._belief, belief
        self.bars.value = html.intent_bars(belief, self._before or None, len(belief))
        self.downloads.value = ""
        self.show_requirements()
        items = [describe(self.conversation.model.data, i) for i in self.conversation.history]
        self.profile.value = html.profile(self.conversation.user, items, self.noun)
        if self.picker.is_open:
            self.picker.show(self.conversation.history)
        self.mark(self.conversation.feedback)

    def preview(self, view: TurnView, turn: Turn) -> None:
        """Show the items and the belief of a turn whose reply is still to be written."""
        view.show(turn)
        n_intents = len(self.conversation.model.anchors.names)
        self.bars.value = html.intent_bars(turn.intents_after, turn.intents_before, n_intents)

    def mark(self, feedback: Mapping[int, str]) -> None:
        """Mark the cards of all turns by what the user thinks of their items."""
        for card in (card for turn in self.turns for card in turn.cards):
            if card.item is not None:
                card.mark(feedback.get(card.item.item))

    def show_requirements(self) -> None:
        """Show what holds for the next message; B and V ask for no requirements."""
        chips = {}
        for held in self.conversation.requirements if self.conversation.policy == "F" else ():
            name = held.constraint.label
            chips[held.constraint] = (name, f"Take back {name}; you said “{held.evidence}”")
        self.requirements.show(chips)

    def state(self) -> dict[str, Any]:
        """What is on the screen, as plain values."""
        cards = [[(c.item.title, c.choice) for c in turn.cards if c.item] for turn in self.turns]
        return {
            "status": self.status,
            "user": self.conversation.user,
            "history": len(self.conversation.history),
            "policy": self.policies.value,
            "box": self.message.value,
            "messages": [turn.message for turn in self.turns],
            "cards": cards,
            "required": [words for words, _ in self.requirements.chips.values()],
            "intents": html.leading(self._belief),
            "driver": self.driver.words,
        }

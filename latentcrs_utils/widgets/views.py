"""What the screen shows of a conversation, and how it is brought up to date."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, Literal

import ipywidgets as w

from latentcrs_utils.conversation.in_words import thing
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.conversation.turn import Recommendation, Turn, describe, shown
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.intents import describe_anchor
from latentcrs_utils.widgets import controls, html
from latentcrs_utils.widgets.controls import WORDS, box, button, switch

Choice = Literal["accept", "reject", "more"]
StatusKind = Literal["idle", "busy", "problem"]
Click = Callable[[Choice, int], object]
_HERE = files("latentcrs_utils.widgets")
# a style sheet is the one thing in a widget that tells the page when it has come onto it
STYLE = '<style onload="{}">{}</style>'.format(
    html.escape(_HERE.joinpath("chat.js").read_text("utf-8")),
    _HERE.joinpath("style.css").read_text("utf-8"),
)
N_MEMBERS = 8  # titles that say what an intent is about
IDEAS, EXPLAINED, _CHOICES = WORDS["ideas"], WORDS["policies"], WORDS["choices"]


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
            made.tooltip = shown(_CHOICES[choice][2].format(item.label))
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
        self.remark = w.HTML()  # about the turn, below its cards
        self.question = controls.Chips("", partial(click, "more"), "")  # its answers
        said = self._said.add_class("lcrs-asked")
        parts = [said, self._reply, self.question.widget, cards, self.remark]
        self.widget = box(w.VBox, parts, "lcrs-turn")
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
        answer, tip = WORDS["answer"]
        self.question.show({v: (answer.format(t), tip) for _, v, t in turn.question})

    def stream(self, sentence: str) -> None:
        """Show the reply as soon as it is checked."""
        self._reply.value = html.bubble("it", sentence, "LatentCRS")


def typical_items(model: LatentCRS, intent: str) -> list[str]:
    """Titles of the items that users of an intent chose unusually often, as `describe_anchor`."""
    anchor = model.anchors.names.index(intent)
    typical = describe_anchor(model.anchors, model.data, anchor, N_MEMBERS)
    return [describe(model.data, item).label for item in typical["item"]]


class ChatView:
    """What is on the screen, and how a conversation is shown there, from the first `restart` on.

    The controls call `act` with a name and arguments; `speaker` names the language model, if any.
    """

    conversation: Conversation
    turns: Sequence[TurnView]
    status: str

    def __init__(self, act: Callable[..., Any], model: LatentCRS, speaker: str | None):
        data = model.data
        self.noun = noun = thing(data.name)
        members = lru_cache(partial(typical_items, model))
        self.person = w.Combobox(description="Talk as user", placeholder="such as 42",
                                 options=data.users["raw_user"].to_list(),
                                 continuous_update=False)  # fmt: skip
        self.message = w.Textarea(description="Your message", continuous_update=False, rows=1,
                                  placeholder="What would you like to see?")  # fmt: skip
        self.profile, self._status = w.HTML(), w.HTML()
        self.bars = controls.IntentBars(partial(act, "push"), members)
        self.downloads = w.HTML().add_class("lcrs-files")
        # the line to `chat.js`, which writes the values of two hidden boxes and reads their
        # placeholders: a number that it gets back, and an order against the talk so far
        self.ping, self.wire = (w.Text().add_class(f"lcrs-{s}") for s in ("ping", "wire"))
        self.ping.observe(lambda new: self.ping.set_trait("placeholder", new["new"]), "value")
        self.wire.observe(lambda new: act("hear", new["new"]), "value")
        self.picker = controls.HistoryPicker(data, noun, partial(act, "pick"))
        self.policies = controls.OneOf("Policy", EXPLAINED, "B", partial(act, "use"))
        voices = {"template": "facts alone", "model": f"in {speaker}'s words, checked"}
        self.wording = controls.OneOf("Words", voices, "template", partial(act, "use_wording"))
        switch(self.wording.widget, "lcrs-hidden", speaker is None)
        self.requirements = controls.Chips("Required:", partial(act, "withdraw"))
        self.driver = controls.Driver(noun, partial(act, "drive"))
        self.send = button("", "", lambda: act("stop" if self.is_busy else "submit"), "lcrs-send")
        self.show_busy(False)
        start = partial(act, "start_as")
        person = [
            self.person,
            button("Start as this user", "Go by this number", lambda: start(self.person.value)),
            button("Start without a history", "Start as a stranger", partial(start, None)),
            button("Build a history", "Click what you like", partial(act, "build_history")),
        ]
        chooses = f"{model.name} chooses among {data.n_items:,} {noun}s of {data.name}"
        told = f"{chooses} through {len(model.anchors.names)} intents."
        head = w.HTML(STYLE + html.panel("title-line", "LatentCRS chat", told))
        question = WORDS["question"].format(noun)
        hello = w.HTML(html.panel("hello", question, WORDS["invitation"]))
        ideas = [button(i, "Send this message", partial(act, "submit", i)) for i in IDEAS]
        self._hello = box(w.VBox, [hello, box(w.HBox, ideas, "lcrs-ideas")])
        self._log = box(w.VBox, [], "lcrs-log")
        compose = box(w.HBox, [self.message, self.send], "lcrs-compose")
        acts = WORDS["actions"].items()
        actions = [button(words, tip, partial(act, name)) for name, (words, tip) in acts]
        choices = [self.policies.widget, self.wording.widget]
        below = box(w.HBox, actions, "lcrs-actions")
        who_talks = [box(w.HBox, person, "lcrs-person"), self.profile, self.picker.widget]
        parts = [
            box(w.HBox, [head], "lcrs-head"),
            box(w.VBox, who_talks, "lcrs-who-talks"),
            box(w.Box, [self._log], "lcrs-scroll"),
            box(w.VBox, [self._status, self.requirements.widget, compose], "lcrs-foot"),
            box(w.VBox, [*choices, below, self.downloads], "lcrs-tools"),
            box(w.VBox, [self.bars.widget, self.driver.widget], "lcrs-side"),
            box(w.Box, [self.ping, self.wire], "lcrs-hidden"),
        ]
        self.widget = box(w.VBox, parts, "lcrs")

    def show_busy(self, busy: bool) -> None:
        """Let the button behind the message send, or stop while an answer is under way."""
        self.is_busy = busy
        words, tip = ("Stop", "Stop the answer") if busy else ("Send", "Send the message (Enter)")
        self.send.description, self.send.tooltip = words, tip
        switch(self.send, "lcrs-stop", busy)

    def restart(self, conversation: Conversation, turns: Sequence[TurnView] = ()) -> None:
        """Show another conversation, from its start or as it was left."""
        self.conversation = conversation
        self.belief, self._before = dict[str, float](), dict[str, float]()
        self.person.value = "" if conversation.user is None else str(conversation.user)
        self.picker.display(False)
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
        """Show what holds now: belief, choices, requirements, history, clicks."""
        belief = self.conversation.intents()
        if belief != self.belief:
            self._before, self.belief = self.belief, belief
        self.draw(belief, self._before or None)
        self.downloads.value = ""
        talk = self.conversation
        self.policies.choose(talk.policy)
        self.wording.choose(talk.wording)
        self.wire.placeholder = json.dumps(talk.transcript()) if self.turns else ""
        chips = {}
        for held in talk.requirements if talk.policy == "F" else ():  # B and V ask for none
            name = held.constraint.label
            chips[held.constraint] = (name, f"Take back {name}; you said “{held.evidence}”")
        self.requirements.show(chips)
        items = [describe(talk.model.data, item) for item in talk.history]
        self.profile.value = html.profile(talk.user, items, self.noun)
        if self.picker.is_open:
            self.picker.show(talk.history)
        self.mark(talk.feedback)

    def draw(self, after: Mapping[str, float], before: Mapping[str, float] | None) -> None:
        """Draw the belief as it is, and was before (None at the start)."""
        n_intents = len(self.conversation.model.anchors.names)
        self.bars.show(after, before, n_intents, self.conversation.pushed)

    def mark(self, feedback: Mapping[int, str]) -> None:
        """Mark the cards of all turns by what the user thinks of their items, and end questions."""
        for turn in self.turns[:-1]:
            turn.question.show({})
        for card in (card for turn in self.turns for card in turn.cards):
            if card.item is not None:
                card.mark(feedback.get(card.item.item))

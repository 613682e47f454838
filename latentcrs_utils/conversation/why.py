"""Why each item of a turn is there: one short sentence of facts, to stand on a card.

What speaks for an item are its exact Shapley shares (:mod:`..em.attribution`); the intent is the
one that explains it best, p(m | v, S, x); what it has of the user's words is what the catalogue
says; the nearest item of the history is that of the largest cosine between item embeddings.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.nn.functional import normalize

from latentcrs_utils.constraints.constraint import Requirement, Requirements
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.constraints.matching import matcher_for
from latentcrs_utils.conversation.belief import read_text
from latentcrs_utils.conversation.explanation import Explainer, ItemReasons
from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.em.attribution import HISTORY, RESIDUAL, WORDS
from latentcrs_utils.simulation.items import spoken_title

if TYPE_CHECKING:
    from latentcrs_utils.conversation.session import Conversation
    from latentcrs_utils.data.sequences import Dataset
    from latentcrs_utils.em.model import LatentCRS

# Who speaks for an item, and what is left out where there is no room for it.
_Source = tuple[str, str]

WHY_LIMIT = 110
"""Characters of a sentence at most."""
_SMALLEST = 0.05  # smaller shares are not told
_AGAINST = -0.1  # nor are weaker objections
_LEADS = 0.3  # below that the words' score did not bring an item here that a filter let through
_N_NAMED = 3  # requirements in one sentence
_TITLE = 28  # characters of a title
_INTENT = (14, 44)  # characters of an intent's name: below the first it is left out
_FEW_LETTERS = 8  # of a title say nothing
_NOUNS = {HISTORY: "what you liked", WORDS: "your words", RESIDUAL: "a direct match"}


def why(conversation: "Conversation", turn: Turn) -> tuple[str, ...]:
    """Why each item of a turn was offered, at most `WHY_LIMIT` characters each.

    Shares are those of the absolute Shapley values, so what speaks against an item counts, too; "a
    direct match" is the residual of `LatentCRS+`, which passes through no intent. The items of a
    stranger come from the words alone, by whatever way. Titles and the user's words are text:
    whoever shows them as HTML escapes them first.

    Args:
        conversation: whose turn it is.
        turn: one of its turns.

    Returns:
        One sentence an item, in the order of `turn.items`.

    Raises:
        DataError: the turn is none of this conversation.
    """
    state = conversation.state.before(turn)
    messages, history = [*state.messages, turn.message], state.history
    S, x = conversation.encoder.history(history), conversation.encoder.words(messages)
    items = [item.item for item in turn.items]
    reasons = Explainer(conversation.model).reasons(S, x, items)
    asked = _asked(conversation.model.data, turn, messages)
    nearest = _nearest(conversation.model, history, items)
    sentences = []
    for place, because, near in zip(range(len(items)), reasons, nearest, strict=True):
        met = _met(conversation.model.data, asked, items[place])
        facts = [*_missed(turn.items[place]), *_raised(turn, place)]
        sources = _sources(because, met, near, turn.variant == "F")
        sentences.append(_sentence(facts, sources, next(iter(because.intents))))
    return tuple(sentences)


def _asked(data: "Dataset", turn: Turn, messages: Sequence[str]) -> Requirements:
    """What the words ask for: what F held the items to, else what the lexicon reads."""
    if turn.variant == "F":
        return Requirements(turn.requirements)
    asked, read = Requirements(), make_extractor(data, "lexicon")
    for message in messages[read_text(messages)[1] :]:
        asked = asked.then(read(message).requirements, message)
    # nearly every item meets a refusal: where nothing is filtered, that explains nothing
    return Requirements(tuple(r for r in asked if not r.refuses))


def _met(data: "Dataset", asked: Requirements, item: int) -> str:
    """What an item has of what was asked for: "comedy, the 1980s"; "" for nothing."""
    true_of = matcher_for(data).true_of
    return ", ".join([_label(r) for r in asked if true_of(r.condition)[item]][:_N_NAMED])


def _label(requirement: Requirement) -> str:
    label = requirement.label
    return label.lower() if requirement.attribute == "genre" else label


def _missed(item: Recommendation) -> list[str]:
    """What an item lacks of what is required: "no comedy, not the 1980s"."""
    words = [_lack(Requirement(condition)) for condition in item.misses[:_N_NAMED]]
    return [f"{', '.join(words)} (nothing else left meets all)"] if words else []


def _lack(requirement: Requirement) -> str:
    if requirement.refuses:
        return f"{requirement.value.lower()} after all"
    return f"{'no' if requirement.attribute == 'genre' else 'not'} {_label(requirement)}"


def _raised(turn: Turn, place: int) -> list[str]:
    """What variant V did for the item at a place (from 0) of the list."""
    item = turn.items[place].item
    was = turn.candidates.index(item) if item in turn.candidates else place
    return [f"raised from place {was + 1} by the language model"] if was > place else []


def _nearest(model: "LatentCRS", history: Sequence[int], items: Sequence[int]) -> list[str | None]:
    """Title of the item of the history that is nearest to each item; None without a history."""
    if not history:
        return [None] * len(items)
    v = model.generative.v
    cosines = normalize(v[list(items)], dim=1) @ normalize(v[list(history)], dim=1).T
    titles = model.data.titles
    known = [titles[history[place]] for place in cosines.argmax(1).tolist()]
    return [_short(spoken_title(title), _TITLE) for title in known]


def _sources(because: ItemReasons, met: str, near: str | None, required: bool) -> list[_Source]:
    """Who speaks for an item, the strongest first, and who against it."""
    if near is None:
        return [("your words alone", f": {met}" if met else "")]
    share = {part.player: part.share for part in because.contributions}
    told = sorted((who for who in share if share[who] >= _SMALLEST), key=lambda who: -share[who])
    # where the filter decided more than the words' score, what it held the item to comes first
    held = required and bool(met) and (told[:1] != [WORDS] or share[WORDS] < _LEADS)
    details = {WORDS: f": {met}" if met and not held else "", HISTORY: f" (nearest: {near})"}
    sources = [(f"{_how_much(share[who])} {_NOUNS[who]}", details.get(who, "")) for who in told]
    may_object = (HISTORY,) if held else (WORDS, HISTORY)
    against = [_NOUNS[who] for who in may_object if share[who] <= _AGAINST]
    sources[1:1] = [(f"despite {' and '.join(against)}", "")] if against else []
    return [(f"{met} as required", ""), *sources] if held else sources


def _how_much(share: float) -> str:
    return "mostly" if share > 0.5 else f"{100 * share:.0f} % from"


def _sentence(facts: Sequence[str], sources: Sequence[_Source], intent: str) -> str:
    """The facts, then the sources and the intent, as far as they fit."""
    parts = list(facts)
    for number, (source, detail) in enumerate(sources):
        fitting = [text for text in (source + detail, source) if _fits([*parts, text])]
        parts += fitting[:1]
        if number == 1:
            parts += _named(intent, parts)
    if len(sources) < 2:
        parts += _named(intent, parts)
    text = "; ".join(parts) or "offered to almost anybody"
    return f"{text[0].upper()}{text[1:]}."


def _named(intent: str, parts: Sequence[str]) -> list[str]:
    """The intent, cut to the room that is left: "90s Drama · Fargo…", or "90s Drama…"."""
    room = WHY_LIMIT - len("; ".join([*parts, "intent “”."]))
    if room < _INTENT[0]:
        return []
    name = _short(intent, min(room, _INTENT[1]))
    if name != intent and len(name.partition(" · ")[2]) < _FEW_LETTERS:
        name = f"{_short(intent.partition(' · ')[0], room - 1)}…"
    return [f"intent “{name}”"]


def _fits(parts: Sequence[str]) -> bool:
    return len("; ".join(parts)) < WHY_LIMIT


def _short(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder="…") if len(text) > width else text

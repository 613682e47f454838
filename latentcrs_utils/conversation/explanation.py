"""Explains a turn: leaves out words and items, and attributes scores to words and history."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latentcrs_utils.constraints.constraint import Constraint, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.conversation.belief import Belief, embed_texts, read_text, spans
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.turn import Recommendation, State, Turn, describe
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import attribution, losses
from latentcrs_utils.em.attribution import HISTORY, RESIDUAL, WORDS
from latentcrs_utils.simulation.titles import spoken_title

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS

_WIDTH = 96
# Smaller effects are not told: in bfloat16 the company in a batch moves an intent by up to 0.01.
_TOLD = 0.01
# Every span costs a reading of the rest: of a long dialogue there are fewer, longer ones.
_READ_AGAIN = 8_000
_N_SPANS = (4, 24)
_N_HISTORY = 50  # latest items that are left out, one at a time
_N_INTENTS = 6  # whose change is reported
_N_OF_ITEM = 3  # intents named beside each item
_N_NEAREST = 3  # training texts


@dataclass(frozen=True)
class IntentChange:
    """How far a turn moved one intent.

    Attributes:
        name: of the anchor.
        before, after: p(m | S, x), in [0, 1].
    """

    name: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """After minus before: positive if the intent rose."""
        return self.after - self.before


@dataclass(frozen=True)
class LeftOut:
    """What some words, or an item of the history, did: all is as it is minus as without them.

    The rest stays verbatim and is read afresh without them. So an effect is that of these words in
    the company of all others: effects do not add up, and of two words that say the same neither may
    show any.

    Attributes:
        text: the words, or title and year of the item.
        nats: KL(p(m | S, x) || p(m | S, x without)), how much they moved the intents altogether.
        intents: p(m | S, x) - p(m | S, x without) by intent name; positive if they raised it.
        log_items: log p(v | S, x) - log p(v | S, x without) of the offered items, in nats.
        message: for words, the number of the message in which they begin, from 1.
        item: for an item of the history, its id.
    """

    text: str
    nats: float
    intents: Mapping[str, float]
    log_items: tuple[float, ...]
    message: int | None = None
    item: int | None = None


@dataclass(frozen=True)
class NearText:
    """A training utterance near the words.

    Attributes:
        text: the utterance.
        cosine: with x, in the standardised space.
        intent: name of the intent that these words lead to without any history.
    """

    text: str
    cosine: float
    intent: str


@dataclass(frozen=True)
class Contribution:
    """What one player added to the score of an item: its Shapley value.

    Attributes:
        player: "history", "words" or "residual".
        nats: part of log p(v | S, x) - log p(v | nothing); the parts add up to it.
        share: nats over the sum of all players' absolute nats: the absolute shares add up to 1, and
            a negative one spoke against the item. 0 where no player did anything.
    """

    player: str
    nats: float
    share: float


@dataclass(frozen=True)
class ItemReasons:
    """Why one item was offered.

    Attributes:
        item: item id; label: title and year.
        score: log p(v | S, x); baseline: log p(v | nothing), without history, words and residual.
        contributions: by player; their nats are score - baseline.
        ranks: place among the items that could be offered, 1 the best, when the model knows
            "both", the "history" alone or the "words" alone (the residual speaks each time).
        intents: the leading p(m | v, S, x), by name: which intents explain the item.
    """

    item: int
    label: str
    score: float
    baseline: float
    contributions: tuple[Contribution, ...]
    ranks: Mapping[str, int]
    intents: Mapping[str, float]


@dataclass(frozen=True)
class ListReasons:
    """What the list of offered items owes to the words and to the history.

    Attributes:
        n_items: how many were offered.
        kept_without_words, kept_without_history: how many of them would have been offered anyway.
    """

    n_items: int
    kept_without_words: int
    kept_without_history: int


@dataclass(frozen=True)
class Explanation:
    """What happened in the head of the system in one turn.

    Attributes:
        noun: what an item is called, such as "film".
        nats: KL(after || before) of the intent posterior.
        intents: those that moved most, the largest change first, and the leader after the turn.
        words, history: what would be otherwise without some words, or an item of the history, in
            their order.
        nearest: training utterances nearest to x, the nearest first.
        items: the offered items, best first.
        offered: the list as a whole.
    """

    noun: str
    nats: float
    intents: tuple[IntentChange, ...]
    words: tuple[LeftOut, ...]
    history: tuple[LeftOut, ...]
    nearest: tuple[NearText, ...]
    items: tuple[ItemReasons, ...]
    offered: ListReasons

    def describe(self) -> str:
        """The explanation in a few lines of text: titles and names of intents, no numbers of them.

        In brackets stand the percentage points that an intent has of these words, or of an item of
        the history, after the turn. Effects below one point are not told.
        """
        lines = [f"The intents moved by {self.nats:.2f} nats."]
        last = max((effect.message or 0 for effect in self.words), default=0)
        causes: tuple[tuple[str, Sequence[LeftOut], str], ...] = (
            ("words", [e for e in self.words if e.message == last], "“{}”"),
            ("said before", [e for e in self.words if e.message != last], "“{}”"),
            ("history", self.history, "{}"),
        )
        for intent in self.intents:
            if abs(intent.change) >= _TOLD:
                verb = "rose" if intent.change > 0 else "fell"
                before, after = _percent(intent.before), _percent(intent.after)
                parts = [f"{intent.name} {verb} from {before} to {after}"]
                parts += [_causes(*cause, intent) for cause in causes]
                lines.append(_wrapped("- ", f"{'; '.join(filter(None, parts))}."))
        for near in self.nearest[:1]:
            told = f"Closest training sentence: “{_short(near.text)}” ({near.intent})."
            lines.append(_wrapped("", told))
        for place, reasons in enumerate(self.items, start=1):
            lines.append(_wrapped(f"{place}. ", _item_line(reasons)))
        if self.items:
            told = (
                f"Of these {self.offered.n_items} {self.noun}s, {self.offered.kept_without_words} "
                f"would be here without the words, {self.offered.kept_without_history} without "
                "the history."
            )
            lines.append(_wrapped("", told))
        return "\n".join(lines)


def behind(change: IntentChange, effects: Sequence[LeftOut], n: int = 3) -> list[LeftOut]:
    """Those that moved an intent the way it went, the strongest first.

    Of an intent that rose, or stayed, these are the words or items whose absence lowers it most; of
    one that fell, those whose absence raises it most.

    Args:
        change: one of the intents of an explanation.
        effects: its `words` or its `history`.
        n: how many at most.
    """
    sign = -1 if change.change < 0 else 1
    moved = [effect for effect in effects if sign * effect.intents[change.name] > 0]
    return sorted(moved, key=lambda effect: -sign * effect.intents[change.name])[:n]


def _causes(what: str, effects: Sequence[LeftOut], marks: str, change: IntentChange) -> str:
    """What is behind a change, with its points; "" where nothing is large enough to be told."""
    points = [(effect.text, effect.intents[change.name]) for effect in behind(change, effects)]
    told = [
        f"{marks.format(_short(text))} ({100 * value:+.0f})"
        for text, value in points
        if abs(value) >= _TOLD
    ]
    return f"{what}: {', '.join(told)}" if told else ""


def _item_line(reasons: ItemReasons) -> str:
    shares = [
        f"{part.player} {_percent(abs(part.share))}{' against' * (part.share < 0)}"
        for part in reasons.contributions
    ]
    ranks = reasons.ranks
    line = (
        f"{reasons.label}: {', '.join(shares)}; rank {ranks['both']}, by history alone "
        f"{ranks['history']}, by words alone {ranks['words']}"
    )
    for name, value in list(reasons.intents.items())[:1]:
        line += f"; explained by {name} ({_percent(value)})"
    return f"{line}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(text: str) -> str:
    return textwrap.shorten(text, 60, placeholder=" …") if " " in text else text[:60]


def _wrapped(lead: str, text: str) -> str:
    indent = " " * len(lead)
    return textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=indent)


@torch.no_grad()
def explain(
    belief: Belief,
    before: Belief,
    history: Sequence[int],
    messages: Sequence[str],
    items: Sequence[int],
    *,
    excluded: Iterable[int] = (),
) -> Explanation:
    """Explain the turn that the last message made.

    This embeds the words but for each of at most 24 spans in one call (fewer spans of a long
    dialogue, so that about 8,000 characters are read in all), and encodes up to 50 shortened
    histories; the rest is cheap.

    Args:
        belief, before: after the last message and before it.
        history: item ids behind the belief, oldest first; may be empty.
        messages: all of the user's messages, the last one that of the turn. Without any, what is
            explained is the state before the first message.
        items: the offered items, best first.
        excluded: items that could not be offered, such as those seen, offered before or filtered
            out; the offered ones may be among them.
    """
    model, names = belief.model, belief.model.anchors.names
    log_after, log_before = belief.log_intents[0].double(), before.log_intents[0].double()
    after, was = log_after.exp(), log_before.exp()
    change = (after - was).abs().tolist()
    order = sorted(range(len(names)), key=lambda j: (-change[j], -float(after[j]), j))
    reported = list(dict.fromkeys([*order[:_N_INTENTS], int(after.argmax())]))
    fewest, most = _N_SPANS
    affordable = _READ_AGAIN // max(len(read_text(messages)[0]), 1)
    pieces = spans(messages, min(most, max(affordable, fewest)))
    x = embed_texts(model.language, [piece.rest for piece in pieces])
    places = range(max(len(history) - _N_HISTORY, 0), len(history))
    shortened = [[*history[:place], *history[place + 1 :]] for place in places]
    S = model.backbone.encode(Sequences.from_lists(shortened)) if shortened else belief.S[:0]
    effects = _left_out(belief, items, reported, x, S)
    reasons, offered = item_reasons(belief, items, excluded)
    return Explanation(
        noun=thing(model.data.name),
        nats=float(losses.kl(log_after, log_before)),
        intents=tuple(IntentChange(names[j], float(was[j]), float(after[j])) for j in reported),
        words=tuple(
            LeftOut(piece.text, *effect, message=piece.message)
            for piece, effect in zip(pieces, effects[: len(pieces)], strict=True)
        ),
        history=tuple(
            LeftOut(describe(model.data, history[place]).label, *effect, item=history[place])
            for place, effect in zip(places, effects[len(pieces) :], strict=True)
        ),
        nearest=_nearest_texts(belief),
        items=reasons,
        offered=offered,
    )


def _left_out(
    belief: Belief, items: Sequence[int], reported: Sequence[int], x: Tensor, S: Tensor
) -> list[tuple[float, dict[str, float], tuple[float, ...]]]:
    """`LeftOut` but for its names: for every other x, then for every other S."""
    if len(x) + len(S) == 0:
        return []
    others = Belief(
        belief.model,
        torch.cat([belief.S, belief.S.expand(len(x), -1), S]),
        torch.cat([belief.x, x, belief.x.expand(len(S), -1)]),
    )
    log_p, names = others.log_intents.double(), belief.model.anchors.names
    nats = losses.kl(log_p[:1], log_p[1:]).tolist()
    moved = (log_p[:1].exp() - log_p[1:].exp())[:, reported].tolist()
    scores = others.scores[:, items].double()
    gained = (scores[:1] - scores[1:]).tolist()
    return [
        (lost, dict(zip((names[j] for j in reported), effect, strict=True)), tuple(of_items))
        for lost, effect, of_items in zip(nats, moved, gained, strict=True)
    ]


def _nearest_texts(belief: Belief) -> tuple[NearText, ...]:
    """The training texts of the largest cosine with x; none where nothing was said."""
    if not belief.x.any():
        return ()
    language = belief.model.language
    frame = language.utterances.frame.with_row_index("row").filter(split="train")
    frame = frame.unique("text", keep="first", maintain_order=True)
    x = language.x[torch.tensor(frame["row"].to_list(), dtype=torch.int64)]
    cosines = normalize(x, dim=1) @ normalize(belief.x[0], dim=0)
    best, places = cosines.topk(min(_N_NEAREST, len(frame)))
    strangers = torch.zeros_like(belief.S).expand(len(places), -1)
    leaders = Belief(belief.model, strangers, x[places]).intents.argmax(1).tolist()
    texts, names = frame["text"].to_list(), belief.model.anchors.names
    return tuple(
        NearText(texts[place], cosine, names[j])
        for place, cosine, j in zip(places.tolist(), best.tolist(), leaders, strict=True)
    )


@torch.no_grad()
def item_reasons(
    belief: Belief, items: Sequence[int], excluded: Iterable[int] = ()
) -> tuple[tuple[ItemReasons, ...], ListReasons]:
    """Why each of some items was offered, and what the list owes to the words and the history.

    Args:
        belief: of one instance.
        items, excluded: as of `explain`; the shares do not depend on what is excluded.
    """
    model, names = belief.model, belief.model.anchors.names
    scores = attribution.coalition_scores(model, belief.S, belief.x)
    rows = {
        "both": len(scores) - 1,
        "history": attribution.without(model, WORDS),
        "words": attribution.without(model, HISTORY),
    }
    worths = scores[:, items].double()
    parts = attribution.shapley_values(worths).T
    sizes = parts.abs().sum(1, keepdim=True)
    shares = torch.where(sizes > 0, parts / sizes, 0.0)
    views = {name: scores[row].clone() for name, row in rows.items()}
    for view in views.values():
        view[[0, *set(excluded).difference(items)]] = -torch.inf
    alone = {name: views[name].topk(len(items)).indices.tolist() for name in ("history", "words")}
    offered = ListReasons(
        len(items), *(len({*alone[name]} & {*items}) for name in ("history", "words"))
    )
    if not items:
        return (), offered
    S, x = (part.expand(len(items), -1) for part in (belief.S, belief.x))
    posteriors = model.exact_posterior(torch.tensor(items), S, x)
    best, leaders = posteriors.topk(min(_N_OF_ITEM, len(names)))
    players = attribution.players(model)
    reasons = tuple(
        ItemReasons(
            item=item,
            label=describe(model.data, item).label,
            score=float(worths[-1, i]),
            baseline=float(worths[0, i]),
            contributions=tuple(map(Contribution, players, parts[i].tolist(), shares[i].tolist())),
            ranks={name: 1 + int((v > v[item]).sum()) for name, v in views.items()},
            intents={
                names[j]: p for j, p in zip(leaders[i].tolist(), best[i].tolist(), strict=True)
            },
        )
        for i, item in enumerate(items)
    )
    return reasons, offered


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


def why(turn: Turn, state: State, belief: Belief) -> tuple[str, ...]:
    """Why each item of a turn was offered, at most `WHY_LIMIT` characters each.

    Shares are those of the absolute Shapley values, so what speaks against an item counts, too; "a
    direct match" is the residual of `LatentCRS+`, which passes through no intent. The items of a
    stranger come from the words alone, by whatever way. Titles and the user's words are text:
    whoever shows them as HTML escapes them first.

    Args:
        turn: with its items.
        state: what had happened when its message was said.
        belief: after the message.

    Returns:
        One sentence an item, in the order of `turn.items`.
    """
    data, items = belief.model.data, [item.item for item in turn.items]
    messages, satisfying = [*state.messages, turn.message], matcher_for(data).satisfying
    required = turn.policy == "F"
    asked = Requirements(turn.requirements)
    if not required:
        read = make_extractor(data, "lexicon")
        for message in messages[read_text(messages)[1] :]:
            asked = asked.then(read(message).requirements, message)
        # nearly every item meets a refusal: where nothing is filtered, that explains nothing
        asked = Requirements(tuple(r for r in asked if not r.constraint.negated))
    nearest = _nearest(belief.model, state.history, items)
    sentences = []
    for place, because in enumerate(item_reasons(belief, items)[0]):
        item = items[place]
        met = [r.constraint for r in asked if satisfying(r.constraint)[item]]
        has = ", ".join(map(_label, met[:_N_NAMED]))
        facts = _missed(turn.items[place])
        was = turn.candidates.index(item) if item in turn.candidates else place
        if was > place:
            facts.append(f"raised from place {was + 1} by the language model")
        sources = _sources(because, has, nearest[place], required)
        sentences.append(_sentence(facts, sources, next(iter(because.intents))))
    return tuple(sentences)


def _label(constraint: Constraint) -> str:
    return constraint.label.lower() if constraint.slot == "genre" else constraint.label


def _missed(item: Recommendation) -> list[str]:
    """What an item lacks of what is required: "no comedy, not the 1980s"."""
    words = [
        f"{missed.value.lower()} after all"
        if missed.negated
        else f"{'no' if missed.slot == 'genre' else 'not'} {_label(missed)}"
        for missed in item.misses[:_N_NAMED]
    ]
    return [f"{', '.join(words)} (nothing else left meets all)"] if words else []


def _nearest(model: "LatentCRS", history: Sequence[int], items: Sequence[int]) -> list[str | None]:
    """Title of the item of the history that is nearest to each item; None without a history."""
    if not history:
        return [None] * len(items)
    v = model.generative.v
    cosines = normalize(v[list(items)], dim=1) @ normalize(v[list(history)], dim=1).T
    titles = model.data.titles
    known = [titles[history[place]] for place in cosines.argmax(1).tolist()]
    return [_clip(spoken_title(title), _TITLE) for title in known]


def _sources(because: ItemReasons, met: str, near: str | None, required: bool) -> list[_Source]:
    """Who speaks for an item, the strongest first, and who against it."""
    if near is None:
        return [("your words alone", f": {met}" if met else "")]
    share = {part.player: part.share for part in because.contributions}
    told = sorted((who for who in share if share[who] >= _SMALLEST), key=lambda who: -share[who])
    # where the filter decided more than the words' score, what it held the item to comes first
    held = required and bool(met) and (told[:1] != [WORDS] or share[WORDS] < _LEADS)
    details = {WORDS: f": {met}" if met and not held else "", HISTORY: f" (nearest: {near})"}
    sources = [
        (
            f"{'mostly' if share[who] > 0.5 else f'{100 * share[who]:.0f} % from'} {_NOUNS[who]}",
            details.get(who, ""),
        )
        for who in told
    ]
    may_object = (HISTORY,) if held else (WORDS, HISTORY)
    against = [_NOUNS[who] for who in may_object if share[who] <= _AGAINST]
    sources[1:1] = [(f"despite {' and '.join(against)}", "")] if against else []
    return [(f"{met} as required", ""), *sources] if held else sources


def _sentence(facts: Sequence[str], sources: Sequence[_Source], intent: str) -> str:
    """The facts, then the sources and the intent, as far as they fit."""
    parts = list(facts)
    for number, (source, detail) in enumerate(sources):
        room = WHY_LIMIT - len("; ".join([*parts, ""]))
        parts += [text for text in (source + detail, source) if len(text) < room][:1]
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
    name = _clip(intent, min(room, _INTENT[1]))
    if name != intent and len(name.partition(" · ")[2]) < _FEW_LETTERS:
        name = f"{_clip(intent.partition(' · ')[0], room - 1)}…"
    return [f"intent “{name}”"]


def _clip(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder="…") if len(text) > width else text

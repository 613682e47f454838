"""Explains a turn: leaves out words and items, and attributes scores to words and history."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from latentcrs_utils.constraints.constraint import Constraint, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.belief import Belief, Beliefs, embed_texts, read_text, spans
from latentcrs_utils.conversation.in_words import percent, render, thing
from latentcrs_utils.conversation.turn import State, Turn, describe
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import attribution, losses
from latentcrs_utils.em.attribution import HISTORY, PUSHES, RESIDUAL, WORDS
from latentcrs_utils.simulation.titles import spoken_title

# Smaller ones are not told: in bfloat16 the company in a batch moves an intent by up to 0.01.
_SMALLEST_EFFECT = 0.01
# Every span costs a reading of the rest: of a long dialogue there are fewer, longer ones.
_N_CHARACTERS_READ = 8_000
_N_SPANS = (4, 24)
_N_HISTORY = 50  # latest items that are left out, one at a time
_N_INTENTS = 6  # whose change is reported
_N_OF_ITEM = 3  # intents named beside each item
_N_NEAREST = 3  # training texts


@dataclass(frozen=True)
class IntentChange:
    """How far a turn moved an intent, by name: p(m | S, x) before and after it, in [0, 1]."""

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

    Effects do not add up, and of two words that say the same neither may show any.
    """

    text: str  # the words, or title and year of the item
    message: int  # number, from 1, of the message in which the words begin; 0 of an item
    nats: float  # KL(p(m | S, x) || p(m | S, x without)), how much they moved the intents
    intents: Mapping[str, float]  # p(m | S, x) - p(m | S, x without), by name
    log_items: tuple[float, ...]  # log p(v | S, x) - log p(v | S, x without) of the items, nats


@dataclass(frozen=True)
class ItemReasons:
    """Why an item, of this id and title with year, was offered.

    `nats` are Shapley values by player ("history", "words", "residual", and "pushes" where intents
    were pushed); they add up to the item's score less its score where nothing is known. `shares`
    are these over the sum of all players' absolute nats (0 where no player did anything); a
    negative one spoke against the item. `ranks` are the place among the items that could be
    offered, 1 the best, when the model knows (with the rest) "both", "history" or "words" alone.
    """

    item: int
    label: str
    nats: Mapping[str, float]
    shares: Mapping[str, float]
    ranks: Mapping[str, int]
    intents: Mapping[str, float]  # the leading p(m | v, S, x, pushes), by name


@dataclass(frozen=True)
class Explanation:
    """What one turn did to the intents, and why its items were offered, best first.

    `nearest` are training utterances nearest to x: text, cosine, and intent without a history.
    """

    noun: str  # what an item is called, such as "film"
    nats: float  # KL(after || before) of the intent posterior
    intents: tuple[IntentChange, ...]  # moved most, the largest change first; and the leader
    words: tuple[LeftOut, ...]  # in their order, what leaving them out would change
    history: tuple[LeftOut, ...]
    nearest: tuple[tuple[str, float, str], ...]
    items: tuple[ItemReasons, ...]

    def describe(self) -> str:
        """The explanation in a few lines of text.

        Brackets hold the percentage points that an intent owes to words or items, if one or more.
        """
        last = max((effect.message for effect in self.words), default=0)
        told = {"last": last, "smallest": _SMALLEST_EFFECT, "behind": behind}
        text = render("explanation", **vars(self), **told)
        lead = re.compile(r"(?:- |\d+\. )?")
        return "\n".join(
            textwrap.fill(line, 96, subsequent_indent=" " * len(lead.findall(line)[0]))
            for line in text.splitlines()
        )


def behind(change: IntentChange, effects: Sequence[LeftOut], n: int = 3) -> list[LeftOut]:
    """At most n words or items that moved an intent the way it went, the strongest first."""
    sign = -1 if change.change < 0 else 1
    moved = [effect for effect in effects if sign * effect.intents[change.name] > 0]
    return sorted(moved, key=lambda effect: -sign * effect.intents[change.name])[:n]


@torch.no_grad()
def explain(turn: Turn, state: State, beliefs: Beliefs) -> Explanation:
    """Explain a turn with its items; `state` is what had happened when its message was said.

    This embeds the words but for each of at most 24 spans in one call (fewer of a long dialogue:
    about 8,000 characters are read in all), and encodes up to 50 shortened histories.
    """
    history, messages = state.history, [*state.messages, turn.message]
    items = [item.item for item in turn.items]
    before = beliefs(history, state.messages, state.pushes)
    belief = beliefs(history, messages, state.pushes + turn.pushes)
    model, names = belief.model, belief.model.anchors.names
    log_after, log_before = belief.log_intents[0].double(), before.log_intents[0].double()
    after, was = log_after.exp(), log_before.exp()
    most_moved = (after - was).abs().argsort(descending=True, stable=True)[:_N_INTENTS]
    reported = list(dict.fromkeys([*most_moved.tolist(), int(after.argmax())]))

    fewest, most = _N_SPANS
    text = read_text(messages)[0]
    affordable = _N_CHARACTERS_READ // max(len(text), 1)
    pieces = spans(messages, min(most, max(affordable, fewest)))
    places = range(max(len(history) - _N_HISTORY, 0), len(history))
    shortened = [[*history[:place], *history[place + 1 :]] for place in places]
    x = embed_texts(model.language, [piece.rest for piece in pieces])
    S = model.backbone.encode(Sequences.from_lists(shortened)) if shortened else belief.S[:0]
    # row 0: with everything; then without a span; then without an item
    others = Belief(
        model,
        torch.cat([belief.S, belief.S.expand(len(x), -1), S]),
        torch.cat([belief.x, x, belief.x.expand(len(S), -1)]),
        belief.pushes,
        (text, *(piece.rest for piece in pieces), *(text,) * len(S)),
    )
    log_p, scores = others.log_intents.double(), others.scores[:, items].double()
    nats = losses.kl(log_p[:1], log_p[1:]).tolist()
    moved = (log_p[:1].exp() - log_p[1:].exp()).tolist()
    gained = (scores[:1] - scores[1:]).tolist()
    what = [(piece.text, piece.message) for piece in pieces]
    what += [(describe(model.data, history[place]).label, 0) for place in places]
    effects = tuple(
        LeftOut(*source, lost, {names[j]: of_intents[j] for j in reported}, tuple(of_items))
        for source, lost, of_intents, of_items in zip(what, nats, moved, gained, strict=True)
    )
    return Explanation(
        noun=thing(model.data.name),
        nats=float(losses.kl(log_after, log_before)),
        intents=tuple(IntentChange(names[j], float(was[j]), float(after[j])) for j in reported),
        words=effects[: len(pieces)],
        history=effects[len(pieces) :],
        nearest=_nearest_texts(belief),
        items=_item_reasons(belief, items, matcher_for(model.data).catalogue.same(state.excluded)),
    )


def _nearest_texts(belief: Belief) -> tuple[tuple[str, float, str], ...]:
    """The training texts of the largest cosine with x; none where nothing was said."""
    if not belief.x.any():
        return ()
    language, names = belief.model.language, belief.model.anchors.names
    frame = language.utterances.frame.with_row_index("row").filter(split="train")
    frame = frame.unique("text", keep="first", maintain_order=True)
    x = language.x[torch.tensor(frame["row"].to_list(), dtype=torch.int64)]
    cosines = normalize(x, dim=1) @ normalize(belief.x[0], dim=0)
    best, places = cosines.topk(min(_N_NEAREST, len(frame)))
    strangers = torch.zeros_like(belief.S).expand(len(places), -1)
    leaders = Belief(belief.model, strangers, x[places]).intents.argmax(1)
    texts = frame["text"].gather(places.tolist())
    return tuple(zip(texts, best.tolist(), (names[j] for j in leaders.tolist()), strict=True))


@torch.no_grad()
def _item_reasons(
    belief: Belief, items: Sequence[int], excluded: Iterable[int] = ()
) -> tuple[ItemReasons, ...]:
    """Why each item was offered; ids that could not be are `excluded`, unless they are items."""
    if not items:
        return ()
    model, names = belief.model, belief.model.anchors.names
    players = attribution.players(model, bool(belief.pushes))
    text = "".join(belief.texts or ())
    scores = attribution.coalition_scores(model, belief.S, belief.x, belief.log_pushes, text)
    nats = attribution.shapley_values(scores[:, items].double())
    sizes = nats.abs().sum(0)
    shares = torch.where(sizes > 0, nats / sizes, 0.0)
    possible = torch.ones(scores.shape[1], dtype=torch.bool)
    possible[[0, *set(excluded).difference(items)]] = False
    history, words = (scores[attribution.without(players, out)] for out in (WORDS, HISTORY))
    views = {"both": scores[-1], HISTORY: history, WORDS: words}
    S, x = (part.expand(len(items), -1) for part in (belief.S, belief.x))
    posteriors = model.exact_posterior(torch.tensor(items), S, x)
    if belief.log_pushes is not None:
        posteriors = (posteriors.log() + belief.log_pushes).softmax(-1)
    best, leaders = (part.tolist() for part in posteriors.topk(min(_N_OF_ITEM, len(names))))
    return tuple(
        ItemReasons(
            item=item,
            label=describe(model.data, item).label,
            nats=dict(zip(players, nats[:, i].tolist(), strict=True)),
            shares=dict(zip(players, shares[:, i].tolist(), strict=True)),
            ranks={who: 1 + int((v[possible] > v[item]).sum()) for who, v in views.items()},
            intents={names[j]: p for j, p in zip(leaders[i], best[i], strict=True)},
        )
        for i, item in enumerate(items)
    )


# A sentence for each item

WHY_LIMIT = 110  # characters of a sentence at most
_SMALLEST_SHARE = 0.05  # smaller ones are not told
_SMALLEST_OBJECTION = -0.1
_N_NAMED = 3  # requirements in one sentence
_TITLE_WIDTH, _INTENT_WIDTHS = 28, (44, 30)
_NOUNS = {HISTORY: "what you liked", WORDS: "your words", RESIDUAL: "a direct match",
          PUSHES: "what you pushed"}  # fmt: skip


def why(turn: Turn, state: State, beliefs: Beliefs) -> tuple[str, ...]:
    """Why each item of a turn was offered: a sentence of at most `WHY_LIMIT` characters each.

    The arguments are those of `explain`. Shares are those of the absolute Shapley values, so what
    speaks against an item counts, too; "a direct match" is the residual of `LatentCRS+`, which
    passes through no intent. Without history and pushes, items come from the words alone.
    Titles and the user's words are text: whoever shows them as HTML escapes them first.
    """
    known, messages = state.history, [*state.messages, turn.message]
    belief = beliefs(known, messages, state.pushes + turn.pushes)
    data, v = belief.model.data, belief.model.generative.v
    required, wanted = turn.policy == "F", Requirements(turn.requirements)
    if not required:
        read = make_extractor(data)
        for message in messages[read_text(messages)[1] :]:
            wanted = wanted.then(read(message).requirements, message)
    # nearly every item meets a refusal: where nothing is filtered, that explains nothing
    asked = [r.constraint for r in wanted if required or not r.constraint.negated]
    reasons = _item_reasons(belief, [item.item for item in turn.items])
    matcher, sentences = matcher_for(data), []
    titles = vocabulary_for(data).titles.find(turn.message)
    named_ids = {item for title in titles if title.asked for item in title.items}
    for place, (item, because) in enumerate(zip(turn.items, reasons, strict=True)):
        met = [constraint for constraint in asked if matcher.satisfying(constraint)[item.item]]
        named, near = ", ".join(map(_label, met[:_N_NAMED])), ""
        if known:
            title = data.titles[known[int((normalize(v[known], dim=1) @ v[item.item]).argmax())]]
            near = textwrap.shorten(spoken_title(title), _TITLE_WIDTH, placeholder="…")
        misses = [_label(c.opposite) + " after all" * c.negated for c in item.misses[:_N_NAMED]]
        lacks = [f"{', '.join(misses)} (nothing else left meets all)"] if misses else []
        facts = ["you asked for it"] if item.item in named_ids else lacks
        was = turn.candidates.index(item.item) if item.item in turn.candidates else place
        if was > place:
            facts.append(f"raised from place {was + 1} by the language model")
        sources = _sources(because.shares, named, near, required)
        sentences.append(_sentence(facts, sources, next(iter(because.intents))))
    return tuple(sentences)


def _label(constraint: Constraint) -> str:
    return constraint.label.lower() if constraint.slot == "genre" else constraint.label


def _sources(
    shares: Mapping[str, float], met: str, near: str, required: bool
) -> list[tuple[str, str]]:
    """Who speaks for an item, the strongest first, and who against it, with and without details."""
    details = {WORDS: f": {met}" if met else "", HISTORY: f" (nearest: {near})"}
    if not near and PUSHES not in shares:
        return [(f"your words alone{details[WORDS]}", "your words alone")]
    held = required and bool(met)
    if held:  # the filter's part is told first
        details[WORDS] = ""
    sources = []
    for who in sorted(shares, key=lambda who: -shares[who]):
        if shares[who] >= _SMALLEST_SHARE:
            much = "mostly" if shares[who] > 0.5 else f"{percent(shares[who])} from"
            source = f"{much} {_NOUNS[who]}"
            sources.append((source + details.get(who, ""), source))
    may_object = (HISTORY,) if held else (WORDS, HISTORY)
    if against := [_NOUNS[who] for who in may_object if shares[who] <= _SMALLEST_OBJECTION]:
        sources.insert(1, (f"despite {' and '.join(against)}",) * 2)
    return [(f"{met} as required",) * 2, *sources] if held else sources


def _sentence(facts: Sequence[str], sources: Sequence[tuple[str, str]], intent: str) -> str:
    """The facts, two sources, the intent and the other sources, as far as they fit."""
    names = [textwrap.shorten(intent, width, placeholder="…") for width in _INTENT_WIDTHS]
    named = [f"intent “{name}”" for name in (*names, f"{intent.partition(' · ')[0]}…")]
    parts: list[str] = []
    for options in [*((fact,) for fact in facts), *sources[:2], named, *sources[2:]]:
        fitting = (text for text in options if len("; ".join([*parts, text])) < WHY_LIMIT)
        parts += [*fitting][:1]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."

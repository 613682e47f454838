"""Computes why a turn came out as it did: leaves out words and items, and shares out the scores."""

import operator
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latentcrs_utils.constraints.constraint import Constraint, Requirements, matcher_for
from latentcrs_utils.constraints.extraction import make_extractor
from latentcrs_utils.conversation.belief import Span, read_text, spans
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.turn import Recommendation, Turn
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import attribution, losses
from latentcrs_utils.em.attribution import HISTORY, RESIDUAL, WORDS
from latentcrs_utils.errors import ConfigError, DataError
from latentcrs_utils.simulation.titles import spoken_title

if TYPE_CHECKING:
    from latentcrs_utils.conversation.session import Conversation
    from latentcrs_utils.data.sequences import Dataset
    from latentcrs_utils.em.model import LatentCRS


_WIDTH = 96
# Smaller effects are not told: in bfloat16 the company in a batch moves an intent by up to 0.01.
_TOLD = 0.01


@dataclass(frozen=True)
class IntentChange:
    """How far a turn moved one intent.

    Attributes:
        name: of the anchor.
        before, after: p(m | S, x) before and after, in [0, 1].
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
        without_words, without_history: title and year of what would have been offered, best first.
    """

    n_items: int
    kept_without_words: int
    kept_without_history: int
    without_words: tuple[str, ...]
    without_history: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """What happened in the head of the system in one turn.

    Attributes:
        noun: what an item is called, such as "film".
        nats: KL(after || before) of the intent posterior.
        intents: those that moved most, the largest change first, and the leader after the turn.
        words, history: what would be otherwise without some words, or an item of the history, in
            their order; empty where that was not asked for.
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

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return asdict(self)

    def describe(self) -> str:
        """The explanation in a few lines of text: titles and names of intents, no numbers of them.

        In brackets stand the percentage points that an intent has of these words, or of an item of
        the history, after the turn. Effects below one point are not told.
        """
        lines = [*self._movement(), *self._nearest()]
        for place, reasons in enumerate(self.items, start=1):
            lines.append(_wrapped(f"{place}. ", _item_line(reasons)))
        if self.items:
            lines.append(_wrapped("", _list_line(self.offered, self.noun)))
        return "\n".join(lines)

    def _movement(self) -> list[str]:
        last = max((effect.message or 0 for effect in self.words), default=0)
        new = [effect for effect in self.words if effect.message == last]
        old = [effect for effect in self.words if effect.message != last]
        lines = [f"The intents moved by {self.nats:.2f} nats."]
        moved = [intent for intent in self.intents if abs(intent.change) >= _TOLD]
        for intent in moved:
            verb = "rose" if intent.change > 0 else "fell"
            before, after = _percent(intent.before), _percent(intent.after)
            line = f"{intent.name} {verb} from {before} to {after}"
            words = _causes("words", new, intent, "“{}”")
            earlier = _causes("said before", old, intent, "“{}”")
            items = _causes("history", self.history, intent, "{}")
            parts = [part for part in (line, words, earlier, items) if part]
            lines.append(_wrapped("- ", f"{'; '.join(parts)}."))
        return lines

    def _nearest(self) -> list[str]:
        if not self.nearest:
            return []
        near = self.nearest[0]
        told = f"Closest training sentence: “{_short(near.text)}” ({near.intent})."
        return [_wrapped("", told)]


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


def _causes(what: str, effects: Sequence[LeftOut], change: IntentChange, marks: str) -> str:
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


def _list_line(offered: ListReasons, noun: str) -> str:
    return (
        f"Of these {offered.n_items} {noun}s, {offered.kept_without_words} would be here without "
        f"the words, {offered.kept_without_history} without the history."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _short(text: str) -> str:
    return textwrap.shorten(text, 60, placeholder=" …") if " " in text else text[:60]


def _wrapped(lead: str, text: str) -> str:
    indent = " " * len(lead)
    return textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=indent)


# Intents that are named beside each item.
_N_OF_ITEM = 3
# Every span costs a reading of the rest: of a long dialogue there are fewer, longer ones.
_READ_AGAIN = 8_000
_FEWEST_SPANS = 4


@dataclass(frozen=True)
class _Case:
    """What is explained: S [1, d] and x [1, d_x] of the turn, and its items.

    `views` are the scores [V + 1] by what the model knows ("both", or "history" or "words" alone),
    minus infinity for what could not be offered; `scores` are those of `coalition_scores`.
    """

    S: Tensor
    x: Tensor
    items: list[int]
    scores: Tensor
    views: dict[str, Tensor]


class Explainer:
    """Explains the turns of a fitted model; keep one, it remembers the training texts.

    Args:
        model: what `fit_em` returned.
        n_spans: spans of words that are left out, one at a time, at most; down to 4 of a long
            dialogue, so that about 8,000 characters are read in all.
        n_history: items of the history that are left out, one at a time, at most; the latest.
        n_intents: intents whose change is reported.
        n_nearest: nearest training texts.

    Raises:
        ConfigError: `n_spans`, `n_history` or `n_intents` below 1, or `n_nearest` below 0.
    """

    def __init__(
        self,
        model: "LatentCRS",
        *,
        n_spans: int = 24,
        n_history: int = 50,
        n_intents: int = 6,
        n_nearest: int = 3,
    ):
        if min(n_spans, n_history, n_intents) < 1 or n_nearest < 0:
            raise ConfigError(
                "n_spans, n_history and n_intents are at least 1, and n_nearest is at least 0."
            )
        self.model = model
        self.n_spans = n_spans
        self.n_history = n_history
        self.n_intents = n_intents
        self.n_nearest = n_nearest

    @torch.no_grad()
    def explain(
        self,
        history: Iterable[int],
        messages: Iterable[str],
        items: Iterable[int],
        *,
        excluded: Iterable[int] = (),
        history_before: Iterable[int] | None = None,
        leave_out: bool = True,
    ) -> Explanation:
        """Explain the turn that the last message made.

        Args:
            history: item ids that the behavior side saw in this turn, oldest first; may be empty.
            messages: all of the user's messages, the last one that of the turn. Without any, what
                is explained is the state before the first message.
            items: the offered items, best first.
            excluded: items that could not be offered, such as those seen, offered before or
                filtered out; the offered ones may be among them.
            history_before: the history before the turn, where it was another.
            leave_out: leave out words and items of the history too. This embeds up to `n_spans`
                texts, in one call, and encodes up to `n_history` histories; the rest is cheap.

        Raises:
            DataError: there is no such item.
            MessageError: a message is empty or too long.
        """
        known, offered = self._known(history), self._known(items)
        before = known if history_before is None else self._known(history_before)
        said = [clean_message(message) for message in messages]
        pieces = self._pieces(said) if leave_out else []
        places = range(max(len(known) - self.n_history, 0), len(known)) if leave_out else range(0)
        texts = [read_text(said)[0], read_text(said[:-1])[0], *(piece.rest for piece in pieces)]
        shortened = [known[:place] + known[place + 1 :] for place in places]
        x = self._encode(texts)
        S = self.model.backbone.encode(Sequences.from_lists([known, before, *shortened]))
        case = self._case(S[:1], x[:1], offered, self._known(excluded))
        log_after, log_before = self.model.context(S[:2], x[:2]).log_prior.double()
        reported = self._reported(log_before.exp(), log_after.exp())
        effects = self._left_out(case, S[2:], x[2:], reported)
        names = self.model.anchors.names
        return Explanation(
            noun=thing(self.model.data.name),
            nats=float(losses.kl(log_after, log_before)),
            intents=tuple(
                IntentChange(names[j], float(log_before[j].exp()), float(log_after[j].exp()))
                for j in reported
            ),
            words=tuple(
                LeftOut(piece.text, *effect, message=piece.message)
                for piece, effect in zip(pieces, effects[: len(pieces)], strict=True)
            ),
            history=tuple(
                LeftOut(self._label(known[place]), *effect, item=known[place])
                for place, effect in zip(places, effects[len(pieces) :], strict=True)
            ),
            nearest=self._nearest(case),
            items=self._item_reasons(case),
            offered=self._list_reasons(case),
        )

    @torch.no_grad()
    def reasons(
        self, S: Tensor, x: Tensor, items: Iterable[int], *, excluded: Iterable[int] = ()
    ) -> tuple[ItemReasons, ...]:
        """The `items` of `explain` alone, of a turn whose S and x are at hand.

        Args:
            S: of the history, [1, d]; x: of all messages, [1, d_x].
            items, excluded: as of `explain`; the ranks alone depend on what is excluded.

        Raises:
            DataError: there is no such item.
        """
        return self._item_reasons(self._case(S, x, self._known(items), self._known(excluded)))

    def _known(self, items: Iterable[int]) -> list[int]:
        """The item ids as ints, if the catalogue has them all."""
        try:
            numbers = [operator.index(item) for item in items]
        except TypeError:
            raise DataError(
                "Items are given by their ids, whole numbers; another value is among them."
            ) from None
        for number in numbers:
            self.model.data.title(number)
        return numbers

    def _pieces(self, messages: Sequence[str]) -> list[Span]:
        """The spans of words to leave out, none of them where nothing was said."""
        affordable = _READ_AGAIN // max(len(read_text(messages)[0]), 1)
        return spans(messages, min(self.n_spans, max(affordable, _FEWEST_SPANS)))

    def _label(self, item: int) -> str:
        row = self.model.data.item(item)
        return Recommendation(item, row["title"], row["year"], (), 0.0).label

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """x of every text, [n, d_x], in one call; zero where nothing was said."""
        distinct = [text for text in dict.fromkeys(texts) if text]
        table = torch.zeros(1, len(self.model.language.mean))
        if distinct:
            table = torch.cat([table, self.model.language.encode(distinct, progress=False)])
        row = {text: number for number, text in enumerate(distinct, start=1)}
        return table[[row.get(text, 0) for text in texts]]

    def _case(self, S: Tensor, x: Tensor, items: list[int], excluded: list[int]) -> _Case:
        scores = attribution.coalition_scores(self.model, S, x)
        gone = [0, *set(excluded).difference(items)]
        rows = {
            "both": len(scores) - 1,
            "history": attribution.without(self.model, attribution.WORDS),
            "words": attribution.without(self.model, attribution.HISTORY),
        }
        views = {name: scores[row].clone() for name, row in rows.items()}
        for view in views.values():
            view[gone] = -torch.inf
        return _Case(S, x, items, scores, views)

    def _reported(self, before: Tensor, after: Tensor) -> list[int]:
        """The intents that moved most, the largest change first, and the leader after the turn."""
        change = (after - before).abs().tolist()
        order = sorted(range(len(change)), key=lambda j: (-change[j], -float(after[j]), j))
        moved, leader = order[: self.n_intents], int(after.argmax())
        return moved if leader in moved else [*moved, leader]

    def _left_out(
        self, case: _Case, shortened: Tensor, x: Tensor, reported: list[int]
    ) -> list[tuple[float, dict[str, float], tuple[float, ...]]]:
        """`LeftOut` but for its names: for every row of x, then for every shortened history."""
        if len(x) + len(shortened) == 0:
            return []
        S = torch.cat([case.S, case.S.expand(len(x), -1), shortened])
        x = torch.cat([case.x, x, case.x.expand(len(shortened), -1)])
        model = self.model
        context = model.context(S, x)
        log_p = context.log_prior.double()
        nats = losses.kl(log_p[:1], log_p[1:]).tolist()
        moved = (log_p[:1].exp() - log_p[1:].exp())[:, reported].tolist()
        scores = model.generative.log_probability(context, model.catalogue)[:, case.items].double()
        gained = (scores[:1] - scores[1:]).tolist()
        names = [model.anchors.names[j] for j in reported]
        return [
            (lost, dict(zip(names, effect, strict=True)), tuple(of_items))
            for lost, effect, of_items in zip(nats, moved, gained, strict=True)
        ]

    @cached_property
    def _training_texts(self) -> tuple[list[str], Tensor, Tensor]:
        """The distinct training texts, their rows in the language's x, and x at length 1."""
        language = self.model.language
        frame = language.utterances.frame.with_row_index("row").filter(split="train")
        frame = frame.unique("text", keep="first", maintain_order=True)
        rows = torch.tensor(frame["row"].to_list(), dtype=torch.int64)
        return frame["text"].to_list(), rows, normalize(language.x[rows], dim=1)

    def _nearest(self, case: _Case) -> tuple[NearText, ...]:
        """The training texts of the largest cosine with x; none where nothing was said."""
        if self.n_nearest == 0 or not case.x.any():
            return ()
        texts, rows, directions = self._training_texts
        cosines = directions @ normalize(case.x[0], dim=0)
        best, places = cosines.topk(min(self.n_nearest, len(texts)))
        stranger = torch.zeros_like(case.S).expand(len(places), -1)
        near = self.model.language.x[rows[places]]
        leaders = self.model.intent_posterior(stranger, near).argmax(1).tolist()
        return tuple(
            NearText(texts[place], cosine, self.model.anchors.names[j])
            for place, cosine, j in zip(places.tolist(), best.tolist(), leaders, strict=True)
        )

    def _item_reasons(self, case: _Case) -> tuple[ItemReasons, ...]:
        """Shares, ranks and intents of the offered items."""
        if not case.items:
            return ()
        who, names = attribution.players(self.model), self.model.anchors.names
        worths = case.scores[:, case.items].double()
        parts = attribution.shapley_values(worths).T
        sizes = parts.abs().sum(1, keepdim=True)
        shares = torch.where(sizes > 0, parts / sizes, 0.0)
        S, x = (part.expand(len(case.items), -1) for part in (case.S, case.x))
        posteriors = self.model.item_posterior(torch.tensor(case.items), S, x)
        best, leaders = posteriors.topk(min(_N_OF_ITEM, len(names)))
        return tuple(
            ItemReasons(
                item=item,
                label=self._label(item),
                score=float(worths[-1, i]),
                baseline=float(worths[0, i]),
                contributions=tuple(map(Contribution, who, parts[i].tolist(), shares[i].tolist())),
                ranks={name: 1 + int((v > v[item]).sum()) for name, v in case.views.items()},
                intents=dict(
                    zip((names[j] for j in leaders[i].tolist()), best[i].tolist(), strict=True)
                ),
            )
            for i, item in enumerate(case.items)
        )

    def _list_reasons(self, case: _Case) -> ListReasons:
        """The list beside those of a model that knows the history alone, or the words alone."""
        of_history, of_words = (
            case.views[name].topk(len(case.items)).indices.tolist() for name in ("history", "words")
        )
        return ListReasons(
            n_items=len(case.items),
            kept_without_words=len(set(of_history) & set(case.items)),
            kept_without_history=len(set(of_words) & set(case.items)),
            without_words=tuple(map(self._label, of_history)),
            without_history=tuple(map(self._label, of_words)),
        )


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
    return Requirements(tuple(r for r in asked if not r.constraint.negated))


def _met(data: "Dataset", asked: Requirements, item: int) -> str:
    """What an item has of what was asked for: "comedy, the 1980s"; "" for nothing."""
    satisfying = matcher_for(data).satisfying
    met = [r.constraint for r in asked if satisfying(r.constraint)[item]]
    return ", ".join(map(_label, met[:_N_NAMED]))


def _label(constraint: Constraint) -> str:
    return constraint.label.lower() if constraint.slot == "genre" else constraint.label


def _missed(item: Recommendation) -> list[str]:
    """What an item lacks of what is required: "no comedy, not the 1980s"."""
    words = [_lack(missed) for missed in item.misses[:_N_NAMED]]
    return [f"{', '.join(words)} (nothing else left meets all)"] if words else []


def _lack(missed: Constraint) -> str:
    if missed.negated:
        return f"{missed.value.lower()} after all"
    return f"{'no' if missed.slot == 'genre' else 'not'} {_label(missed)}"


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
    name = _clip(intent, min(room, _INTENT[1]))
    if name != intent and len(name.partition(" · ")[2]) < _FEW_LETTERS:
        name = f"{_clip(intent.partition(' · ')[0], room - 1)}…"
    return [f"intent “{name}”"]


def _fits(parts: Sequence[str]) -> bool:
    return len("; ".join(parts)) < WHY_LIMIT


def _clip(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder="…") if len(text) > width else text

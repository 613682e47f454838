"""Computes why a turn came out as it did: leaves out words and items, and shares out the scores."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from latentcrs_utils.conversation.belief import Span, read_text, spans
from latentcrs_utils.conversation.explanation import (
    Contribution,
    Explanation,
    IntentChange,
    ItemReasons,
    LeftOut,
    ListReasons,
    NearText,
)
from latentcrs_utils.conversation.guards import clean_message
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.data.sequences import Sequences
from latentcrs_utils.em import attribution, losses
from latentcrs_utils.errors import ConfigError, DataError

if TYPE_CHECKING:
    from latentcrs_utils.em.model import LatentCRS

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

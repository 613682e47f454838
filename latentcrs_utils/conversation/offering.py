"""What a message leads to before a word is written: the items of a turn, and the intents' shift."""

import threading

import torch
from torch import Tensor

from latentcrs_utils.conversation.belief import Encoder, notes_on, read_text, shift
from latentcrs_utils.conversation.policies import Basic, Question, Reading, nameless
from latentcrs_utils.conversation.reply import thing
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.conversation.turn import State, Turn
from latentcrs_utils.errors import MessageError


@torch.inference_mode()
def offer(
    encoder: Encoder,
    state: State,
    message: str,
    variant: Basic,
    reading: Reading,
    n_items: int,
    stop: threading.Event | None,
) -> Turn:
    """The turn without its reply: items, and what the message did to the intents.

    Args:
        encoder: of the fitted model.
        state: what had happened when the message was said.
        message: what the user said.
        variant: chooses the items.
        reading: what it took from the message.
        n_items: how many items are to be offered.
        stop: ends a language model's answer.

    Raises:
        MessageError: no item is left to offer.
        ConfigError: the language model cannot do what the variant asks of it.
    """
    data, history, said = encoder.model.data, state.history, [*state.messages, message]
    S, x = encoder.history(history), encoder.words(said)
    noun, wanted = thing(data.name), reading.requirements
    story = RerankContext([data.titles[item] for item in history], said, noun)
    choice = variant.choose(Question(_scores(encoder, state, S, x), n_items, wanted, story, stop))
    was, now = shift(
        encoder.intents(history, state.messages),
        encoder.model.intent_posterior(S, x)[0],
        encoder.model.anchors.names,
    )
    notes = [
        reading.note,
        choice.note,
        *notes_on(
            noun,
            cold=not history,
            n_chosen=len(choice.items),
            n_items=n_items,
            refusals=bool(wanted.not_genres),
            n_dropped=read_text(said)[1],
        ),
    ]
    tokens = [sum(both) for both in zip(reading.tokens, choice.tokens, strict=True)]
    return Turn(
        number=len(state.turns) + 1,
        message=message,
        items=choice.items,
        intents_before=was,
        intents_after=now,
        note=" ".join(note for note in notes if note),
        variant=variant.name,
        requirements=wanted.found,
        relaxed=choice.relaxed,
        candidates=choice.candidates,
        reranked=choice.reranked,
        choosing_tokens=(tokens[0], tokens[1]),
        counted=reading.counted and choice.counted,
    )


def _scores(encoder: Encoder, state: State, S: Tensor, x: Tensor) -> Tensor:
    """log p(v | S, x), [V + 1]; minus infinity for what was seen, offered or rejected."""
    data = encoder.model.data
    scores = encoder.model.scores(S, x)[0].clone()
    scores[[0, *state.history, *state.offered, *state.feedback, *nameless(data)]] = -torch.inf
    if not torch.isfinite(scores).any():
        raise MessageError(
            f"Nothing is left to offer: every item of {data.name} is in the history or was "
            "offered. Undo a turn or start a new conversation."
        )
    return scores

"""How well requirements are read out of utterances whose truth is recorded (policy F)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments import program
from latentcrs_utils import Dataset, LatentCRSError, LocalChatModel, Utterances, load_dataset
from latentcrs_utils.constraints.constraint import Constraint, Requirements
from latentcrs_utils.constraints.extraction import Extractor, How, make_extractor
from latentcrs_utils.constraints.lexicon import Lexicon, extract, lexicon_for
from latentcrs_utils.evaluation.dialogues import Answers
from latentcrs_utils.evaluation.recording import PACKAGES, Command
from latentcrs_utils.simulation.utterances import simulate_utterances
from latentcrs_utils.support.progress import track

Reader = Callable[[Sequence[str]], Iterable[Constraint]]
"""From the messages of a dialogue to the hard constraints that hold after the last one."""
_N_RESAMPLES = 1_000


def literally(lexicon: Lexicon | None = None) -> Reader:
    """Return the baseline: the lexicon on all messages joined, as `lexicon_filter` reads them."""
    return lambda messages: extract(" ".join(messages), lexicon).constraints


def message_by_message(extractor: Extractor) -> Reader:
    """Return how an extractor reads a dialogue; a message on which a model fails adds nothing."""

    def read(messages: Sequence[str]) -> tuple[Constraint, ...]:
        known = Requirements()
        for message in messages:
            with suppress(LatentCRSError):
                known = known.then(extractor(message).requirements, message)
        return known.constraints

    return read


def extraction_report(utterances: Utterances, reader: Reader) -> pl.DataFrame:
    """Compare what is read out of utterances with the truth that the simulator recorded.

    Only hard constraints count: to read one into a mood or a likeness is an error. One row a level
    and phrasing: utterances, ``found`` (share of texts with any requirement read), micro
    ``precision`` and ``recall`` (null where nothing was read, or was to be read) with their 95 %
    bootstrap intervals over utterances, and the counts behind them: n_true, n_found, n_hit.
    """
    by, rows, read = ["level", "phrasing"], [], dict[tuple[str, ...], set[Constraint]]()
    for row in track(utterances.frame.iter_rows(named=True), "Reading", len(utterances)):
        messages = tuple(row.get("turns") or [row["text"]])
        if messages not in read:
            read[messages] = set(reader(messages))
        truth = {c for c in map(Constraint.parse, row["conditions"]) if c.attribute}
        counts = len(truth), len(read[messages]), len(truth & read[messages])
        rows.append([*(row[name] for name in by), *counts])
    frame = pl.DataFrame(rows, [*by, "n_true", "n_found", "n_hit"], orient="row")
    groups, table = frame.group_by(by, maintain_order=True), []
    for group, rows_of_it in groups:
        table.append(dict(zip(by, group, strict=True)) | _summary(rows_of_it.drop(by).to_numpy()))
    return pl.DataFrame(table, infer_schema_length=None)


def _summary(counts: np.ndarray) -> dict[str, Any]:
    """What the counts (true, found, hit) of some utterances [n, 3] say together."""
    n_true, n_found, n_hit = (int(total) for total in counts.sum(0))
    weights = np.random.default_rng(0).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), size=_N_RESAMPLES
    )
    resampled = weights @ counts
    row: dict[str, Any] = {"utterances": len(counts), "found": float((counts[:, 1] > 0).mean())}
    for name, total, column in (("precision", n_found, 1), ("recall", n_true, 0)):
        row |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
        if total:
            able = resampled[resampled[:, column] > 0]
            low, high = np.quantile(able[:, 2] / able[:, column], [0.025, 0.975])
            row |= {name: n_hit / total, f"{name}_low": float(low), f"{name}_high": float(high)}
    return {**row, "n_true": n_true, "n_found": n_found, "n_hit": n_hit}


def readers(data: Dataset, answers: Answers | None) -> dict[str, Reader]:
    """Return who is compared, by name; without a model those that need none."""
    alone: tuple[How, ...] = ("lexicon", "classifier", "lexicon + classifier")
    extractors: dict[str, Extractor] = {how: make_extractor(data, how) for how in alone}
    if answers is not None:
        extractors |= {
            "model": make_extractor(data, "model", answers, checked=False),
            "model, quoted": make_extractor(data, "model", answers),
            "both": make_extractor(data, "both", answers),
        }
    read = {name: message_by_message(extractor) for name, extractor in extractors.items()}
    return {"lexicon filter": literally(lexicon_for(data)), **read}


def sample(data: Dataset, utterances: Utterances, split: str, n: int, seed: int) -> Utterances:
    """Return the utterances of `n` users of a split, the same users at every level."""
    users = np.random.default_rng(seed).permutation(data.n_users)[:n]
    frame = utterances.select(split=split).frame
    return Utterances(frame.filter(pl.col("user").is_in(users.tolist())))


@program
def main(arguments: Sequence[str] | None = None, chat_model: Any = None) -> None:
    """Measure every reader; a `chat_model` takes the place of the one that is named there."""
    command = Command("experiments.extraction", __doc__)
    add = command.parser.add_argument
    add("--split", default="test", help='"valid", "test" or "test_turns"')
    add("--n", type=int, default=200, help="users (default: 200)")
    add("--seed", type=int, default=0, help="of utterances and users")
    add("--chat-model", default="smollm2", help='model, or "none" for lexicons alone')
    add("--answers", type=Path, help="file in which the model's answers are kept")
    options = command.read(arguments)
    data = load_dataset(options.data)
    utterances = simulate_utterances(data, seed=options.seed)
    chosen = sample(data, utterances, options.split, options.n, options.seed)
    if chat_model is None and options.chat_model != "none":
        chat_model = LocalChatModel(options.chat_model)
    answers = None if chat_model is None else Answers(chat_model, options.answers)
    rows = []
    for name, reader in readers(data, answers).items():
        command.say(name)
        rows += [{"reader": name, **row} for row in extraction_report(chosen, reader).to_dicts()]
    content = {"data": options.data, "split": options.split, "model": "none", "rows": rows}
    if answers is not None:
        content |= {"model": answers.name, "model_answers": answers.counts}
    command.record(options.record, content, (*PACKAGES, "rapidfuzz"))
    shown = ("reader", "level", "phrasing", "utterances", "precision", "recall")
    with pl.Config(tbl_rows=-1, tbl_width_chars=100, float_precision=3):
        print(pl.DataFrame(rows, infer_schema_length=None).select(shown))

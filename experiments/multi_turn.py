"""Multi-turn recommendation (Tables 4 and 6): S@3, S@5 and AT of every system, and what it costs.

All systems face the same users with the same targets and seeds; what a user says after its first
message depends on what it is offered. Dialogues are logged as they are held, so a run that is
stopped goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments import program
from latentcrs_utils import ConfigError, Dataset, LocalChatModel
from latentcrs_utils.config import RerankConfig
from latentcrs_utils.conversation.policies import RerankPolicy
from latentcrs_utils.evaluation import dialogues, multi_turn
from latentcrs_utils.evaluation.dialogues import Dialogue
from latentcrs_utils.evaluation.metrics import bootstrap_interval, paired_difference
from latentcrs_utils.evaluation.multi_turn import Setting, System, dialogue_systems
from latentcrs_utils.evaluation.one_turn import fit_all
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.language.models import DEFAULT_MODEL
from latentcrs_utils.run import prepare
from latentcrs_utils.simulation.agenda import DIFFICULTIES, LEVELS
from latentcrs_utils.simulation.users import HELD_OUT

REFERENCE = "LatentCRS+"
METRICS = ("S@3", "S@5", "AT")
ALL = "all"
RERANKED = "LatentCRS+ V"  # policy V of `LatentCRS+`, which asks a language model


def metric_values(held: Sequence[Dialogue], metric: str) -> np.ndarray:
    """A metric of each dialogue, [N]: S@k is 0 or 1, AT counts a failure as five turns."""
    if metric == "AT":
        return dialogues.turns_taken(held)
    return dialogues.success_by(held, int(metric.removeprefix("S@")))


def compared(
    by_seed: Sequence[Mapping[str, Any]], value: Callable[[Any, str], np.ndarray],
    metrics: Sequence[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """A row a system, from what each seed gave of it, in which `value` finds a metric of N users.

    The keys are system, n (users); of each metric its mean over users and seeds, ..._low and
    ..._high (95 % bootstrap interval over users, seeds averaged), and ..._gap, ..._gap_low,
    ..._gap_high: the mean paired difference to `REFERENCE`; None where that is no system here.
    """

    def over_seeds(system: str, metric: str) -> np.ndarray:
        return np.mean([value(of_seed[system], metric) for of_seed in by_seed], axis=0)

    rows = []
    for system in by_seed[0]:
        row: dict[str, Any] = {"system": system, "n": len(over_seeds(system, metrics[0]))}
        for metric in metrics:
            mine = over_seeds(system, metric)
            low, high = bootstrap_interval(mine)
            row |= {metric: float(mine.mean()), f"{metric}_low": low, f"{metric}_high": high}
            there = REFERENCE in by_seed[0]
            gap = paired_difference(mine, over_seeds(REFERENCE if there else system, metric))
            row |= gap.columns(metric) if there else dict.fromkeys(gap.columns(metric))
        rows.append(row)
    return rows


def summarise(by_seed: Sequence[Mapping[str, Sequence[Dialogue]]]) -> pl.DataFrame:
    """Table 4 with intervals, see `compared`; all seeds have the same users in the same order."""
    return pl.DataFrame(compared(by_seed, metric_values, METRICS), infer_schema_length=None)


def evaluate_dialogues(
    data: Dataset, systems: Mapping[str, System], users: Sequence[int] | np.ndarray,
    setting: Setting, *, logs: Path | None = None, identity: str = "",
) -> dict[str, list[Dialogue]]:  # fmt: skip
    """Let the same users talk to every system: name -> dialogues, in the order of the users.

    Dialogues are logged in a folder, if there is one, in a file for each system and setting; the
    identity names the fitted models and the simulator, and a system's own is added to it. All else
    is as of `converse`.
    """
    return {
        name: multi_turn.converse(
            data, name, system, users, setting,
            log=logs / log_name(data.name, name, setting, len(users)) if logs else None,
            identity=f"{identity}{system.identity}",
        )
        for name, system in systems.items()
    }  # fmt: skip


def reranked(system: System, chat_model: Any) -> System:
    """Return a system whose best items a language model re-ranks (policy V)."""
    config = RerankConfig()
    policy = RerankPolicy(system.policy.data, lambda: chat_model, config)
    return replace(system, policy=policy, identity=f" {chat_model.name} {config}")


def log_name(data: str, system: str, setting: Setting, n_users: int) -> str:
    """Name the log of one system, setting and number of users."""
    known = ALL if setting.known is None else setting.known
    how = f"{setting.difficulty}_{setting.level}_seed{setting.seed}_known-{known}"
    who = f"{n_users}-users" if setting.split == "test" else f"{n_users}-{setting.split}-users"
    return f"{data}_{system}_{who}_{how}.jsonl".replace(" ", "-")


def history_length(text: str) -> int | None:
    """Read "all" (None) or a number of items."""
    return None if text == ALL else int(text)


@program
def main(arguments: list[str] | None = None) -> None:
    """Fit, talk and record: every difficulty, level and history length that was asked for."""
    command = Command("experiments.multi_turn", __doc__, seeds=True, record=False)
    add = command.parser.add_argument
    add("--users", type=int, help="users to draw; default: all")
    add("--split", choices=HELD_OUT, default="test", help="valid: to choose between systems")
    add("--difficulty", nargs="+", choices=DIFFICULTIES, default=["normal"])
    add("--level", nargs="+", choices=LEVELS, default=["paraphrased"])
    lengths = f"cold start: so many items known of each history, or {ALL}"
    add("--known", nargs="+", type=history_length, default=[None], metavar="N", help=lengths)
    add("--systems", nargs="+", metavar="NAME", help=f"default: all but {RERANKED}")
    add("--chat-model", default=DEFAULT_MODEL, metavar="MODEL", help=f"of {RERANKED}")
    add("--batch", type=int, default=Setting().batch_size, help="dialogues at once")
    add("--logs", type=Path, help="keep the dialogues in this folder")
    options = command.read(arguments)
    data, language = prepare(command.say, options.data, "all")
    users = multi_turn.sample_users(data, options.users, options.split)
    ask = LocalChatModel(options.chat_model) if RERANKED in (options.systems or ()) else None
    made: dict[str, Any] = {"data": sizes(data), "language_model": language.embedder.name}
    if ask is not None:
        made |= {"chat_model": ask.name, "rerank": asdict(RerankConfig())}
    made |= {
        "simulator": "template", "split": options.split, "phrasing": options.split,
        "turns": Setting().n_turns, "items": Setting().n_items, "users": len(users),
        "seeds": options.seeds,
    }  # fmt: skip
    systems, results = {}, []
    for seed in options.seeds:
        fitted = fit_all(data, language, seed=seed, say=command.say)
        known_systems = dialogue_systems(fitted)
        if ask is not None:
            known_systems[RERANKED] = reranked(known_systems[REFERENCE], ask)
        names = options.systems or [*known_systems]
        if unknown := [name for name in names if name not in known_systems]:
            all_known = ", ".join(dict.fromkeys([*known_systems, RERANKED]))
            raise ConfigError(f"There is no system {unknown[0]!r}. Known: {all_known}.")
        identity = multi_turn.identity_of(fitted)
        systems[seed] = {name: known_systems[name] for name in names}, identity
    for difficulty, level, known in product(options.difficulty, options.level, options.known):
        length, by_seed = ALL if known is None else known, []
        command.say(f"{len(users)} users, {difficulty}, {level}, known items: {length}")
        for seed, (of_seed, identity) in systems.items():
            # the users of a split speak in the phrasings of its name, which no training text has
            setting = Setting(
                difficulty, level, options.split, seed, known=known, batch_size=options.batch,
                split=options.split,
            )  # fmt: skip
            by_seed.append(evaluate_dialogues(
                data, of_seed, users, setting, logs=options.logs, identity=identity
            ))  # fmt: skip
        table = summarise(by_seed)
        every = [d for of_seed in by_seed for held in of_seed.values() for d in held]
        with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3):
            print(
                table.select("system", *(f"{m}{e}" for m in METRICS for e in ("", "_low", "_high")))
            )
        # one digit a dialogue, the turn of its success or 0: from these follows every metric
        turns = {
            name: ["".join(str(d.success or 0) for d in of_seed[name]) for of_seed in by_seed]
            for name in by_seed[0]
        }
        results.append({
            "difficulty": difficulty, "level": level, "known": length, "systems": table.to_dicts(),
            "ledger": dialogues.usage_table(every).to_dicts(), "outcomes": turns,
        })  # fmt: skip
        if options.record:
            command.record(options.record, {**made, "results": results})

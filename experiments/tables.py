"""Tables 2, 3, 4 and 6 of the paper: every system on the same instances, and the classic setting.

Table 2 ranks all items for the words of every test user (`--tests sample`: of a sample); Table 3
does so for a sample that language models are asked about, too; Tables 4 and 6 are whole dialogues
and what they cost. Beside each of our rows the record names what the paper prints. A run that is
stopped goes on where it was: fitted systems, answers of language models and dialogues are kept.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments import program
from experiments.multi_turn import METRICS as DIALOGUE_METRICS
from experiments.multi_turn import REFERENCE, compared, evaluate_dialogues, summarise
from latentcrs_utils import ConfigError, DataError, Dataset, LocalChatModel, load_dataset
from latentcrs_utils.baselines.questions import Played, held_out_game, play
from latentcrs_utils.baselines.rival import Rival
from latentcrs_utils.evaluation import dialogues, multi_turn, real_people
from latentcrs_utils.evaluation.dialogues import Answers, Dialogue
from latentcrs_utils.evaluation.metrics import METRICS, metric_values
from latentcrs_utils.evaluation.multi_turn import Setting, dialogue_systems
from latentcrs_utils.evaluation.one_turn import (
    LEVELS,
    UNSEEN,
    Fitted,
    Scorer,
    evaluate,
    fit_all,
    one_turn_cases,
    scorers,
)  # fmt: skip
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.evaluation.rivals import FITS, HARD, Rivals
from latentcrs_utils.language.chat_model import ChatModel
from latentcrs_utils.language.endpoint_chat_model import EndpointChatModel
from latentcrs_utils.run import Say, prepare

TALKING = ("popularity", "item-kNN", "backbone alone", "text alone", "fusion without intents",
           "LatentCRS", "LatentCRS+", "LatentCRS+ F")  # fmt: skip
MADE = ("command", "date", "machine", "versions")  # of the run that writes


def one_turn(
    systems: Sequence[tuple[Fitted, Mapping[str, Scorer]]], level: str,
    users: np.ndarray | None = None, *, masked: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rank all items for the words of some test users (None: all) at one level, unseen phrasings.

    `systems` are those of each seed. One row a system, with the four metrics as of `compared`.
    """
    ranks = []
    for fitted, scorer_of in systems:
        cases = one_turn_cases(fitted.data, fitted.backbone, fitted.language)
        chosen = (pl.col("level") == level) & (pl.col("phrasing") == UNSEEN)
        chosen &= pl.lit(users is None) | pl.col("user").is_in([] if users is None else users)
        rows = cases.frame.with_row_index("row").filter(chosen)["row"].to_numpy()
        ranks.append(evaluate(cases.take(rows), scorer_of, masked=masked))
    return [{"level": level, **row} for row in compared(ranks, metric_values, METRICS)]


def real_requests(systems: Sequence[tuple[Fitted, Mapping[str, Scorer]]]) -> list[dict[str, Any]]:
    """Rank all items for the report half of what real people said; no row where nobody asked."""
    ranks = []
    for fitted, scorer_of in systems:
        of_seed = fitted.data, fitted.backbone, fitted.language
        try:
            cases = real_people.real_people_cases(*of_seed, "report")
        except DataError:
            return []
        ranks.append(evaluate(cases, scorer_of))
    return real_people.describe_people(cases, ranks, REFERENCE).filter(people="all").to_dicts()


def table_4(by_seed: Sequence[Mapping[str, Sequence[Dialogue]]]) -> list[dict[str, Any]]:
    """S@3, S@5 and AT with intervals and gaps, and AT of the successes alone (``AT_found``).

    The paper counts a failure as five turns in one place and prints values that only successes can
    give in others, so both readings are here; a system that never succeeds has no second one.
    """
    rows = summarise(by_seed).to_dicts()
    for row in rows:
        found = [d.success for of in by_seed for d in of[row["system"]] if d.success is not None]
        row["AT_found"] = float(np.mean(found)) if found else None
    return rows


def classic(data: Dataset, users: np.ndarray, seed: int, say: Say) -> dict[str, Played]:
    """The classic game (15 turns, 10 items, yes or no) of the systems that ask, by name."""
    played = {}
    for name, fit in FITS.items():
        say(f"Fitting or loading {name} (seed {seed})")
        asker = fit(data, seed=seed)
        say("The classic setting: 15 turns, 10 items")
        played[name] = play(asker, held_out_game(asker.attributes, data, "test", users, seed))
    return played


def _shown(table: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=3, fmt_str_lengths=60):
        print(pl.DataFrame(table, infer_schema_length=None).select(columns))


def _earlier(file: Path | None, setting: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run of the same setting recorded: its tables stay until made again."""
    try:
        found = dict(json.loads(file.read_text("utf-8")) if file and file.exists() else setting)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} is no record ({error}): name another file.") from error
    for name, value in setting.items():
        if found.get(name) != value:
            why = f"its {name} is {found.get(name)}, not {value}"
            raise DataError(f"{file} is of another setting ({why}): name another file.")
    return {name: part for name, part in found.items() if name not in MADE}


def _chat_model(name: str | None, endpoint: str | None, file: Path | None) -> Answers | None:
    """The language model of the rivals that prompt one; its answers are kept in a file."""
    if name is None:
        if endpoint is not None:
            raise ConfigError("--endpoint needs --chat-model: the name of the model there.")
        return None
    model: ChatModel = EndpointChatModel(name, endpoint) if endpoint else LocalChatModel(name)
    kept = f"answers_{model.name}.jsonl".replace("/", "-").replace(" ", "-")
    return Answers(model, file / kept if file else None)


def _talk(
    fitted: Fitted, rivals: Mapping[str, Any], users: np.ndarray, seed: int, options: Any
) -> dict[str, list[Dialogue]]:
    """Hold the dialogues of some users with our systems and some rivals."""
    ours = {n: s for n, s in dialogue_systems(fitted).items() if n in TALKING}
    partners = {n: r.system(fitted.backbone, fitted.language) for n, r in rivals.items()}
    setting = Setting(level=options.level, seed=seed)
    kept = {"logs": options.logs, "identity": multi_turn.identity_of(fitted)}
    return evaluate_dialogues(fitted.data, ours | partners, users, setting, **kept)


def _costs(held: Sequence[Mapping[str, Sequence[Dialogue]]]) -> list[dict[str, Any]]:
    """Table 6: tokens and seconds a turn, of choosing the items alone.

    Vectors of texts are kept, so who comes later reads for nothing: a token read takes the time
    that it took the slowest.
    """
    every = [d for of_seed in held for of_system in of_seed.values() for d in of_system]
    table, seconds = dialogues.usage_table(every), "seconds_a_turn"
    rows = table.filter(purpose="recommending").to_dicts()
    reading = {row["system"]: row for row in table.filter(purpose="embedding").to_dicts()}
    each = max((r[seconds] / r["prompt_tokens_a_turn"] for r in reading.values()), default=0.0)
    for row in (row for row in rows if row["system"] in reading):
        spent = reading[row["system"]]
        row[seconds] += each * spent["prompt_tokens_a_turn"] - spent[seconds]
    return rows


@program
def main(arguments: list[str] | None = None) -> None:
    """Fit or load every system, make the tables that were asked for, record and print them."""
    command = Command("experiments.tables", __doc__, seeds=True, record=False)
    add = command.parser.add_argument
    add("--tables", nargs="*", type=int, choices=(2, 3, 4, 6), default=[2, 3, 4, 6],
        help="default: all; 6 is of the dialogues of 4; empty: none")  # fmt: skip
    add("--classic", action="store_true", help="15 turns, 10 items, yes-or-no questions, too")
    add("--systems", nargs="+", metavar="NAME", help="rivals; default: all that there are")
    add("--chat-model", metavar="MODEL", help="a language model, by id or folder; default: none")
    add("--endpoint", metavar="URL", help="asks the chat model there")
    add("--sample", type=int, default=500, help="test users of Tables 3, 4 and the classic setting")
    add("--asked", type=int, help="of them those that a language model is asked about")
    add("--talking", type=int, help="of them those of Tables 4 and 6")
    add("--level", choices=LEVELS, default="paraphrased", help="of Tables 3, 4 and 6")
    add("--tests", choices=("all", "unseen", "sample"), default="all",
        help="unseen: single, newly worded texts; sample: of its users alone")  # fmt: skip
    add("--logs", type=Path, help="keep dialogues and answers in this folder")
    options = command.read(arguments)
    for name in ("sample", "asked", "talking"):
        if (n := getattr(options, name)) is not None and n < 1:
            raise ConfigError(f"--{name} {n} leaves no user: give a number from 1 on.")
    if options.logs is not None and options.logs.is_file():
        raise ConfigError(f"--logs {options.logs} is a file: give a folder.")
    chat_model = _chat_model(options.chat_model, options.endpoint, options.logs)
    data = load_dataset(options.data)
    users = multi_turn.sample_users(data, options.sample)
    tests = [*users] if options.tests == "sample" else options.tests
    language = cache(lambda: prepare(command.say, options.data, tests)[1])
    few, talkers = users[: options.asked], users[: options.talking]
    content = _earlier(options.record, {"data": sizes(data), "level": options.level})

    def keep(**tables: Any) -> None:
        content.update(tables)
        for name, how in {"seeds": options.seeds, "commands": command.line}.items():
            content[name] = content.get(name, {}) | dict.fromkeys(tables, how)
        if options.record:
            command.record(options.record, content)

    def fit(seed: int) -> Fitted:
        return fit_all(data, language(), seed=seed, say=command.say)

    fits = [cache(partial(fit, seed)) for seed in options.seeds]
    made = [
        Rivals(data, fitted, seed=seed, chat_model=chat_model)
        for seed, fitted in zip(options.seeds, fits, strict=True)
    ]
    first = made[0]
    wanted = options.systems or first.names
    for name in wanted:
        first.check(name)
    for why in {*first.missing.values()}:
        command.say(f"No rows: {', '.join(first.missing)}. {why}")
    content["missing"] = first.missing
    if options.classic and not first.missing:
        games = [classic(data, users, seed, command.say) for seed in options.seeds]
        steps = [step for step in command.steps if step["step"].startswith("Fitting")]
        keep(classic=compared(games, getattr, ("success", "turns", "hdcg")), fits=steps)
        _shown(content["classic"], ["system", "n", "success", "turns", "hdcg"])
    if not options.tables:
        return
    prompting = [name for name in first.prompting if name in wanted]
    free, talking = [], list[dict[str, Rival]]()
    for seed, fit_or_load, rivals in zip(options.seeds, fits, made, strict=True):
        of, fitted = {}, fit_or_load()
        for name in (name for name in wanted if name not in prompting):
            command.say(f"{name} (seed {seed})")
            of[name] = rivals[name]
        free.append((fitted, {**scorers(fitted), **{n: r.scores for n, r in of.items()}}))
        talking.append({n: r for n, r in of.items() if not n.endswith(HARD)})
    if 2 in options.tables:
        command.say("Table 2")
        tables = {"masked": [row for level in LEVELS for row in one_turn(free, level)]}
        # the paper ranks what was seen, too
        tables["unmasked"] = one_turn(free, options.level, masked=False)
        keep(table_2=tables | {"people": real_requests(free)})
        _shown(tables["masked"], ["level", "system", "NDCG@20"])
    # a language model answers alike for all seeds, so it is asked once
    prompted = {name: first[name] for name in prompting}
    if 3 in options.tables:
        command.say(f"Table 3: {len(users)} users, {options.level}")
        keep(table_3=one_turn(free, options.level, users))
        if chat_model is not None and prompting:
            asking = {**free[0][1], **{name: rival.scores for name, rival in prompted.items()}}
            command.say(f"Table 3: {len(few)} users that the language model is asked about")
            asked = one_turn([(free[0][0], asking)], options.level, few)
            keep(table_3_asked=asked, answers={**chat_model.counts, "lines": first.line_counts})
            _shown(asked, ["system", "n", *METRICS])
    if {4, 6} & {*options.tables}:
        command.say(f"Tables 4 and 6: dialogues with {len(talkers)} users")
        if any(talking) or not options.systems:  # if only what prompts is wanted, the rest stays
            held = [
                _talk(fitted, of, talkers, seed, options)
                for (fitted, _), of, seed in zip(free, talking, options.seeds, strict=True)
            ]
            keep(table_4=table_4(held), table_6=_costs(held))
            _shown(content["table_4"], ["system", "n", *DIALOGUE_METRICS, "AT_found"])
        if prompting:
            talk = [_talk(free[0][0], prompted, few, options.seeds[0], options)]
            keep(table_4_asked=table_4(talk), table_6_asked=_costs(talk))
            _shown(content["table_4_asked"], ["system", "n", *DIALOGUE_METRICS, "AT_found"])
    command.say("Done")
    keep()

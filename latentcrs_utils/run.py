"""`make run`: from raw ratings to a table of results and a conversation, with what to expect said.

Also `make results`: the same table over several seeds, recorded in `results/`; for any data set.
"""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.loading import load_dataset
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.em.instances import rows_of
from latentcrs_utils.em.model import LatentCRS
from latentcrs_utils.errors import DataError, LatentCRSError
from latentcrs_utils.evaluation import one_turn, real_people
from latentcrs_utils.evaluation.recording import Command, sizes
from latentcrs_utils.language.encoding import Language, embed
from latentcrs_utils.language.text_encoder import VectorStore
from latentcrs_utils.simulation.utterances import Utterances, simulate_utterances

Say = Callable[[str], None]
CHECKOUT = Path(__file__).resolve().parent.parent
USER = 42
MESSAGES = ("a film that keeps me on the edge of my seat", "with space ships and aliens in it")


def prepare(say: Say, name: str, tests: str | list[int]) -> tuple[Dataset, Language]:
    """Data, utterances, embeddings; tests: "all", "unseen" words alone, or those of some users."""
    say(f"{name}: ratings, filter, splits")
    data = load_dataset(name)
    print(f"          {data!r}")
    say("Simulated utterances")
    frame = simulate_utterances(data, seed=0).frame
    if tests != "all":
        kept = (pl.col.split == "test") & (pl.col.phrasing != "train")
        kept &= pl.col.user.is_in(tests) if isinstance(tests, list) else True
        frame = frame.filter(kept | ~pl.col.split.str.starts_with("test"))
    print(f"          {len(frame):,} utterances, {frame['text'].n_unique():,} distinct")
    say("Embedding each distinct utterance once (PromptEOL, SmolLM2-135M; MiniLM)")
    return data, embed(Utterances(frame))


def results(
    data: Dataset, language: Language, seeds: list[int], say: Say
) -> tuple[one_turn.Fitted, dict[str, pl.DataFrame]]:
    """Fit and rank for every seed; returns the systems of the first one, and the summaries.

    "masked" and "unmasked" are of one turn at four levels; "by_turns", where the utterances hold
    dialogues to test on, of one to five messages, masked; "choice" and "report", where their films
    are in the data, of what real people said (`describe_people`).
    """
    ranks: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)
    asked: dict[str, one_turn.EvalSet] = {}
    by_seed = []
    for seed in seeds:
        suffix = f" (seed {seed})" if len(seeds) > 1 else ""
        fitted = one_turn.fit_all(data, language, seed=seed, say=lambda text: say(text + suffix))  # noqa: B023
        say("Ranking all items for every test user" + suffix)
        cases = one_turn.one_turn_cases(data, fitted.backbone, language)
        asked["masked"] = asked["unmasked"] = cases
        if len(rows_of(language, "test_turns")):
            asked["by_turns"] = one_turn.dialogue_cases(data, fitted.backbone, language)
        with suppress(DataError):  # no real person asked for an item of these data
            for half in real_people.HALVES:
                asked[half] = real_people.real_people_cases(data, fitted.backbone, language, half)
        systems = one_turn.scorers(fitted)
        for name, cases in asked.items():
            ranks[name].append(one_turn.evaluate(cases, systems, masked=name != "unmasked"))
        by_seed.append(fitted)
    return by_seed[0], {
        name: real_people.describe_people(asked[name], of, "LatentCRS+")
        if name in real_people.HALVES
        else one_turn.summarise(asked[name], of)
        for name, of in ranks.items()
    }


def print_table(summary: pl.DataFrame, n_users: int) -> None:
    """NDCG@20 of every system at every level, unseen phrasing, history masked."""
    table = one_turn.level_table(summary, phrasing=one_turn.UNSEEN)
    levels = table.columns[1:]
    print(f"\nNDCG@20, {n_users:,} test users, history masked, phrasing not seen in training")
    print(f"{'':28}" + "".join(f"{level:>13}" for level in levels))
    for row in table.iter_rows(named=True):
        print(f"{row['system']:28}" + "".join(f"{row[level]:13.3f}" for level in levels))
    last = summary.filter(phrasing=one_turn.UNSEEN, system="LatentCRS+")
    half = (last["high"] - last["low"]).to_numpy().max() / 2
    print(f"95 % bootstrap intervals over users: about ±{half:.3f}.")


def print_people(people: pl.DataFrame) -> None:
    """Every system for what real people said: strangers, and people who had named films."""
    groups, metrics = people["people"].unique(maintain_order=True), real_people.PEOPLE_METRICS
    sizes = ", ".join(f"{group} {people.filter(people=group)['n'][0]}" for group in groups)
    print(f"\nReal people (ReDial), the half that is only reported: {sizes}")
    print(f"{'':28}" + "".join(f"{group:>30}" for group in groups))
    print(f"{'':28}" + "".join(f"{metric:>10}" for metric in metrics) * len(groups))
    for (system,), rows in people.group_by("system", maintain_order=True):
        values = rows.select(metrics).to_numpy().ravel()
        print(f"{system:28}" + "".join(f"{value:10.3f}" for value in values))
    last = people.filter(people="all", system="fusion without intents").row(0, named=True)
    gap, low, high = (-last[f"NDCG@20_gap{end}"] for end in ("", "_high", "_low"))
    print(f"LatentCRS+ minus the fusion, NDCG@20 of all: {gap:+.3f} ({low:+.3f} to {high:+.3f}).")


def print_dialogue(model: LatentCRS) -> None:
    """A conversation with the fitted model, whose replies a template words."""
    users = model.data.users["raw_user"]
    user = USER if str(USER) in users else users[0]
    chat = Conversation(model, user=user)
    print(f"\nA conversation with user {user} of {model.data.name} ({model.name}):\n")
    for message in MESSAGES:
        turn = chat.say(message)
        print(turn)
        leaders = list(turn.intents_after.items())[:3]
        print("        Intents: " + "; ".join(f"{name} {p:.0%}" for name, p in leaders) + "\n")


def execute_notebooks(say: Say) -> None:
    """Execute the course in order and render it to build/; the committed notebooks stay as are."""
    if not (CHECKOUT / "tools" / "notebooks.py").exists():
        say("No notebooks here: the package runs outside a checkout of the course")
        return
    say("The notebooks, executed in order")
    subprocess.run([sys.executable, "-m", "tools.notebooks", "--html"], check=True, cwd=CHECKOUT)


def main(arguments: list[str] | None = None) -> int:
    """Run the course; returns the exit status."""
    command = Command("latentcrs_utils.run", __doc__, seeds=True, record=False)
    add = command.parser.add_argument
    add("--tests", choices=("all", "unseen"), default="all", help="unseen: one message, new words")
    add("--no-notebooks", action="store_true", help="only the table and the talk")
    add("--forget", action="store_true", help="only delete all vectors of texts, typed ones too")
    options, say = command.read(arguments), command.say
    if options.forget:
        VectorStore().forget()
        say("Forgotten: the vectors of all texts")
        return 0
    try:
        data, language = prepare(say, options.data, options.tests)
        fitted, summaries = results(data, language, options.seeds, say)
        if not options.no_notebooks:
            execute_notebooks(say)
        if options.record:
            say("Writing the results")
            texts = language.utterances.frame["text"]
            content = {
                # a step whose result was on disk took next to nothing
                "seeds": options.seeds, "steps": command.steps, "data": sizes(data),
                "language_model": language.embedder.name,
                "texts": {"utterances": len(texts), "distinct": texts.n_unique()},
                **{name: summary.to_dicts() for name, summary in summaries.items()},
            }  # fmt: skip
            command.record(options.record, content)
        print_table(summaries["masked"], data.n_users)
        if "report" in summaries:
            print_people(summaries["report"])
        print_dialogue(fitted.latentcrs_plus)
    except LatentCRSError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("\nA notebook did not run to its end; its error is above.", file=sys.stderr)
        return 1
    if not options.no_notebooks:
        print("The notebooks as pages to read: build/00_start_here.html and the others there.")
    say("Done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

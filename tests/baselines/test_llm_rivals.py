"""The rivals that prompt a language model, over the small world of forty films."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch

from latentcrs_utils.baselines.chat_rec import ChatRec, make_chat_rec
from latentcrs_utils.baselines.interecagent import (
    InteRecAgent,
    RulePlanner,
    Tools,
    make_interecagent,
)
from latentcrs_utils.baselines.llm_alone import Grounding, LLMAlone, make_llm_alone
from latentcrs_utils.conversation.policies import Request
from latentcrs_utils.conversation.session import Conversation
from latentcrs_utils.data.sequences import Dataset, Sequences
from latentcrs_utils.em.instances import Instances
from latentcrs_utils.errors import EndpointError, MessageError
from latentcrs_utils.evaluation.dialogues import Answers
from latentcrs_utils.evaluation.one_turn import EvalSet
from latentcrs_utils.language.chat_model import ScriptedChatModel
from tests.conversation.fakes import FakeChatModel, fake_dataset, fake_model
from tests.evaluation.dialogue_world import dataset, falling
from tests.language.chat_server import chat_model_for, chat_server, cut, status, well
from tests.made import made

ITEMS = {
    1: ("The Matrix", 1999), 2: ("Toy Story", 1995), 3: ("Toy Story 2", 1999),
    4: ("Heat", 1995), 5: ("It", 1990), 6: ("City of God (Cidade de Deus)", 2002),
    7: ("Star Wars: Episode IV - A New Hope", 1977), 8: ("Sabrina", 1954), 9: ("Sabrina", 1995),
    10: ("101 Dalmatians", 1996), 11: ("2001: A Space Odyssey", 1968), 12: ("Goodfellas", 1990),
    13: ("Jurassic Park", 1993), 14: ("Alien: Resurrection", 1997), 15: ("M*A*S*H", 1970),
}  # fmt: skip


def named_dataset() -> Dataset:
    """The titles above, the sixteenth of none; item 9 is more popular than item 8."""
    titles, years = zip(*ITEMS.values(), ("Unknown title", None), strict=True)
    rows = [[9, 1, 2, 3], [9, 4, 5, 6], [1, 2, 3, 4]]
    return made("ml-named", rows, title=titles, year=years, genres=[["Drama"]] * len(titles))


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("The Matrix", 1), ("Matrix, The (1999)", 1), ("3. **the matrix** (1998)", 1),
        ("1) Matrix", 1), ("The Matrix (2003)", None), ("The Matrices", None),
        ('- "Toy Story" (1995) - two toys', 2), ("Toy Story II", 3), ("Toy Story 3", None),
        ("Toy Story 2 (1995)", None), ("Troy Story", 2), ("Toy Stroy", 2), ("Tay Story", 2),
        ("Heat", 4), ("Hear", None), ("Heat 2", None), ("“Heat”, directed by Mann", 4),
        ("It", 5), ("It is a film about heat", None), ("If", None), ("The It", 5),
        ("Cidade de Deus", 6), ("City of God (a.k.a. Cidade de Deus) (2002)", 6),
        ("City of Gods", 6), ("City of Dogs", None), ("Star Wars", 7), ("Star Wars (1977)", 7),
        ("Star Wars (1999)", None), ("Sabrina", 9), ("Sabrina (1955)", 8), ("Sabrina (1975)", None),
        ("101 Dalmatians", 10), ("10. 101 Dalmatian", 10), ("102 Dalmatians", None),
        ("2001: A Space Odyssey", 11), ("1. 2001: A Space Odissey (1968)", 11),
        ("Good Fellas", 12), ("GoodFelas (1990)", 12), ("Jurassic Bark", None),
        ("Alien", None), ("Alien (1979)", None), ("Alien (1997)", 14), ("**M*A*S*H** (1970)", 15),
        ("Unknown title", None), ("(1999)", None), ("???", None),
    ],
)  # fmt: skip
def test_a_line_names_an_item_or_none(line: str, item: int | None) -> None:
    assert Grounding(named_dataset())(line) == item


def test_candidates_may_be_talked_about() -> None:
    item, line = Grounding(named_dataset()), "2. Heat – a duel in Los Angeles"
    assert (item(line), item(line, within=[4, 5]), item(line, within=[5])) == (None, 4, None)
    assert item("Sabrina", within=[8]) == 8


def test_lines_are_counted() -> None:
    counts, grounding = Counter(), Grounding(named_dataset())
    reply = (
        "Here are some:\n\n1. Heat\n2. Nothing of This Name\n3. heat (1995)\n4. The Matrix\n5. It"
    )
    assert grounding.all_of(reply, [1], counts) == [4, 5]
    assert counts == Counter(lines=5, unmatched=1, repeated=1, seen=1)
    assert grounding.all_of(reply, [1], counts, with_seen=True) == [4, 1, 5]
    assert counts == Counter(lines=10, unmatched=2, repeated=2, seen=2)


def cases(texts: list[str], histories: list[list[int]]) -> EvalSet:
    n, sequences = len(texts), Sequences.from_lists(histories)
    nothing = torch.zeros(n, 4), torch.zeros(n, 4), torch.ones(n, dtype=torch.int64)
    return EvalSet(Instances(*nothing, sequences), texts, pl.DataFrame({"level": ["plain"] * n}))


def best(row: torch.Tensor, n: int) -> list[int]:
    return row.argsort(descending=True, stable=True)[:n].tolist()


def test_a_model_alone_ranks_what_it_names_and_nothing_else() -> None:
    chat_model = ScriptedChatModel(["Film Number 30\nHeat\nFilm Number 31\nNo Such Thing"])
    rival = make_llm_alone(dataset(), chat_model)
    assert rival.name == "scripted alone"
    scores = rival.scores(cases(["a sad film", "a funny film"], [[4, 7], [8]]))
    assert best(scores[0], 2) == [30, 31] and best(scores[1], 3) == [30, 4, 31]
    assert len({*scores[0, 1:].tolist()}) == 3 and scores[0, 0] == -torch.inf
    counts = rival.policy.prompt.counts
    assert counts == Counter(lines=8, unmatched=2, seen=1)
    (_, asked), _ = chat_model.asked
    assert "Heat, Film Number 7" in asked["content"] and "a sad film" in asked["content"]
    allowed = make_llm_alone(dataset(), chat_model, with_seen=True)
    assert best(allowed.scores(cases(["a sad film"], [[4, 7]]))[0], 3) == [30, 4, 31]
    assert allowed.name != rival.name and allowed.identity != rival.identity


def test_in_a_dialogue_it_hears_what_was_offered_and_its_tokens_count() -> None:
    chat_model = FakeChatModel("Film Number 9\nFilm Number 12\nFilm Number 13")
    policy = make_llm_alone(dataset(), chat_model).policy
    request = Request(
        torch.zeros(41), {2, 8, 9}, 2, history=[2], messages=["hello", "something else"]
    )
    slate = policy.select(request)
    assert [item.item for item in slate.items] == [12, 13]
    assert slate.tokens == (50, len("Film Number 9\nFilm Number 12\nFilm Number 13") // 4)
    told = chat_model.asked[0][1]["content"]
    assert "wants none of them: Film Number 8, Film Number 9." in told
    # whoever knows only a part of the history is not told the rest
    hidden = dataclasses.replace(request, history=[], messages=["hello"])
    chat_model.replies = ["Film Number 30"]
    assert [item.item for item in policy.select(hidden).items] == [30]
    assert "wants none" not in chat_model.asked[1][1]["content"]


def test_a_reply_that_is_no_use_is_told_and_a_dead_endpoint_ends_the_run() -> None:
    prompt = LLMAlone(
        Grounding(dataset()), FakeChatModel(MessageError("Too long."), EndpointError("gone"))
    )
    given = torch.zeros(41), [1], ["hello"], 5
    assert prompt(*given).items == () and prompt.counts["lines"] == 0
    with pytest.raises(EndpointError):
        prompt(*given)


@pytest.mark.parametrize(
    ("reply", "told"),
    [("Nothing of This Name", "named nothing"), (MessageError("Too long."), "Too long")],
)
def test_a_chat_says_why_nothing_is_offered(reply: str | Exception, told: str) -> None:
    chat = Conversation(fake_model(), policy=make_llm_alone(dataset(), FakeChatModel(reply)).policy)
    with pytest.raises(MessageError, match=told):
        chat.say("a western")
    assert not chat.events


def test_chat_rec_narrows_and_what_it_leaves_out_follows() -> None:
    data = dataset()
    said = "Film Number 9 - fits\n- **Film Number 40** (1990): not in the list\nNight of the Moth"
    chat_model = FakeChatModel(said)
    rival = make_chat_rec(data, chat_model, falling)
    assert rival.name == "Chat-Rec (Scripted)"
    row = rival.scores(cases(["a sad film"], [[1, 5, 9 + 16]]))[0]
    # candidates are 2, 3, 4, 6, ..., 22: the history is left out, and what follows is as it was
    assert best(row, 8) == [9, 2, 3, 4, 6, 7, 8, 10] and best(row, 41)[-3:] == [39, 40, 0]
    asked = chat_model.asked[0][1]["content"]
    assert asked.count("\n- ") == 20 and "- Film Number 22 (1972): Horror" in asked
    assert "mostly chooses Drama and the 1950s" in asked
    assert rival.policy.prompt.counts == Counter(lines=3, unmatched=1)
    # a model that fails leaves the first stage's order
    failing = ChatRec(Grounding(data), FakeChatModel(MessageError("Too long.")))
    named = failing(falling(cases(["x"], [[1]]))[0], [1], ["x"], 5)
    assert named.items == tuple(range(2, 22)) and "failed" in named.note


def pairs() -> Dataset:
    """Films 1 and 5 share two users, 1 and 9 share one; nobody has 13 with 1."""
    rows = [[1, 5, 30, 31], [1, 5, 9, 30, 31], [13, 12, 30, 31], [8, 12, 30, 31]]
    users = pl.DataFrame(
        {"user": range(4), "raw_user": [*"0123"]}, schema_overrides={"user": pl.Int32}
    )
    data = fake_dataset()
    return dataclasses.replace(data, users=users, interactions=Sequences.from_lists(rows))


SCORES = -torch.arange(41.0)


def test_every_tool_by_hand() -> None:
    tools = Tools(Grounding(pairs()))
    items = [13, 9, 5, 8, 12, 2]
    # genre 1 is drama: 13, 9 and 5; film 5 has no year
    assert tools.hard_filter(items, ["genre=Drama"]) == [13, 9, 5]
    assert tools.hard_filter(items, ["genre=Drama", "decade=1960"]) == [13]
    assert tools.hard_filter(items, ["not genre=Drama", "era=1958-1961"]) == [8]
    assert tools.facts(["Film Number 8", "No Such Film"]) == "Film Number 8 (1958): Comedy"
    # 41 similar ones at most: twenty are kept, the most similar among them
    many = [v for v in range(40, 1, -1)]
    kept = tools.soft_filter(many, ["The Quiet Harbour"])
    assert len(kept) == 20 and {5, 9} <= {*kept} and kept == sorted(kept, reverse=True)
    ranked = {"prefer": ["The Quiet Harbour (1951)"], "unwanted": ["Film Number 8"]}
    by_similarity = tools.ranking(items, {"by": "similarity", **ranked}, SCORES, [])
    assert by_similarity == [5, 9, 13, 12, 2]
    by_popularity = tools.ranking(items, {"by": "popularity", **ranked}, SCORES, [])
    assert by_popularity == [5, 12, 13, 9, 2]
    assert tools.ranking(items, {"by": "preference", **ranked}, SCORES, []) == [2, 5, 9, 12, 13]


def test_a_plan_runs_with_map_appended_and_without_empty_steps() -> None:
    tools = Tools(Grounding(pairs()))
    ranking = {"tool": "ranking", "input": {"by": "preference", "prefer": [], "unwanted": []}}
    plan = [{"tool": "look-up", "input": ["Heat"]},
            {"tool": "hard filter", "input": ["genre=Drama"]},
            {"tool": "hard filter", "input": ["genre=Horror"]}, ranking]  # fmt: skip
    bus = tools.run(plan, SCORES, [1], 3)
    assert bus.items == [5, 9, 13]
    facts, drama, horror, _, mapped = bus.log
    assert "Heat (1954): Comedy" in facts and "39 -> 9 candidates" in drama
    assert horror.endswith("9 -> 0 candidates, not done") and mapped.startswith("map 3")


PLAN = [{"tool": "hard filter", "input": ["genre=Comedy"]}]
OTHER = [{"tool": "hard filter", "input": ["genre=Horror"]}, {"tool": "map", "input": 3}]


def agent(*replies: object, n_reflections: int = 0) -> tuple[InteRecAgent, ScriptedChatModel]:
    said = [reply if isinstance(reply, str) else json.dumps({"plan": reply}) for reply in replies]
    chat_model = ScriptedChatModel(said)
    return InteRecAgent(Tools(Grounding(pairs())), chat_model, n_reflections), chat_model


def test_the_agent_plans_first_and_a_critic_may_send_it_back() -> None:
    plain, _ = agent(PLAN)
    assert plain(SCORES, [1], ["a comedy"], 3).items == (4, 8, 12)
    assert plain.counts == {"plans": 1, "without map": 1}
    judged, chat_model = agent(PLAN, "No, they want horror.", OTHER, "Yes.", n_reflections=2)
    named = judged(SCORES, [1], ["a scary film"], 3)
    assert named.items == (2, 10, 14) and judged.counts["sent back"] == 1
    assert "they want horror" in chat_model.asked[2][-1]["content"]
    usage = chat_model.usage
    assert named.tokens == (usage.prompt_tokens, usage.completion_tokens) and usage.calls == 4
    # a second turn tells its own tokens
    again = judged(SCORES, [1], ["a scary film"], 3)
    assert again.tokens[0] == usage.prompt_tokens - named.tokens[0]


def test_an_invalid_plan_is_asked_for_once_more_then_the_rules_plan() -> None:
    mended, chat_model = agent("a comedy, please", PLAN)
    assert mended(SCORES, [1], ["a comedy"], 3).items == (4, 8, 12)
    assert (mended.counts["invalid"], mended.counts["by rule"]) == (1, 0)
    assert "no JSON" in chat_model.asked[1][-1]["content"]
    lost, _ = agent("{}", [{"tool": "hard filter", "input": ["genre=Opera"]}])
    assert lost(SCORES, [1], ["a horror film"], 3).items == (2, 10, 14)
    assert (lost.counts["plans"], lost.counts["invalid"], lost.counts["by rule"]) == (2, 2, 1)


def test_the_rule_planner_plans_what_the_words_say() -> None:
    data = pairs()
    messages = ["A scary film from the sixties like The Quiet Harbour", "no westerns please"]
    plan = RulePlanner(data)(messages, 5)
    named = {"prefer": ["The Quiet Harbour (1951)"], "unwanted": []}
    assert plan == [
        {"tool": "hard filter", "input": ["decade=1960", "genre=Horror", "not genre=Western"]},
        {"tool": "soft filter", "input": named["prefer"]},
        {"tool": "ranking", "input": {"by": "preference", **named}},
        {"tool": "map", "input": 5},
    ]
    rival = make_interecagent(data, None, falling)
    assert rival.name == "InteRecAgent, rule planner"
    row = rival.scores(cases(["a horror film"], [[10]]))[0]
    # horror first, then all others in the first stage's order
    assert best(row, 9) == [2, 14, 18, 22, 26, 30, 34, 38, 1]
    assert make_interecagent(data, FakeChatModel(), falling).name == "InteRecAgent (Scripted)"


def test_a_failing_endpoint_is_asked_again_and_what_it_said_before_is_kept(tmp_path: Path) -> None:
    file, data = tmp_path / "answers.jsonl", dataset()
    asked = cases(["a sad film", "a funny film"], [[4], [8]])
    with chat_server() as server:
        model = Answers(chat_model_for(server, retries=0), file)
        server.plan = [well("Film Number 30"), status(429, "quota used up")]
        with pytest.raises(EndpointError, match="quota"):
            make_llm_alone(data, model).scores(asked)
        assert model.counts["asked"] == 1 and model.counts["failed"] == 0
        server.plan = [well("Film Number 31")]
        again = make_llm_alone(data, Answers(chat_model_for(server), file)).scores(asked)
        assert len(server.asked) == 3 and [best(row, 1) for row in again] == [[30], [31]]
        # nor is a reply kept that broke off; an empty one is the model's own, and is
        chat = [{"role": "user", "content": "more"}]
        server.plan = [cut("Film", clean=True), well("Film Number 32")]
        said = [model.generate(chat, stream=lambda _: None) for _ in range(3)]
        assert [reply.text for reply in said] == ["Film", "Film Number 32", "Film Number 32"]
        server.plan = [well("", finish="content_filter")] * 2
        for _ in range(2):
            with pytest.raises(MessageError, match="withheld"):
                model.generate([{"role": "user", "content": "less"}])
        assert len(server.asked) == 6

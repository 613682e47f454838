"""InteRecAgent (Huang et al. 2023, arXiv 2308.16505): a language model plans with tools.

Look-up, hard filter, soft filter, ranking and map work on a candidate bus, a list of ids outside of
the prompt that holds all items at the beginning of a turn. The plan comes first, one JSON list of
{tool, input}, and then it runs; a critic may send it back (reflection). Simplified: filters take
values instead of SQL; preference is the first stage's score; two fixed demonstrations; no memory of
earlier turns but their messages; nobody words the reply, which cannot change the items. Public
code cuts a filter of more than 1,000 items to a random 1,000, and so loses the target (on ML-1M, of
a third of the dramas), grounds names to the nearest one however far, and is known to fail with
models of 7B and less. Here nothing is cut at random, a name that is no item is left out, a local
model can only write a plan that fits the schema, and where a plan is invalid twice, rules make it.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentcrs_utils.baselines import llm_alone
from latentcrs_utils.baselines.item_knn import item_similarity
from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.baselines.rival import N_LISTED, Named, Rival, prompted_rival
from latentcrs_utils.constraints.constraint import Constraint, Requirement, Requirements
from latentcrs_utils.constraints.negation import negation_in
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.in_words import thing
from latentcrs_utils.conversation.policies import FilterPolicy
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.conversation.turn import describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import MessageError, ReplyError
from latentcrs_utils.evaluation.one_turn import Scorer
from latentcrs_utils.language.chat_model import ChatModel
from latentcrs_utils.language.structured_output import complaint

SOFT_SHARE, N_RANKED, N_NEIGHBOURS = 0.1, 100, 200
_PLAN_TOKENS, _CRITIC_TOKENS, _LONGEST_TITLE = 160, 128, 20  # longer titles compile for minutes
Step = Mapping[str, Any]
"""{"tool": its name, "input": what `plan_schema` says}."""


@dataclass
class Bus:
    """The candidates of a turn, best first, and what every tool did to them."""

    items: list[int]
    log: list[str] = field(default_factory=list)


class Tools:
    """The tools over one catalogue."""

    def __init__(self, grounding: llm_alone.Grounding):
        self.grounding, self.data = grounding, grounding.data
        self._popular = popularity(self.data)
        self._similarity = item_similarity(self.data, N_NEIGHBOURS)

    def run(self, plan: Sequence[Step], scores: Tensor, history: Sequence[int], n: int) -> Bus:
        """Run a plan on the items of finite score that are not in the history; n are named.

        Map comes last, also where the plan forgets it. What would leave no candidate is not done.
        """
        open_items = torch.isfinite(scores)
        open_items[[0, *self.grounding.catalogue.same(history)]] = False
        bus = Bus(_sorted(torch.where(open_items)[0].tolist(), scores))
        tools: dict[str, Callable[[list[int], Any], list[int]]] = {
            "ranking": lambda items, given: self.ranking(items, given, scores, history),
            "hard filter": self.hard_filter, "soft filter": self.soft_filter,
            "map": lambda items, n: items[:n], "look-up": lambda items, _: items,
        }  # fmt: skip
        for step in _ending_in_map(plan, n):
            before, tool, given = len(bus.items), step["tool"], step["input"]
            kept = tools[tool](bus.items, given)
            bus.items, after = kept or bus.items, len(kept)
            said = self.facts(given) if tool == "look-up" else f"{before} -> {after} candidates"
            bus.log.append(f"{tool} {json.dumps(given)}: {said}{'' if after else ', not done'}")
        return bus

    def facts(self, titles: Sequence[str]) -> str:
        """What the catalogue says of some titles."""
        known = [describe(self.data, item) for item in self._ids(titles)]
        return "; ".join(f"{item.label}: {', '.join(item.genres)}" for item in known)

    def hard_filter(self, items: list[int], values: Sequence[str]) -> list[int]:
        """Items that have all genres and one of the times asked for, and nothing refused."""
        wanted = Requirements(tuple(Requirement(Constraint.parse(value)) for value in values))
        return [item for item in items if not wanted.unmet(self.grounding.catalogue[item])]

    def soft_filter(self, items: list[int], titles: Sequence[str]) -> list[int]:
        """The tenth of the items, twenty at least, whose users are most those of the titles."""
        similar = self._similar(self._ids(titles))
        kept = {*_sorted(items, similar)[: max(N_LISTED, round(SOFT_SHARE * len(items)))]}
        return [item for item in items if item in kept]

    def ranking(
        self, items: list[int], given: Mapping[str, Any], scores: Tensor, history: Sequence[int]
    ) -> list[int]:
        """The hundred best by popularity, similarity (to the history without titles), or scores."""
        unwanted = self.grounding.catalogue.same(self._ids(given["unwanted"]))
        seeds = self._ids(given["prefer"]) or [*history]
        by = {"popularity": self._popular, "preference": scores}.get(given["by"])
        kept = [item for item in items if item not in unwanted]
        return _sorted(kept, self._similar(seeds) if by is None else by)[:N_RANKED]

    def _ids(self, titles: Sequence[str]) -> list[int]:
        return [item for title in titles if (item := self.grounding(title)) is not None]

    def _similar(self, seeds: Sequence[int]) -> Tensor:
        summed = np.asarray(self._similarity[[*seeds]].sum(0)) if seeds else self._popular * 0
        return torch.as_tensor(summed, dtype=torch.float32)


def _sorted(items: Sequence[int], scores: Tensor) -> list[int]:
    """The items by falling scores [V + 1], equal ones in the order in which they are."""
    return sorted(items, key=lambda item: -float(scores[item]))


def _ending_in_map(plan: Sequence[Step], n: int) -> list[Step]:
    return [*(step for step in plan if step["tool"] != "map"), {"tool": "map", "input": n}]


def plan_schema(data: Dataset) -> dict[str, Any]:
    """The JSON schema of a plan: one to three steps, with the catalogue's own values."""
    values = [str(value) for of in vocabulary_for(data).fields.values() for value in of.values()]
    title = {"type": "string", "minLength": 1, "maxLength": _LONGEST_TITLE}
    one, at_most_one = _list(title, 1), _list(title, 1, 0)
    by = {"type": "string", "enum": ["popularity", "similarity", "preference"]}
    ranking = _closed(by=by, prefer=at_most_one, unwanted=at_most_one)
    inputs = {"look-up": one, "soft filter": one, "ranking": ranking, "map": {"type": "integer"}}
    inputs |= {"hard filter": _list({"type": "string", "enum": values}, 2)} if values else {}
    steps = [_closed(tool={"type": "string", "enum": [t]}, input=of) for t, of in inputs.items()]
    return _closed(plan=_list({"anyOf": steps}, 3))


def _list(items: dict[str, Any], most: int, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _closed(**properties: dict[str, Any]) -> dict[str, Any]:
    closed = {"required": [*properties], "additionalProperties": False}
    return {"type": "object", "properties": properties, **closed}


class RulePlanner:
    """Makes a plan without any model: what the lexicon reads, and the titles that are named."""

    def __init__(self, data: Dataset):
        self.data, self._reader = data, FilterPolicy(data)

    def __call__(self, messages: Sequence[str], n: int) -> list[Step]:
        """Hard filter by the requirements, soft filter by titles, ranking by preference, map."""
        wanted, titles = Requirements(), {"prefer": list[str](), "unwanted": list[str]()}
        for message in messages:
            wanted = self._reader.parse(message, wanted).requirements
            for title in vocabulary_for(self.data).titles.find(message):
                refused = negation_in(message).of(title.start, title.end)[0] == "refused"
                if title.items and not title.asked:
                    label = describe(self.data, title.items[0]).label
                    titles["unwanted" if refused else "prefer"].append(label)
        hard, ranking = [*map(str, wanted.constraints)], {"by": "preference", **titles}
        inputs = {"hard filter": hard, "soft filter": titles["prefer"], "ranking": ranking}
        return _ending_in_map([{"tool": t, "input": of} for t, of in inputs.items() if of], n)


class InteRecAgent:
    """The prompt of `make_interecagent`.

    `counts` are of plans: asked for, invalid, "by rule", "without map", and sent back by the
    critic; `last` is the bus of the last turn.
    """

    def __init__(self, tools: Tools, chat_model: ChatModel | None, n_reflections: int = 0):
        self.tools, self.chat_model, self.n_reflections = tools, chat_model, n_reflections
        self.rules, self.counts, self.last = RulePlanner(tools.data), Counter[str](), Bus([])

    def __call__(
        self, scores: Tensor, history: Sequence[int], messages: Sequence[str], n: int
    ) -> Named:
        """Plan, run, and where a critic finds a fault, plan again."""
        data = self.tools.data
        if (model := self.chat_model) is None:
            self.last = self.tools.run(self.rules(messages, n), scores, history, n)
            return Named(tuple(self.last.items))
        before = replace(model.usage)
        context = RerankContext([data.titles[item] for item in history], messages, thing(data.name))
        plan = self._plan(model, context, n, "")
        self.last = self.tools.run(plan, scores, history, n)
        for _ in range(self.n_reflections):
            if not (wrong := self._wrong(model, context)):
                break
            self.counts["sent back"] += 1
            plan = self._plan(model, context, n, _advice(plan, wrong))
            self.last = self.tools.run(plan, scores, history, n)
        fields = ("prompt_tokens", "completion_tokens", "seconds")
        *tokens, seconds = (getattr(model.usage, f) - getattr(before, f) for f in fields)
        return Named(tuple(self.last.items), (tokens[0], tokens[1]), "", seconds)

    def _plan(self, model: ChatModel, context: RerankContext, n: int, advice: str) -> list[Step]:
        """The model's plan; an invalid one is asked for once more, then the rules plan."""
        data, how = self.tools.data, plan_schema(self.tools.data)
        fields = [of for name, of in vocabulary_for(data).fields.items() if name != "not_genres"]
        values = ", ".join(str(value) for of in fields for value in of.values())
        title = describe(data, int(popularity(data).argmax())).label
        for _ in range(2):
            self.counts["plans"] += 1
            system, user = llm_alone.chat("agent", context, advice=advice, n=n, values=values)
            shown = [
                {"role": role, "content": example[part].format(title=title, n=n)}
                for example in llm_alone.prompts()["examples"]
                for role, part in (("user", "context"), ("assistant", "plan"))
            ]
            try:
                asked = [system, *shown, user]
                reply = model.generate(asked, schema=how, max_new_tokens=_PLAN_TOKENS)
                if wrong := complaint(reply.text, how):
                    raise ReplyError(wrong)
                plan = json.loads(reply.text)["plan"]
                self.counts["without map"] += all(step["tool"] != "map" for step in plan)
                return plan
            except (MessageError, ReplyError) as error:  # an endpoint that is down ends the run
                self.counts["invalid"] += 1
                advice = _advice([], str(error))
        self.counts["by rule"] += 1
        return self.rules(context.messages, n)

    def _wrong(self, model: ChatModel, context: RerankContext) -> str:
        """What a critic finds wrong with the last turn; "" for nothing, or if it says nothing."""
        items = "\n".join(describe(self.tools.data, item).label for item in self.last.items)
        asked = llm_alone.chat("critic", context, steps="; ".join(self.last.log), items=items)
        said = llm_alone.answer(model, asked, _CRITIC_TOKENS, "The plan stays")[0].strip()
        return said[2:].strip(" ,.:") if said[:2].lower() == "no" else ""


def _advice(plan: Sequence[Step], wrong: str) -> str:
    words = llm_alone.prompts()["agent"]["advice"]
    return words.format(plan=json.dumps({"plan": [*plan]}), wrong=wrong) + "\n"


def make_interecagent(
    data: Dataset, chat_model: ChatModel | None, first_stage: Scorer, *, n_reflections: int = 0
) -> Rival:
    """InteRecAgent over a first stage, whose order what is not named follows in.

    It is named by the model that plans, or "InteRecAgent, rule planner"; a critic may send a plan
    back `n_reflections` times. `rival.policy.prompt.counts` tell how the plans came.
    """
    prompt = InteRecAgent(Tools(llm_alone.grounding_for(data)), chat_model, n_reflections)
    name, identity = "InteRecAgent, rule planner", "rules"
    if chat_model is not None:
        reflecting = ", reflection" if n_reflections else ""
        name = f"InteRecAgent ({chat_model.name}{reflecting})"
        identity = llm_alone.identity_of_prompts(chat_model, n_reflections=n_reflections)
    return prompted_rival(name, data, prompt, first_stage=first_stage, identity=identity)

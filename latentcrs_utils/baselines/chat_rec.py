"""Chat-Rec (Gao et al. 2023, arXiv 2303.14524): a language model narrows a recommender's list.

Profile, history, query and twenty candidates of the first stage are in one prompt; the model names
the best of them, with a reason each, and is grounded within them. Simplified: the profile is what
the history says, for there are no demographics; every turn recommends. Public code gives no rank
to candidates that are not named, puts similarity of texts in place of the recommender, and misses
titles over the place of their article. Here what is left out follows in the first stage's order,
which is the backbone's, as in the paper. Recall@20 is at most the first stage's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from latentcrs_utils.baselines import llm_alone
from latentcrs_utils.baselines.rival import Named, Rival, prompted_rival
from latentcrs_utils.conversation.in_words import listed, thing
from latentcrs_utils.conversation.policies import best_items
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.conversation.turn import describe
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.evaluation.one_turn import Scorer
from latentcrs_utils.language.chat_model import ChatModel
from latentcrs_utils.ranking import mask_items

N_CANDIDATES, N_NAMED = 20, 5
_N_TOKENS = 48 * N_NAMED


class ChatRec:
    """The prompt of `make_chat_rec`; `counts` sums over all replies so far."""

    def __init__(self, grounding: llm_alone.Grounding, chat_model: ChatModel):
        self.grounding, self.chat_model, self.counts = grounding, chat_model, Counter[str]()

    def profile(self, history: Sequence[int]) -> str:
        """What is most frequent in a history: up to three genres and a decade, "" if nothing is."""
        items = [self.grounding.catalogue[item] for item in history]
        genres = Counter(genre for item in items for genre in sorted(item.genres))
        decades = Counter(f"the {item.decade}s" for item in items if item.decade)
        often = [name for name, _ in genres.most_common(3) + decades.most_common(1)]
        words = llm_alone.prompts()["chat_rec"]["profile"]
        return words.format(values=listed(often)) + "\n" if often else ""

    def __call__(
        self, scores: Tensor, history: Sequence[int], messages: Sequence[str], n: int
    ) -> Named:
        """Ask for the five best of the twenty candidates that the scores put first."""
        data, catalogue = self.grounding.data, self.grounding.catalogue
        others = mask_items(scores, catalogue.same(history))
        best = best_items(others, N_CANDIDATES, catalogue.twins)
        items = [describe(data, item) for item in best]
        lines = [f"- {v.label}{': ' + ', '.join(v.genres) if v.genres else ''}" for v in items]
        context = RerankContext([data.titles[item] for item in history], messages, thing(data.name))
        asked = llm_alone.chat(
            "chat_rec", context, profile=self.profile(history), n=min(n, N_NAMED),
            n_candidates=len(lines), candidates="\n".join(lines),
        )  # fmt: skip
        reply, named = llm_alone.answer(self.chat_model, asked, _N_TOKENS, "The order stays")
        found = self.grounding.all_of(reply, (), self.counts, within=best)
        return replace(named, items=tuple(dict.fromkeys([*found, *best])))


def make_chat_rec(data: Dataset, chat_model: ChatModel, first_stage: Scorer) -> Rival:
    """Chat-Rec with the candidates of a scorer: "Chat-Rec (SmolLM2-135M-Instruct)".

    `rival.policy.prompt.counts` tell of its lines. EndpointError: as of `make_llm_alone`.
    """
    prompt = ChatRec(llm_alone.grounding_for(data), chat_model)
    name, identity = f"Chat-Rec ({chat_model.name})", llm_alone.identity_of_prompts(chat_model)
    return prompted_rival(name, data, prompt, first_stage=first_stage, identity=identity)

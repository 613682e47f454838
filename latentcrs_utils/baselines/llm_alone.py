"""LLM alone: a language model reads the last titles and the words, and writes titles (Table 3).

The paper's rows (Llama 3.1-8B, Gemini 1.5 Pro, GPT-4) come without prompt or code, so this is the
plain reading: the task, the latest titles, what was said, "n titles, one a line", greedy decoding,
the same prompt for every model. Public code takes a title for named that is found loosely in the
reply (fuzzy partial match above 80, which "It" passes), and hides how much is no item. Here a line
is an item or counts as unmatched, and items of the history count, too (He et al., CIKM 2023).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from rapidfuzz import process
from rapidfuzz.distance import OSA
from torch import Tensor

from latentcrs_utils.baselines.popularity import popularity
from latentcrs_utils.baselines.rival import Named, Rival, prompted_rival
from latentcrs_utils.constraints import extraction
from latentcrs_utils.constraints.constraint import matcher_for
from latentcrs_utils.conversation.in_words import thing, words_of
from latentcrs_utils.conversation.reranking import RerankContext
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.data.source import UNKNOWN_TITLE
from latentcrs_utils.errors import MessageError, ReplyError
from latentcrs_utils.language.chat_model import ChatModel, Message
from latentcrs_utils.simulation.titles import Form, spoken_title, ways_to_say, word_runs
from latentcrs_utils.support.artifacts import key

_TOKENS_A_LINE = 24
_LETTERS_A_SLIP = 8  # one typing error in so many letters at most, so none in "Heat"
_ARTICLES = {"the", "a", "an"}
_NUMBERING = re.compile(r"^(?:\s|[-*•–#>]+\s|\(?\d{1,3}[.)]\s)*")
_YEAR = re.compile(r"[(\[]\s*((?:18|19|20)\d\d)\s*[)\]]|,\s*((?:18|19|20)\d\d)\s*$")
_QUOTED = re.compile(r'^(?:\*\*(.+?)\*\*|"(.+?)"|“(.+?)”|«(.+?)»)')
_WORD = re.compile(r"\w")
_Meant = Callable[[Iterable[int]], list[int]]


class Grounding:
    """Finds the item of a catalogue that a line of a reply names, or says that there is none.

    Numbering and quotation marks do not count. A title is named in full, by another name (a.k.a.),
    with or without article, or by its first part if only one item has it; a year must agree within
    one. Typing errors are forgiven: one in eight letters, none in digits or a
    word's first letter. Of several items the most popular is meant.
    """

    def __init__(self, data: Dataset):
        self.data, self._popular = data, popularity(data).tolist()
        self.catalogue = matcher_for(data).catalogue
        self._forms: list[dict[Form, list[int]]] = [defaultdict(list) for _ in range(3)]
        self._spelled: dict[Form, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._joined: dict[str, list[int]] = defaultdict(list)
        for item in (v for v in self.catalogue.items[1:] if v.title != UNKNOWN_TITLE):
            ways = ways_to_say(item.title)
            for known, forms in zip(self._forms, ways, strict=True):
                for form in forms:
                    known[form].append(item.item)
            for place, spelled in {_spelling(form) for form in ways[0] | ways[1]}:
                self._spelled[place][spelled].append(item.item)
                self._joined[spelled].append(item.item)

    def __call__(self, line: str, within: Collection[int] | None = None) -> int | None:
        """The id of the item that a line names, among those `within` (None: all), or None.

        Within candidates, where the choice is small, words may follow the title.
        """
        text = _NUMBERING.sub("", line).strip()
        year, quoted = _YEAR.search(text, 1), _QUOTED.match(text)
        end = year.start() if year else len(text)
        title = quoted[quoted.lastindex or 1] if quoted and quoted.end() <= end else text[:end]
        meant = partial(self._meant, year=year and int(year[1] or year[2]), within=within)
        unsure = year is None and within is None
        said = [form for forms in ways_to_say(title)[:2] for form in forms] if title else []
        found = self._exactly(said, meant, unsure)
        if within is not None and not found:
            begun = (run[2] for run in word_runs(text, 12) if not _WORD.search(text[: run[0]]))
            found = next(filter(None, (self._exactly([form], meant, False) for form in begun)), [])
        return next(iter(found or self._nearly(said, meant)), None)

    def all_of(
        self, reply: str, history: Collection[int], counts: Counter[str],
        within: Collection[int] | None = None, with_seen: bool = False,
    ) -> list[int]:  # fmt: skip
        """The items that a reply names, each once, those of the history only `with_seen`.

        Counted are lines (but headings, which end in a colon), and those unmatched, repeated, seen.
        """
        found, seen = list[int](), self.catalogue.same(history)
        for line in reply.splitlines():
            if not _WORD.search(line) or line.rstrip("* ").endswith(":"):
                continue
            item = self(line, within)
            counts["lines"] += 1
            if item is None:
                counts["unmatched"] += 1
            elif item in self.catalogue.same(found):
                counts["repeated"] += 1
            else:
                counts["seen"] += item in seen
                found += [item] if with_seen or item not in seen else []
        return found

    def _exactly(self, said: Iterable[Form], meant: _Meant, unsure: bool) -> list[int]:
        for rank, known in enumerate(self._forms):
            part = unsure and rank == 2  # one word of a longer title may be another title
            forms = [form for form in said if len(form) > part]
            if found := meant([item for form in forms for item in known.get(form, ())]):
                return found if not part or len(found) == 1 else []
        return []

    def _nearly(self, said: Iterable[Form], meant: _Meant) -> list[int]:
        near = list[tuple[float, list[int]]]()
        for place, spelled in map(_spelling, said):
            n = len(spelled) // _LETTERS_A_SLIP
            known = self._spelled.get(place, {}) if n else {}
            found = process.extract(spelled, [*known], scorer=OSA.distance, score_cutoff=n, limit=5)
            near.append((0, meant(self._joined.get(spelled, []) if n else [])))  # "Good Fellas"
            near += [(s, meant(known[t])) for t, s, _ in found if len(t) >= _LETTERS_A_SLIP * s]
        return min((pair for pair in near if pair[1]), default=(0, []))[1]

    def _meant(
        self, items: Iterable[int], year: int | None, within: Collection[int] | None
    ) -> list[int]:
        """Those of the items that may be meant, the nearest in time and most popular first."""
        off = {item: abs((self.catalogue[item].year or year or 0) - (year or 0)) if year else 0
               for item in items if within is None or item in within}  # fmt: skip
        near = [item for item in off if off[item] < 2]
        return sorted(near, key=lambda item: (off[item], -self._popular[item], item))


def _spelling(form: Form) -> tuple[Form, str]:
    """Where to look for a misspelt title (first letters of the words, digits), and its letters."""
    words = [word for word in form if word not in _ARTICLES] or [*form]
    digits = [letter for word in words for letter in word if letter.isdigit()]
    return ("".join(word[0] for word in words), "".join(digits)), "".join(words)


grounding_for = lru_cache(maxsize=8)(Grounding)
"""The grounding of a data set, one for all systems."""
prompts = partial(words_of, "prompts", "baselines")
"""The prompts of all systems, from `prompts.toml`."""


def chat(name: str, context: RerankContext, **values: Any) -> list[Message]:
    """The prompt of a name, filled."""
    said, values = prompts()[name], {"context": context, "noun": context.noun, **values}
    return [{"role": r, "content": said[r].format(**values)} for r in ("system", "user")]


def answer(
    chat_model: ChatModel, asked: list[Message], n_tokens: int, otherwise: str
) -> tuple[str, Named]:
    """A reply of `n_tokens` at most, and what it cost, as a `Named` without items.

    One that fails is "", with a note of what is done `otherwise`. EndpointError: it ends the run.
    """
    try:
        reply = chat_model.generate(asked, max_new_tokens=n_tokens)
    except (MessageError, ReplyError) as error:
        return "", Named((), note=f"{otherwise}, because {extraction.failure(error)}.")
    tokens = reply.prompt_tokens, reply.completion_tokens
    return reply.text, Named((), tokens, "", reply.seconds)


def identity_of_prompts(chat_model: ChatModel, **setting: Any) -> str:
    """What the answers of a system that prompts depend on: model, prompts and setting."""
    return key(model=chat_model.name, prompts=prompts(), **setting)


class LLMAlone:
    """The prompt of `make_llm_alone`; `counts` sums over all replies so far."""

    def __init__(self, grounding: Grounding, chat_model: ChatModel, with_seen: bool = False):
        self.grounding, self.chat_model, self.with_seen = grounding, chat_model, with_seen
        self.counts = Counter[str]()

    def __call__(
        self, scores: Tensor, history: Sequence[int], messages: Sequence[str], n: int
    ) -> Named:
        """Ask for n titles; what was offered before, which has no finite score, is told, too."""
        data, noun, told = self.grounding.data, thing(self.grounding.data.name), ""
        gone = {int(item) + 1 for item in torch.where(scores[1:].isinf())[0]}.difference(history)
        if 0 < len(gone) <= n * (len(messages) - 1):  # more: a history that nobody may know
            titles = ", ".join(spoken_title(data.titles[item]) for item in sorted(gone))
            told = prompts()["alone"]["refused"].format(noun=noun, titles=titles) + "\n"
        context = RerankContext([data.titles[item] for item in history], messages, noun)
        asked = chat("alone", context, refused=told, n=n)
        reply, named = answer(self.chat_model, asked, _TOKENS_A_LINE * n, "Nothing is named")
        found = self.grounding.all_of(reply, history, self.counts, with_seen=self.with_seen)
        found = [item for item in found if item not in gone]
        return replace(named, items=tuple(found[:n]))


def make_llm_alone(data: Dataset, chat_model: ChatModel, *, with_seen: bool = False) -> Rival:
    """A language model alone, named by the one that writes: "SmolLM2-135M-Instruct alone".

    Items of the history are left out of its lists, or stay `with_seen`, from the same replies.
    `rival.policy.prompt.counts` tell of its lines. EndpointError: an endpoint failed, and the next
    run goes on there.
    """
    name = f"{chat_model.name} alone{', seen items allowed' if with_seen else ''}"
    prompt = LLMAlone(grounding_for(data), chat_model, with_seen)
    identity = identity_of_prompts(chat_model, with_seen=with_seen)
    return prompted_rival(name, data, prompt, identity=identity)

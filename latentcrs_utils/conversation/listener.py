"""What a message says that no policy reads: small talk, other languages, wishes beyond the data."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache

from latentcrs_utils.constraints.lexicon import mentions
from latentcrs_utils.constraints.negation import negation_in
from latentcrs_utils.constraints.vocabulary import vocabulary_for
from latentcrs_utils.conversation.in_words import listed, pattern_of, words_of
from latentcrs_utils.data.sequences import Dataset

_MOST_WORDS = 14  # a longer message is no small talk
_SMALL_TALK = {
    kind: re.compile("|".join(known["phrases"])) for kind, known in words_of("small_talk").items()
}
_LANGUAGES = {
    name: {slot: frozenset(known.get(slot, "").split()) for slot in ("certain", "others", "script")}
    for name, known in words_of("languages").items()
}


@cache
def moods(noun: str) -> dict[str, re.Pattern[str]]:
    """How moods are named; those of films alone have words."""
    known = words_of("replies")["moods"] if noun == "film" else {}
    return {mood: pattern_of(words["patterns"]) for mood, words in known.items()}


@lru_cache(maxsize=8)
def _columns(data: Dataset | None) -> frozenset[str]:
    """The columns of a catalogue that hold something; None has titles, years and genres."""
    if data is None:
        return frozenset(("title", "year", "genres"))
    return frozenset(column.name for column in data.items if any(column.drop_nulls().to_list()))


@lru_cache(maxsize=8)
def beyond(
    noun: str, data: Dataset | None = None, asked: bool = False
) -> dict[str, re.Pattern[str]]:
    """What a catalogue does not tell, and how it is named; if `asked`, how it is asked for."""
    return {
        re.sub(r"\ba (?=[ai])", "an ", known["says"].format(noun=noun)): pattern_of(
            known["asks"] if asked else known["asks"] + known.get("claims", [])
        )
        for known in words_of("not_held").values()
        if noun in known.get("only", [noun])
        and _columns(data).isdisjoint(known.get("columns", ()))
        and (asked or known.get("claims", True))
    }


class Listener:
    """Hears in the messages about a catalogue what is no requirement; `noun` names its items."""

    def __init__(self, data: Dataset, noun: str):
        self.data, self.noun = data, noun
        self._vocabulary, self._beyond = vocabulary_for(data), beyond(noun, data, asked=True)
        held, columns = words_of("replies")["held"], _columns(data)
        self.held = listed([words for column, words in held.items() if column in columns])

    def answer(self, message: str, turn: int, english_only: bool = True) -> str | None:
        """The answer, of several by `turn`, to what is no wish or not English; None: a wish."""
        titles = self._vocabulary.titles.find(message)
        if any(title.items and title.asked for title in titles):
            return None
        if kind := _small_talk(message):
            known = words_of("small_talk")[kind]
            facts = {"noun": self.noun, "data": self.data.name, "n": f"{self.data.n_items:,}"}
            facts["example"] = known.get("example", {}).get(self.noun, "")
            return known["answers"][turn % len(known["answers"])].format(**facts)
        plain = self._vocabulary.plain_words(message)
        if english_only and (name := _other_language(plain)):
            answer = words_of("languages").get(name, {}).get("answer", "")
            return f"I read only English: please write your wish in English. {answer}".strip()
        return None

    def untold(self, message: str) -> dict[str, list[str]]:
        """What a wish asks for that the data does not tell, and the words, quoted, that do."""
        plain = self._vocabulary.plain_words(message)
        read = {n for m in mentions(plain, self._vocabulary.lexicon) for n in range(m.start, m.end)}
        found: dict[str, list[str]] = {}
        for says, pattern in self._beyond.items():
            for match in pattern.finditer(plain):
                if read.isdisjoint(range(*match.span())):
                    found.setdefault(says, []).append(f"“{match[0].strip()}”")
        return found

    def by_title(self, messages: Sequence[str]) -> dict[int, int]:
        """Items whose titles say what the data does not: id -> 1 if asked for, -1 if refused."""
        found: dict[int, int] = {}
        for plain in map(self._vocabulary.plain_words, messages):
            for wish, titles in words_of("not_held")["holidays"]["titles"].items():
                if match := pattern_of([wish]).search(plain):
                    sign = 1 if negation_in(plain).of(*match.span())[0] == "asked" else -1
                    such = map(pattern_of([titles]).search, self.data.titles)
                    found |= {item: sign for item, title in enumerate(such) if title}
        return found


listener_for = lru_cache(maxsize=4)(Listener)  # of a data set, one for all conversations


def _small_talk(message: str) -> str | None:
    """The kind of small talk that a message consists of, None if there is more to it."""
    said = re.findall(r"\w+", re.sub("['’]", "", message.casefold()))
    # the first of the kinds that so many words are made of
    kinds, best = [*_SMALL_TALK], {0: len(_SMALL_TALK)}
    for end in range(1, len(said) + 1 if len(said) <= _MOST_WORDS else 1):
        for start in sorted(best):
            phrase = " ".join(said[start:end])
            fits = (n for n, kind in enumerate(kinds) if _SMALL_TALK[kind].fullmatch(phrase))
            if (number := next(fits, None)) is not None:
                best[end] = min(best[start], number, best.get(end, number))
    return (kinds[best[len(said)]] if said else "unclear") if len(said) in best else None


def _other_language(text: str) -> str | None:
    """The language of a text that is not English; None if it is, or may be."""
    scripts = Counter(unicodedata.name(c, "?").split()[0] for c in text if c.isalpha())
    if scripts and 2 * scripts["LATIN"] < scripts.total():
        return next((n for n, w in _LANGUAGES.items() if w["script"] & scripts.keys()), "another")
    shared, found = _LANGUAGES["shared"]["others"], {}
    said = [word for word in re.findall(r"\b[^\W\d_]+\b", text.casefold()) if word not in shared]
    for name, words in _LANGUAGES.items():
        n_certain = sum(word in words["certain"] for word in said)
        n_hits = n_certain + sum(word in words["others"] for word in said)
        in_full = n_hits == len(said) > 1 and not text.istitle()
        if (n_certain and 2 * n_hits >= len(said)) or in_full:
            found[name] = n_hits + n_certain
    return max(found, key=lambda name: found[name], default=None)

"""Checks the user's message, and the reply before it is shown.

A small language model at times names films that were not chosen, repeats itself or its prompt.
"""

import re
import unicodedata
from collections import ChainMap, Counter
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from rapidfuzz import fuzz

from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import MessageError
from latentcrs_utils.language.chat_model import sentences
from latentcrs_utils.simulation.titles import SPOKEN_WORD, Form, spoken_words, titles_in

MESSAGE_LIMIT = 2_000
REPLY_LIMIT = 400
_LEAK_WORDS = 6
_CUT = "\0"  # where an offered title was cut out; no message or reply holds it

_YEAR = re.compile(r"\b((?:18|19|20)\d\d)(s?)\b")
_MARKERS = re.compile(
    r"<\||\|>|https?://|www\.|\b(?:system|user|assistant)\s*:|\bsystem prompt\b|\bas an ai\b"
    r"|\blanguage model\b|\bmy instructions\b",
    re.IGNORECASE,
)
# Capitals that name nothing: the pronoun, and words that English always writes so.
_CAPITAL = re.compile(r"i(?:'.+)?|ok|tv|dvd|vhs|sci|fi|english|american|french|british|hollywood")
_SMALL = re.compile(r"&|a|an|and|at|by|for|from|in|is|it|of|on|or|the|to|with", re.IGNORECASE)


def clean_message(text: str) -> str:
    """Check a message of the user and make it safe to store, to embed and to print.

    Any writing system, emoji and markup pass unchanged; only characters that no text holds (control
    characters, halves of surrogate pairs) are dropped or replaced. What is no text, shows nothing
    or has more than `MESSAGE_LIMIT` characters is a `MessageError`.
    """
    if not isinstance(text, str):
        raise MessageError(f"A message is a text, not a value of type {type(text).__name__}.")
    text = "".join(filter(may_be_text, text.encode("utf-8", "replace").decode("utf-8"))).strip()
    if not any(unicodedata.category(c)[0] not in "ZC" for c in text):
        raise MessageError('The message is empty: write a few words, such as "a quiet drama".')
    if len(text) > MESSAGE_LIMIT:
        raise MessageError(
            f"The message has {len(text):,} characters and the limit is {MESSAGE_LIMIT:,}: "
            "shorten it and send it again."
        )
    return text


def may_be_text(character: str) -> bool:
    """Whether a text may hold a character: no control, and no half of a surrogate pair."""
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")


class ReplyGuard:
    """Decides whether a reply may be shown, given all titles of the catalogue (not empty ones)."""

    def __init__(self, titles: Iterable[str]):
        self._catalogue: dict[Form, str] = {}
        for title in titles:
            for form in _catalogue_forms(title):
                self._catalogue.setdefault(form, title)

    def objection(
        self,
        reply: str,
        items: Collection[Recommendation],
        *,
        message: str = "",
        instructions: str = "",
        previous: Collection[str] = (),
    ) -> str | None:
        """Why a tidied reply may not be shown, to follow "because"; None when all is well.

        Args:
            items: what the recommender chose for this turn; the reply may speak of nothing else.
            message: of the user; its names may be taken up, but not as films.
            instructions: the fixed words of the prompt, which the reply must not recite.
            previous: replies already given.
        """
        if not spoken_words(reply):
            return "it was empty"
        if len(reply) > REPLY_LIMIT:
            return f"it was longer than {REPLY_LIMIT} characters"
        if _MARKERS.search(reply):
            return "it showed part of the prompt or a link"
        foreign, titles, rest = self._read_titles(reply, [item.title for item in items])
        if foreign:
            return f"it named a film that was not chosen ({foreign})"
        words, told = spoken_words(rest), spoken_words(instructions)
        if _runs(words, _LEAK_WORDS).keys() & _runs(told, _LEAK_WORDS).keys():
            return "it recited its instructions"
        twice = len(set(titles)) < len(titles) and len(sentences(reply)) < 2
        if twice or _repeats(reply, words, [message, *previous]):
            return "it repeated itself or the question"
        if name := _unknown_name(rest, items, message):
            return f"it named something that is not in the list ({name})"
        if year := _unknown_year(rest, items, message):
            return f"it gave a year that is not in the list ({year})"
        if not titles:
            return "it named none of the chosen films"
        genres_of = {item.title: set(item.genres) for item in items}
        if genre := _wrong_genre(rest, [genres_of[title] for title in titles], message):
            return f"it gave a film a genre that it does not have ({genre})"
        return None

    def foreign_title(self, text: str, titles: Iterable[str]) -> str | None:
        """The first title of the catalogue in a text that is none of `titles`, or None."""
        return self._read_titles(text, titles)[0]

    def _read_titles(self, text: str, own: Iterable[str]) -> tuple[str | None, list[str], str]:
        """The first title that is not in `own`, those of `own`, and the text without these."""
        chosen = {form: title for title in own for form in _spoken_forms(title)}
        forms = ChainMap(chosen, self._catalogue)

        def is_title(before: str, words: list[str]) -> bool:
            return spoken_words(" ".join(words)) in chosen or _written_as_title(words)

        named, rest, last = list[str](), "", 0
        for begin, end, title in titles_in(text, forms, is_title):
            if title not in chosen.values():
                return title, named, text
            named.append(title)
            rest, last = f"{rest}{text[last:begin]}{_CUT}", end
        return None, named, rest + text[last:]


@lru_cache(maxsize=4)
def guard_for(data: Dataset) -> ReplyGuard:
    """The guard of a data set, one for all conversations about it."""
    return ReplyGuard(data.titles)


def _catalogue_forms(title: str) -> set[Form]:
    """Ways to write a title that must be recognised: in full, and without its brackets."""
    return {spoken_words(title), spoken_words(re.sub(r"\([^)]*\)", " ", title))} - {()}


def _spoken_forms(title: str) -> set[Form]:
    """Ways in which a reply may write a chosen title: also without article or subtitle."""
    forms = _catalogue_forms(title) | _catalogue_forms(title.split(":")[0])
    forms |= {form for form in _catalogue_forms(title.split(",")[0]) if len(form) >= 3}
    return forms | {form[1:] for form in forms if form[0] in {"the", "a", "an"} and form[1:]}


def _written_as_title(words: list[str]) -> bool:
    """Three words in a row are a title in any case; "The Game" and "Heat" need their capitals."""
    content = [word for word in words if not _SMALL.fullmatch(word)]
    capitals = all(word[0].isupper() or word[0].isdigit() for word in content)
    return bool(content) and (len(words) >= 3 or capitals)


def _runs(words: Sequence[str], length: int) -> Counter[Form]:
    """How often so many words in a row occur, for all of them."""
    return Counter(zip(*(words[start:] for start in range(length)), strict=False))


def _repeats(reply: str, words: Form, said: Iterable[str]) -> bool:
    """Whether a reply says a thing twice, or is what the user or an earlier reply said."""
    parts = [spoken_words(part) for part in sentences(reply)]
    if len(set(parts)) < len(parts) or max(_runs(words, 4).values(), default=0) > 2:
        return True
    return any(fuzz.ratio(reply.casefold(), text.casefold()) > 90 for text in said if text)


def _unknown_name(rest: str, items: Collection[Recommendation], message: str) -> str | None:
    """The first capitalised word inside a sentence that nobody told the model."""
    told = [message, *(genre for item in items for genre in item.genres)]
    known = {word for text in told for word in spoken_words(text)}
    for token in SPOKEN_WORD.finditer(rest):
        word, before = token.group(), rest[: token.start()].rstrip(" \"'“”‘’(-–—")
        if not word[0].isupper() or not before or before[-1] in ".!?…:\n":
            continue
        if not any(part in known or _CAPITAL.fullmatch(part) for part in spoken_words(word)):
            return word
    return None


def _unknown_year(rest: str, items: Collection[Recommendation], message: str) -> str | None:
    """The first year or decade that neither the items nor the user speak of."""
    years = {match[1] for match in _YEAR.finditer(message)} | {str(item.year) for item in items}
    for match in _YEAR.finditer(rest):
        decade = match[2] and any(year.startswith(match[1][:3]) for year in years)
        if match[1] not in years and not decade:
            return match[0]
    return None


def _wrong_genre(rest: str, genres: Sequence[set[str]], message: str) -> str | None:
    """The first genre that the reply gives to an item without it, unless the user spoke of it.

    Words belong to the title before them; those before the first title to any that follows.
    """
    asked = extract(message)
    fine = asked.genres | asked.not_genres
    for words_after, own in zip(rest.split(_CUT), [set().union(*genres), *genres], strict=True):
        claimed = extract(words_after)
        if wrong := (claimed.genres | claimed.not_genres) - fine - own:
            return min(wrong)
    return None

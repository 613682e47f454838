"""Checks the user's message, and the reply before it is shown.

The recommender alone chooses items. A language model only words the reply, and a small one words it
badly at times: it names films that were not chosen, repeats itself or recites its instructions.
`ReplyGuard` finds that; the session then shows a plain template instead.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from rapidfuzz import fuzz

from latentcrs_utils.constraints.lexicon import extract
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.errors import MessageError
from latentcrs_utils.language.chat_model import sentences

MESSAGE_LIMIT = 2_000
REPLY_LIMIT = 400
_LEAK_WORDS = 6
_T = TypeVar("_T")
# Stands where an offered title was cut out; no message or reply holds it.
_CUT = "\0"

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_YEAR = re.compile(r"\b((?:18|19|20)\d\d)(s?)\b")
_MARKERS = re.compile(
    r"<\||\|>|https?://|www\.|\b(?:system|user|assistant)\s*:|\bsystem prompt\b|\bas an ai\b"
    r"|\blanguage model\b|\bmy instructions\b",
    re.IGNORECASE,
)
# Capitals that name nothing: the pronoun, and words that English always writes so.
_CAPITAL = re.compile(r"i(?:'.+)?|ok|tv|dvd|vhs|sci|fi|english|american|french|british|hollywood")
_SMALL = re.compile(r"a|an|and|at|by|for|from|in|is|it|of|on|or|the|to|with", re.IGNORECASE)


def clean_message(text: str) -> str:
    """Check a message of the user and make it safe to store, to embed and to print.

    Any writing system, emoji and markup pass unchanged; only characters that no text holds (control
    characters, halves of surrogate pairs) are dropped or replaced.

    Args:
        text: what the user typed.

    Returns:
        The message without surrounding white space.

    Raises:
        MessageError: not a text, nothing visible in it, or more than `MESSAGE_LIMIT` characters.
    """
    if not isinstance(text, str):
        raise MessageError(f"A message is a text, not a value of type {type(text).__name__}.")
    text = text.encode("utf-8", "replace").decode("utf-8")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
    text = "".join(kept).strip()
    if not any(unicodedata.category(c)[0] not in "ZC" for c in text):
        raise MessageError('The message is empty: write a few words, such as "a quiet drama".')
    if len(text) > MESSAGE_LIMIT:
        raise MessageError(
            f"The message has {len(text):,} characters and the limit is {MESSAGE_LIMIT:,}: "
            "shorten it and send it again."
        )
    return text


def words(text: str) -> list[str]:
    """Lower-case words without accents and possessives, to compare titles however typed."""
    plain = unicodedata.normalize("NFKD", text.replace("&", " and "))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("’", "'")
    return [word.casefold().removesuffix("'s") for word in _WORD.findall(plain)]


class ReplyGuard:
    """Decides whether a reply may be shown, given the titles of the catalogue.

    Args:
        titles: every title of the catalogue (empty strings are skipped).
    """

    def __init__(self, titles: Iterable[str]):
        self._catalogue: dict[tuple[str, ...], str] = {}
        for title in titles:
            for form in _catalogue_forms(title):
                self._catalogue.setdefault(form, title)
        self._longest = max(map(len, self._catalogue), default=0)

    def objection(
        self,
        reply: str,
        items: Collection[Recommendation],
        *,
        message: str = "",
        instructions: str = "",
        previous: Collection[str] = (),
    ) -> str | None:
        """Why a reply may not be shown.

        Args:
            reply: the tidied reply.
            items: what the recommender chose for this turn; it may speak of nothing else.
            message: the user's message; its names may be taken up, but not as films.
            instructions: the fixed words of the prompt, which the reply must not recite.
            previous: replies already given.

        Returns:
            None when all is well, else the reason, to follow "because".
        """
        if not words(reply):
            return "it was empty"
        if len(reply) > REPLY_LIMIT:
            return f"it was longer than {REPLY_LIMIT} characters"
        if _MARKERS.search(reply):
            return "it showed part of the prompt or a link"
        chosen = {form: item for item in items for form in _spoken_forms(item.title)}
        foreign, named, rest = self._take_titles(reply, chosen)
        if foreign:
            return f"it named a film that was not chosen ({foreign})"
        if _shares_run(words(rest), words(instructions), _LEAK_WORDS):
            return "it recited its instructions"
        once = len({item.item for item in named}) == len(named) or len(sentences(reply)) > 1
        if not once or _repeats(reply, words(rest), message, previous):
            return "it repeated itself or the question"
        if name := _unknown_name(rest, items, message):
            return f"it named something that is not in the list ({name})"
        if year := _unknown_year(rest, items, message):
            return f"it gave a year that is not in the list ({year})"
        if not named:
            return "it named none of the chosen films"
        if genre := _wrong_genre(rest, named, message):
            return f"it gave a film a genre that it does not have ({genre})"
        return None

    def foreign_title(self, text: str, titles: Iterable[str]) -> str | None:
        """The first title of the catalogue in a text that is none of `titles`, or None."""
        own = {form: title for title in titles for form in _spoken_forms(title)}
        return self._take_titles(text, own)[0]

    def _take_titles(
        self, reply: str, own: Mapping[tuple[str, ...], _T]
    ) -> tuple[str | None, list[_T], str]:
        """The first title not in `own`, the items of `own` named, the reply without their titles.

        Args:
            reply: what is read.
            own: how a title that is fine may be written, as words -> its item.
        """
        reply = reply.replace("&", " and ")
        longest = max(self._longest, *map(len, own), 0)
        tokens = list(_WORD.finditer(reply))
        keys = [" ".join(words(token.group(0))) for token in tokens]
        named, rest, end, start = [], [], 0, 0
        while start < len(tokens):
            step = 1
            for stop in range(min(len(tokens), start + longest), start, -1):
                form = tuple(keys[start:stop])
                if form in own:
                    named.append(own[form])
                    rest += [reply[end : tokens[start].start()], _CUT]
                    end, step = tokens[stop - 1].end(), stop - start
                    break
                if form in self._catalogue and _written_as_title(tokens[start:stop]):
                    return self._catalogue[form], named, reply
            start += step
        return None, named, "".join([*rest, reply[end:]])


def _catalogue_forms(title: str) -> set[tuple[str, ...]]:
    """Ways to write a title that must be recognised: in full, and without its brackets."""
    forms = {tuple(words(title)), tuple(words(re.sub(r"\([^)]*\)", " ", title)))}
    return forms - {()}


def _spoken_forms(title: str) -> set[tuple[str, ...]]:
    """Ways in which a reply may write a chosen title: also without article or subtitle."""
    forms = _catalogue_forms(title) | _catalogue_forms(title.split(":")[0])
    forms |= {form for form in _catalogue_forms(title.split(",")[0]) if len(form) >= 3}
    return forms | {form[1:] for form in forms if form[0] in {"the", "a", "an"} and form[1:]}


def _written_as_title(tokens: list[re.Match[str]]) -> bool:
    """Three words in a row are a title in any case; "The Game" and "Heat" need their capitals."""
    content = [t.group(0) for t in tokens if not _SMALL.fullmatch(t.group(0))]
    return bool(content) and (
        len(tokens) >= 3 or all(word[0].isupper() or word[0].isdigit() for word in content)
    )


def _shares_run(one: list[str], other: list[str], length: int) -> bool:
    """Whether two texts have `length` words in a row in common."""
    runs = {tuple(other[i : i + length]) for i in range(len(other) - length + 1)}
    return any(tuple(one[i : i + length]) in runs for i in range(len(one) - length + 1))


def _repeats(reply: str, rest: list[str], message: str, previous: Collection[str]) -> bool:
    """Whether a reply says a thing twice, or is what the user or an earlier reply said."""
    parts = [" ".join(words(part)) for part in sentences(reply)]
    if len(set(parts)) < len(parts):
        return True
    runs = Counter(zip(rest, rest[1:], rest[2:], rest[3:], strict=False))
    if runs and max(runs.values()) > 2:
        return True
    said = [message, *previous]
    return any(fuzz.ratio(reply.casefold(), text.casefold()) > 90 for text in said if text)


def _unknown_name(rest: str, items: Collection[Recommendation], message: str) -> str | None:
    """The first capitalised word inside a sentence that nobody told the model."""
    known = {*words(message), *(word for item in items for word in words(" ".join(item.genres)))}
    for token in _WORD.finditer(rest):
        word = token.group(0)
        before = rest[: token.start()].rstrip(" \"'“”‘’(-–—")
        if not word[0].isupper() or not before or before[-1] in ".!?…:\n":
            continue
        if not any(part in known or _CAPITAL.fullmatch(part) for part in words(word)):
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


def _wrong_genre(rest: str, named: Sequence[Recommendation], message: str) -> str | None:
    """The first genre that the reply gives to an item without it, unless the user spoke of it.

    Words belong to the title before them; those before the first title to any that follows.
    """
    asked = extract(message)
    fine = {*asked.genres, *asked.not_genres}
    owners = [{genre for item in named for genre in item.genres}, *(set(i.genres) for i in named)]
    for words_after, genres in zip(rest.split(_CUT), owners, strict=True):
        claimed = extract(words_after)
        wrong = {*claimed.genres, *claimed.not_genres} - fine - genres
        if wrong:
            return min(wrong)
    return None

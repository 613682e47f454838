"""Checks the user's message, and the reply before it is shown.

A small language model at times names films that were not chosen, repeats itself or its prompt.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import chain

from rapidfuzz import fuzz

from latentcrs_utils.constraints.constraint import Constraint, matcher_for
from latentcrs_utils.constraints.lexicon import extract, lexicon_for, mentions
from latentcrs_utils.constraints.negation import negation_in
from latentcrs_utils.conversation.in_words import with_article, words_of
from latentcrs_utils.conversation.listener import beyond, moods
from latentcrs_utils.conversation.turn import Recommendation
from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import MessageError
from latentcrs_utils.language.chat_model import sentences
from latentcrs_utils.simulation.items import Item
from latentcrs_utils.simulation.titles import (
    SPOKEN_WORD,
    Form,
    apart,
    spoken_words,
    ways_to_say,
    word_runs,
)

MESSAGE_LIMIT = 2_000
REPLY_LIMIT = 400
_LEAK_WORDS = 6
_CUT = "\0"  # where an offered title was cut out; no message or reply holds it

_P = {name: re.compile(pattern, re.I) for name, pattern in words_of("guard").items()}


def clean_message(text: str) -> str:
    """Check a message of the user and make it safe to store, to embed and to print.

    Only what `may_be_text` refuses is dropped. MessageError: no text, empty, or too long.
    """
    if not isinstance(text, str):
        raise MessageError(f"A message is a text, not a value of type {type(text).__name__}.")
    text = "".join(filter(may_be_text, text.encode("utf-8", "replace").decode("utf-8"))).strip()
    if not any(unicodedata.category(c)[0] not in "ZC" for c in text):
        raise MessageError('The message is empty: write a few words, such as "a quiet drama".')
    if len(text) > MESSAGE_LIMIT:
        told = f"The message has {len(text):,} characters and the limit is {MESSAGE_LIMIT:,}"
        raise MessageError(f"{told}: shorten it and send it again.")
    return text


def may_be_text(character: str) -> bool:
    """Whether a text may hold a character: no control, and no half of a surrogate pair."""
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")


class ReplyGuard:
    """Decides whether a reply may be shown, given all titles of the catalogue (not empty ones).

    What it says of an item is checked against that item alone. `noun` is what an item is called;
    the `data`, where given, has the words and facts of a catalogue that is not of films.
    """

    def __init__(self, titles: Iterable[str], noun: str = "film", data: Dataset | None = None):
        self.noun, self._beyond = noun, beyond(noun, data)
        self.lexicon = lexicon_for(data) if data else None
        self.items = dict(enumerate(matcher_for(data).catalogue.items)) if data else {}
        self._forms = {form: title for title in titles for form in ways_to_say(title)[0]}

    def objection(
        self, reply: str, items: Collection[Recommendation], *,
        message: str = "", instructions: str = "", previous: Collection[str] = (),
    ) -> str | None:  # fmt: skip
        """Why a tidied reply may not be shown, to follow "because"; None when all is well.

        It may speak of nothing but the `items` of this turn; words of the user's `message` are no
        title and make nothing true, and `instructions` of the prompt must not be recited.
        """
        a_thing = with_article(self.noun)
        if not spoken_words(reply):
            return "it was empty"
        if len(reply) > REPLY_LIMIT:
            return f"it was longer than {REPLY_LIMIT} characters"
        if _P["markers"].search(reply):
            return "it showed part of the prompt or a link"
        foreign, titles, rest = self._read_titles(reply, [item.title for item in items])
        if foreign:
            return f"it named {a_thing} that was not chosen ({foreign})"
        words, told = spoken_words(rest), spoken_words(instructions)
        if SequenceMatcher(None, words, told, False).find_longest_match().size >= _LEAK_WORDS:
            return "it recited its instructions"
        twice = len(set(titles)) < len(titles) and len(sentences(reply)) < 2
        if twice or _repeats(reply, words, [message, *previous]):
            return "it repeated itself or the question"
        if _takes_wish_for_title(rest, message):
            return f"it took the wish for the title of {a_thing}"
        if name := _unknown_name(rest, (genre for item in items for genre in item.genres)):
            return f"it named something that is not in the list ({name})"
        if not titles:
            return f"it named none of the chosen {self.noun}s"
        for says, pattern in self._beyond.items():
            if found := pattern.search(rest):
                return f"it said “{found[0]}”, but the data does not tell {says}"
        known = self.items or {
            i.item: Item(i.item, i.title, i.year, frozenset(i.genres)) for i in items
        }
        of_title = {item.title: known[item.item] for item in items}
        refused = extract(message, self.lexicon).not_genres
        for said, spoken_of in _parts(rest, [of_title[title] for title in titles]):
            for claim in self._claims(said) if spoken_of else ():
                untold = claim.slot == "genre" and claim.negated and claim.value not in refused
                if untold or not all(claim.satisfies(item) for item in spoken_of):
                    what = claim.value if claim.slot == "mood" else claim.label
                    return f"it said of {a_thing} what is not true of it ({what})"
        return None

    def _claims(self, words: str) -> Iterator[Constraint]:
        """Yield what words say of an item, as far as the data can tell."""
        named = mentions(words, self.lexicon)
        yield from (mention.constraint for mention in named)
        for match in _P["year"].finditer(words):
            if not any(m.start <= match.start() < m.end for m in named):
                yield Constraint("era", f"{match[0]}-{match[0]}")
        for mood, pattern in moods(self.noun).items():
            for match in pattern.finditer(words):
                yield Constraint("mood", mood, negation_in(words).of(*match.span())[0] != "asked")

    def foreign_title(self, text: str, titles: Iterable[str]) -> str | None:
        """The first title of the catalogue in a text that is none of `titles`, or None."""
        return self._read_titles(text, titles)[0]

    def _read_titles(self, text: str, own: Iterable[str]) -> tuple[str | None, list[str], str]:
        """The first title that is not in `own`, those of `own`, and the text without these."""
        chosen = {form: title for title in own for form in chain(*ways_to_say(title))}
        forms, found = {**self._forms, **chosen}, list[tuple[int, int, str]]()
        for begin, end, form in word_runs(text, max(map(len, forms), default=0)):
            if form in chosen or (form in forms and _written_as_title(text[begin:end])):
                found.append((begin, end, forms[form]))
        named, rest, last = list[str](), "", 0
        for begin, end, title in apart(found):
            if title not in chosen.values():
                return title, named, text
            named.append(title)
            rest, last = f"{rest}{text[last:begin]}{_CUT}", end
        return None, named, rest + text[last:]


@lru_cache(maxsize=4)
def guard_for(data: Dataset, noun: str) -> ReplyGuard:
    """The guard of a data set, one for all conversations about it."""
    return ReplyGuard(data.titles, noun, data)


def _written_as_title(said: str) -> bool:
    """Three words in a row are a title in any case; "The Game" and "Heat" need their capitals."""
    words = SPOKEN_WORD.findall(said)
    content = [word for word in words if not _P["small"].fullmatch(word)]
    capitals = all(word[0].isupper() or word[0].isdigit() for word in content)
    return bool(content) and (len(words) >= 3 or capitals)


def _repeats(reply: str, words: Form, said: Iterable[str]) -> bool:
    """Whether a reply says a thing twice, or is what the user or an earlier reply said."""
    parts = [spoken_words(part) for part in sentences(reply)]
    fours = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    if len(set(parts)) < len(parts) or max(fours.values(), default=0) > 2:
        return True
    return any(fuzz.ratio(reply.casefold(), text.casefold()) > 90 for text in said if text)


def _unknown_name(rest: str, genres: Iterable[str]) -> str | None:
    known = {word for genre in genres for word in spoken_words(genre)}
    for token in SPOKEN_WORD.finditer(rest):
        word, before = token.group(), rest[: token.start()].rstrip(" \"'“‘(-–—")
        inside = word[0].isupper() and before and before[-1] not in ".!?…:\n"
        if inside and not any(
            part in known or _P["capital"].fullmatch(part) for part in spoken_words(word)
        ):
            return word
    return None


def _takes_wish_for_title(rest: str, message: str) -> bool:
    """Whether a reply speaks of the wish as of an item: "Surprise me is a great choice"."""
    wish = f" {' '.join(spoken_words(message))} "
    for match in _P["as_title"].finditer(rest):
        said = spoken_words(match[match.lastgroup or 0])
        shortest = 2 if match["object"] else max(len(said), 1)
        if any(f" {' '.join(said[:n])} " in wish for n in range(shortest, len(said) + 1)):
            return True
    return False


def _parts(rest: str, items: Sequence[Item]) -> Iterator[tuple[str, Sequence[Item]]]:
    """Yield parts between cut-out titles with the items that each speaks of: before it, or next."""
    for own in _P["own"].finditer(rest):
        place = rest[: own.start()].count(_CUT)
        yield own[1], items[place : place + 1]
    # joined titles become one
    before, *pairs = re.split(f"({_CUT}+)", _P["joint"].sub(_CUT, _P["own"].sub(_CUT, rest)))
    yield before, items[: len(pairs[0])] if pairs else ()
    start = 0
    for titles, words, later in zip(pairs[::2], pairs[1::2], [*pairs[2::2], ""], strict=True):
        end = start + len(titles)
        following = items[end : end + len(later)]
        *_, cut = [None, *(match.start() for match in _P["clause"].finditer(words))]
        every = _P["all"].search(words)
        yield words[: cut if following else None], items[0 if every else start : end]
        yield words[cut or 0 :], following
        start = end

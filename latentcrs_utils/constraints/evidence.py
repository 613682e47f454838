"""Whether the user's words support a value that a language model gives.

Two questions: does the quotation stand in the message, and is it known to mean the value? What is
known are the lexicon's words and the *training* pool of the phrase book, never the phrasings that
the tests use.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from rapidfuzz import fuzz
from rapidfuzz.distance import DamerauLevenshtein

from latentcrs_utils.constraints.constraint import Requirement
from latentcrs_utils.constraints.lexicon import Mention, denial, mentions
from latentcrs_utils.constraints.vocabulary import Vocabulary
from latentcrs_utils.simulation.items import SPOKEN_WORD, distinctive_words, tokens
from latentcrs_utils.simulation.phrasings import all_pools

_SLIP = 85.0  # likeness (0 to 100) of a quotation with slips to what it quotes
_SHORTEST = 3  # letters of a quotation, and of a word that tells a value
_MISSPELT = (5, 6)  # a word of so many letters may have one wrong, if the right one has so many
# file of the phrase book -> kind of the conditions that its entries are about
_KINDS = {
    "genres": "genre", "plain": "genre", "platforms": "platform", "platform_names": "platform",
    "creators": "creator", "prices": "price",
}  # fmt: skip
_IDLE_WORDS = """
above against among around before begun behind below drop each early eight end enough every
everybody far few fifty five forty four fourth full give gone high hundred instead involved itself
kind know live lot loud middle number odd ole over piece real seem since slow start still take
tell ten thin thirty thousand three through twelve until ups used way whose wait waiting yet
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_SLOT = re.compile(r"\{\w+\}")


class Evidence:
    """Checks quotations against one catalogue's vocabulary.

    Args:
        vocabulary: of the catalogue.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self._telling = _telling_words(vocabulary)

    def support(
        self, message: str, words: str, condition: str, *, known: bool = True
    ) -> Requirement | None:
        """Return the requirement that the quoted words support, None if they support none.

        Asked for or refused is what the words say: a genre that the model lists as wished for and
        that stands behind "no" is refused. Of times and prices the words' own reading counts, if
        there is one ("1994", not "1990s"). The title of an item supports nothing.

        Args:
            message: what the user said.
            words: what the model quotes of it.
            condition: what the model says it means.
            known: the words must be known to mean the value, and a refusal needs a word of refusal;
                without, it is enough that they stand in the message.
        """
        place = locate(message, words)
        plain = self.vocabulary.plain_words(message)
        if place is None or not _speaks(plain[slice(*place)]):
            return None
        wanted = condition.removeprefix("not ")
        found = self._named(plain, place, wanted) or self._told(plain, place, wanted)
        if found is None and not known:
            found = _whole(plain, place, wanted)
            if condition != wanted:
                found = replace(found, refused=True)
        if found is None or (condition != wanted and not found.refused):
            return None
        if found.refused and not wanted.startswith("genre="):
            return None
        said = f"not {found.condition}" if found.refused else found.condition
        return Requirement(said, message[found.opening : found.end].strip(), "model")

    def _named(self, plain: str, place: tuple[int, int], wanted: str) -> Mention | None:
        """The last name in the quotation, by the lexicon, of what is wanted."""
        found = [
            mention
            for mention in mentions(plain, self.vocabulary.lexicon)
            if mention.start < place[1] and mention.end > place[0] and _same(mention, wanted)
        ]
        return found[-1] if found else None

    def _told(self, plain: str, place: tuple[int, int], wanted: str) -> Mention | None:
        """The quotation as a mention, if a word in it tells the value, or it holds its name."""
        telling = self._telling.get(wanted, frozenset())
        for match in SPOKEN_WORD.finditer(plain, *place):
            if any(_is_one_of(word, telling) for word in distinctive_words(match.group())):
                return _whole(plain, place, wanted, match.start())
        name = tokens(wanted.partition("=")[2])
        return _whole(plain, place, wanted) if _holds(tokens(plain[slice(*place)]), name) else None


def _whole(plain: str, place: tuple[int, int], wanted: str, telling: int | None = None) -> Mention:
    """A whole quotation as a mention, refused or not at the word that tells the value."""
    opening = denial(plain, place[0] if telling is None else telling)
    start = place[0] if opening is None else min(place[0], opening)
    return Mention(wanted, opening is not None, *place, start)


def _speaks(text: str) -> bool:
    """Say whether a text has enough letters to mean anything; blanked titles have none."""
    return sum(c.isalnum() for c in text) >= _SHORTEST


def locate(message: str, words: str) -> tuple[int, int] | None:
    """Return the characters of a message that a quotation means: start and end.

    Case, white space and the form of apostrophes do not matter, nor do small slips in longer
    quotations. None if the message holds nothing like it, or the quotation hardly any letters.
    """
    quoted, said = _lower(words).split(), _lower(message)
    if not _speaks(" ".join(quoted)):
        return None
    exact = re.search(r"\s+".join(map(re.escape, quoted)), said)
    if exact:
        start, end = exact.span()
    else:
        near = _nearest(" ".join(quoted), said)
        if near is None:
            return None
        start, end = near
    while start > 0 and said[start - 1].isalnum() and said[start].isalnum():
        start -= 1
    while end < len(said) and said[end - 1].isalnum() and said[end].isalnum():
        end += 1
    return start, end


def _nearest(quoted: str, said: str) -> tuple[int, int] | None:
    """The stretch of a text that is most like a quotation, if it is like enough."""
    if len(quoted) > len(said):
        return (0, len(said)) if fuzz.ratio(quoted, said) >= _SLIP else None
    near = fuzz.partial_ratio_alignment(quoted, said, score_cutoff=_SLIP)
    return (near.dest_start, near.dest_end) if near else None


def _lower(text: str) -> str:
    """Lower case and straight apostrophes, of the same length."""
    return "".join(low if len(low := c.lower()) == 1 else c for c in text.replace("’", "'"))


def _same(mention: Mention, wanted: str) -> bool:
    """Say whether a name in the text is what the model means, or a better reading of it."""
    named, meant = Requirement(mention.condition), Requirement(wanted)
    if named.attribute != meant.attribute:
        return False
    if named.attribute == "years":
        return named.years[0] <= meant.years[1] and meant.years[0] <= named.years[1]
    return named.attribute == "price" or mention.condition == wanted


def _training(vocabulary: Vocabulary, *files: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield (path, training phrases) of some files of the phrase book."""
    for path, pools in all_pools(vocabulary.domain).items():
        if path[0] in files:
            yield path, pools["train"]


def _condition(file: str, key: str) -> str:
    """The condition that an entry of the phrase book words."""
    kind = _KINDS.get(file) or ("era" if "-" in key else "decade")
    return f"{kind}={key}"


def _telling_words(vocabulary: Vocabulary) -> dict[str, frozenset[str]]:
    """Words with which the training phrases name one value and no other of its attribute.

    Words that stand in the sentences around the values, or in hints at a mood, tell nothing.
    """
    idle = _IDLE | {
        word
        for _, phrases in _training(vocabulary, "frames", "moods")
        for phrase in phrases
        for word in distinctive_words(_SLOT.sub(" ", phrase))
    }
    words: dict[str, set[str]] = {}
    for (file, key, *_), phrases in _training(vocabulary, "eras", *_KINDS):
        found = {word for phrase in phrases for word in distinctive_words(phrase) - idle}
        of_one = words.setdefault(_condition(file, key), set())
        of_one.update(word for word in found if len(word) >= _SHORTEST)
    used = Counter(
        (Requirement(condition).attribute, word)
        for condition, of_one in words.items()
        for word in of_one
    )
    return {
        condition: frozenset(w for w in of_one if used[Requirement(condition).attribute, w] == 1)
        for condition, of_one in words.items()
    }


def _is_one_of(word: str, known: frozenset[str]) -> bool:
    """Say whether a word is known, or a known one of some length with a letter wrong inside."""
    if word in known:
        return True
    shortest, longest = _MISSPELT
    return len(word) >= shortest and any(
        max(len(word), len(other)) >= longest
        and len(other) >= shortest
        and word[0] == other[0]
        and DamerauLevenshtein.distance(word, other, score_cutoff=1) <= 1
        for other in known
    )


def _holds(words: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """Say whether a name stands among the words."""
    starts = range(len(words) - len(name) + 1) if name else ()
    return any(words[i : i + len(name)] == name for i in starts)

"""Spelling of words that the lexicon reads; the English words that come near are listed, too."""

import re
import tomllib
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from latentcrs_utils.constraints.negation import FOLDER

_FILE = tomllib.loads((FOLDER / "spelling.toml").read_text("utf-8"))
_RIGHT, _ENGLISH = _FILE["words"].split(), frozenset(_FILE["english"].split())
_LEAST = 0.79  # similarity: one slip in five letters, two in ten
_WORD = re.compile(r"[a-z]{4,}", re.I)


@lru_cache(maxsize=1 << 14)
def corrected(word: str) -> str:
    """Return the word that a misspelled one stands for, in lower case; itself if there is none."""
    if word in _ENGLISH or word in _FILE["slips"]:
        return _FILE["slips"].get(word, word)
    known = [right for right in _RIGHT if right[0] == word[0]]  # it is rarely wrong
    near = process.extractOne(word, known, scorer=OSA.normalized_similarity, score_cutoff=_LEAST)
    return near[0] if near else word


def spelled(text: str) -> tuple[str, list[int]]:
    """Return a text with its misspelled words corrected, and where its characters come from.

    The second value holds the place in ``text`` of every character and of the end.
    """
    plain, origin, at = "", list[int](), 0
    for match in _WORD.finditer(text):
        (start, end), said = match.span(), match.group()
        right = said if start and said[0].isupper() else corrected(said.lower())
        if right != said.lower():
            plain += text[at:start] + right
            origin += range(at, start)
            origin += [start + min(i, len(said) - 1) for i in range(len(right))]
            at = end
    return plain + text[at:], [*origin, *range(at, len(text) + 1)]

"""Words one simulated user: chooses phrases for dialogue acts, and keeps the title out of them."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from numpy.random import Generator

from latentcrs_utils.constraints.constraint import Constraint
from latentcrs_utils.errors import DataError
from latentcrs_utils.simulation import phrase_book as books
from latentcrs_utils.simulation.agenda import N_PLACES, DialogueAct, Level, one, use_of
from latentcrs_utils.simulation.items import Catalogue, Item
from latentcrs_utils.simulation.titles import spoken_title

_ATTEMPTS, _UNLIKE_ATTEMPTS = 300, 5
_IN_SLOT = re.compile(r"\{film\}[.?!]")
_INLINE_SHARE = 0.6
# "the 20s" are those of the last century, "the 10s" nobody's
_SHORT_DECADES = {2000: "00s", 2010: "2010s", 2020: "2020s"}


class UnsayableError(DataError):
    """Every phrasing of a message that was tried gives the target's title away."""

    def __init__(self, target: Item) -> None:
        super().__init__(
            f"Nothing can be said about {target.title!r} without a word of its title: "
            "add phrases to simulation/phrase_books."
        )


class Realizer:
    """Turns the dialogue acts of one user into words.

    ``rng`` draws phrases from a pool of the domain's book; "plain" has the catalogue's own words.
    """

    def __init__(self, rng: Generator, phrasing: books.Pool, catalogue: Catalogue, level: Level):
        self._rng, self._phrasing, self._catalogue = rng, phrasing, catalogue
        self._plain, self._domain = level == "plain", catalogue.domain
        self._book = books.phrase_book(self._domain)

    def choose_phrase(self, *path: str) -> str:
        """Draw one of the phrases at ``path``, all with the same chance."""
        return one(self._rng, books.pool(self._phrasing, *path, domain=self._domain))

    def realize(self, act: DialogueAct) -> str:
        """Word one act as a sentence (a first message may take two)."""
        if act.use == "first":
            return self._first(act.constraints)
        if act.kind == "wish" and act.use == "mood":
            return self.choose_phrase("moods", act.constraints[0].value)
        slots = self._slots_of_act(act)
        where = ("frames", "later") if act.kind == "wish" else ("replies", act.kind)
        said = sentence(self.choose_phrase(*where, act.use).format(**slots))
        if act.use != "mood" or act.restated is None:
            return said
        return f"{said} {self.choose_phrase('moods', act.restated.value)}"

    def _first(self, constraints: Sequence[Constraint]) -> str:
        if any(c.slot in ("like", "liked") for c in constraints):
            return self._example(constraints)
        if constraints and constraints[0].slot != "mood":
            return self._attributes(constraints)
        ask = self.choose_phrase("frames", "vague", "ask")
        mood = self.choose_phrase("moods", constraints[0].value if constraints else "any")
        return sentence(f"{mood} {ask}")

    def _attributes(self, constraints: Sequence[Constraint]) -> str:
        level = "plain" if self._plain else "paraphrased"
        frame = self.choose_phrase("frames", level, "ask")
        genre = next((c for c in constraints if c.slot == "genre" and not c.negated), None)
        thing: str = self._book["items"]["thing"][0 if self._plain else 1]
        film = thing if genre is None else self._genre(genre, "film")
        tail = ""
        for constraint in constraints:
            if constraint == genre:
                continue
            slots = self._slots(constraint)
            inline = _IN_SLOT.search(frame) and self._rng.random() < _INLINE_SHARE
            place = "inline" if inline else "after"
            form = self.choose_phrase("frames", level, use_of(constraint), place).format(**slots)
            if inline:
                film += form
            else:
                tail += f" {sentence(form)}"
        return sentence(frame.format(film=film)) + tail

    def _example(self, constraints: Sequence[Constraint]) -> str:
        titles = [self._title(c) for c in constraints if c.slot in ("like", "liked")]
        if len(titles) == 2:
            frame = self.choose_phrase("frames", "by example", "two")
            return sentence(frame.format(title=titles[0], other=titles[1]))
        relation = ""
        for constraint in constraints[1:]:
            slots, where = self._slots(constraint), ("frames", "by example", use_of(constraint))
            relation += self.choose_phrase(*where).format(**slots)
        frame = self.choose_phrase("frames", "by example", "ask")
        return sentence(frame.format(title=titles[0], rel=relation))

    def _slots_of_act(self, act: DialogueAct) -> dict[str, str]:
        slots = {}
        if act.kind != "wish":
            place = str(act.place) if 1 <= act.place <= N_PLACES else "several"
            slots["which"] = self.choose_phrase("replies", "place", place)
        said = act.restated or next(iter(act.constraints), None)
        if said is not None and said == act.restated and said.slot == "genre" and not said.negated:
            slots["film"] = self._genre(said, "film")
        elif said is not None:
            slots |= self._slots(said)
        if act.withdrawn is not None and act.use in ("genre", "like"):
            (slots["old"],) = self._slots(act.withdrawn).values()
        return slots

    def _slots(self, constraint: Constraint) -> dict[str, str]:
        """Return the words for the slot that a frame of this constraint has, if it has one."""
        if constraint.slot == "genre":
            return {"touch": self._genre(constraint, "touch")}
        if constraint.attribute == "years":
            return {"era": self._time(constraint)}
        if constraint.slot in books.FACTS:
            return {"fact": self._fact(constraint)}
        return {"title": self._title(constraint)} if constraint.slot == "like" else {}

    def _title(self, constraint: Constraint) -> str:
        return spoken_title(self._catalogue[constraint.item].title)

    def _genre(self, constraint: Constraint, form: Literal["film", "touch"]) -> str:
        """Return words for a genre, as a whole item or as an ingredient ("touch")."""
        genre = constraint.value
        if genre not in self._book["genres"]:
            template = self.choose_phrase("plain", books.OTHER_GENRE, form)
            return books.named_genre(template, genre, self._domain)
        return self.choose_phrase("plain" if self._plain else "genres", genre, form)

    def _time(self, constraint: Constraint) -> str:
        """Return words for a decade or an era, e.g. "from the Reagan years"."""
        if not self._plain:
            return self.choose_phrase("eras", constraint.value)
        decade = constraint.years[0] // 10 * 10
        return self.choose_phrase("plain", "part" if constraint.slot == "era" else "decade").format(
            digits=f"{decade}s", short=_SHORT_DECADES.get(decade, f"{decade % 100}s"),
            word=books.DECADE_WORDS[decade], part=books.ERA_PARTS.get(constraint.value, ""),
        )  # fmt: skip

    def _fact(self, constraint: Constraint) -> str:
        """Return a platform, creator or price: its name ("the Wii", "Sega") or a nickname."""
        slot, value = constraint.slot, constraint.value
        if not self._plain and books.has_other_words(slot, value, self._domain):
            return self.choose_phrase(f"{slot}s", value)
        if value in self._book.get(f"{slot}_names", {}):
            return self.choose_phrase(f"{slot}_names", value)
        return self.choose_phrase("plain", slot).format(name=value)


def sentence(text: str) -> str:
    """Return ``text`` with a capital letter and single spaces."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:]


def first_clean(
    write: Callable[[], str], said: Sequence[str], target: Item, *, again: bool = False
) -> str:
    """Draw a text that leaks no title with what was ``said``, nor repeats it (unless ``again``).

    It opens anew if it can. `UnsayableError`: every draw of ``write`` leaks or repeats.
    """
    # an answer to "Action?" names what is in "Last Action Hero", too: no fault of the next text
    before = " ".join(text for text in said if not target.leaks_title(text))
    taken = [] if again else said
    openings = {text.split()[0] for text in taken}
    fallback = None
    for attempt in range(_ATTEMPTS):
        text = write()
        if text in taken or target.leaks_title(f"{before} {text}"):
            continue
        if text.split()[0] not in openings:
            return text
        fallback = fallback or text
        if attempt >= _UNLIKE_ATTEMPTS:
            break
    if fallback is None:
        raise UnsayableError(target)
    return fallback

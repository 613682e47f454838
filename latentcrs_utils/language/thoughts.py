"""What a model thinks around its reply is found by its marks (`thoughts.toml`) and left out."""

import re
import tomllib
from pathlib import Path

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_KINDS = ("open", "close", "nothing")
_MARK = re.compile("|".join(f"(?P<{kind}>{'|'.join(_TABLE[kind])})" for kind in _KINDS), re.I)
_UNSURE = re.compile(rf"(?:{'|'.join(_TABLE['unsure'])})?\Z", re.I)


class SpokenText:
    """A reply as it arrives, without thoughts.

    A thought lies between marks, or never ends, or has a mark only at its end, since the prompt
    opened it. Text of the last kind is held back while it begins like a thought.
    """

    def __init__(self) -> None:
        self.text = ""  # what is said so far
        self.thought = False  # whether it thinks
        self._marked = self._inside = False
        self._rest, self._n_shown = "", 0

    def add(self, piece: str, *, ended: bool = False) -> str:
        """Take the next piece, of which the last has ``ended``; return what may be shown now."""
        self._rest += piece
        unsure = None if ended else _UNSURE.search(self._rest)
        cut = unsure.start() if unsure else len(self._rest)
        halves, self._rest, at = self._rest[:cut], self._rest[cut:], 0
        # halves of a character become one, or a mark
        ready = halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for mark in [*_MARK.finditer(ready), None]:
            said = ready[at : mark.start() if mark else None]
            if self._inside:
                self.thought |= bool(said.strip())
            else:
                self.text += said
            if mark is None:
                break
            at = mark.end()
            if mark["close"] and not self._marked:
                self.thought |= bool(self.text.strip())
                self.text, self._n_shown = "", 0
            if not mark["nothing"]:
                self._inside, self._marked = bool(mark["open"]), True
        if self._marked and not self._n_shown:
            self.text = self.text.lstrip()
        start = self.text.lstrip()[:24].lower()
        like = any(o.startswith(start) or start.startswith(o) for o in _TABLE["openings"])
        if not ended and (not start or (len(start) > 1 and like and not self._marked)):
            return ""
        new, self._n_shown = self.text[self._n_shown :], len(self.text)
        return new


def closed(prompt: str) -> str:
    """Return a prompt in which no thought is left open, so that the reply begins at once."""
    last = re.search(r"([<\[])(\w+)([>\]])\s*\Z", prompt)
    if last and (mark := _MARK.match(last[0])) and mark["open"]:
        return f"{prompt}\n\n{last[1]}/{last[2]}{last[3]}\n\n"
    return prompt

"""What a model thinks around its reply is found by its marks (`thoughts.toml`) and left out."""

import re
import tomllib
from importlib.resources import files

_TABLE = tomllib.loads(
    files("latentcrs_utils.language").joinpath("thoughts.toml").read_text("utf-8")
)
_KINDS = ("open", "close", "nothing")
_MARK = re.compile("|".join(f"(?P<{kind}>{'|'.join(_TABLE[kind])})" for kind in _KINDS), re.I)
_UNSURE = re.compile(rf"(?:{'|'.join(_TABLE['unsure'])})?\Z", re.I)
_LAST_WORD = re.compile(r"([<\[])(\w+)([>\]])\s*\Z")


class SpokenText:
    """A reply as it arrives, without thoughts.

    A thought lies between marks, or never ends, or has a mark only at its end, since the prompt
    opened it. Text of the last kind is held back while it begins like a thought.
    """

    def __init__(self) -> None:
        self.text = ""  # what is said so far
        self.thought = False  # whether it thinks
        self._marked = self._inside = self._unopened = False
        self._rest, self._n_shown, self._before = "", 0, ("", 0)

    def add(self, piece: str, *, ended: bool = False) -> str:
        """Take the next piece of what the model writes; return what may be shown now.

        The last piece has ``ended``. What was returned adds up to `text`, unless a thought that
        began like a reply had a mark only at its end.
        """
        self._rest += piece
        unsure = _UNSURE.search(self._rest)
        cut = unsure.start() if unsure and not ended else len(self._rest)
        # halves of a character become one, or a mark
        halves, self._rest, at = self._rest[:cut], self._rest[cut:], 0
        ready = halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for mark in [*_MARK.finditer(ready), None]:
            said = ready[at : mark.start() if mark else None]
            if self._inside:
                self.thought |= bool(said.strip())
            else:
                self.text += said if self.text or not self._marked else said.lstrip()
            if mark is None:
                break
            at = mark.end()
            if mark["close"] and not self._inside and self.text.strip():
                self._unopened |= not self._marked
                self.thought |= self._unopened
                self._before, self.text, self._n_shown = (self.text, self._n_shown), "", 0
            if not mark["nothing"]:
                self._inside, self._marked = bool(mark["open"]), True
                self.text = self.text if self.text.strip() else ""
        if ended and self._before[0] and not self.text.strip() and not self._unopened:
            # a stray mark at the end of a reply
            self.text, self._n_shown = self._before
        start = self.text.lstrip()[:24].lower()
        like = any(o.startswith(start) or start.startswith(o) for o in _TABLE["openings"])
        if not ended and (not start or (len(start) > 1 and like and not self._marked)):
            return ""
        new, self._n_shown = self.text[self._n_shown :], len(self.text)
        return new


def closed(prompt: str) -> str:
    """Return a prompt in which no thought is left open, so that the reply begins at once."""
    last = _LAST_WORD.search(prompt)
    if last and (mark := _MARK.match(last[0])) and mark["open"]:
        return f"{prompt}\n\n{last[1]}/{last[2]}{last[3]}\n\n"
    return prompt

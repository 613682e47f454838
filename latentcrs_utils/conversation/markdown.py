"""Foreign text in Markdown: shown as it is, wherever it is rendered, and nothing else."""

import html
import re
import unicodedata

# What Markdown, GitHub's and Jupyter's dialects included, reads as more than a character.
_MARKS = re.compile(r"([*_`\[\]|~])")
_OPENING = re.compile(r"^([-+=#]|\d+(?=[.)]))(.?)", re.DOTALL)
# a dollar sign or a backslash may begin a formula; an address would become a link
_AS_ENTITY = str.maketrans({"\\": "&#92;", "$": "&#36;", "@": "&#64;"})
_ADDRESS = re.compile(r"(?i)(\b(?:https?|ftp|mailto|xmpp)):|\b(www)\.")
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def in_markdown(text: str) -> str:
    """A text on one line that Markdown renders as its own characters.

    What has no form of its own is left out: control characters, halves of surrogate pairs, and
    marks of direction, which would turn the words around them.
    """
    line = " ".join("".join(filter(_visible, text)).split())
    line = html.escape(line, quote=False).translate(_AS_ENTITY)
    line = _ADDRESS.sub(lambda m: f"{m[1]}&#58;" if m[1] else f"{m[2]}&#46;", line)
    line = _MARKS.sub(r"\\\1", line)
    return _OPENING.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1][0].isdigit() else rf"\{m[0]}", line)


def quoted(text: str) -> str:
    """A text of any number of lines as a Markdown quotation."""
    lines = [in_markdown(line) for line in text.splitlines()]
    return "\n".join(f"> {line}  " if line else ">" for line in lines).rstrip()


def _visible(character: str) -> bool:
    if character in "\n\t":
        return True
    directs = unicodedata.bidirectional(character) in _DIRECTIONS
    return not directs and unicodedata.category(character) not in ("Cc", "Cs")

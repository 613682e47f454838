"""The one place where text becomes HTML."""

import html
import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def escape(text: object) -> str:
    """Any text as HTML that shows it and does nothing else.

    Users, language models and catalogues write what they like; tags, quotes and entities come out
    as characters, and what no page may hold (control characters, halves of surrogate pairs) as
    the replacement character. Safe between tags and inside quoted attributes.

    Args:
        text: anything; its `str` is taken.
    """
    characters = (
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else _REPLACEMENT
        for c in str(text)
    )
    return html.escape("".join(characters), quote=True)


def text(value: object) -> str:
    """Foreign text: escaped, and isolated so that right-to-left words turn nothing around.

    JupyterLab sets formulas in widgets, too; the class keeps it from reading "$5 or $10" as one.
    """
    return f'<bdi class="mathjax_ignore" dir="auto">{escape(value)}</bdi>'

"""Each number in the prose of the lessons is given, or guarded by a check of its notebook.

`trained_numbers/NN.toml` lists the sentences, by a fragment of each, with the guard: the words of a
check in a code cell, or where the number comes from if nothing was trained or measured for it.
"""

import re
import tomllib
from pathlib import Path

from tools.lesson_policies import FENCE, prose

LISTS = Path(__file__).with_name("trained_numbers")
GIVEN = {"given: paper", "given: data", "given: arithmetic", "given: setting"}
NUMBER = re.compile(r"(?<![\w.])\d*\.\d+(?![\w.]*\w\.\d)|\b\d+(?:\.\d+)? ?%")
# the measured time, solutions, comments, code, formulas, links, sections and sizes
NO_PROSE = re.compile(
    r"<!-- measured -->.*?<!-- /measured -->|<details>.*?</details>|<!--.*?-->|`[^`]*`"
    r"|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|Sections? \d+(?:\.\d+)*|\d+\.\d+ (?:million|billion|GB)",
    re.DOTALL,
)


def test_each_number_in_the_prose_is_listed_with_its_guard(notebook, notebook_path):
    file = LISTS / f"{notebook_path.stem[:2]}.toml"
    guards = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    text = "\n\n".join(NO_PROSE.sub("", FENCE.sub("", part)) for part in prose(notebook))
    whole = "\n\n".join(prose(notebook))
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not [fragment for fragment in guards if fragment not in whole], "no longer in the prose"
    assert not [g for g in guards.values() if g not in GIVEN and g not in code], "no such check"
    spans = [(m.start(), m.end()) for f in guards for m in re.finditer(re.escape(f), text)]
    loose = [
        text[max(0, m.start() - 60) : m.end() + 30]
        for m in NUMBER.finditer(text)
        if not any(start <= m.start() and m.end() <= end for start, end in spans)
    ]
    assert not loose

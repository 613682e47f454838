"""Execute, check and render the notebooks of the course.

    python -m tools.notebooks [names]            re-execute, normalise and write (make notebooks)
    python -m tools.notebooks --check [names]    strict nbval on what is committed (make test)
    python -m tools.notebooks --lint [names]     the policies alone (pre-commit)
    python -m tools.notebooks --seed N [names]   execute with ``SEED = N``, write nothing: which
                                                 checks say NO?
    python -m tools.notebooks --html [names]     execute and render to build/*.html; what is
                                                 committed stays as it is (--no-run: render that)

``names`` are prefixes such as ``04`` or ``05_em``; none means every notebook. A notebook is written
only when it ran from top to bottom without an error and without a word on stderr.
"""

import argparse
import base64
import copy
import html
import itertools
import os
import re
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course.chapters import STRIP, strip_of_the_series
from latentcrs_utils.support.files import atomic_path
from tools import lesson_policies
from tools.committable import committed
from tools.lesson_policies import MEASURED, OUTPUT_POLICIES, SOURCE_POLICIES
from tools.recorded_policies import (
    CHAPTER_POLICIES,
    KERNEL,
    LANGUAGE,
    POLICIES,
    RANDOM_ID,
    VERDICT_NO,
    WIDGET_VIEW,
    code_cells,
    code_digest,
    folder_problems,
    outputs,
    shown_text,
)

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
# Beside the lessons, and no lesson: for teachers.
GUIDES = {"12_teachers_guide"}
GUIDE_POLICIES = (lesson_policies.has_short_cells, lesson_policies.links_to_what_exists)
CELL_TIMEOUT = 3600  # the first run trains, maybe on a machine that does other work
_FIXED = Path(__file__).with_name("environment.toml")
ENVIRONMENT: dict[str, str] = tomllib.loads(_FIXED.read_text(encoding="utf-8"))
ANSI = re.compile(r"\x1b\[[0-9;]*m")
SEED_LINE = re.compile(r"^SEED = 0\b", re.MULTILINE)
LINK = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>course/pictures/\w+\.\w+)\)")
TEX = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|"
    r"(?<![\\\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$",
    re.DOTALL,
)
# the exporter's template loads libraries from afar; a rendered lesson needs none of them
SCRIPT = re.compile(r"<script[^>]*>.*?</script>\s*", re.DOTALL)
# The template cuts long code and breaks printed tables on a phone; both scroll.
STYLE = """<style>
.jp-RenderedMarkdown table { display: block; width: max-content; max-width: 100%;
  overflow-x: auto; }
math[display="block"] { max-width: 100%; overflow-x: auto; }
@media screen and (max-width: 800px) {
  .jp-InputArea-editor { overflow-x: auto !important; }
  .jp-OutputArea-output pre { white-space: pre !important; overflow-x: auto; }
}
@media print { .jp-Cell pre { white-space: pre-wrap !important; } }
</style>
"""
# A named function: TeX spaces it from what it stands next to, MathML does not.
FUNCTION = re.compile(
    r"(?P<before></m(?:i|n|sub|text)>)?(?P<name><msub><mi>log</mi>.*?</msub>|<mi>(?:log|exp|cos)</mi>)"
    r"(?P<after>(?=<m[ifnst]))?"
)
THIN = '<mspace width="0.17em"/>'
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
    """Return the notebooks that ``names`` say (prefixes or files; none: all), or NotebookError."""
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


def execute(notebook: NotebookNode, folder: Path, *, go_on: bool = False) -> Measurement:
    """Run every cell on a fresh kernel in ``folder``, in place; NotebookError if one fails.

    ``go_on``: after an error, which is then among the cell's outputs.
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
        allow_errors=go_on,
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
    """Say what a chapter, or a guide beside them, lacks before it is executed."""
    policies = (
        SOURCE_POLICIES if is_chapter(path) else GUIDE_POLICIES if path.stem in GUIDES else ()
    )
    return [found for policy in policies for found in policy(notebook, path)]


def is_chapter(path: Path) -> bool:
    """Whether a notebook must be a lesson: all in the folder of the course are but the guides."""
    return path.resolve().parent == NOTEBOOKS and path.stem not in GUIDES


def problems(notebook: NotebookNode, path: Path) -> list[str]:
    """Say why an executed notebook may not be committed; a chapter has policies of its own."""
    found = [sentence for policy in POLICIES for sentence in policy(notebook)]
    found += source_problems(notebook, path)
    if is_chapter(path):
        found += [sentence for policy in CHAPTER_POLICIES for sentence in policy(notebook)]
        found += [sentence for policy in OUTPUT_POLICIES for sentence in policy(notebook, path)]
    return found


def read(path: Path) -> NotebookNode:
    """Read a notebook; NotebookError: the file is none."""
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


def without_outputs(path: Path) -> NotebookNode:
    """Read a notebook as if it had never been executed."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def run(path: Path) -> tuple[NotebookNode, Measurement]:
    """Execute one notebook from nothing; return it, normalised, and its cost."""
    notebook = without_outputs(path)
    try:
        cost = execute(notebook, path.parent)
    except NotebookError as error:
        raise NotebookError(f"{path.name}: {error}") from None
    notebook.metadata["latentcrs"] = {"measured": cost.words(), "code": code_digest(notebook)}
    fill_marked_places(notebook, path)
    return normalise(notebook), cost


def record(path: Path) -> Measurement:
    """Execute one notebook and write it back; NotebookError, and the file as it was, if refused."""
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
    """Record notebooks one by one; what fails is left as it was, and told in the texts returned."""
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
    with suppress(OSError, subprocess.CalledProcessError):  # not every copy is a git checkout
        found += folder_problems(committed(NOTEBOOKS))
    print("".join(f"{sentence}\n" for sentence in found), end="", file=sys.stderr)
    return int(bool(found))


def check(paths: list[Path], *, extra: list[str] | None = None) -> int:
    """Check the policies, then run strict nbval on ``paths``; return an exit code."""
    return lint(paths) or strict_nbval(paths, extra=extra)


def strict_nbval(paths: list[Path], *, extra: list[str] | None = None) -> int:
    """Run strict nbval on ``paths`` in the recording environment; return pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    command += ["-p", "no:cacheprovider", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    command += [f"--nbval-sanitize-with={Path(__file__).with_name('nbval_sanitize.cfg')}"]
    command += ["--nbval-kernel-startup-timeout=600", *(extra or []), *map(str, paths)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False
    ).returncode


def with_seed(path: Path, seed: int) -> bool:
    """Execute with another ``SEED``, write nothing; print what says NO or fails, or that all holds.

    True where all holds, and where there is no line ``SEED = 0``, which is told.
    """
    notebook, n_seeds = without_outputs(path), 0
    for _, cell in code_cells(notebook):
        cell.source, found = SEED_LINE.subn(f"SEED = {seed}", cell.source)
        n_seeds += found
    print(f"{path.stem:<28} ", end="", flush=True)
    if not n_seeds:
        print("has no line SEED = 0, so it is not executed.", flush=True)
        return True
    cost: Measurement | str
    try:
        cost, wrong = execute(notebook, path.parent, go_on=True), []
    except NotebookError as error:  # the kernel ended, or a cell took too long
        cost, wrong = "stopped", [str(error)]
    for place, output in outputs(notebook):
        lines = [line for line in shown_text(output).splitlines() if VERDICT_NO.search(line)]
        if output.output_type == "error":
            lines = [f"{output.ename}: {output.evalue}"]
        wrong += [f"cell {place}: {line}" for line in lines]
    print("\n    ".join([str(cost), *wrong]) if wrong else f"{cost}   all checks hold", flush=True)
    return not wrong


def render(notebook: NotebookNode, name: str, folder: Path) -> Path:
    """Write ``folder/name.html``, which needs no network (TeX becomes MathML); return the file."""
    from nbconvert import HTMLExporter

    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = self_contained(LINK.sub(r"](\1.html)", cell.source))
    exporter = HTMLExporter(template_name="lab", mathjax_url="")
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.html"
    page = SCRIPT.sub("", body).replace("</head>", f"{STYLE}</head>", 1)
    target.write_text(page, encoding="utf-8")
    return target


def self_contained(markdown: str) -> str:
    """The text with its formulas as MathML and the pictures of the course inside."""
    return PICTURE.sub(inlined, tex_to_mathml(markdown))


def inlined(picture: re.Match[str]) -> str:
    """A picture of the course as a part of the page; it is not beside the page."""
    file = NOTEBOOKS / picture["file"]
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[file.suffix]
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(picture["alt"])}" src="data:{kind};base64,{data}">'


def tex_to_mathml(markdown: str) -> str:
    """Replace ``$$..$$`` and ``$..$`` outside of code by MathML, which browsers draw themselves."""
    from latex2mathml.converter import convert

    def spaced(name: re.Match[str]) -> str:
        before = f"{name['before']}{THIN}" if name["before"] else ""
        return f"{before}{name['name']}{THIN if name['after'] is not None else ''}"

    def replace(match: re.Match[str]) -> str:
        if match["block"]:
            return FUNCTION.sub(spaced, convert(" ".join(match["block"].split()), display="block"))
        return match["code"] or FUNCTION.sub(spaced, convert(match["inline"]))

    return TEX.sub(replace, markdown)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", help="prefixes of notebook names; none means all")
    parser.add_argument("--check", action="store_true", help="strict nbval, nothing is written")
    parser.add_argument("--lint", action="store_true", help="the policies, nothing is executed")
    parser.add_argument("--seed", type=int, help="execute with SEED = N: which checks say NO?")
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
        if options.seed is not None:
            return int(not all([with_seed(path, options.seed) for path in paths]))
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

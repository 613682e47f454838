"""Execute, check and render the notebooks of the course.

    python tools/notebooks.py [names]            re-execute, normalise and write (make notebooks)
    python tools/notebooks.py --check [names]    strict nbval on what is committed (make test)
    python tools/notebooks.py --html [names]     execute and render to build/*.html; what is
                                                 committed stays as it is (--no-run: render that)

``names`` are prefixes such as ``04`` or ``05_em``; none means every notebook. A notebook is written
only when it ran from top to bottom without an error and without a word on stderr.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from notebook_environment import notebook_environment

from latentcrs_utils.course import CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
CELL_TIMEOUT = 1200
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Folders of machines; a path that a reader does not have must not be in a committed output.
MACHINE_PATHS = re.compile(r"(?<![\w.])(?:/(?:home|root|Users|tmp|work|opt|mnt)/|[A-Z]:\\\\)")
VERDICT_NO = re.compile(r": NO(?: \(.*\))?$", re.MULTILINE)
STRIP = re.compile(r"<!-- strip -->.*?<!-- /strip -->", re.DOTALL)
MEASURED = re.compile(r"<!-- measured -->.*?<!-- /measured -->", re.DOTALL)
TEX = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|"
    r"(?<![\\\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$",
    re.DOTALL,
)
# The exporter's template loads libraries from afar; a rendered lesson needs none of them.
SCRIPT = re.compile(r"<script[^>]*>.*?</script>\s*", re.DOTALL)
PEAK = (
    "(__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
    " * (1 if __import__('sys').platform == 'darwin' else 1024))"
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


def strip_of_the_series(current: Path) -> str:
    """Return the line of links on top of every notebook; chapters not written yet are plain."""
    parts = []
    for chapter in CHAPTERS:
        label = f"{chapter.number} {chapter.title}"
        if chapter.stem == current.stem:
            parts.append(f"**{label}**")
        elif (current.parent / f"{chapter.stem}.ipynb").exists():
            parts.append(f"[{label}]({chapter.stem}.ipynb)")
        else:
            parts.append(f"<small>{label}</small>")
    return "<!-- strip -->\n" + " · ".join(parts) + "\n<!-- /strip -->"


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
        NotebookError: a cell failed.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbclient.util import run_sync

    manager = AsyncKernelManager(kernel_name="python3")
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=CELL_TIMEOUT,
        extra_arguments=["--log-level=ERROR"],
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )

    async def peak_memory() -> int:
        reply = await client.kc.execute("", user_expressions={"peak": PEAK}, reply=True)
        return int(reply["content"]["user_expressions"]["peak"]["data"]["text/plain"])

    started = time.perf_counter()
    with client.setup_kernel(env=notebook_environment()):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                raise NotebookError(f"cell {index + 1} failed:\n{error}") from None
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


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without anything transient: counts 1..N, stable ids, bare metadata."""
    notebook = copy.deepcopy(notebook)
    own = notebook.metadata.get("latentcrs", {})
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "file_extension": ".py"},
            "latentcrs": own,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count, seen = 0, set()
    for position, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in ("tags", "jupyter") if cell.metadata.get(key)}
        )
        if not cell.get("id") or cell.id in seen:
            cell.id = f"cell-{position:03d}"
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


def shown_text(output: NotebookNode) -> str:
    """All texts of one output; images are left out, base64 may spell anything."""
    data = output.get("data", {})
    texts = [str(value) for kind, value in data.items() if not kind.startswith("image/png")]
    return "\n".join([*texts, output.get("text", "")])


def problems(notebook: NotebookNode) -> list[str]:
    """Say in sentences why an executed notebook may not be committed (an empty list: it may)."""
    found = []
    counts = []
    for position, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        counts.append(cell.execution_count)
        for output in cell.outputs:
            text = shown_text(output)
            if output.output_type == "error":
                found.append(f"cell {position} raised {output.ename}: {output.evalue}")
            if VERDICT_NO.search(text):
                found.append(f"cell {position} prints a verdict NO: {text.strip()[:300]}")
            if output.get("name") == "stderr":
                found.append(f"cell {position} wrote to stderr: {output.text.strip()[:300]}")
            if match := MACHINE_PATHS.search(text):
                around = text[max(0, match.start() - 40) : match.end() + 40]
                found.append(f"cell {position} shows a machine's path: {around!r}")
    if counts != list(range(1, len(counts) + 1)):
        found.append("its code cells were not run once each, in order, on a fresh kernel")
    if "widgets" in notebook.metadata:
        found.append("it holds the state of widgets")
    return found


def write(notebook: NotebookNode, path: Path) -> None:
    """Write atomically: a reader, or a crash, never meets half a notebook."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".ipynb.tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def run(path: Path) -> tuple[NotebookNode, Measurement]:
    """Execute one notebook from nothing; return it, normalised, and its cost.

    Raises:
        NotebookError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        cost = execute(notebook, path.parent)
    except NotebookError as error:
        raise NotebookError(f"{path.name}: {error}") from None
    notebook.metadata["latentcrs"] = {"measured": cost.words()}
    fill_marked_places(notebook, path)
    return normalise(notebook), cost


def record(path: Path) -> Measurement:
    """Execute one notebook and write it back, with its marked places filled.

    Raises:
        NotebookError: it may not be committed; the file is left as it was.
    """
    notebook, cost = run(path)
    if found := problems(notebook):
        raise NotebookError(f"{path.name}: " + "; ".join(found))
    nbformat.validate(notebook)
    write(notebook, path)
    return cost


def check(paths: list[Path], *, extra: list[str] | None = None) -> int:
    """Run strict nbval on ``paths`` in the recording environment; return pytest's exit code."""
    for path in paths:
        if found := problems(nbformat.read(path, as_version=4)):
            print(f"{path.name}: " + "; ".join(found), file=sys.stderr)
            return 1
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    command += ["-p", "no:cacheprovider", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    command += [*(extra or []), *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, env=notebook_environment(), check=False).returncode


def render(notebook: NotebookNode, name: str, folder: Path) -> Path:
    """Write ``folder/name.html``, which needs no network (TeX becomes MathML); return the file."""
    from nbconvert import HTMLExporter

    notebook = copy.deepcopy(notebook)
    links_to_notebooks = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = tex_to_mathml(links_to_notebooks.sub(r"](\1.html)", cell.source))
    exporter = HTMLExporter(template_name="lab", mathjax_url="")
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": name}})
    body = SCRIPT.sub("", body)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.html"
    target.write_text(body, encoding="utf-8")
    return target


def tex_to_mathml(markdown: str) -> str:
    """Replace ``$$..$$`` and ``$..$`` outside of code by MathML, which browsers draw themselves."""
    from latex2mathml.converter import convert

    def replace(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        if match["block"]:
            return convert(" ".join(match["block"].split()), display="block")
        return convert(match["inline"])

    return TEX.sub(replace, markdown)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", help="prefixes of notebook names; none means all")
    parser.add_argument("--check", action="store_true", help="strict nbval, nothing is written")
    parser.add_argument("--html", action="store_true", help="execute and render to build/*.html")
    parser.add_argument("--no-run", action="store_true", help="with --html: render what is there")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder of the HTML")
    options, extra = parser.parse_known_args(arguments)
    try:
        paths = find(options.names)
        if options.check:
            return check(paths, extra=extra)
        for path in paths:
            print(f"{path.stem:<28} ", end="", flush=True)
            if not options.html:
                print(record(path), flush=True)
                continue
            notebook, cost = nbformat.read(path, as_version=4), "not run"
            if not options.no_run:
                notebook, cost = run(path)
            page = render(notebook, path.stem, options.output)
            print(f"{cost}   {os.path.relpath(page, ROOT)}", flush=True)
    except NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

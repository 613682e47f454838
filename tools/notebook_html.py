"""Notebooks as HTML pages that need no network."""

from __future__ import annotations

import copy
import re
from pathlib import Path

from nbformat import NotebookNode

TEX = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|"
    r"(?<![\\\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$",
    re.DOTALL,
)
# The exporter's template loads libraries from afar; a rendered lesson needs none of them.
SCRIPT = re.compile(r"<script[^>]*>.*?</script>\s*", re.DOTALL)


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

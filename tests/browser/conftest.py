"""One Chromium, one Voilà, one JupyterLab and one trained model for all browser tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from .servers import ROOT, Server, free_port, serving
from .visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NOTEBOOK = ROOT / "notebooks" / "10_chat_demo.ipynb"
TOKEN = "only-for-this-test"
# no sandbox, since continuous integration runs as root; and nothing that the browser asks by itself
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update")  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """The browser, without a window."""
    missing = "playwright is not installed: pip install -e '.[test]'"
    api = pytest.importorskip("playwright.sync_api", reason=missing)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def trained(chromium: "Browser") -> None:
    """Everything that notebook 10 loads; trained now where `make run` was never called."""
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    *wake_up, _app = [c.source for c in cells if "lesson" not in c.metadata.get("tags", ())]
    # All cores: from nothing this takes minutes.
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command, folder = [sys.executable, "-c", "\n".join(wake_up)], NOTEBOOK.parent
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def serving_chat(folder: Path, port: int) -> AbstractContextManager[Server]:
    """The chat as `make chat` serves it."""
    # -o: this Python is the environment, nothing is to be installed now
    command = ["make", "-o", ".venv/.stamp", "chat", f"PY={sys.executable}",
               f"VOILA_FLAGS=--port={port} --no-browser"]  # fmt: skip
    return serving(command, folder)


@pytest.fixture(scope="session")
def voila(trained: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One such server for the tests that do not end it."""
    with serving_chat(tmp_path_factory.mktemp("voila"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def lab(trained: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a copy of notebook 10 beside its exercises, since it saves what it runs."""
    folder = tmp_path_factory.mktemp("lab")
    settings = folder / "jupyterlab_settings_dir"
    notebooks, news = folder / "notebooks", settings / "@jupyterlab/apputils-extension"
    for made in (notebooks, news):
        made.mkdir(parents=True)
    shutil.copy(NOTEBOOK, notebooks)
    shutil.copytree(NOTEBOOK.parent / "course", notebooks / "course")  # no pictures behind a link
    quiet = '{"fetchNews": "false", "checkForUpdates": false}'
    (news / "notification.jupyterlab-settings").write_text(quiet)
    command = [sys.executable, "-m", "jupyterlab", str(notebooks), "--no-browser", "--allow-root",
               f"--ServerApp.port={free_port()}", f"--IdentityProvider.token={TOKEN}",
               "--ServerApp.ip=127.0.0.1"]  # fmt: skip
    with serving(command, folder) as server:
        yield server


@pytest.fixture
def visit(chromium: "Browser", request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """Open pages; afterwards none of them may have complained, called out or raised a dialog."""
    visits: list[Visit] = []

    def opened(url: str, **options) -> Visit:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        visits.append(Visit(context.new_page(), url, request.node.name.removeprefix("test_")))
        return visits[-1]

    yield opened
    for one in visits:
        one.page.context.close()
    assert [one.complaints for one in visits] == [[] for _ in visits]

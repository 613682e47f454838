"""Downloads against a local server that also fails, truncates, lies, stalls and is killed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from latentcrs_utils.errors import AssetError
from latentcrs_utils.support import assets, downloads
from latentcrs_utils.support.downloads import ArchiveAsset, Member

# incompressible and longer than one chunk, so that a transfer can be cut in the middle
CONTENT = {
    "demo/ratings.csv": b"".join(hashlib.sha256(bytes([n % 256])).digest() for n in range(9000)),
    "demo/movies.csv": b"item,title\n1,Film\n" * 40,
}
Answer = Callable[[BaseHTTPRequestHandler], None]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return buffer.getvalue()


ARCHIVE = zipped(CONTENT)


def send(body: bytes, announced: int | None = None, status: int = 200) -> Answer:
    """Answer with ``body``, announcing ``announced`` bytes (the truth by default)."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def fail(status: int) -> Answer:
    return send(b"no", status=status)


class Site:
    """A web site: for every path a list of answers; the last one is repeated."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.halfway, self.go_on = threading.Event(), threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[1]
                site.requests.append((name, dict(self.headers)))
                script = site.answers[name]
                # a client that gave up is gone
                with contextlib.suppress(OSError):
                    (script.pop(0) if len(script) > 1 else script[0])(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def asset(self, **sources: list[Answer]) -> ArchiveAsset:
        """Serve the archive from ``sources``, in order, and describe it."""
        self.answers.update(sources)
        members = tuple(Member(path, digest(data), len(data)) for path, data in CONTENT.items())
        return ArchiveAsset(
            title="Demo",
            archive="demo.zip",
            sha256=digest(ARCHIVE),
            size=len(ARCHIVE),
            members=members,
            urls=tuple(f"{self.base}/{source}/demo.zip" for source in sources),
            page="https://example.org/demo",
        )

    def asked(self) -> list[str]:
        return [name for name, _ in self.requests]

    def held(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the first half, and the second only when the test says so."""
        half = len(ARCHIVE) // 2
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(ARCHIVE)))
        handler.end_headers()
        handler.wfile.write(ARCHIVE[:half])
        handler.wfile.flush()
        self.halfway.set()
        self.go_on.wait(60)
        handler.wfile.write(ARCHIVE[half:])


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.go_on.set()
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, noted instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", waited.append)
    return waited


@pytest.fixture(autouse=True)
def on_its_own(empty_cache: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)


def contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in files.items()}


EXPECTED = {Path(path).name: data for path, data in CONTENT.items()}
WHOLE = {*EXPECTED, *(f"{name}.verified" for name in EXPECTED)}


def left_in(cache: Path) -> set[str]:
    return {file.name for file in cache.rglob("*") if file.is_file()}


def test_the_first_source_is_enough(site: Site, empty_cache: Path, pauses: list[float]) -> None:
    asset = site.asset(first=[send(ARCHIVE)], second=[send(ARCHIVE)])
    assert contents(downloads.fetch(asset)) == EXPECTED
    assert site.asked() == ["first"]
    assert pauses == []
    # the archive is not kept
    assert left_in(empty_cache) == WHOLE


def test_the_second_time_nothing_is_asked(site: Site) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    assert downloads.fetch(asset) == downloads.fetch(asset)
    assert site.asked() == ["first"]


def test_no_range_is_asked_for_and_nothing_is_compressed_on_the_way(site: Site) -> None:
    downloads.fetch(site.asset(first=[send(ARCHIVE)]))
    headers = {name.lower(): value for name, value in site.requests[0][1].items()}
    assert "range" not in headers
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "failure",
    [
        fail(500),
        fail(404),
        send(ARCHIVE[: len(ARCHIVE) // 2], announced=len(ARCHIVE)),
        send(ARCHIVE[: len(ARCHIVE) // 2]),
        send(ARCHIVE[:-1] + b"X"),
        send(b"<html>Please log in</html>"),
        send(b""),
        lambda handler: handler.connection.close(),
    ],
    ids=["500", "404", "cut", "short", "wrong bytes", "a page", "nothing", "hangs up"],
)
def test_a_source_that_recovers_is_asked_again(
    site: Site, empty_cache: Path, pauses: list[float], failure: Answer
) -> None:
    asset = site.asset(first=[failure, failure, send(ARCHIVE)], second=[fail(404)])
    assert contents(downloads.fetch(asset)) == EXPECTED
    assert site.asked() == ["first"] * 3
    # it waits longer before the second retry
    assert pauses == [1, 2]
    assert left_in(empty_cache) == WHOLE


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (fail(500), "it answers HTTP 500"),
        (fail(404), "it answers HTTP 404"),
        (send(ARCHIVE[:-9], announced=len(ARCHIVE)), "the connection broke before the end"),
        (send(ARCHIVE[:-1] + b"X"), "it sent another file"),
        (send(ARCHIVE + b"X"), "it announces"),
        (lambda handler: handler.connection.close(), "no connection"),
    ],
    ids=["500", "404", "cut", "wrong bytes", "longer", "hangs up"],
)
def test_the_second_source_serves_when_the_first_does_not(
    site: Site, empty_cache: Path, failure: Answer, reason: str
) -> None:
    asset = site.asset(first=[failure], second=[send(ARCHIVE)])
    assert contents(downloads.fetch(asset)) == EXPECTED
    assert site.asked() == ["first"] * 3 + ["second"]
    assert left_in(empty_cache) == WHOLE

    alone = dataclasses.replace(asset, archive="alone.zip", urls=asset.urls[:1])
    with pytest.raises(AssetError, match=reason):
        downloads.fetch(alone)
    assert left_in(empty_cache) == WHOLE


def test_an_endless_answer_is_cut_short(site: Site, empty_cache: Path) -> None:
    sent = [0]

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while sent[0] < 100 * len(ARCHIVE):
            handler.wfile.write(b"x" * 65536)
            sent[0] += 65536

    with pytest.raises(AssetError, match="sends more than the expected"):
        downloads.fetch(site.asset(first=[endless]))
    assert sent[0] < 100 * len(ARCHIVE)
    assert left_in(empty_cache) == set()


def test_both_sources_failing_is_one_clear_message(site: Site, empty_cache: Path) -> None:
    asset = site.asset(first=[fail(503)], second=[send(ARCHIVE[:-1] + b"X")])
    with pytest.raises(AssetError) as caught:
        downloads.fetch(asset)
    assert str(caught.value) == (
        "Demo could not be downloaded (127.0.0.1: it answers HTTP 503; 127.0.0.1: it sent another "
        "file (its sha256 differs)). Check the network and run again. Or: With a browser, get "
        "demo.zip from https://example.org/demo, put it into a folder, unpacked or not, and set "
        "LATENTCRS_DATA to that folder."
    )
    assert left_in(empty_cache) == set()


def test_a_silent_source_is_given_up(site: Site) -> None:
    asset = site.asset(first=[site.held], second=[send(ARCHIVE)])
    begin = time.monotonic()
    assert contents(downloads.fetch(asset, timeout=1.0)) == EXPECTED
    assert site.asked() == ["first"] * 3 + ["second"]
    assert time.monotonic() - begin < 30


def test_a_slow_source_is_waited_for(site: Site) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(ARCHIVE)))
        handler.end_headers()
        step = len(ARCHIVE) // 8 + 1
        for start in range(0, len(ARCHIVE), step):
            threading.Event().wait(0.25)
            handler.wfile.write(ARCHIVE[start : start + step])

    # longer in total than the time that it may stay silent
    assert contents(downloads.fetch(site.asset(first=[slow]), timeout=1.5)) == EXPECTED
    assert site.asked() == ["first"]


def test_no_network_at_all(empty_cache: Path, site: Site) -> None:
    # port 9 of this machine: refused at once, nothing leaves the machine
    asset = dataclasses.replace(site.asset(), urls=("http://127.0.0.1:9/demo.zip",))
    with pytest.raises(AssetError, match=r"\(127\.0\.0\.1: no connection\)"):
        downloads.fetch(asset)
    assert left_in(empty_cache) == set()


def test_an_archive_with_a_path_that_leads_out_is_refused(site: Site, empty_cache: Path) -> None:
    evil = zipped({**CONTENT, "../../../escape.txt": b"out"})
    asset = dataclasses.replace(site.asset(first=[send(evil)]), sha256=digest(evil), size=len(evil))
    with pytest.raises(AssetError, match="a path that leads out of the archive"):
        downloads.fetch(asset)
    assert not list(empty_cache.parent.rglob("escape.txt"))
    assert left_in(empty_cache) == set()


def test_a_known_archive_with_unknown_members_is_refused(site: Site, empty_cache: Path) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    wrong = dataclasses.replace(asset.members[0], sha256="0" * 64)
    asset = dataclasses.replace(asset, members=(wrong, asset.members[1]))
    with pytest.raises(
        AssetError, match=r"demo/ratings\.csv in demo\.zip has an unexpected sha256"
    ):
        downloads.fetch(asset)
    assert left_in(empty_cache) == set()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"X" + data[1:]])
def test_a_damaged_file_in_the_cache_is_fetched_again(
    site: Site, damage: Callable[[bytes], bytes]
) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    file = downloads.fetch(asset)["ratings.csv"]
    file.write_bytes(damage(file.read_bytes()))
    os.utime(file, ns=(1, 1))
    assert contents(downloads.fetch(asset)) == EXPECTED
    assert site.asked() == ["first", "first"]


def test_a_cache_that_cannot_be_written(site: Site, empty_cache: Path) -> None:
    empty_cache.mkdir()
    # a file where the folder should be: refused for every user, root too
    (empty_cache / "assets").write_text("in the way")
    with pytest.raises(AssetError, match=r"Demo could not be written to.*LATENTCRS_CACHE"):
        downloads.fetch(site.asset(first=[send(ARCHIVE)]))


def test_two_at_once_both_get_the_whole_files(site: Site, empty_cache: Path) -> None:
    asset = site.asset(first=[send(ARCHIVE)])
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(downloads.fetch, asset) for _ in range(2)]
        assert [contents(future.result()) for future in both] == [EXPECTED, EXPECTED]
    assert left_in(empty_cache) == WHOLE


def test_progress_is_shown_to_people_only(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asset = site.asset(first=[fail(500), send(ARCHIVE)], second=[send(ARCHIVE)])
    quiet = dataclasses.replace(asset, archive="quiet.zip", urls=asset.urls[1:])
    monkeypatch.setenv("LATENTCRS_PROGRESS", "0")
    downloads.fetch(quiet)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    downloads.fetch(asset)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Demo: downloading demo.zip (0 MB) from 127.0.0.1." in shown.err
    assert "Demo:   0%" in shown.err


FETCH = """
import sys
from latentcrs_utils.support.downloads import ArchiveAsset, fetch
from latentcrs_utils.support.downloads import Member
fetch(eval(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_an_end_in_mid_download_leaves_nothing_half_written(
    site: Site, empty_cache: Path, how: str
) -> None:
    asset = site.asset(first=[site.held, send(ARCHIVE)])
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, repr(asset)],
        env={**os.environ, "LATENTCRS_CACHE": str(empty_cache)},
        stderr=subprocess.DEVNULL,
    )
    assert site.halfway.wait(60)
    # the half is on its way to the disk
    deadline = time.monotonic() + 60
    while not any(file.stat().st_size for file in empty_cache.rglob("*") if file.is_file()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    process.send_signal(getattr(signal, how))
    process.wait(60)
    assert not left_in(empty_cache) & WHOLE
    if how == "SIGINT":
        assert left_in(empty_cache) == set()

    # the same call again: nothing of the half is used, and what is old enough goes
    folder = empty_cache / "assets" / "demo"
    for old in [*folder.rglob("*")]:
        os.utime(old, (1, 1))
    assert contents(downloads.fetch(asset)) == EXPECTED
    assert left_in(empty_cache) == WHOLE
    assert not list(folder.glob("download-*"))


def test_a_download_still_under_way_is_not_swept_away(site: Site, empty_cache: Path) -> None:
    other = empty_cache / "assets" / "demo" / "download-other"
    other.mkdir(parents=True)
    (other / "half").write_bytes(b"half")
    downloads.fetch(site.asset(first=[send(ARCHIVE)]))
    assert (other / "half").is_file()


def write_bare(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    folder.mkdir(parents=True)
    for path, data in content.items():
        (folder / Path(path).name).write_bytes(data)
    return folder


@pytest.mark.parametrize("below", [".", "demo", "whatever"])
def test_the_readers_own_files_are_read_where_they_are(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path, below: str
) -> None:
    folder = write_bare(tmp_path / "mine" / below)
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "mine"))
    files = downloads.in_user_folder(site.asset(first=[fail(404)]))
    assert files is not None
    assert contents(files) == EXPECTED
    assert {file.parent.resolve() for file in files.values()} == {folder.resolve()}
    assert sorted(file.name for file in folder.iterdir()) == sorted(EXPECTED)
    assert left_in(empty_cache) == set()


def test_the_folder_of_the_assets_name_comes_first(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bare(tmp_path / "mine" / "another", dict.fromkeys(CONTENT, b"of another data set"))
    expected = write_bare(tmp_path / "mine" / "demo")
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path / "mine"))
    files = downloads.in_user_folder(site.asset(first=[fail(404)]))
    assert files is not None
    assert files["ratings.csv"] == expected / "ratings.csv"


def test_the_readers_own_archive_is_unpacked_into_the_cache_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    archive = tmp_path / "mine" / "demo.zip"
    archive.parent.mkdir()
    archive.write_bytes(ARCHIVE)
    monkeypatch.setenv("LATENTCRS_DATA", str(archive.parent))
    asset = site.asset(first=[fail(404)])
    files = downloads.in_user_folder(asset)
    assert files is not None
    assert contents(files) == EXPECTED
    assert left_in(empty_cache) == WHOLE
    assert downloads.in_user_folder(asset) == files
    assert [file.name for file in archive.parent.iterdir()] == ["demo.zip"]
    assert site.asked() == []


def test_a_truncated_archive_of_the_readers_is_named(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    (tmp_path / "demo.zip").write_bytes(ARCHIVE[:-10])
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    with pytest.raises(
        AssetError, match=r"demo\.zip is damaged or not the expected file"
    ) as caught:
        downloads.in_user_folder(site.asset(first=[fail(404)]))
    assert "get demo.zip from https://example.org/demo" in str(caught.value)
    assert left_in(empty_cache) == set()


def test_nothing_in_the_readers_folder(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = site.asset(first=[fail(404)])
    assert downloads.in_user_folder(asset) is None
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    assert downloads.in_user_folder(asset) is None
    # one of two files is not the data set
    (tmp_path / "movies.csv").write_bytes(CONTENT["demo/movies.csv"])
    assert downloads.in_user_folder(asset) is None


@pytest.mark.parametrize(
    "asset", [downloads.ML_100K, downloads.ML_1M, downloads.ML_LATEST_SMALL], ids=lambda a: a.folder
)
def test_every_data_set_has_two_independent_sources(asset: ArchiveAsset) -> None:
    hosts = {url.split("/")[2] for url in asset.urls}
    assert len(hosts) == len(asset.urls) >= 2
    assert asset.urls[0].startswith("https://files.grouplens.org/")
    assert all(url.startswith("https://") and url.endswith(asset.archive) for url in asset.urls)
    assert all(member.path.startswith(f"{asset.folder}/") for member in asset.members)


def test_the_readme_has_the_facts_of_every_asset() -> None:
    readme = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text("utf-8")
    archives = (downloads.ML_100K, downloads.ML_1M, downloads.ML_LATEST_SMALL)
    for asset in archives:
        assert f"| `{asset.archive}` | {asset.size:,} | `{asset.sha256}` |" in readme
        assert f"<{asset.page}>" in readme
    for wheel in (assets.MOVIELENS_100K, assets.SMOLLM2):
        assert f"| `{wheel.wheel}` | `{wheel.sha256}` |" in readme
    for asset in archives:
        for member in asset.members:
            assert f"| `{member.path}` | `{member.sha256}` |" in readme


OWN = downloads.OwnAsset(
    title="Demo",
    names=("rows.jsonl", "meta_rows.jsonl"),
    urls=("https://example.org/rows.jsonl.gz", "https://example.org/meta_rows.jsonl.gz"),
    page="https://example.org/",
)


@pytest.mark.parametrize("folder", [".", "demo"])
@pytest.mark.parametrize("names", [("rows.jsonl", "meta_rows.jsonl.gz"), OWN.names])
def test_files_of_ones_own_are_found_plain_or_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, names: tuple[str, str]
) -> None:
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in names:
        (tmp_path / folder / name).touch()
    assert downloads.own_files(OWN) == [tmp_path / folder / name for name in names]


def test_a_file_of_ones_own_that_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    route = (
        "Download https://example.org/rows.jsonl.gz and https://example.org/meta_rows.jsonl.gz "
        "(https://example.org/), put the files, compressed or not, into a folder, and set "
        "LATENTCRS_DATA to that folder."
    )
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    with pytest.raises(AssetError) as caught:
        downloads.own_files(OWN)
    assert str(caught.value) == f"Demo is not downloaded by the course. {route}"
    monkeypatch.setenv("LATENTCRS_DATA", str(tmp_path))
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(AssetError) as caught:
        downloads.own_files(OWN)
    absent = f"there is no meta_rows.jsonl.gz in {tmp_path} (LATENTCRS_DATA) or a folder in it."
    assert str(caught.value) == f"Demo: {absent} {route}"

"""A demo archive, and a local web site that also fails, truncates, lies and stalls."""

import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from latentcrs_utils.support.assets import Asset, Member

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
# one bit of the time in its first header differs: the members are the same
ANOTHER = ARCHIVE[:10] + bytes([ARCHIVE[10] ^ 1]) + ARCHIVE[11:]
EXPECTED = {Path(path).name: data for path, data in CONTENT.items()}


def describe(*sources: str, name: str = "demo.zip", content: bytes = ARCHIVE) -> Asset:
    members = tuple(Member(path, digest(data), len(data)) for path, data in CONTENT.items())
    return Asset(
        "Demo", "demo", members, "from example.org", name, digest(content), len(content), sources
    )


def contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in files.items()}


def left_in(cache: Path) -> set[str]:
    """Names of all files, remembered hashes aside."""
    found = {file.name for file in cache.rglob("*") if file.is_file()}
    return {name for name in found if not name.endswith(".sha256.json")}


def announce(handler: BaseHTTPRequestHandler, n_bytes: int, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(n_bytes))
    handler.end_headers()


def send(body: bytes, announced: int | None = None, status: int = 200) -> Answer:
    """Answer with ``body``, announcing ``announced`` bytes (the truth by default)."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        announce(handler, len(body) if announced is None else announced, status)
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

    def asset(self, **sources: list[Answer]) -> Asset:
        """Serve the archive from ``sources``, in order, and describe it."""
        self.answers.update(sources)
        return describe(*(f"{self.base}/{source}/demo.zip" for source in sources))

    def asked(self) -> list[str]:
        return [name for name, _ in self.requests]

    def held(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the first half, and the second only when the test says so."""
        half = len(ARCHIVE) // 2
        announce(handler, len(ARCHIVE))
        handler.wfile.write(ARCHIVE[:half])
        handler.wfile.flush()
        self.halfway.set()
        self.go_on.wait(60)
        handler.wfile.write(ARCHIVE[half:])

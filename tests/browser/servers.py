"""Servers for the tests: on 127.0.0.1, on a port of their own, and gone when the tests are."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 180
FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
           "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR")  # fmt: skip
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and its first process."""

    url: str
    process: psutil.Process

    def family(self) -> list[psutil.Process]:
        """The server's processes, kernels included."""
        return [self.process, *self.process.children(recursive=True)]

    def n_kernels(self) -> int:
        """How many kernels run now."""
        n = 0
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # one that ends meanwhile is none
                n += any("ipykernel_launcher" in part for part in process.cmdline())
        return n

    def addresses(self) -> set[str]:
        """Addresses at which any of them listens."""
        found = set()
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                links = process.net_connections(kind="inet")
                found |= {link.laddr.ip for link in links if link.status == psutil.CONN_LISTEN}
        return found


def free_port() -> int:
    """A port that nobody used a moment ago; the servers try others if it has been taken since."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(command: Sequence[str], folder: Path, cwd: Path = ROOT) -> Iterator[Server]:
    """Run a Jupyter server, which must print its address, for as long as the block lasts.

    Its log and all of its settings are in a folder, away from the user's own and from others.
    """
    # Flags of a `make` above this one are not meant for a `make` below.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    own, log = {name: str(folder / name.lower()) for name in FOLDERS}, folder / "log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            cwd=cwd,
            env={**inherited, "PYTHONUNBUFFERED": "1", **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_tests if sys.platform == "linux" else None,
        )
    process = psutil.Process(started.pid)
    try:
        yield Server(_address(started, log), process)
    finally:
        _stop(started)


def _end_with_the_tests() -> None:
    """Ask Linux to end this process when the tests are killed and can no longer do it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _address(started: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server prints, once it answers there."""
    deadline, printed = time.monotonic() + SECONDS_TO_START, ""
    while time.monotonic() < deadline and started.poll() is None:
        printed = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"http://127\.0\.0\.1:(\d+)(/[0-9a-f]{32,}/)?", printed):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(found[1]))) == 0:
                    return found[0]
        time.sleep(0.1)
    raise RuntimeError(f"The server did not start; {log} ends so:\n{printed[-2000:]}")


def _stop(started: subprocess.Popen[bytes]) -> None:
    """End the server politely, so that it ends its kernels; then whatever is left, by force."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        process = psutil.Process(started.pid)
        family = [process, *process.children(recursive=True)]
        os.killpg(started.pid, signal.SIGTERM)
        for alive in psutil.wait_procs(family, timeout=10)[1]:
            alive.kill()
    started.wait()

"""What voila.json adds to Voilà: a secret in the address, and a limit to the number of chats.

SECURITY.md says what this protects, what it does not, and how to serve the chat to a class.
"""

import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.utils import url_path_join
from latentcrs_utils.support.files import atomic_path
from tornado.web import HTTPError, RedirectHandler, RequestHandler
from traitlets import Integer, List, Unicode


def secret_of(file: Path) -> str:
    """Return the secret that a file holds, 32 hex digits or more; a new one if it is not secret.

    That is so where the file is absent, is damaged, or could be read by somebody else.
    """
    with suppress(OSError, ValueError):
        status, known = file.lstat(), file.read_text("ascii").strip()
        private = os.name == "nt" or (status.st_uid, status.st_mode & 0o177) == (os.getuid(), 0)
        if private and re.fullmatch("[0-9a-f]{32,}", known):
            return known
    new = secrets.token_hex(16)
    with suppress(OSError):  # where no file can be kept, each start has a secret of its own
        file.parent.mkdir(0o700, parents=True, exist_ok=True)
        with atomic_path(file) as made:
            made.touch(0o600)
            made.write_text(new + "\n", "ascii")
    return new


class SecretAddress(PasswordIdentityProvider):
    """Puts a secret in front of every path of the server; what lacks it is refused.

    A cookie or a token would do less: cookies go to every port of a machine, also to those of other
    users, and the pages of Voilà 0.5.13 do not hand a token on (its issue 1458).
    """

    hosts = List(Unicode(), help="Names besides this machine's own that a browser may ask for.")
    hosts.tag(config=True)

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        app, file = self.parent, Path(jupyter_runtime_dir()) / "latentcrs-chat.secret"
        app.server_url = f"/{secret_of(file)}/"
        self.log.info("The secret of the address is kept in %s: delete it for another.", file)
        self._opened = app.base_url == "/"
        if self._opened:  # else a proxy translates
            app.base_url = app.server_url
        settings = dict(app.tornado_settings)
        headers = dict(settings.get("headers", {}))
        policy, own = "Content-Security-Policy", "connect-src 'self'"
        others = "".join(f" ws://{host}:* wss://{host}:*" for host in self.hosts)
        headers[policy] = headers[policy].replace(own, own + others)
        settings |= {"headers": headers, "default_handler_class": Refused}
        settings["local_hostnames"] = ["localhost", *self.hosts]
        app.tornado_settings = settings

    def get_handlers(self) -> list[Any]:
        """Add the address that Voilà 0.5.13 opens in the browser, which has the secret twice."""
        url = self.parent.base_url
        twice = (url_path_join(url, url), RedirectHandler, {"url": url, "permanent": False})
        return [*super().get_handlers(), *([twice] if self._opened else [])]


class Refused(RequestHandler):
    """The answer to every request without the secret."""

    def prepare(self) -> None:
        """Refuse, whatever the method."""
        self.set_status(403)
        for name, value in self.settings["headers"].items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("The address of the chat holds a secret: open it as its start printed it.\n")


class Kernels(AsyncMappingKernelManager):
    """Starts no more than so many kernels, each of about a gigabyte; ends those that nobody sees."""

    limit = Integer(4, help="How many chats may be open at once.").tag(config=True)

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._starting: set[str] = set()
        self._seen: dict[str, datetime] = {}

    async def start_kernel(self, **kwargs: Any) -> str:
        """Start a kernel; HTTP 503 where there are as many as there may be."""
        kernel_id = self.new_kernel_id()
        if len({*self.list_kernel_ids(), *self._starting}) >= self.limit:
            raise HTTPError(503, reason="Too many people use the chat now: try again in a minute")
        self._starting.add(kernel_id)
        try:
            return await super().start_kernel(kernel_id=kernel_id, **kwargs)
        finally:
            self._starting.discard(kernel_id)

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel without a page for `cull_idle_timeout`, whatever it says by itself meanwhile."""
        if kernel_id in self._starting:
            return
        model, now = self.kernel_model(kernel_id), datetime.now(UTC)
        if model["connections"] or model["execution_state"] == "busy":
            self._seen[kernel_id] = now
        self.get_kernel(kernel_id).last_activity = self._seen.setdefault(kernel_id, now)
        await super().cull_kernel_if_idle(kernel_id)

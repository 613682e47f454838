"""A web site of the test's own, a cache in which nothing is yet, and what is said on stderr."""

from collections.abc import Iterator

import pytest

from tests.support.demo_site import Site


@pytest.fixture
def site(empty_cache: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site, an empty cache, no folder of the reader's own."""
    monkeypatch.delenv("LATENTCRS_DATA", raising=False)
    site = Site()
    yield site
    site.go_on.set()
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> pytest.CaptureFixture:
    """What is printed, with progress shown."""
    monkeypatch.setenv("LATENTCRS_PROGRESS", "1")
    return capfd

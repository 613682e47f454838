"""A web site of the test's own, and a cache in which nothing is yet."""

from __future__ import annotations

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
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, noted instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr("pooch.core.time.sleep", waited.append)
    return waited

"""Where the providers' own files are, for the tests that can use them."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def folder_with(*names: str) -> Path | None:
    """Return the folder that holds all these subfolders, or None.

    ``LATENTCRS_DATA`` if set, else ``../shared/data`` beside the checkout. Nobody may put these
    files into the repository, so on most machines the tests that need them are skipped.
    """
    chosen = os.environ.get("LATENTCRS_DATA")
    folder = Path(chosen) if chosen else CHECKOUT.parent / "shared" / "data"
    return folder if all((folder / name).is_dir() for name in names) else None

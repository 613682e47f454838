"""What stands beside every recorded result: the command, the date, the machine, the versions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latentcrs_utils.support.files import atomic_path


def provenance(command: str, packages: Sequence[str]) -> dict[str, Any]:
    """Say how a result was made: command, date (UTC), machine, versions of ``packages``."""
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, Python "
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine + platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def rounded(value: Any, digits: int = 4) -> Any:
    """The same content with all its floats rounded."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part, digits) for part in value]
    return value


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; the folder is made if absent."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

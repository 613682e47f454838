"""The head that all measuring commands share: arguments, progress lines, and a record of it all."""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import machine, python_version
from typing import Any

from latentcrs_utils.data.sequences import Dataset
from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support.files import atomic_path

PACKAGES = ("torch", "transformers", "scikit-learn", "polars", "numpy")


class Command:
    """One command line, ``python -m MODULE``: its options, its progress, its record.

    There may be ``--data`` (default ml-100k), ``--seeds`` (default 0) and ``--record``, which is
    required if true, absent if None; `parser` takes further options. `line` is the command once it
    is read. `steps` has a row a finished step: step, seconds (wall), cpu_seconds (all threads).
    """

    def __init__(
        self, module: str, description: str | None, *,
        data: bool = True, seeds: bool = False, record: bool | None = True,
    ):  # fmt: skip
        self.line = f"python -m {module}"
        how = argparse.RawDescriptionHelpFormatter
        self.parser = argparse.ArgumentParser(self.line, None, description, formatter_class=how)
        self.steps: list[dict[str, Any]] = []
        self._begun = time.perf_counter()
        self._current = ("", 0.0, 0.0)
        add = self.parser.add_argument
        if data:
            add("--data", default="ml-100k", metavar="NAME", help="a data set; default: ml-100k")
        if seeds:
            add("--seeds", type=int, nargs="+", default=[0], metavar="SEED", help="default: 0")
        if record is not None:
            add("--record", type=Path, required=record, metavar="FILE", help="JSON file to write")

    def read(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The options; None reads the process's own command line. ConfigError: a seed below 0."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        self.line = f"{self.line} {shlex.join(given)}".rstrip()
        options = self.parser.parse_args(given)
        if any(seed < 0 for seed in getattr(options, "seeds", ())):
            raise ConfigError("A seed of --seeds is below 0: give numbers from 0 on.")
        return options

    def say(self, text: str) -> None:
        """Print what comes next, with the seconds since the start; the step before it is done."""
        now, cpu = time.perf_counter(), time.process_time()
        step, begun, cpu_begun = self._current
        if step:
            seconds = {"seconds": round(now - begun, 1), "cpu_seconds": round(cpu - cpu_begun, 1)}
            self.steps.append({"step": step, **seconds})
        self._current = text, now, cpu
        print(f"[{now - self._begun:5.0f} s] {text}", flush=True)

    def record(
        self, path: Path, content: Mapping[str, Any], packages: Sequence[str] = PACKAGES
    ) -> None:
        """Write the content as JSON, floats rounded, behind what made it (`provenance`)."""
        write_record(path, provenance(self.line, packages) | rounded(dict(content)))


def sizes(data: Dataset) -> dict[str, Any]:
    """Name, users and items of a data set, as records have them."""
    return {"name": data.name, "users": data.n_users, "items": data.n_items}


def provenance(command: str, packages: Sequence[str]) -> dict[str, Any]:
    """Say how a result was made: command, date (UTC), machine, versions of ``packages``."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, {machine()}, Python {python_version()}",
        "versions": {name: version(name) for name in packages},
    }


def rounded(value: Any) -> Any:
    """The same content with all its floats rounded to four digits."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, (list, tuple)) else value


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; the folder is made if absent."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

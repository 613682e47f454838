"""Files and folders are whole or absent, and what killed writers left does not pile up."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from latentcrs_utils.support import files
from latentcrs_utils.support.files import atomic_path, remove_abandoned

KINDS = ("file", "folder")
WRITER = """
import sys, time
from pathlib import Path
from latentcrs_utils.support import files
with files.atomic_path(Path(sys.argv[2])) as temporary:
    if sys.argv[1] == "folder":
        temporary.mkdir()
        temporary /= "part"
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def write(kind: str, target: Path, content: str = "whole") -> None:
    with atomic_path(target) as temporary:
        if kind == "folder":
            temporary.mkdir()
            temporary /= "part"
        temporary.write_text(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_that_fails_changes_nothing(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    if kind == "file":
        write(kind, target, "old")
    with pytest.raises(ValueError, match="no space"), atomic_path(target) as made:
        if kind == "folder":
            made.mkdir()
        write("file", target.with_name("other"))
        raise ValueError("no space")
    assert names(target.parent) == (["other", "target"] if kind == "file" else ["other"])
    assert kind == "folder" or target.read_text() == "old"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_writer_left_goes_and_a_living_ones_stays(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "a [strange] name"
    command = [sys.executable, "-c", WRITER, kind, str(target)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [writer.stdout.readline() for writer in writers] == [b"half\n"] * 2
    for writer in writers:
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        assert len(names(tmp_path)) == 2
        if writer is writers[0]:
            assert not target.exists()
            write(kind, target)
    remove_abandoned(target)
    assert names(tmp_path) == [target.name]
    content = target / "part" if kind == "folder" else target
    assert content.read_text() == "whole"


def test_the_first_of_two_folders_stays_and_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_path(target) as late:
        late.mkdir()
        (late / "file").write_text("late")
        write("folder", target, "early")
    assert names(target) == ["part"] and names(tmp_path) == ["folder"]
    # of two files the last stays
    with atomic_path(tmp_path / "taken") as late:
        late.write_text("a file is in the way")
        write("file", tmp_path / "taken", "early")
    assert (tmp_path / "taken").read_text() == "a file is in the way"
    with pytest.raises(OSError, match="taken"):
        write("folder", tmp_path / "taken")
    assert names(tmp_path) == ["folder", "taken"] and (tmp_path / "taken").is_file()


def test_without_locks_only_the_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "lock_descriptor", Mock(side_effect=OSError("no locks available")))
    target = tmp_path / "file"
    for part in (".file.1.part", ".file.2.part"):
        (tmp_path / part).mkdir()
    os.utime(tmp_path / ".file.1.part", (0, 0))
    write("file", target)
    assert names(tmp_path) == [".file.2.part", "file"]
    assert target.read_text() == "whole"

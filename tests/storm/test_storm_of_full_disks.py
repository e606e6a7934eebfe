"""A disk that is full at a random moment: a sentence and no traceback; with room, the same command gives its tables."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tries import draws, tries

from processes import ended, started
from runs import TINY, hashes, run
from scenarios.errors import DONE, FAILED, WRONG_INPUT

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("scenarios", run_name="__main__", alter_sys=True)
"""

ENDS = {
    DONE: (),
    FAILED: tuple(f"{os.strerror(number)}; the traces so far are in" for number in (errno.ENOSPC, errno.EFBIG)),
    WRONG_INPUT: ("cannot be written there", "no store can be kept there"),
}
"""What the last line says, by exit code: of a disk that was full amid the run, or before it had begun."""


def said(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of a command, in which nothing but sentences may stand."""
    with started(*arguments) as process:
        code, _, err = ended(process)
    assert code in ENDS, err
    assert "Traceback" not in err
    assert not code or any(end in err.splitlines()[-1] for end in ENDS[code]), err
    return code, err


def tables(out: Path) -> dict[str, str]:
    """Content hashes in run.json."""
    return {name: table["sha256"] for name, table in json.loads((out / "run.json").read_text())["tables"].items()}


@pytest.mark.slow
@tries(40)
def test_storm_of_limited_files(number: int, tmp_path: Path) -> None:
    """No file may grow beyond a limit, of which writing sees the same as of a full disk."""
    limit = int(10 ** draws("limited files", number).uniform(1, 5.5))
    command = ("run", TINY, "-o", tmp_path / "run", "--store", tmp_path / "store", "--quiet")
    said("-c", LIMITED, limit, *command)
    assert said("-m", "scenarios", *command)[0] == 0
    assert tables(tmp_path / "run") == hashes(run())


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    """They are larger than any table, and the last that a run writes; nothing of them is left."""
    command = ("run", TINY, "-o", tmp_path / "run", "--no-store", "--set", "learning.model.hidden=[600]")
    code, err = said("-c", LIMITED, 100_000, *command)
    assert (code, os.strerror(errno.EFBIG) in err) == (FAILED, True)
    assert not list((tmp_path / "run" / "model").iterdir())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KB in memory, where this machine allows one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@tries(10)
def test_storm_of_small_disks(number: int, small_disk: Path, tmp_path: Path) -> None:
    free = int(draws("small disks", number).uniform(0, 300_000))
    (small_disk / "filler").write_bytes(bytes(300_000 - free))
    command = ("run", TINY, "-o", small_disk / "run", "--store", small_disk / "store", "--quiet")
    code, err = said("-m", "scenarios", *command)
    (small_disk / "filler").unlink()
    if code == 0:
        assert tables(small_disk / "run") == hashes(run()), err
    command = ("run", TINY, "-o", tmp_path / "run", "--store", small_disk / "store", "--quiet")
    assert said("-m", "scenarios", *command)[0] == 0
    assert tables(tmp_path / "run") == hashes(run())

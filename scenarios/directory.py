"""The folder of a run: run.json, scenario.yaml and traces of one run, written by one process at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from scenarios.errors import ScenarioError

ENDED = ("complete", "diverged")
"""Statuses of runs that ended by a stop criterion of their scenario."""

LOCK = ".lock"
"""File that a process holds locked while it writes to the folder; it stays there unlocked."""

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag to open a file only if it is no symbolic link, which may lead out of the folder; 0 where there is none."""


class RunDirectory:
    """Folder of one run. A new run in the same folder replaces the old one as a whole."""

    def __init__(self, path: Path) -> None:
        """Check that `path` can hold a run; nothing is written yet.

        Raises:
            ScenarioError: the folder holds something other than a run, or cannot be read.
        """
        self.path = path
        self.traces = path / "traces"
        self.model = path / "model"
        check_replaceable(path, "run.json", "run")

    @contextmanager
    def recording(self, scenario: str, about: Mapping[str, Any]) -> Iterator[None]:
        """Context in which a run is recorded; an older run is deleted at its beginning.

        Args:
            scenario: content of scenario.yaml.
            about: content of run.json until `write` replaces it.

        Raises:
            ScenarioError: the folder cannot be written, or another process is recording a run there.
        """
        with locked(self.path, "run"):
            with write_errors(self.path, "run"):
                self.write(about)  # first, so that a record never stands beside tables that it does not describe
                for folder in (self.traces, self.model):
                    if folder.exists():
                        shutil.rmtree(folder)
                self.traces.mkdir()
                replace(self.path / "scenario.yaml", scenario)
            yield

    def write(self, about: Mapping[str, Any]) -> None:
        """Replace run.json atomically."""
        replace(self.path / "run.json", json.dumps(about, indent=2) + "\n")

    def write_model(self, name: str, content: bytes) -> None:
        """Write a file of the folder `model` atomically; `name` is its path there."""
        file = self.model / name
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, content)


def record(path: Path, file: str = "run.json") -> dict[str, Any] | None:
    """Return the content of run.json, or of another record `file`, in a folder; None if there is no valid one."""
    try:
        content = json.loads((path / file).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):  # the last if it is nested deeply
        return None
    return content if isinstance(content, dict) and "status" in content else None


def check_replaceable(path: Path, file: str, what: str) -> None:
    """Check that a folder does not exist, is empty, or has the record `file`, so that it may be overwritten.

    Args:
        path: the folder.
        file: name of the record, such as run.json.
        what: the thing that is recorded, for messages: run or sweep.

    Raises:
        ScenarioError: the folder holds something else, or cannot be read.
    """
    with write_errors(path, what):
        if path.exists() and not path.is_dir():
            raise ScenarioError(f"{path}: this is a file; name a folder for the {what} with -o")
        ours = {LOCK, _temporary(path / file).name}  # of a process that died before it wrote the record
        if path.is_dir() and any(inner.name not in ours for inner in path.iterdir()) and record(path, file) is None:
            raise ScenarioError(
                f"{path}: the folder is not empty and holds no {what} of this program; name another one with -o"
            )


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Context in which no other process writes to the folder, which is made if necessary.

    The operating system releases the lock when the process ends, for whatever reason.

    Raises:
        ScenarioError: another process is writing there, or the folder cannot be written.
    """
    with write_errors(path, what):
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_WRONLY | os.O_CREAT | NO_LINK, 0o666)
    try:
        try:
            free = lock_descriptor(lock, blocking=False)
        except OSError:
            free = True  # a file system without locks
        if not free:
            raise ScenarioError(
                f"{path}: another process is writing a {what} there; wait for it, or name another folder with -o"
            )
        yield
    finally:
        os.close(lock)


@contextmanager
def write_errors(path: Path, what: str) -> Iterator[None]:
    """Context in which an OSError is raised as a ScenarioError about the folder.

    Raises:
        ScenarioError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise ScenarioError(
            f"{path}: the {what} cannot be written there ({why}); name another folder with -o"
        ) from None


def replace(file: Path, content: str | bytes) -> None:
    """Write a file atomically: readers see the old content or the new one, and a failure leaves nothing.

    A link of its name is replaced, not followed.

    Raises:
        OSError: it cannot be written.
    """
    temporary = _temporary(file)
    temporary.unlink(missing_ok=True)  # of a process that died, or a link that would be followed
    try:
        with temporary.open("xb") as new:
            new.write(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, file)
    except OSError:  # a full disk, perhaps, which has room for smaller files
        temporary.unlink(missing_ok=True)
        raise


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.tmp")

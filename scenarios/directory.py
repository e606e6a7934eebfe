"""The folder of a run: run.json, scenario.yaml and traces, of one run at a time."""

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
"""Statuses of runs that came to the end that their scenarios ask for."""

LOCK = ".lock"
"""A file that a process holds locked while it writes in the folder. That it is there says nothing."""


class RunDirectory:
    """Where one run is recorded. A new run in the same folder replaces the old one as a whole."""

    def __init__(self, path: Path) -> None:
        """Look at the folder, and change nothing yet.

        Raises:
            ScenarioError: something else than a run lies there, or it cannot be read.
        """
        self.path = path
        self.traces = path / "traces"
        refuse_other_than(path, "run.json", "run")

    @contextmanager
    def recording(self, scenario: str, about: Mapping[str, Any]) -> Iterator[None]:
        """Make it the folder of a run that is beginning: from here on nothing of an older run is left.

        Raises:
            ScenarioError: it cannot be written, or another process is recording a run there.
        """
        with locked(self.path, "run"):
            with usable(self.path, "run"):
                self.write(about)  # first, so that a record never stands beside tables that it does not describe
                if self.traces.exists():
                    shutil.rmtree(self.traces)
                self.traces.mkdir()
                replace(self.path / "scenario.yaml", scenario)
            yield

    def write(self, about: Mapping[str, Any]) -> None:
        """Replace run.json in one step."""
        replace(self.path / "run.json", json.dumps(about, indent=2) + "\n")


def record(path: Path, file: str = "run.json") -> dict[str, Any] | None:
    """What run.json in a folder says, or None if there is no such record."""
    try:
        content = json.loads((path / file).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) and "status" in content else None


def refuse_other_than(path: Path, file: str, what: str) -> None:
    """A folder may be missing, empty, or hold what its record `file` says.

    Raises:
        ScenarioError: something else lies there, or it cannot be read.
    """
    with usable(path, what):
        if path.exists() and not path.is_dir():
            raise ScenarioError(f"{path}: this is a file; name a folder for the {what} with -o")
        ours = {LOCK, _draft(path / file).name}  # of a process that died before it wrote the record
        if path.is_dir() and any(inner.name not in ours for inner in path.iterdir()) and record(path, file) is None:
            raise ScenarioError(
                f"{path}: the folder is not empty and holds no {what} of this program; name another one with -o"
            )


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Make the folder, and keep other processes from writing there. The lock dies with the process, however it dies.

    Raises:
        ScenarioError: another process is writing there, or it cannot be written.
    """
    with usable(path, what):
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK).open("w")
    with lock:
        try:
            free = lock_descriptor(lock.fileno(), blocking=False)
        except OSError:
            free = True  # a file system without locks
        if not free:
            raise ScenarioError(
                f"{path}: another process is writing a {what} there; wait for it, or name another folder with -o"
            )
        yield


@contextmanager
def usable(path: Path, what: str) -> Iterator[None]:
    """What the file system refuses in here is one sentence.

    Raises:
        ScenarioError: it refused.
    """
    try:
        yield
    except OSError as error:
        raise ScenarioError(
            f"{path}: the {what} cannot be written there ({error.strerror}); name another folder with -o"
        ) from None


def replace(file: Path, text: str) -> None:
    """Write a file in one step: readers see the old text or the new one."""
    draft = _draft(file)
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)


def _draft(file: Path) -> Path:
    return file.with_name(f".{file.name}.tmp")

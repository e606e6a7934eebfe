"""The folder of a run: run.json, scenario.yaml and traces, of one run at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scenarios.errors import ScenarioError


class RunDirectory:
    """Where one run is recorded. A new run in the same folder replaces the old one as a whole."""

    def __init__(self, path: Path) -> None:
        """Look at the folder, and change nothing yet.

        Raises:
            ScenarioError: something else than a run lies there, or it cannot be read.
        """
        self.path = path
        self.traces = path / "traces"
        try:
            if path.exists() and not path.is_dir():
                raise ScenarioError(f"{path}: this is a file; name a folder for the run with -o")
            if path.is_dir() and any(path.iterdir()) and record(path) is None:
                raise ScenarioError(
                    f"{path}: the folder is not empty and holds no run of this program; name another one with -o"
                )
        except OSError as error:
            raise self._unusable(error) from None

    def begin(self, scenario: str, about: Mapping[str, Any]) -> None:
        """Make it the folder of a run that is beginning: from here on nothing of an older run is left.

        Raises:
            ScenarioError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(about)  # first, so that a record never stands beside tables that it does not describe
            if self.traces.exists():
                shutil.rmtree(self.traces)
            self.traces.mkdir()
            _replace(self.path / "scenario.yaml", scenario)
        except OSError as error:
            raise self._unusable(error) from None

    def write(self, about: Mapping[str, Any]) -> None:
        """Replace run.json in one step."""
        _replace(self.path / "run.json", json.dumps(about, indent=2) + "\n")

    def _unusable(self, error: OSError) -> ScenarioError:
        return ScenarioError(
            f"{self.path}: the run cannot be written there ({error.strerror}); name another folder with -o"
        )


def record(path: Path) -> dict[str, Any] | None:
    """What run.json in a folder says, or None if there is no such record."""
    try:
        content = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) and "status" in content else None


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)

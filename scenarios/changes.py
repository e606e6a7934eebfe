"""Fields in which a scenario differs from that of a recorded run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from scenarios.document import Document
from scenarios.errors import Path, ScenarioError, dotted, found
from scenarios.schema import Scenario, load, parts

MAX_FIELDS = 3
"""Maximum number of fields that are named."""


def changed_fields(folder: File, scenario: Scenario) -> str:
    """Return in words how a scenario differs from that of the run in a folder; empty if it does not.

    Args:
        folder: folder of a run.
        scenario: the other scenario.
    """
    file = folder / "scenario.yaml"
    try:
        then = Document.read(file).content
        if load(file) == scenario:
            return ""
    except ScenarioError as error:
        return str(error)
    every = list(_differing(then, parts().plain(scenario, Scenario)))
    named = [f"{dotted(path)}: {found(old)}, now {found(new)}" for path, old, new in every[:MAX_FIELDS]]
    more = [f"and {len(every) - MAX_FIELDS} more"] if len(every) > MAX_FIELDS else []
    return "; ".join([*named, *more])


def _differing(then: Any, now: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield the path of each field that differs, with both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*now, *then]):
            yield from _differing(then.get(name), now.get(name), (*path, name))
    elif then != now:
        yield path, then, now

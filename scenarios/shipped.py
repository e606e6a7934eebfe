"""Scenario and study files that are shipped with the package, and their names: `netsim run quickstart`."""

from __future__ import annotations

from pathlib import Path

from scenarios.errors import ScenarioError, nearest

SCENARIOS = Path(__file__).parent
FOLDERS = {"studies": SCENARIOS / "studies", "reproductions": SCENARIOS / "reproductions"}
"""Folders whose files are not scenarios."""


def shipped(group: str) -> list[Path]:
    """Return the files of a group: scenarios, studies, or reproductions."""
    if group in FOLDERS:
        return sorted(FOLDERS[group].glob("*.yaml"))
    return [file for file in sorted(SCENARIOS.rglob("*.yaml")) if file.parent not in FOLDERS.values()]


def named(file: str | Path, group: str = "scenarios") -> Path:
    """Return the file that a path or, where there is no such file, the name of a shipped one means.

    Args:
        file: path of a file, or a name such as quickstart.
        group: scenarios or studies.

    Raises:
        ScenarioError: it looks like a name, and there is no file of that path and nothing of that name.
    """
    path = Path(file)
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    files = {each.stem: each for each in shipped(group)}
    if path.name not in files:
        close = nearest(path.name, files)
        raise ScenarioError(
            f"{path}: there is no such file, and no {group} of that name are shipped with netsim; "
            f"{f'did you mean {close}?' if close else f'`netsim list {group}` names them'}"
        )
    return files[path.name]

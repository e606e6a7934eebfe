"""Which code a run was made with: the version of the package, and the revision of its source folder."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "netsim-learning"
"""Name of the distribution that the packages are in."""
ROOT = Path(__file__).resolve().parents[1]
"""Folder of the packages."""
PATIENCE_S = 10.0
"""Wall time after which git is given up, as on a network file system that does not answer."""


@cache
def version(distribution: str = DISTRIBUTION) -> str:
    """Return the version of an installed distribution; "not installed" if the packages run from a source folder."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def revision() -> str | None:
    """Return the git commit of the source folder, with "-dirty" if files have changed since.

    None where the packages are in no checkout of their own, as after an installation, or where git cannot be run.
    """
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

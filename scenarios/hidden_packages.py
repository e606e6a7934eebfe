"""Whether a file of the user's hides one of our packages: `analysis.py` beside a script comes before ours."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("netsim", "learning", "analysis")
"""The packages that this one imports."""


def hidden() -> str | None:
    """One sentence that names the file that hides one of our packages; None if no file does."""
    ours = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = find_spec(name)
        file = spec.origin if spec else None
        if file is None or Path(file).resolve().parents[1] != ours:
            return (
                f"found {file or 'nothing'} in place of the package {name} in {ours}; "
                f"rename that file, or start Python in another folder"
            )
    return None

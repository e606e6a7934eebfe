"""Writing the report of a run or of a sweep."""

from __future__ import annotations

from pathlib import Path

from analysis.report import run_page, sweep_page
from analysis.run import load
from analysis.sweep import is_sweep, load_sweep


def write(directory: str | Path, out: Path | None = None) -> Path:
    """Write the report of a run or sweep to `out` (default: report.html in its directory); returns the path.

    What is still going on, or died, is reported as far as it got. Raises NotARun as `load` does, and NotASweep as
    `load_sweep` does.
    """
    path = Path(directory)
    out = out or path / "report.html"
    html = sweep_page.render(load_sweep(path)) if is_sweep(path) else run_page.render(load(path))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, "utf-8")
    return out

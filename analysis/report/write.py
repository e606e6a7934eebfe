"""Writing the report of a run or sweep."""

from __future__ import annotations

from pathlib import Path

from analysis import files
from analysis.report import run_page, sweep_page
from analysis.run import load
from analysis.sweep import is_sweep, load_sweep


def write(directory: str | Path, out: Path | None = None) -> Path:
    """Write the report of a run or sweep; one that is running or has failed is reported as far as it got.

    Args:
        directory: directory of the run or sweep.
        out: HTML file to write (default: report.html in the directory).

    Returns:
        The file.

    Raises:
        NotARun: the directory holds neither a run nor a sweep.
        NotASweep: the index of the sweep cannot be read.
    """
    path = Path(directory)
    out = out or path / "report.html"
    html = sweep_page.render(load_sweep(path)) if is_sweep(path) else run_page.render(load(path))
    files.write(out, html)
    return out

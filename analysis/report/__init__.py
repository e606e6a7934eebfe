"""One self-contained HTML page about a run."""

from analysis.report.page import write

__all__ = ["write"]

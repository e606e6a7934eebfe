"""One self-contained HTML page about a run or a sweep, with interactive plots."""

from analysis.report.write import write

__all__ = ["write"]

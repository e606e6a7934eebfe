"""Report of a run or a sweep: one self-contained HTML page with interactive figures."""

from analysis.report.write import write

__all__ = ["write"]

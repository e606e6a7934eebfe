"""Analysis of runs: numbers, comparisons, reports and figures from the files of a run directory alone."""

from analysis.caching import hit_rate_curves
from analysis.comparison import Comparison, NotComparable, compare
from analysis.files import DamagedRun
from analysis.measures import NotRecorded
from analysis.parquet import NoSuchTable
from analysis.run import NotARun, Run, load
from analysis.style import NothingToDraw
from analysis.sweep import NotASweep, Sweep, load_sweep

__all__ = [
    "Comparison",
    "DamagedRun",
    "NoSuchTable",
    "NotARun",
    "NotASweep",
    "NotComparable",
    "NotRecorded",
    "NothingToDraw",
    "Run",
    "Sweep",
    "compare",
    "hit_rate_curves",
    "load",
    "load_sweep",
]

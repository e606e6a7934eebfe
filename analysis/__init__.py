"""Analysis of runs: from the Parquet tables of a run directory, and nothing else, to numbers and pictures."""

from analysis.measures import NotRecorded
from analysis.parquet import NoSuchTable
from analysis.run import NotARun, Run, load

__all__ = ["NoSuchTable", "NotARun", "NotRecorded", "Run", "load"]

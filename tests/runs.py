"""Runs of the tiny scenario, and what tests compare of them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from scenarios import load, simulate
from scenarios.run import Result

TINY = Path(__file__).with_name("tiny.yaml")
TABLES = (
    "users",
    "transfers",
    "computations",
    "rounds",
    "evaluations",
    "decisions",
    "critical_path",
    "energy",
)


def run(**overrides: Any) -> Result:
    """Run the tiny scenario, once for the same overrides; dots in field paths are written as double underscores."""
    return _run(json.dumps({name.replace("__", "."): value for name, value in overrides.items()}, sort_keys=True))


@cache
def _run(overrides: str) -> Result:
    return simulate(load(TINY, json.loads(overrides)))


def frame(result: Result, table: str) -> pd.DataFrame:
    """One table of a run."""
    return result.table(table).to_pandas()


def hashes(result: Result) -> dict[str, str]:
    """Content hash of each table."""
    return {name: result.tables[name]["sha256"] for name in TABLES}

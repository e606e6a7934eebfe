"""Report of one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

import pandas as pd

from analysis.files import DamagedRun
from analysis.report import gantt, headline, learning, passes, requests, round_time, spending
from analysis.report.html import document, folded
from analysis.report.panel import Panel
from analysis.run import Run

TRAFFIC_COLUMNS = ["user", "direction", "kind", "bits", "lost"]

T = TypeVar("T")


def render(run: Run) -> str:
    """Return the report of a run as HTML, with the panels for which its tables have rows.

    What a damaged file keeps from being shown is named in a panel of its own.
    """
    damages: dict[str, None] = {}

    def readable(parts: Iterable[Callable[[], T]]) -> list[T]:
        shown = []
        for part in parts:
            try:
                shown.append(part())
            except DamagedRun as damage:
                damages[str(damage)] = None
        return shown

    rows = _rows(run)
    begun = _has_a_round(rows)
    facts = readable([lambda: headline.facts(run)])
    tiles = readable([lambda: headline.tiles(run)] if begun else [])
    panels = readable([*(_panels(run) if begun else []), *_requests(run, rows)])
    users = readable([lambda: folded("Users", headline.users(run))] if begun else [])
    scenario = readable([lambda: folded("Scenario", run.scenario_text)])
    if damages:
        panels.append(Panel("Damaged files", "What depends on these is not shown.", lines=list(damages)))
    return document(
        run.name,
        str(run.info.get("status", "status unknown")),
        "".join(facts),
        [tile for group in tiles for tile in group],
        panels or [Panel("Nothing to show yet", "No round of this run has ended.")],
        [*users, *scenario, folded("Run information", json.dumps(run.info, indent=2))],
    )


def _rows(run: Run) -> pd.Series[int]:
    """Number of rows by table; a damaged one counts as filled, so that its damage is named."""
    return run.describe().groupby("table")["rows"].first().fillna(1)


def _has_a_round(rows: pd.Series[int]) -> bool:
    """Whether all tables that the figures need have their first round; tables are not written simultaneously."""
    filled, present = ["users", "rounds", "critical_path", "energy"], ["transfers", "computations"]
    return bool((rows.reindex(filled, fill_value=0) > 0).all() and set(present) <= set(rows.index))


def _requests(run: Run, rows: pd.Series[int]) -> list[Callable[[], Panel]]:
    """The panels of requests, and of the forward passes by which a model has answered them, if there are any."""
    panels = [lambda: requests.panel(run.requests)] if rows.get("requests", 0) > 0 else []
    if rows.get("forward_passes", 0) > 0:
        panels.append(lambda: passes.panel(run.forward_passes, run.table("expert_calls", ["node", "hit"])))
    return panels


def _panels(run: Run) -> list[Callable[[], Panel]]:
    return [
        lambda: learning.panel(run),
        lambda: gantt.panel(run),
        lambda: round_time.by_round(run.critical_path),
        lambda: round_time.by_kind(run.critical_path),
        lambda: round_time.by_user(run.critical_path),
        lambda: spending.energy(run.energy),
        lambda: spending.traffic(run.table("transfers", TRAFFIC_COLUMNS)),
    ]

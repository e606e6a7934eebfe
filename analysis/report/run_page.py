"""Report of one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

import pandas as pd

from analysis.files import DamagedRun
from analysis.parquet import NoSuchTable
from analysis.report import gantt, headline, learning, passes, requests, round_time, servers, spending, updates
from analysis.report.headline import Tile
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
    tiles = readable(_tiles(run, rows, begun))
    periods = not begun and rows.get("requests", 0) > 0 and "rounds" in rows.index
    learnt = readable([lambda: learning.beside_requests(run)] if periods else [])
    panels = [*chain(*learnt), *readable([*(_panels(run) if begun else []), *_requests(run, rows, begun)])]
    spent = rows.get("energy", 0) > 0
    users = readable([lambda: folded("Users", headline.users(run))] if begun or spent else [])
    scenario = readable([lambda: folded("Scenario", run.scenario_text)])
    if damages:
        panels.append(Panel("Damaged files", "What depends on these is not shown.", lines=list(damages)))
    return document(
        run.name,
        str(run.info.get("status", "status unknown")),
        "".join(facts),
        [*chain(*tiles)],
        [*_failure(run), *(panels or [Panel("Nothing to show yet", "No round of this run has ended.")])],
        [*users, *scenario, folded("Run information", json.dumps(run.info, indent=2))],
    )


def _failure(run: Run) -> list[Panel]:
    """What ended a run that failed or stalled, above all else."""
    if "error" not in run.info:
        return []
    return [
        Panel(
            "Error",
            f"This run has {run.info.get('status')}; what it recorded before is shown.",
            lines=[str(run.info["error"])],
        )
    ]


def _rows(run: Run) -> pd.Series[int]:
    """Number of rows by table; a damaged one counts as filled, so that its damage is named."""
    return run.describe().groupby("table")["rows"].first().fillna(1)


def _has_a_round(rows: pd.Series[int]) -> bool:
    """Whether all tables that the figures need have their first round; tables are not written simultaneously."""
    filled, present = ["users", "rounds", "critical_path", "energy"], ["transfers", "computations"]
    return bool((rows.reindex(filled, fill_value=0) > 0).all() and set(present) <= set(rows.index))


def _tiles(run: Run, rows: pd.Series[int], begun: bool) -> list[Callable[[], list[Tile]]]:
    tiles: list[Callable[[], list[Tile]]] = [lambda: headline.tiles(run)] if begun else []
    if not begun and rows.get("energy", 0) > 0:
        tiles.append(lambda: headline.without_rounds(run))
    if rows.get("requests", 0) > 0:
        tiles.append(lambda: [*headline.of_requests(run.requests), *headline.of_answers(run)])
    return tiles


def _requests(run: Run, rows: pd.Series[int], begun: bool) -> list[Callable[[], Panel]]:
    """The panels of requests, of their servers, and of the forward passes by which a model has answered them, if any.

    Energy is drawn here where no round has `begun`, as in a run without learning.
    """
    panels: list[Callable[[], Panel]] = []
    if rows.get("requests", 0) > 0:
        panels.append(lambda: requests.panel(run.requests))
        if {"transfers", "computations", "rounds"} <= set(rows.index):
            panels.append(lambda: servers.panel(run))
        if not begun and rows.get("energy", 0) > 0:
            panels.append(lambda: spending.energy(run.energy))
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
        *([lambda: updates.panel(run)] if _is_asynchronous(run) else []),
    ]


def _is_asynchronous(run: Run) -> bool:
    """Whether users took versions of the server's model one by one; False if the tables do not say."""
    try:
        return len(run.model_versions) > 0
    except (DamagedRun, NoSuchTable):
        return False

"""Report of one run."""

from __future__ import annotations

import json

from analysis.report import gantt, headline, learning, passes, requests, round_time, spending
from analysis.report.html import document, folded
from analysis.report.panel import Panel
from analysis.run import Run

TRAFFIC_COLUMNS = ["user", "direction", "kind", "bits", "lost"]


def render(run: Run) -> str:
    """Return the report of a run as HTML, with the panels for which its tables have rows."""
    begun = _has_a_round(run)
    return document(
        run.name,
        str(run.info.get("status", "status unknown")),
        headline.facts(run),
        headline.tiles(run) if begun else [],
        [*(_panels(run) if begun else []), *_requests(run)]
        or [Panel("Nothing to show yet", "No round of this run has ended.")],
        [
            *([folded("Users", headline.users(run))] if begun else []),
            folded("Scenario", run.scenario_text),
            folded("Run information", json.dumps(run.info, indent=2)),
        ],
    )


def _has_a_round(run: Run) -> bool:
    """Whether all tables that the figures need have their first round; tables are not written simultaneously."""
    rows = run.describe().groupby("table")["rows"].first()
    filled, present = ["users", "rounds", "critical_path", "energy"], ["transfers", "computations"]
    return bool((rows.reindex(filled, fill_value=0) > 0).all() and set(present) <= set(rows.index))


def _requests(run: Run) -> list[Panel]:
    """The panels of requests, and of the forward passes by which a model has answered them, if there are any."""
    panels = [requests.panel(run.requests)] if _filled(run, "requests") else []
    if _filled(run, "forward_passes"):
        panels.append(passes.panel(run.forward_passes, run.table("expert_calls", ["node", "hit"])))
    return panels


def _filled(run: Run, table: str) -> bool:
    return table in run.tables and len(run.table(table)) > 0


def _panels(run: Run) -> list[Panel]:
    path = run.critical_path
    return [
        learning.panel(run),
        gantt.panel(run),
        round_time.by_round(path),
        round_time.by_kind(path),
        round_time.by_user(path),
        spending.energy(run.energy),
        spending.traffic(run.table("transfers", TRAFFIC_COLUMNS)),
    ]

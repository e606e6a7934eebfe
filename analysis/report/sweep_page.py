"""Report of a sweep: comparison of its arms."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
from plotly.colors import sample_colorscale

from analysis import style
from analysis.comparison.arms import Arm, arms
from analysis.comparison.compare import Comparison, compare_arms
from analysis.comparison.intervals import MIN_VALUES
from analysis.comparison.outcomes import MEASURES, Goal, hardest_common_goal, main_metric
from analysis.comparison.sentences import title
from analysis.comparison.text import capital, formatted
from analysis.report import curves, dots
from analysis.report.headline import Tile
from analysis.report.html import document, folded
from analysis.report.panel import Panel
from analysis.sweep import Sweep


def render(sweep: Sweep) -> str:
    """Return the report of a sweep as HTML. Points that have not ended are left out, and named in a warning."""
    found, warnings = arms([sweep])
    comparison = compare_arms(found, warnings, _goal(found)) if found else None
    return document(
        sweep.name,
        str(sweep.info.get("status", "status unknown")),
        f"Differences are to {comparison.arms[0]}" if comparison else "",
        _tiles(sweep, found, comparison) if comparison else [],
        _panels(found, comparison) if comparison else [Panel("Nothing to show yet", "; ".join(warnings))],
        [folded("Points", _points(sweep)), folded("Sweep information", json.dumps(sweep.info, indent=2))],
    )


def _goal(found: Sequence[Arm]) -> Goal:
    """Hardest target that all runs reached, in the metric by which they are compared."""
    runs = [run for arm in found for run in arm.runs.values()]
    return hardest_common_goal(runs, main_metric(runs))


def _panels(found: Sequence[Arm], comparison: Comparison) -> list[Panel]:
    colours = _colours(comparison.arms)
    target = [name for name in MEASURES if "to_target" in name]
    others = [name for name in MEASURES if name not in target]
    caption = (
        f"Large: mean over seeds, with its {comparison.confidence:.0%} interval if there are at least {MIN_VALUES}; "
        f"small: each seed; dotted: mean of {comparison.arms[0]}. Intervals that overlap do not mean that arms are "
        "equal: see the paired differences in the table below."
    )
    latency = "As above, for the final value and the round latency."
    return [
        curves.panel(found, colours),
        dots.panel("Cost of learning", caption, comparison, target, colours),
        dots.panel("Final value and latency", latency, comparison, others, colours),
        Panel(
            "Arms",
            f"Means over seeds; below each, the paired difference to {comparison.arms[0]} "
            f"and its {comparison.confidence:.0%} interval.",
            table=_table(comparison),
        ),
        Panel("Results", "The confidence level holds for each interval separately.", lines=comparison.sentences),
        *_warnings(comparison.warnings),
    ]


def _warnings(warnings: Sequence[str]) -> list[Panel]:
    lines = [f"{capital(warning)}." for warning in warnings]
    return [Panel("Warnings", "Reasons why these results are less reliable.", lines=lines)] if lines else []


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """Colour of each arm: a distinct hue if there are few arms, else a shade of a colour scale in their order."""
    if len(labels) <= len(style.SERIES):
        return dict(zip(labels, style.SERIES, strict=False))
    places = [0.9 * place / (len(labels) - 1) for place in range(len(labels))]
    return dict(zip(labels, sample_colorscale("Viridis", places), strict=True))


def _tiles(sweep: Sweep, found: Sequence[Arm], comparison: Comparison) -> list[Tile]:
    seeds = [len(arm.runs) for arm in found]
    total, done = len(sweep.points), sum(seeds)
    diverged = any(run.diverged_from() is not None for arm in found for run in arm.runs.values())
    which = " that did not diverge" if diverged else ""
    return [
        Tile("Arms", str(len(found))),
        Tile("Seeds", f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else str(seeds[0]), "per arm"),
        Tile("Runs", f"{done:,}", f"of {total:,} points"),
        Tile("Target", str(comparison.goal), f"reached by every run{which}"),
    ]


def _table(comparison: Comparison) -> pd.DataFrame:
    columns: dict[str, list[str]] = {"Arm": comparison.arms}
    for name in MEASURES:
        rows = [row for row in comparison.rows if row.measure == name]
        if rows:
            frame = formatted(rows, comparison.goal, comparison.confidence)
            head = f"{capital(title(rows[0], comparison.goal))}\n{frame.columns[1].removeprefix('Mean ')}"
            cells = zip(frame.iloc[:, 1], frame["Difference"], frame[f"{comparison.confidence:.0%} CI"], strict=True)
            columns[head] = [f"{mean}\n{difference}\n{interval}" for mean, difference, interval in cells]
    return pd.DataFrame(columns)


def _points(sweep: Sweep) -> pd.DataFrame:
    shown = sweep.points[["label", "seed", "status", "error"]]
    return shown.rename(columns=style.words)
